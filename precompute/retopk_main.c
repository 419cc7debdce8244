/* retopk - a cache with another top-k or other temperatures, without the teacher. */
#include "common/log.h"
#include "common/thread.h"
#include "precompute/precompute.h"

static const char usage[] =
    "usage: retopk --cache DIR --out NEW [--topk N] [--temperatures T,...] [--scale S]\n"
    "\n"
    "Computes top-k cosines, label cosines and log-sum-exps anew from the embeddings and class\n"
    "centres of a cache. No teacher and no images are needed. Run it again to resume.\n";

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct retopk_options options = {0};
    struct cask_config *config = NULL;
    struct cask_config_section section = {"", retopk_rows, retopk_row_count, &options};
    bool stop = false;
    cask_interrupt_install();
    CASK_TRY(cask_config_create(&section, 1, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, usage, &stop, err));
    if (!stop) {
        CASK_TRY(retopk_run(&options, err));
    }
done:
    if (st != CASK_OK) {
        cask_error_print(err, "retopk");
    }
    cask_config_free(config);
    return cask_status_exit_code(st);
}
