/* tests/bench/bench_main.h - main of a benchmark: as a program's, but Ctrl-C ends it at once, as
 * nothing is to be kept. */
#ifndef CASK_TESTS_BENCH_BENCH_MAIN_H
#define CASK_TESTS_BENCH_BENCH_MAIN_H

#include <stddef.h>
#include <stdio.h>

#include "common/config.h"

/* Reads the flags that `rows` tell of into `options` and calls run(options). The exit code. */
static inline int bench_main(const char *program, const struct cask_config_row *rows,
                             size_t row_count, void *options,
                             enum cask_status (*run)(void *options, struct cask_error *err),
                             int argc, char **argv)
{
    char usage[64];
    struct cask_error err = {0};
    const struct cask_config_section section = {"", rows, row_count, options};
    const struct cask_cli_command command = {usage, &section, 1, run, options};
    snprintf(usage, sizeof usage, "usage: %s [options]\n", program);
    return cask_cli_end(program, cask_cli_run(&command, argc, argv, &err), &err);
}

#endif
