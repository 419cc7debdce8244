/* train/sweep_row.c - one run of a sweep: its name, its folder, what it is told. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "models/models.h"
#include "train/sweep_planner.h"

static const char *const file_keys[] = {"rows", "grid", "seeds", "baseline", NULL};
static const char *const row_keys[] = {"name", "grid", "seeds", NULL};

/* ------------------------------------------------------------------- names */

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot != NULL ? dot + 1 : key;
}

void sweep_name_combination(const struct planner *planner, const struct cask_yaml_node *const *at,
                            char name[CASK_SWEEP_NAME])
{
    size_t length = strlen(name);
    for (int i = 0; i < planner->axis_count && length < CASK_SWEEP_NAME; i++) {
        const char *key = last_part(planner->axes[i].key);
        for (int j = 0; j < planner->axis_count; j++) {
            if (j != i && strcmp(last_part(planner->axes[j].key), key) == 0) {
                key = planner->axes[i].key;
            }
        }
        length += (size_t)snprintf(name + length, CASK_SWEEP_NAME - length, "%s%s=%s",
                                   length > 0 ? " " : "", key, at[i]->text);
    }
}

/* A file name that any shell takes as it is. */
static char *folder_name(const char *name, bool with_seed, int64_t seed)
{
    char text[CASK_SWEEP_NAME + 1];
    size_t length = 0;
    for (const char *c = name; *c != 0 && length < CASK_SWEEP_NAME; c++) {
        const bool kept = isalnum((unsigned char)*c) || strchr(".+=-", *c) != NULL;
        if (kept && !(*c == '.' && length == 0)) {
            text[length++] = *c;
        } else if (length > 0 && text[length - 1] != '_') {
            text[length++] = '_';
        }
    }
    while (length > 0 && text[length - 1] == '_') {
        length--;
    }
    text[length] = 0;
    return with_seed ? cask_format("%s.seed-%" PRId64, text, seed) : cask_format("%s", text);
}

/* Two names may become one folder, or the folder of something else. */
static enum cask_status check_folder(const struct planner *planner, const char *name,
                                     const char *folder, struct cask_error *err)
{
    const struct cask_sweep *sweep = planner->sweep;
    if (folder[0] == 0 || strcmp(folder, "settings") == 0 || strcmp(folder, "logs") == 0 ||
        strcmp(folder, "lock") == 0 || strncmp(folder, "sweep.", 6) == 0 ||
        strcmp(folder, "report.html") == 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "%s: row \"%s\": its folder would be \"%s\", which is taken; give it "
                              "another name",
                              planner->file.path, name, folder);
    }
    for (int i = 0; i < sweep->run_count; i++) {
        if (strcmp(sweep->runs[i].folder, folder) == 0) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "%s: rows \"%s\" and \"%s\" would both be folder \"%s\"; rename "
                                  "one",
                                  planner->file.path, sweep->rows[sweep->runs[i].row].name, name,
                                  folder);
        }
    }
    return CASK_OK;
}

/* ---------------------------------------------------------------- settings */

enum cask_status sweep_make_config(const struct planner *planner,
                                   const struct cask_yaml_node *const *at,
                                   struct cask_train_config **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = NULL;
    bool stop = false;
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_config_apply(config->rows, &planner->file, planner->file.root, file_keys, err));
    if (at != NULL && planner->row != NULL) {
        CASK_TRY(cask_config_apply(config->rows, &planner->file, planner->row, row_keys, err));
    }
    for (int i = 0; at != NULL && i < planner->axis_count; i++) {
        char origin[300];
        snprintf(origin, sizeof origin, "%.200s:%d", planner->file.path, at[i]->line);
        CASK_TRY(
            cask_config_set_value(config->rows, planner->axes[i].key, at[i]->text, origin, err));
    }
    CASK_TRY(cask_cli_parse(config->rows, planner->argc, planner->argv, "", &stop, err));
    *out = config;
    config = NULL;
done:
    cask_train_config_free(config);
    return st;
}

static enum cask_status set_whole(struct cask_train_config *config, const char *key, int64_t value,
                                  struct cask_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return cask_config_set_value(config->rows, key, text, "the sweep", err);
}

