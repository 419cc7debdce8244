/* precompute - runs a frozen teacher once over a dataset and keeps what it said. */
#include "common/mem.h"
#include "precompute/precompute.h"

static const char usage[] =
    "usage: precompute --teacher NAME --weights FILE --data PATH --out DIR [options]\n"
    "\n"
    "Runs the teacher once over every image and its mirror and writes a cache that train-student\n"
    "reads in any number of runs. Run the same command again to resume.\n"
    "\n"
    "Teachers (onnx: a graph of any network; auto: known from the file):\n";

static enum cask_status run(void *user, struct cask_error *err)
{
    return precompute_run(user, err);
}

int main(int argc, char **argv)
{
    struct precompute_options options = {0};
    const struct cask_config_section section = {"", precompute_rows, precompute_row_count,
                                                &options};
    char *help = cask_graph_network_help(usage);
    const struct cask_cli_command cli = {help != NULL ? help : usage, &section, 1, run, &options};
    int code = cask_cli_main("precompute", &cli, argc, argv);
    cask_free(help);
    return code;
}
