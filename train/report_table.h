/* train/report_table.h - lines of metrics.jsonl as columns of numbers. Private to train/report*.c.
 *
 * A column is named by its key; NAME of a list's element stands before the rest:
 *
 *   {"step": 5, "terms": [{"name": "kd", "value": 2}], "validation": {"accuracy": 91}}
 *       step = 5, terms.value kd = 2, validation.accuracy = 91
 *
 * A line that lacks a column has NaN there.
 */
#ifndef CASK_TRAIN_REPORT_TABLE_H
#define CASK_TRAIN_REPORT_TABLE_H

#include <stddef.h>

#include "common/json.h"
#include "common/status.h"

enum { REPORT_COLUMNS = 256, REPORT_COLUMN_NAME = 128 };

struct report_table {
    char (*names)[REPORT_COLUMN_NAME]; /* [REPORT_COLUMNS], owned */
    double *columns[REPORT_COLUMNS];   /* [rows] each, owned */
    int count;
    size_t rows, capacity;
};

/* Adds one line. Columns past REPORT_COLUMNS are left out. */
enum cask_status report_table_add(struct report_table *table, const struct cask_json *line,
                                  struct cask_error *err);
void report_table_release(struct report_table *table); /* accepts a zeroed table */

/* [rows], or NULL if no line has it. */
const double *report_table_column(const struct report_table *table, const char *name);
/* The i-th column whose name begins with `prefix`: what follows the prefix, or NULL. */
const char *report_table_named(const struct report_table *table, const char *prefix, int index);
/* The last finite value; NaN if there is none. */
double report_table_last(const struct report_table *table, const char *name);

#endif
