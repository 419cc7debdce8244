/* A folder of runs: which rows there are, and the runs of each. */
#include <math.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "train/report_sweep.h"

static const size_t largest_table = (size_t)1 << 26;
enum { ROWS_MAX = 4096 };

/* ------------------------------------------------------------- without a sweep */

static void add_number(struct cask_json *row, const struct cask_json *result, const char *key)
{
    const double value = report_data_number(result, key);
    if (isfinite(value)) {
        cask_json_set_real(row, key, value);
    }
}

/* One row of the kind that sweep.json holds. */
static struct cask_json *row_of(const char *folder, const struct report_data *run)
{
    struct cask_json *row = cask_json_object(), *sets = cask_json_array(),
                     *runs = cask_json_array(), *one = cask_json_object();
    const struct cask_json *found = cask_json_get(cask_json_get(run->result, "validation"), "sets");
    bool complete = false;
    cask_json_as_bool(cask_json_get(run->result, "complete"), &complete);
    cask_json_set_text(row, "name", folder);
    cask_json_set_int(row, "finished", complete);
    cask_json_set_int(row, "seeds", 1);
    for (size_t i = 0; i < cask_json_size(found); i++) {
        struct cask_json *set = cask_json_object();
        const struct cask_json *from = cask_json_at(found, i);
        cask_json_set_text(set, "set", report_data_text(from, "name"));
        cask_json_set_real(set, "mean", report_data_number(from, "accuracy"));
        cask_json_set_int(set, "count", 1);
        cask_json_append(sets, set);
    }
    cask_json_set(row, "accuracy", sets);
    add_number(row, run->result, "seconds");
    add_number(row, run->result, "seconds_per_step");
    add_number(row, run->result, "teacher_passes_saved");
    cask_json_set_text(one, "folder", folder);
    cask_json_set_text(one, "state",
                       complete               ? "finished"
                       : run->failure != NULL ? "failed"
                                              : "unfinished");
    if (run->failure != NULL) {
        cask_json_set_text(one, "message", report_data_text(run->failure, "message"));
    }
    cask_json_append(runs, one);
    cask_json_set(row, "runs", runs);
    return row;
}

static enum cask_status table_of_folder(const char *folder, struct cask_json **table,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL, *path = NULL;
    size_t count = 0;
    struct cask_json *rows = cask_json_array();
    struct report_data run = {0};
    CASK_TRY(cask_folder_list(folder, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        path = cask_format("%s/%s", folder, names[i]);
        char *settings = cask_format("%s/%s/config.yaml", folder, names[i]);
        const bool is_run = settings != NULL && cask_path_exists(settings);
        cask_free(settings);
        if (path == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "path of a run"));
        }
        if (is_run) {
            CASK_TRY(report_data_open(&run, path, err));
            cask_json_append(rows, row_of(names[i], &run));
            report_data_close(&run);
        }
        cask_free(path);
        path = NULL;
    }
    if (cask_json_size(rows) == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected a run (with config.yaml), a sweep's folder or a "
                                "folder of runs, found none of them",
                                folder));
    }
    *table = cask_json_object();
    cask_json_set(*table, "rows", rows);
    rows = NULL;
done:
    report_data_close(&run);
    cask_json_free(rows);
    cask_free(path);
    cask_folder_list_free(names, count);
    return st;
}

/* --------------------------------------------------------------------- open */

static enum cask_status read_table(struct report_sweep *sweep, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/sweep.json", sweep->path);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of sweep.json"));
    }
    if (!cask_path_exists(path)) {
        CASK_TRY(table_of_folder(sweep->path, &sweep->table, err));
        goto done;
    }
    CASK_TRY(cask_json_read(path, largest_table, &sweep->table, err));
done:
    cask_free(path);
    return st;
}

/* A folder's name as sweep.json gives it leads nowhere else. */
static bool is_plain(const char *folder)
{
    return folder[0] != 0 && folder[0] != '.' && strchr(folder, '/') == NULL;
}

