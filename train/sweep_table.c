#include "train/sweep_table.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"

enum { LARGEST_FILE = 1 << 24, MAX_SETS = 2 * CASK_CONFIG_LIST };

/* ------------------------------------------------------------------ reading */

/* NULL if there is no such file, or it is not whole JSON. */
static struct cask_json *read_json(const struct cask_sweep_run *run, const char *name)
{
    struct cask_error ignored;
    struct cask_json *value = NULL;
    char *path = cask_format("%s/%s", run->config->out, name);
    if (path != NULL && cask_path_exists(path) &&
        cask_json_read(path, LARGEST_FILE, &value, &ignored) != CASK_OK) {
        value = NULL;
    }
    cask_free(path);
    return value;
}

static double real_at(const struct cask_json *object, const char *key)
{
    double value = NAN;
    cask_json_as_real(cask_json_get(object, key), &value);
    return value;
}

static int64_t whole_at(const struct cask_json *object, const char *key)
{
    int64_t value = 0;
    cask_json_as_int(cask_json_get(object, key), &value);
    return value;
}

static const char *text_at(const struct cask_json *object, const char *key)
{
    const char *value = "";
    cask_json_as_text(cask_json_get(object, key), &value);
    return value;
}

static bool has_finished(const struct cask_sweep_run *run, const struct cask_json *result)
{
    bool complete = false;
    const int64_t limit = run->config->train.max_steps;
    cask_json_as_bool(cask_json_get(result, "complete"), &complete);
    return result != NULL && (complete || (limit > 0 && whole_at(result, "steps") >= limit));
}

static void copy_accuracy(struct cask_json *object, const struct cask_json *result)
{
    const struct cask_json *validation = cask_json_get(result, "validation"),
                           *sets = cask_json_get(validation, "sets"),
                           *best = cask_json_get(validation, "best");
    struct cask_json *list = cask_json_array();
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        const struct cask_json *set = cask_json_at(sets, i);
        struct cask_json *entry = cask_json_object();
        cask_json_set_text(entry, "set", text_at(set, "name"));
        cask_json_set_real(entry, "accuracy", real_at(set, "accuracy"));
        cask_json_set_real(entry, "std", real_at(set, "std"));
        cask_json_append(list, entry);
    }
    cask_json_set(object, "accuracy", list);
    if (best != NULL) {
        struct cask_json *entry = cask_json_object();
        cask_json_set_int(entry, "step", whole_at(best, "step"));
        cask_json_set_real(entry, "accuracy", real_at(best, "accuracy"));
        cask_json_set_text(entry, "model", text_at(best, "model"));
        cask_json_set(object, "best", entry);
    }
}

/* The first run that has them names the sets. */
static void note_sets(struct cask_json *sets, const struct cask_json *result)
{
    const struct cask_json *found = cask_json_get(cask_json_get(result, "validation"), "sets");
    for (size_t i = 0; cask_json_size(sets) < MAX_SETS && i < cask_json_size(found); i++) {
        const struct cask_json *set = cask_json_at(found, i);
        bool known = false;
        for (size_t j = 0; j < cask_json_size(sets); j++) {
            known =
                known || strcmp(text_at(cask_json_at(sets, j), "name"), text_at(set, "name")) == 0;
        }
        if (!known) {
            struct cask_json *entry = cask_json_object();
            cask_json_set_text(entry, "name", text_at(set, "name"));
            cask_json_set_text(entry, "protocol", text_at(set, "protocol"));
            cask_json_set_int(entry, "pairs", whole_at(set, "pairs"));
            cask_json_append(sets, entry);
        }
    }
}

