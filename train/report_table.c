#include "train/report_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

enum { FIRST_ROWS = 256 };

void report_table_release(struct report_table *table)
{
    for (int i = 0; i < table->count; i++) {
        cask_free(table->columns[i]);
    }
    cask_free(table->names);
    *table = (struct report_table){0};
}

static int find(const struct report_table *table, const char *name)
{
    for (int i = 0; i < table->count; i++) {
        if (strcmp(table->names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static enum cask_status grow(struct report_table *table, struct cask_error *err)
{
    const size_t capacity = table->capacity > 0 ? 2 * table->capacity : FIRST_ROWS;
    for (int i = 0; i < table->count; i++) {
        double *larger = cask_grow(table->columns[i], table->rows, capacity, sizeof *larger);
        if (larger == NULL) {
            return cask_error_memory(err, capacity * sizeof *larger, "a column of the report");
        }
        table->columns[i] = larger;
    }
    table->capacity = capacity;
    return CASK_OK;
}

/* The value of the row that is being added; a new column is NaN above it. */
static enum cask_status put(struct report_table *table, const char *name, double value,
                            struct cask_error *err)
{
    int at = find(table, name);
    if (at < 0 && table->count < REPORT_COLUMNS) {
        double *column = cask_alloc(table->capacity, sizeof *column);
        if (column == NULL) {
            return cask_error_memory(err, table->capacity * sizeof *column,
                                     "a column of the report");
        }
        for (size_t i = 0; i < table->rows; i++) {
            column[i] = NAN;
        }
        at = table->count++;
        table->columns[at] = column;
        snprintf(table->names[at], REPORT_COLUMN_NAME, "%s", name);
    }
    if (at >= 0) {
        table->columns[at][table->rows] = value;
    }
    return CASK_OK;
}

/* Numbers of an object; `before` is what its columns are named after. */
static enum cask_status put_object(struct report_table *table, const struct cask_json *object,
                                   const char *before, const char *after, int depth,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *key, *inner;
    const struct cask_json *value;
    double number;
    char name[REPORT_COLUMN_NAME];
    for (void *at = NULL; (at = cask_json_next(object, at, &key, &value)) != NULL;) {
        const enum cask_json_kind kind = cask_json_kind(value);
        snprintf(name, sizeof name, "%s%s%s%s%s", before, before[0] != 0 ? "." : "", key,
                 after[0] != 0 ? " " : "", after);
        if (cask_json_as_real(value, &number)) {
            CASK_TRY(put(table, name, number, err));
        } else if (kind == CASK_JSON_OBJECT && depth < 3) {
            CASK_TRY(put_object(table, value, name, "", depth + 1, err));
        } else if (kind == CASK_JSON_ARRAY && depth < 3) {
            for (size_t i = 0; i < cask_json_size(value); i++) {
                const struct cask_json *element = cask_json_at(value, i);
                if (cask_json_as_text(cask_json_get(element, "name"), &inner)) {
                    CASK_TRY(put_object(table, element, name, inner, depth + 1, err));
                }
            }
        }
    }
done:
    return st;
}

enum cask_status report_table_add(struct report_table *table, const struct cask_json *line,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (table->names == NULL) {
        table->names = cask_alloc(REPORT_COLUMNS, sizeof *table->names);
        if (table->names == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "column names of the report"));
        }
    }
    if (table->rows == table->capacity) {
        CASK_TRY(grow(table, err));
    }
    for (int i = 0; i < table->count; i++) {
        table->columns[i][table->rows] = NAN;
    }
    CASK_TRY(put_object(table, line, "", "", 0, err));
    table->rows++;
done:
    return st;
}

const double *report_table_column(const struct report_table *table, const char *name)
{
    const int at = find(table, name);
    return at >= 0 ? table->columns[at] : NULL;
}

const char *report_table_named(const struct report_table *table, const char *prefix, int index)
{
    const size_t length = strlen(prefix);
    for (int i = 0; i < table->count; i++) {
        if (strncmp(table->names[i], prefix, length) == 0 && index-- == 0) {
            return table->names[i] + length;
        }
    }
    return NULL;
}

double report_table_last(const struct report_table *table, const char *name)
{
    const double *column = report_table_column(table, name);
    for (size_t i = table->rows; column != NULL && i > 0; i--) {
        if (isfinite(column[i - 1])) {
            return column[i - 1];
        }
    }
    return NAN;
}
