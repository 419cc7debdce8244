#include "train/metrics_csv.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/text.h"

static const char *const training_columns[] = {
    "step",         "epoch", "lr", "total", "accuracy", "gradient_norm", "images_per_second",
    "stall_seconds"};
static const char *const validation_columns[] = {"step", "epoch"};
static const char *const term_columns[] = {"value", "weight", "gradient_norm", "gradient_cosine"};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ------------------------------------------------------------------ pieces */

static void put_number(struct cask_text *row, const struct cask_json *value)
{
    double real;
    int64_t whole;
    bool yes;
    if (cask_json_as_int(value, &whole)) {
        cask_text_format(row, "%lld", (long long)whole);
    } else if (cask_json_as_real(value, &real)) {
        cask_text_format(row, "%.9g", real);
    } else if (cask_json_as_bool(value, &yes)) {
        cask_text_put(row, yes ? "1" : "0");
    }
}

/* As RFC 4180 wants it, if it has to be quoted. */
static void put_name(struct cask_text *row, const char *name)
{
    const bool quoted = strpbrk(name, ",\"\r\n") != NULL;
    cask_text_put(row, quoted ? "\"" : "");
    for (; *name != 0; name++) {
        cask_text_add(row, "\"", quoted && *name == '"' ? 1 : 0);
        cask_text_add(row, name, 1);
    }
    cask_text_put(row, quoted ? "\"" : "");
}

static const char *name_of(const struct cask_json *object)
{
    const char *name = "";
    cask_json_as_text(cask_json_get(object, "name"), &name);
    return name;
}

static void put_numbers(struct cask_text *row, const struct cask_json *line,
                        const char *const *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cask_text_put(row, i > 0 ? "," : "");
        put_number(row, cask_json_get(line, columns[i]));
    }
}

/* ------------------------------------------------------------- kinds of row */

/* Columns that every row has, and the seconds of each part of the steps. */
static void training_head(struct cask_text *row, const struct cask_json *line)
{
    const struct cask_json *terms = cask_json_get(line, "terms");
    for (size_t i = 0; i < COUNT(training_columns); i++) {
        cask_text_format(row, "%s%s", i > 0 ? "," : "", training_columns[i]);
    }
    for (int i = 0; i < CASK_STAGES; i++) {
        cask_text_format(row, ",stage_seconds.%s", cask_stage_names[i]);
    }
    for (size_t t = 0; t < cask_json_size(terms); t++) {
        for (size_t i = 0; i < COUNT(term_columns); i++) {
            cask_text_put(row, ",");
            cask_text_format(row, "%s%s%s", name_of(cask_json_at(terms, t)), i > 0 ? "." : "",
                             i > 0 ? term_columns[i] : "");
        }
    }
}

static void training_row(struct cask_text *row, const struct cask_json *line)
{
    const struct cask_json *terms = cask_json_get(line, "terms");
    put_numbers(row, line, training_columns, COUNT(training_columns));
    cask_text_put(row, ",");
    put_numbers(row, cask_json_get(line, "stage_seconds"), cask_stage_names, CASK_STAGES);
    for (size_t t = 0; t < cask_json_size(terms); t++) {
        cask_text_put(row, ",");
        put_numbers(row, cask_json_at(terms, t), term_columns, COUNT(term_columns));
    }
}

static void validation_head(struct cask_text *row, const struct cask_json *line)
{
    const struct cask_json *sets = cask_json_get(cask_json_get(line, "validation"), "sets");
    cask_text_put(row, "step,epoch,accuracy,best");
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        cask_text_put(row, ",");
        put_name(row, name_of(cask_json_at(sets, i)));
    }
}

static void validation_row(struct cask_text *row, const struct cask_json *line)
{
    static const char *const own[] = {"accuracy", "best"};
    const struct cask_json *validation = cask_json_get(line, "validation");
    const struct cask_json *sets = cask_json_get(validation, "sets");
    put_numbers(row, line, validation_columns, COUNT(validation_columns));
    cask_text_put(row, ",");
    put_numbers(row, validation, own, COUNT(own));
    for (size_t i = 0; i < cask_json_size(sets); i++) {
        cask_text_put(row, ",");
        put_number(row, cask_json_get(cask_json_at(sets, i), "accuracy"));
    }
}

/* ------------------------------------------------------------------ tables */

static void put_row(struct cask_text *table, const struct cask_json *line, bool with_head)
{
    const bool validation = cask_json_get(line, "validation") != NULL;
    if (with_head) {
        (validation ? validation_head : training_head)(table, line);
        cask_text_put(table, "\n");
    }
    (validation ? validation_row : training_row)(table, line);
    cask_text_put(table, "\n");
}

enum cask_status cask_metrics_csv_append(const struct cask_metrics *metrics,
                                         const struct cask_json *line, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text row = {0};
    const char *path =
        cask_json_get(line, "validation") != NULL ? metrics->validation_csv : metrics->training_csv;
    put_row(&row, line, !cask_path_exists(path));
    CASK_TRY(cask_text_check(&row, "a row of a table", err));
    CASK_TRY(cask_file_append_whole(path, row.data, row.length, err));
done:
    cask_text_release(&row);
    return st;
}

static enum cask_status publish(const char *path, struct cask_text *table, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (table->length == 0 && !table->failed) {
        remove(path);
        return CASK_OK;
    }
    CASK_TRY(cask_text_check(table, "a table of metrics", err));
    CASK_TRY(cask_file_write_all(path, table->data, table->length, err));
done:
    return st;
}

enum cask_status cask_metrics_csv_rebuild(const struct cask_metrics *metrics, const char *text,
                                          size_t bytes, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text training = {0}, validation = {0};
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t length = end != NULL ? (size_t)(end - (text + at)) : bytes - at;
        struct cask_json *line = NULL;
        CASK_TRY(cask_json_parse(text + at, length, &line, err));
        struct cask_text *table =
            cask_json_get(line, "validation") != NULL ? &validation : &training;
        put_row(table, line, table->length == 0);
        cask_json_free(line);
        at += length + 1;
    }
    CASK_TRY(publish(metrics->training_csv, &training, err));
    CASK_TRY(publish(metrics->validation_csv, &validation, err));
done:
    cask_text_release(&training);
    cask_text_release(&validation);
    return st;
}