static struct cask_json *run_object(const struct cask_sweep_run *run, const char *message,
                                    struct cask_json *sets)
{
    struct cask_json *object = cask_json_object();
    struct cask_json *result = read_json(run, "result.json"),
                     *failure = read_json(run, "failure.json");
    const bool finished = has_finished(run, result);
    const bool failed = !finished && (failure != NULL || message[0] != 0);
    char *settings = cask_format("%s/config.yaml", run->config->out);
    const bool begun = settings != NULL && cask_path_exists(settings);
    cask_json_set_text(object, "folder", run->folder);
    cask_json_set_int(object, "seed", run->seed);
    cask_json_set_text(object, "state",
                       finished ? "finished"
                       : failed ? "failed"
                       : begun  ? "unfinished"
                                : "not started");
    if (failed) {
        cask_json_set_text(object, "message",
                           failure != NULL ? text_at(failure, "message") : message);
    }
    if (finished) {
        bool early = false;
        cask_json_as_bool(cask_json_get(result, "stopped_early"), &early);
        cask_json_set_int(object, "steps", whole_at(result, "steps"));
        cask_json_set_real(object, "seconds", real_at(result, "seconds"));
        cask_json_set_real(object, "seconds_per_step", real_at(result, "seconds_per_step"));
        cask_json_set_int(object, "teacher_passes_saved", whole_at(result, "teacher_passes_saved"));
        cask_json_set_bool(object, "stopped_early", early);
        copy_accuracy(object, result);
        note_sets(sets, result);
    }
    cask_free(settings);
    cask_json_free(result);
    cask_json_free(failure);
    return object;
}

/* --------------------------------------------------------------------- rows */

static double accuracy_of(const struct cask_json *run, const char *set)
{
    const struct cask_json *list = cask_json_get(run, "accuracy");
    for (size_t i = 0; i < cask_json_size(list); i++) {
        if (strcmp(text_at(cask_json_at(list, i), "set"), set) == 0) {
            return real_at(cask_json_at(list, i), "accuracy");
        }
    }
    return NAN;
}

/* Mean over the runs that have the number; *count of them; *std of a sample, NaN below two. */
static double mean_over(const struct cask_json *runs, const char *key, const char *set, double *std,
                        int *count)
{
    double sum = 0, squares = 0;
    *count = 0;
    for (int pass = 0; pass < 2; pass++) {
        const double mean = *count > 0 ? sum / *count : NAN;
        for (size_t i = 0; i < cask_json_size(runs); i++) {
            const struct cask_json *run = cask_json_at(runs, i);
            const double value = set != NULL ? accuracy_of(run, set) : real_at(run, key);
            if (isfinite(value) && pass == 0) {
                sum += value;
                *count += 1;
            } else if (isfinite(value)) {
                squares += (value - mean) * (value - mean);
            }
        }
    }
    *std = *count > 1 ? sqrt(squares / (*count - 1)) : NAN;
    return *count > 0 ? sum / *count : NAN;
}

static void summarise(struct cask_json *row, const struct cask_json *runs,
                      const struct cask_json *sets)
{
    struct cask_json *accuracy = cask_json_array();
    int64_t passes = 0, finished = 0;
    double std;
    int count;
    for (size_t i = 0; i < cask_json_size(runs); i++) {
        const struct cask_json *run = cask_json_at(runs, i);
        passes += whole_at(run, "teacher_passes_saved");
        finished += strcmp(text_at(run, "state"), "finished") == 0;
    }
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        const char *set = text_at(cask_json_at(sets, i), "name");
        struct cask_json *entry = cask_json_object();
        cask_json_set_text(entry, "set", set);
        cask_json_set_real(entry, "mean", mean_over(runs, NULL, set, &std, &count));
        cask_json_set_real(entry, "std", std);
        cask_json_set_int(entry, "count", count);
        cask_json_append(accuracy, entry);
    }
    cask_json_set_int(row, "seeds", (int64_t)cask_json_size(runs));
    cask_json_set_int(row, "finished", finished);
    cask_json_set(row, "accuracy", accuracy);
    cask_json_set_real(row, "seconds", mean_over(runs, "seconds", NULL, &std, &count));
    cask_json_set_real(row, "seconds_per_step",
                       mean_over(runs, "seconds_per_step", NULL, &std, &count));
    cask_json_set_int(row, "teacher_passes_saved", passes);
}

/* A row with its runs; the runs name the sets. */
static struct cask_json *row_object(const struct cask_sweep_row *row,
                                    const struct cask_sweep_run *runs, const char (*messages)[256],
                                    struct cask_json *sets)
{
    struct cask_json *object = cask_json_object(), *list = cask_json_array();
    cask_json_set_text(object, "name", row->name);
    for (int i = row->first; i < row->first + row->count; i++) {
        cask_json_append(list, run_object(&runs[i], messages[i], sets));
    }
    cask_json_set(object, "runs", list);
    return object;
}

