/* eval/command.h - the subcommands of `evaluate`, and what they share. Private to eval/.
 *
 * A subcommand is one file command_NAME.c and one row of the table in main.c. It gets its own words
 * of the command line: argv[0] is the subcommand's name, flags follow.
 */
#ifndef CASK_EVAL_COMMAND_H
#define CASK_EVAL_COMMAND_H

#include "common/config.h"
#include "common/preprocess.h"
#include "models/models.h"

struct command {
    struct cask_cli_about about;
    enum cask_status (*run)(int argc, char **argv, struct cask_error *err);
};

enum cask_status command_verify(int argc, char **argv, struct cask_error *err);
enum cask_status command_pack(int argc, char **argv, struct cask_error *err);
enum cask_status command_ijb(int argc, char **argv, struct cask_error *err);
enum cask_status command_megaface(int argc, char **argv, struct cask_error *err);
enum cask_status command_masked(int argc, char **argv, struct cask_error *err);

/* The flags that subcommands which measure have in common, bound once for all of them
 * (command_measure.c). Texts are borrowed from the command line; "" is not given. */
struct model_options {
    const char *model, *network, *preprocess, *backend;
    int precision;
    int64_t batch, threads;
};
struct measure_flags {
    struct model_options model;
    struct { /* the second model; `path`: whatever the subcommand takes for one */
        const char *path, *network, *preprocess;
    } against;
    int64_t draws; /* of the bootstrap */
    int64_t seed;  /* of whatever is drawn */
    const char *json, *csv, *roc, *histogram;
};
/* Options of the second model: those of the first but for what --against-... says. */
struct model_options measure_against(const struct measure_flags *flags);

/* A subcommand that measures. --help shows the model's flags, its own, and the rest. */
struct measure_command {
    const char *usage;
    const struct cask_config_row *rows; /* its own, of `options` */
    size_t row_count;
    bool against, pictures; /* takes --against..., --roc and --histogram */
    enum cask_status (*run)(void *options, struct cask_error *err);
};
/* Reads the command line into `options` and its `flags`, a member of it, and runs. */
enum cask_status measure_run(const struct measure_command *command, void *options,
                             struct measure_flags *flags, int argc, char **argv,
                             struct cask_error *err);

struct opened_model {
    struct cask_device *device;
    struct cask_model model;
    struct cask_preprocess preprocess; /* with the graph's width and height */
};
/* Logs one line about network and device. An explicit --preprocess wins over the file's metadata;
 * a file without either is warned about. `opened` begins zeroed; close it in any case. */
enum cask_status model_open(const struct model_options *options, struct opened_model *opened,
                            struct cask_error *err);
void model_close(struct opened_model *opened);

#endif