static enum cask_status open_row(const struct report_sweep *sweep, const struct cask_json *json,
                                 struct report_row *row, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_json *runs = cask_json_get(json, "runs");
    const size_t count = cask_json_size(runs) < ROWS_MAX ? cask_json_size(runs) : ROWS_MAX;
    char *path = NULL, *settings = NULL;
    row->json = json;
    row->name = report_data_text(json, "name");
    row->runs = cask_alloc(count, sizeof *row->runs);
    if (row->runs == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *row->runs, "runs of a row"));
    }
    row->count = (int)count;
    for (size_t i = 0; i < count; i++) {
        const char *folder = report_data_text(cask_json_at(runs, i), "folder");
        path = cask_format("%s/%s", sweep->path, folder);
        settings = cask_format("%s/%s/config.yaml", sweep->path, folder);
        if (path == NULL || settings == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "path of a run"));
        }
        if (is_plain(folder) && cask_path_exists(settings)) {
            CASK_TRY(report_data_open(&row->runs[i], path, err));
        }
        cask_free(path);
        cask_free(settings);
        path = settings = NULL;
    }
done:
    cask_free(path);
    cask_free(settings);
    return st;
}

enum cask_status report_sweep_open(struct report_sweep *sweep, const char *folder,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *sweep = (struct report_sweep){.path = cask_strdup(folder), .name = report_name(folder)};
    if (sweep->path == NULL || sweep->name == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "path of a sweep"));
    }
    CASK_TRY(read_table(sweep, err));
    const struct cask_json *rows = cask_json_get(sweep->table, "rows");
    const size_t count = cask_json_size(rows) < ROWS_MAX ? cask_json_size(rows) : ROWS_MAX;
    sweep->rows = cask_alloc(count, sizeof *sweep->rows);
    if (sweep->rows == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *sweep->rows, "rows of a sweep"));
    }
    for (size_t i = 0; i < count; i++) {
        sweep->count++;
        CASK_TRY(open_row(sweep, cask_json_at(rows, i), &sweep->rows[i], err));
    }
done:
    return st;
}

void report_sweep_close(struct report_sweep *sweep)
{
    for (int i = 0; i < sweep->count; i++) {
        for (int j = 0; j < sweep->rows[i].count; j++) {
            report_data_close(&sweep->rows[i].runs[j]);
        }
        cask_free(sweep->rows[i].runs);
    }
    cask_free(sweep->rows);
    cask_json_free(sweep->table);
    cask_free(sweep->path);
    cask_free(sweep->name);
    *sweep = (struct report_sweep){0};
}

/* ------------------------------------------------------------------ look up */

double report_sweep_accuracy(const struct report_row *row, const char *set, const char *what)
{
    const struct cask_json *list = cask_json_get(row->json, "accuracy");
    for (size_t i = 0; i < cask_json_size(list); i++) {
        if (strcmp(report_data_text(cask_json_at(list, i), "set"), set) == 0) {
            return report_data_number(cask_json_at(list, i), what);
        }
    }
    return NAN;
}

double report_sweep_mean(const struct report_row *row)
{
    const struct cask_json *list = cask_json_get(row->json, "accuracy");
    const size_t count = cask_json_size(list);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += report_data_number(cask_json_at(list, i), "mean");
    }
    return count > 0 ? sum / (double)count : NAN;
}

const char *report_sweep_set(const struct report_sweep *sweep, int index)
{
    for (int r = 0; r < sweep->count; r++) {
        const struct cask_json *list = cask_json_get(sweep->rows[r].json, "accuracy");
        for (size_t i = 0; i < cask_json_size(list); i++) {
            const char *name = report_data_text(cask_json_at(list, i), "set");
            bool seen = false;
            for (int before = 0; before < r && !seen; before++) {
                seen = isfinite(report_sweep_accuracy(&sweep->rows[before], name, "mean"));
            }
            if (!seen && index-- == 0) {
                return name;
            }
        }
    }
    return NULL;
}

const struct report_data *report_sweep_run(const struct report_row *row)
{
    for (int i = 0; i < row->count; i++) {
        if (row->runs[i].path != NULL) {
            return &row->runs[i];
        }
    }
    return NULL;
}

const struct cask_json *report_sweep_evaluation(const struct report_data *run, const char *set)
{
    const struct cask_json *sets = cask_json_get(run->evaluation, "sets");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        if (strcmp(report_data_text(cask_json_at(sets, i), "name"), set) == 0) {
            return cask_json_at(sets, i);
        }
    }
    return NULL;
}