enum cask_status cask_sweep_table(const struct cask_sweep *sweep,
                                  const struct cask_train_config *call, const char (*messages)[256],
                                  struct cask_json **table, struct cask_error *err)
{
    struct cask_json *root = cask_json_object(), *sets = cask_json_array(),
                     *list = cask_json_array();
    double seconds = 0, baseline = NAN;
    int64_t passes = 0;
    struct cask_json **rows = cask_alloc((size_t)sweep->row_count, sizeof *rows);
    if (rows == NULL) {
        return cask_error_memory(err, (size_t)sweep->row_count * sizeof *rows, "rows of a table");
    }
    for (int r = 0; r < sweep->row_count; r++) {
        rows[r] = row_object(&sweep->rows[r], sweep->runs, messages, sets);
    }
    for (int r = 0; r < sweep->row_count; r++) {
        summarise(rows[r], cask_json_get(rows[r], "runs"), sets);
        const double each = real_at(rows[r], "seconds");
        seconds += isfinite(each) ? each * (double)whole_at(rows[r], "finished") : 0;
        passes += whole_at(rows[r], "teacher_passes_saved");
        if (strcmp(sweep->rows[r].name, sweep->baseline) == 0) {
            baseline = real_at(rows[r], "seconds_per_step");
        }
    }
    for (int r = 0; r < sweep->row_count; r++) {
        cask_json_set_real(rows[r], "step_ratio", real_at(rows[r], "seconds_per_step") / baseline);
        cask_json_append(list, rows[r]);
    }
    cask_json_set_text(root, "program", "train-student " CASK_VERSION);
    cask_json_set_text(root, "sweep", call->call.sweep);
    cask_json_set_text(root, "cache", sweep->runs[0].config->cache);
    cask_json_set_text(root, "baseline", sweep->baseline);
    cask_json_set(root, "sets", sets);
    cask_json_set(root, "rows", list);
    cask_json_set_real(root, "seconds", seconds);
    cask_json_set_int(root, "teacher_passes_saved", passes);
    cask_free(rows);
    *table = root;
    return CASK_OK;
}

/* --------------------------------------------------------------------- text */

enum { COLUMNS = MAX_SETS + 8, CELL = 96 };

struct line {
    char cells[COLUMNS][CELL];
    int count;
};

__attribute__((format(printf, 2, 3))) static void add_cell(struct line *line, const char *format,
                                                           ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(line->cells[line->count++], CELL, format, args);
    va_end(args);
}

static void add_number(struct line *line, double value, const char *format)
{
    char text[CELL] = "-";
    if (isfinite(value)) {
        snprintf(text, sizeof text, format, value);
    }
    add_cell(line, "%s", text);
}

/* Characters, not bytes, so that names in any script keep the columns straight. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != 0; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static void fill_line(const struct cask_json *row, size_t sets, struct line *line)
{
    const struct cask_json *accuracy = cask_json_get(row, "accuracy");
    add_cell(line, "%s", text_at(row, "name"));
    add_cell(line, "%lld/%lld", (long long)whole_at(row, "finished"),
             (long long)whole_at(row, "seeds"));
    for (size_t i = 0; i < sets; i++) {
        const struct cask_json *entry = cask_json_at(accuracy, i);
        const double mean = real_at(entry, "mean"), std = real_at(entry, "std");
        if (isfinite(std)) {
            add_cell(line, "%.2f +- %.2f", mean, std);
        } else {
            add_number(line, mean, "%.2f");
        }
    }
    add_number(line, real_at(row, "seconds"), "%.0f");
    add_number(line, real_at(row, "step_ratio"), "%.2f");
    add_cell(line, "%lld", (long long)whole_at(row, "teacher_passes_saved"));
}

static void put_lines(const struct line *lines, int count, struct cask_text *text)
{
    for (int r = 0; r < count; r++) {
        for (int c = 0; c < lines[r].count; c++) {
            int widest = 0;
            for (int i = 0; i < count; i++) {
                const int width = width_of(lines[i].cells[c]);
                widest = width > widest ? width : widest;
            }
            const int gap = widest - width_of(lines[r].cells[c]);
            if (c == 0) { /* names to the left, numbers to the right */
                cask_text_format(text, "%s%*s", lines[r].cells[c], gap, "");
            } else {
                cask_text_format(text, "  %*s%s", gap, "", lines[r].cells[c]);
            }
        }
        cask_text_put(text, "\n");
    }
}