/* The network must exist before the first row trains for an hour. */
static enum cask_status check_network(const struct cask_train_config *config,
                                      struct cask_error *err)
{
    struct cask_graph *graph = NULL;
    const struct cask_graph_options shape = {.embedding = (int)config->student.embedding,
                                             .width = (int)config->student.input,
                                             .height = (int)config->student.input};
    enum cask_status st = cask_graph_build(config->student.net, &shape, &graph, err);
    cask_graph_free(graph);
    return st;
}

static bool wanted(const struct planner *planner, const char *name, const char *folder)
{
    const struct cask_config_texts *only = &planner->call->call.only;
    bool found = only->count == 0;
    for (int i = 0; i < only->count; i++) {
        found = found || strcmp(only->values[i], name) == 0 || strcmp(only->values[i], folder) == 0;
    }
    return found;
}

/* A list needs no --out. */
static const char *runs_folder(const struct cask_train_config *call)
{
    return call->out[0] != 0 ? call->out : "runs";
}

/* "{run:NAME}/student.safetensors": a row that starts from what another row, further up, ends with,
 * of the same seed where that has one. */
static enum cask_status resolve_init(const struct planner *planner,
                                     struct cask_train_config *config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_sweep *sweep = planner->sweep;
    const char *init = config->student.init, *end = strchr(init, '}');
    char name[CASK_SWEEP_NAME], *folder = NULL, *path = NULL;
    const struct cask_sweep_run *from = NULL;
    if (strncmp(init, "{run:", 5) != 0 || end == NULL) {
        return CASK_OK;
    }
    snprintf(name, sizeof name, "%.*s", (int)(end - init - 5), init + 5);
    for (int i = 0; i < sweep->run_count; i++) {
        const struct cask_sweep_run *run = &sweep->runs[i];
        const bool fits = strcmp(sweep->rows[run->row].name, name) == 0;
        if (fits && (from == NULL || run->seed == config->train.seed)) {
            from = run;
        }
    }
    if (from == NULL && planner->call->call.only.count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "student.init: %s names no row further up in this file", init));
    }
    folder = from != NULL ? cask_strdup(from->folder) : folder_name(name, false, 0);
    path = folder ? cask_format("%s/%s%s", runs_folder(planner->call), folder, end + 1) : NULL;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "a path"));
    }
    CASK_TRY(cask_config_set_value(config->rows, "student.init", path, "the sweep", err));
done:
    cask_free(folder);
    cask_free(path);
    return st;
}

enum cask_status sweep_add_run(struct planner *planner, const struct cask_yaml_node *const *at,
                               const int64_t *seed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_sweep *sweep = planner->sweep;
    struct cask_sweep_row *row = &sweep->rows[sweep->row_count];
    struct cask_train_config *config = NULL;
    char *folder = NULL, *out = NULL;
    CASK_TRY(sweep_make_config(planner, at, &config, err));
    folder = folder_name(row->name, seed != NULL && *seed != config->train.seed,
                         seed != NULL ? *seed : 0);
    out = folder ? cask_format("%s/%s", runs_folder(planner->call), folder) : NULL;
    if (out == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "a folder's name"));
    }
    CASK_TRY(check_folder(planner, row->name, folder, err));
    if (seed != NULL) {
        CASK_TRY(set_whole(config, "train.seed", *seed, err));
    }
    CASK_TRY(cask_config_set_value(config->rows, "out", out, "the sweep", err));
    CASK_TRY(resolve_init(planner, config, err));
    CASK_TRY(cask_train_config_check_values(config, err));
    CASK_TRY(check_network(config, err));
    if (!wanted(planner, row->name, folder)) {
        goto done;
    }
    if (sweep->run_count == CASK_SWEEP_RUNS) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "more than %d runs", CASK_SWEEP_RUNS));
    }
    sweep->runs[sweep->run_count++] = (struct cask_sweep_run){
        .row = sweep->row_count, .seed = config->train.seed, .folder = folder, .config = config};
    row->count++;
    folder = NULL;
    config = NULL;
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s: row \"%s\"", planner->file.path, row->name);
    }
    cask_free(out);
    cask_free(folder);
    cask_train_config_free(config);
    return st;
}
