/* train/sweep_plan.c - the sweep file to rows: lists, grids, seeds. */
#include "train/sweep_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "train/sweep_planner.h"

/* -------------------------------------------------------------------- rows */

static enum cask_status read_seed(const struct planner *planner, const struct cask_yaml_node *node,
                                  int64_t *seed, struct cask_error *err)
{
    char *end = NULL;
    *seed = node->kind == CASK_YAML_TEXT ? strtoll(node->text, &end, 10) : -1;
    if (end == NULL || end == node->text || *end != 0 || *seed < 0) {
        return cask_yaml_complain(&planner->file, node, "seeds: expected whole numbers from 0",
                                  err);
    }
    return CASK_OK;
}

/* One combination of the grid, for each of its seeds. */
static enum cask_status add_row(struct planner *planner, const struct cask_yaml_node *const *at,
                                const char *name, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_sweep *sweep = planner->sweep;
    struct cask_sweep_row *row = &sweep->rows[sweep->row_count];
    *row = (struct cask_sweep_row){.first = sweep->run_count};
    snprintf(row->name, sizeof row->name, "%s", name);
    sweep_name_combination(planner, at, row->name);
    if (planner->seeds == NULL) {
        CASK_TRY(sweep_add_run(planner, at, NULL, err));
    } else if (planner->seeds->kind == CASK_YAML_TEXT) {
        int64_t seed;
        CASK_TRY(read_seed(planner, planner->seeds, &seed, err));
        CASK_TRY(sweep_add_run(planner, at, &seed, err));
    } else {
        if (planner->seeds->first == NULL) {
            CASK_TRY(cask_yaml_complain(&planner->file, planner->seeds,
                                        "seeds: expected at least one", err));
        }
        for (const struct cask_yaml_node *node = planner->seeds->first; node != NULL;
             node = node->next) {
            int64_t seed;
            CASK_TRY(read_seed(planner, node, &seed, err));
            CASK_TRY(sweep_add_run(planner, at, &seed, err));
        }
    }
    sweep->row_count += row->count > 0;
done:
    return st;
}

/* Keys of a grid, nested or dotted. */
static enum cask_status read_axes(struct planner *planner, const struct cask_yaml_node *map,
                                  const char *prefix, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (const struct cask_yaml_node *node = map->first; node != NULL; node = node->next) {
        char key[CASK_SWEEP_NAME];
        if (snprintf(key, sizeof key, "%s%s", prefix, node->key) >= CASK_SWEEP_NAME - 1) {
            CASK_TRY(cask_yaml_complain(&planner->file, node, "grid: the key is too long", err));
        }
        if (node->kind == CASK_YAML_MAP) {
            strcat(key, ".");
            CASK_TRY(read_axes(planner, node, key, err));
            continue;
        }
        if (node->kind != CASK_YAML_LIST || node->first == NULL ||
            planner->axis_count == CASK_SWEEP_AXES) {
            CASK_TRY(cask_yaml_complain(&planner->file, node,
                                        "grid: expected at most 8 keys with a list of values each",
                                        err));
        }
        struct axis *axis = &planner->axes[planner->axis_count++];
        *axis = (struct axis){.values = node};
        snprintf(axis->key, sizeof axis->key, "%s", key);
        for (const struct cask_yaml_node *value = node->first; value != NULL; value = value->next) {
            if (value->kind != CASK_YAML_TEXT) {
                CASK_TRY(cask_yaml_complain(&planner->file, value,
                                            "grid: expected plain values (a list as \"[1, 4]\")",
                                            err));
            }
            axis->count++;
        }
    }
done:
    return st;
}

static enum cask_status add_combinations(struct planner *planner, const char *name,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t all = 1;
    for (int i = 0; i < planner->axis_count && all <= CASK_SWEEP_RUNS; i++) {
        all *= planner->axes[i].count;
    }
    if (all > CASK_SWEEP_RUNS) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: a grid of more than %d combinations",
                              planner->file.path, CASK_SWEEP_RUNS);
    }
    for (int64_t combination = 0; combination < all; combination++) {
        const struct cask_yaml_node *at[CASK_SWEEP_AXES];
        int64_t rest = combination;
        for (int i = planner->axis_count - 1; i >= 0; i--) { /* the last key turns fastest */
            at[i] = planner->axes[i].values->first;
            for (int64_t skip = rest % planner->axes[i].count; skip > 0; skip--) {
                at[i] = at[i]->next;
            }
            rest /= planner->axes[i].count;
        }
        CASK_TRY(add_row(planner, at, name, err));
    }
done:
    return st;
}

/* A row of the list, or the file itself with its grid. */
static enum cask_status add_rows_of(struct planner *planner, const struct cask_yaml_node *map,
                                    const char *name, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_yaml_node *grid = cask_yaml_find(map, "grid"),
                                *seeds = cask_yaml_find(map, "seeds");
    planner->seeds = seeds != NULL ? seeds : cask_yaml_find(planner->file.root, "seeds");
    planner->axis_count = 0;
    if (planner->seeds != NULL && cask_config_given(planner->call->rows, "train.seed")) {
        CASK_TRY(cask_yaml_complain(&planner->file, planner->seeds,
                                    "seeds stand here and train.seed on the command line; give one "
                                    "of them",
                                    err));
    }
    if (grid != NULL && grid->kind != CASK_YAML_MAP) {
        CASK_TRY(cask_yaml_complain(&planner->file, grid, "grid: expected keys with lists", err));
    }
    if (grid != NULL) {
        CASK_TRY(read_axes(planner, grid, "", err));
    }
    CASK_TRY(add_combinations(planner, name, err));
done:
    return st;
}