static void put_failures(const struct cask_json *rows, struct cask_text *text)
{
    for (size_t r = 0; r < cask_json_size(rows); r++) {
        const struct cask_json *runs = cask_json_get(cask_json_at(rows, r), "runs");
        for (size_t i = 0; i < cask_json_size(runs); i++) {
            const struct cask_json *run = cask_json_at(runs, i);
            if (strcmp(text_at(run, "state"), "failed") == 0) {
                cask_text_format(text, "failed: %s: %s\n", text_at(run, "folder"),
                                 text_at(run, "message"));
            }
        }
    }
}

void cask_sweep_table_text(const struct cask_json *table, struct cask_text *text)
{
    const struct cask_json *rows = cask_json_get(table, "rows"),
                           *sets = cask_json_get(table, "sets");
    const size_t count = cask_json_size(rows);
    struct line *lines = cask_alloc(count + 1, sizeof *lines);
    if (lines == NULL) {
        text->failed = true;
        return;
    }
    add_cell(&lines[0], "row");
    add_cell(&lines[0], "runs");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        add_cell(&lines[0], "%s", text_at(cask_json_at(sets, i), "name"));
    }
    add_cell(&lines[0], "seconds");
    add_cell(&lines[0], "step ratio");
    add_cell(&lines[0], "teacher passes saved");
    for (size_t r = 0; r < count; r++) {
        fill_line(cask_json_at(rows, r), cask_json_size(sets), &lines[r + 1]);
    }
    put_lines(lines, (int)count + 1, text);
    put_failures(rows, text);
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        const struct cask_json *set = cask_json_at(sets, i);
        cask_text_format(text, "%s: accuracy in percent, %lld pairs, %s\n", text_at(set, "name"),
                         (long long)whole_at(set, "pairs"), text_at(set, "protocol"));
    }
    cask_free(lines);
}

/* ---------------------------------------------------------------------- csv */

static void put_csv_name(struct cask_text *text, const char *name, const char *end)
{
    cask_text_put(text, "\"");
    for (; *name != 0; name++) {
        cask_text_add(text, "\"", *name == '"' ? 1 : 0);
        cask_text_add(text, name, 1);
    }
    cask_text_format(text, "%s\"", end);
}

static void put_csv_number(struct cask_text *text, double value)
{
    if (isfinite(value)) {
        cask_text_format(text, ",%.9g", value);
    } else {
        cask_text_put(text, ",");
    }
}

void cask_sweep_table_csv(const struct cask_json *table, struct cask_text *text)
{
    const struct cask_json *rows = cask_json_get(table, "rows"),
                           *sets = cask_json_get(table, "sets");
    cask_text_put(text, "row,runs,finished");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        const char *name = text_at(cask_json_at(sets, i), "name");
        cask_text_put(text, ",");
        put_csv_name(text, name, "");
        cask_text_put(text, ",");
        put_csv_name(text, name, " std");
    }
    cask_text_put(text, ",seconds,seconds_per_step,step_ratio,teacher_passes_saved\n");
    for (size_t r = 0; r < cask_json_size(rows); r++) {
        const struct cask_json *row = cask_json_at(rows, r);
        put_csv_name(text, text_at(row, "name"), "");
        cask_text_format(text, ",%lld,%lld", (long long)whole_at(row, "seeds"),
                         (long long)whole_at(row, "finished"));
        for (size_t i = 0; i < cask_json_size(sets); i++) {
            const struct cask_json *entry = cask_json_at(cask_json_get(row, "accuracy"), i);
            put_csv_number(text, real_at(entry, "mean"));
            put_csv_number(text, real_at(entry, "std"));
        }
        put_csv_number(text, real_at(row, "seconds"));
        put_csv_number(text, real_at(row, "seconds_per_step"));
        put_csv_number(text, real_at(row, "step_ratio"));
        cask_text_format(text, ",%lld\n", (long long)whole_at(row, "teacher_passes_saved"));
    }
}
