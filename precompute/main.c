/* precompute - runs a frozen teacher once over a dataset and keeps what it said. */
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "precompute/precompute.h"

static const char usage[] =
    "usage: precompute --teacher NAME --weights FILE --data PATH --out DIR [options]\n"
    "\n"
    "Runs the teacher once over every image and its mirror and writes a cache that train-student\n"
    "reads in any number of runs. Run the same command again to resume.\n"
    "\n"
    "Teachers (onnx: a graph of any network; auto: known from the file):\n";

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct precompute_options options = {0};
    struct cask_config *config = NULL;
    struct cask_config_section section = {"", precompute_rows, precompute_row_count, &options};
    bool stop = false;
    char *help = cask_graph_network_help(usage);
    cask_interrupt_install();
    if (help == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof usage, "the help text"));
    }
    CASK_TRY(cask_config_create(&section, 1, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, help, &stop, err));
    if (!stop) {
        CASK_TRY(precompute_run(&options, err));
    }
done:
    if (st != CASK_OK) {
        cask_error_print(err, "precompute");
    }
    cask_config_free(config);
    cask_free(help);
    return cask_status_exit_code(st);
}