static enum cask_status add_list(struct planner *planner, const struct cask_yaml_node *rows,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (rows->kind != CASK_YAML_LIST || rows->first == NULL) {
        CASK_TRY(cask_yaml_complain(&planner->file, rows,
                                    "rows: expected a list of maps, each with a name", err));
    }
    for (const struct cask_yaml_node *row = rows->first; row != NULL; row = row->next) {
        const struct cask_yaml_node *name =
            row->kind == CASK_YAML_MAP ? cask_yaml_find(row, "name") : NULL;
        if (name == NULL || name->kind != CASK_YAML_TEXT || name->text[0] == 0 ||
            strlen(name->text) > CASK_SWEEP_NAME / 2) {
            CASK_TRY(cask_yaml_complain(&planner->file, row,
                                        "rows: expected a list of maps, each with a name of at "
                                        "most 64 bytes",
                                        err));
        }
        planner->row = row;
        CASK_TRY(add_rows_of(planner, row, name->text, err));
    }
done:
    return st;
}

/* A name that was given must be a row's; of a part of the rows it may be another one. */
static enum cask_status check_baseline(const struct planner *planner, struct cask_error *err)
{
    const struct cask_sweep *sweep = planner->sweep;
    const struct cask_yaml_node *node = cask_yaml_find(planner->file.root, "baseline");
    bool found = node == NULL || planner->call->call.only.count > 0;
    for (int r = 0; r < sweep->row_count && !found; r++) {
        found = strcmp(sweep->rows[r].name, sweep->baseline) == 0;
    }
    return found ? CASK_OK
                 : cask_yaml_complain(&planner->file, node, "baseline: no row has this name", err);
}

static enum cask_status check_found(const struct planner *planner, struct cask_error *err)
{
    const struct cask_sweep *sweep = planner->sweep;
    const struct cask_config_texts *only = &planner->call->call.only;
    for (int i = 0; i < only->count; i++) {
        bool found = false;
        for (int r = 0; r < sweep->run_count; r++) {
            const struct cask_sweep_run *run = &sweep->runs[r];
            found = found || strcmp(only->values[i], run->folder) == 0 ||
                    strcmp(only->values[i], sweep->rows[run->row].name) == 0;
        }
        if (!found) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "--only %s: %s has no such row; --list shows what there is",
                                  only->values[i], planner->file.path);
        }
    }
    if (sweep->run_count == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: expected rows or a grid",
                              planner->file.path);
    }
    return check_baseline(planner, err);
}

static enum cask_status read_baseline(struct planner *planner, struct cask_error *err)
{
    const struct cask_yaml_node *node = cask_yaml_find(planner->file.root, "baseline");
    if (node != NULL && node->kind != CASK_YAML_TEXT) {
        return cask_yaml_complain(&planner->file, node, "baseline: expected a row's name", err);
    }
    snprintf(planner->sweep->baseline, sizeof planner->sweep->baseline, "%s",
             node != NULL ? node->text : "plain");
    return CASK_OK;
}

enum cask_status cask_sweep_open(const struct cask_train_config *call, int argc, char **argv,
                                 struct cask_sweep *sweep, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct planner planner = {.call = call, .argc = argc, .argv = argv, .sweep = sweep};
    struct cask_train_config *base = NULL;
    const struct cask_yaml_node *rows = NULL;
    *sweep = (struct cask_sweep){0};
    sweep->rows = cask_alloc(CASK_SWEEP_RUNS + 1, sizeof *sweep->rows);
    sweep->runs = cask_alloc(CASK_SWEEP_RUNS, sizeof *sweep->runs);
    if (sweep->rows == NULL || sweep->runs == NULL) {
        CASK_TRY(cask_error_memory(err, CASK_SWEEP_RUNS * sizeof *sweep->rows, "rows of a sweep"));
    }
    CASK_TRY(cask_yaml_open(call->call.sweep, &planner.file, err));
    CASK_TRY(read_baseline(&planner, err));
    CASK_TRY(sweep_make_config(&planner, NULL, &base, err));
    sweep->base = cask_config_dump(base->rows);
    if (sweep->base == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "settings as text"));
    }
    rows = cask_yaml_find(planner.file.root, "rows");
    if (rows != NULL) {
        CASK_TRY(add_list(&planner, rows, err));
    }
    planner.row = NULL;
    if (cask_yaml_find(planner.file.root, "grid") != NULL) {
        CASK_TRY(add_rows_of(&planner, planner.file.root, "", err));
    }
    CASK_TRY(check_found(&planner, err));
done:
    cask_train_config_free(base);
    cask_yaml_close(&planner.file);
    if (st != CASK_OK) {
        cask_sweep_close(sweep);
    }
    return st;
}

void cask_sweep_close(struct cask_sweep *sweep)
{
    for (int i = 0; i < sweep->run_count; i++) {
        cask_free(sweep->runs[i].folder);
        cask_train_config_free(sweep->runs[i].config);
    }
    cask_free(sweep->rows);
    cask_free(sweep->runs);
    cask_free(sweep->base);
    *sweep = (struct cask_sweep){0};
}
