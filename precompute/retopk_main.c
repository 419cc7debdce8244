/* retopk - a cache with another top-k or other temperatures, without the teacher. */
#include "precompute/precompute.h"

static const char usage[] =
    "usage: retopk --cache DIR --out NEW [--topk N] [--temperatures T,...] [--scale S]\n"
    "\n"
    "Computes top-k cosines, label cosines and log-sum-exps anew from the embeddings and class\n"
    "centres of a cache. No teacher and no images are needed. Run it again to resume.\n";

static enum cask_status run(void *user, struct cask_error *err)
{
    return retopk_run(user, err);
}

int main(int argc, char **argv)
{
    struct retopk_options options = {0};
    const struct cask_config_section section = {"", retopk_rows, retopk_row_count, &options};
    const struct cask_cli_command cli = {usage, &section, 1, run, &options};
    return cask_cli_main("retopk", &cli, argc, argv);
}
