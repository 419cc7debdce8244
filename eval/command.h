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
    const char *name, *help; /* help: one line */
    enum cask_status (*run)(int argc, char **argv, struct cask_error *err);
};

enum cask_status command_verify(int argc, char **argv, struct cask_error *err);
enum cask_status command_pack(int argc, char **argv, struct cask_error *err);
enum cask_status command_ijb(int argc, char **argv, struct cask_error *err);
enum cask_status command_megaface(int argc, char **argv, struct cask_error *err);
enum cask_status command_masked(int argc, char **argv, struct cask_error *err);

/* Flags of a model that is run: bind `model_rows` to a struct model_options as a section of its
 * own, with prefix "". */
struct model_options {
    const char *model, *network, *preprocess, *backend;
    int precision;
    int64_t batch, threads;
};
extern const struct cask_config_row model_rows[];
extern const size_t model_row_count;

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
