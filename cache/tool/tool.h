/* cache/tool/tool.h - what the subcommands of cachetool share. */
#ifndef CASK_CACHE_TOOL_H
#define CASK_CACHE_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cache/reader.h"
#include "common/config.h"
#include "common/json.h"

/* The command line of any of them; "" is not given. */
struct tool_arguments {
    struct cask_config_texts folders;
    bool json;
    const char *sample, *rows, *npz, *h5;
};

/* Each returns CASK_OK with *exit_code 0, or another exit code where the answer is "no": damage
 * found, caches differ. Results go to stdout, as text or as one JSON object. */
typedef enum cask_status (*tool_command)(const struct tool_arguments *arguments, int *exit_code,
                                         struct cask_error *err);
enum cask_status tool_info(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err);
enum cask_status tool_verify(const struct tool_arguments *arguments, int *exit_code,
                             struct cask_error *err);
enum cask_status tool_dump(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err);
enum cask_status tool_diff(const struct tool_arguments *arguments, int *exit_code,
                           struct cask_error *err);
enum cask_status tool_repair_index(const struct tool_arguments *arguments, int *exit_code,
                                   struct cask_error *err);
enum cask_status tool_export(const struct tool_arguments *arguments, int *exit_code,
                             struct cask_error *err);

enum cask_status tool_merge(const struct tool_arguments *arguments, int *exit_code,
                            struct cask_error *err);

/* A plain array for export. */
struct tool_array {
    const char *name;
    enum cask_element element;
    int rank;
    int64_t shape[3];
    const void *data;
    size_t bytes;
};
/* Published whole or not at all. */
enum cask_status tool_write_h5(const char *path, const struct tool_array *arrays, int count,
                               struct cask_error *err);

/* --- rows of a cache, all fields, for dump, diff, info and export --- */
struct tool_rows {
    int capacity;
    int64_t *row;
    bool *mirror;
    struct cask_cache_gather fields;
};
enum cask_status tool_rows_open(struct tool_rows *rows, const struct cask_manifest *manifest,
                                int capacity, struct cask_error *err);
void tool_rows_close(struct tool_rows *rows);
/* Rows [first, first + count) of one view. */
enum cask_status tool_rows_read(struct tool_rows *rows, struct cask_cache *cache, int64_t first,
                                int count, int view, struct cask_error *err);

#endif
