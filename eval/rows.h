/* eval/rows.h - a matrix of embeddings that need not be in memory: a file of a million rows, rows
 * drawn as they are needed, or an array. */
#ifndef CASK_EVAL_ROWS_H
#define CASK_EVAL_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

struct cask_rows {
    int64_t count;
    int columns;
    const void *user;
    /* Fills values[count][columns] with the rows from `first`. Called by several threads at once.
     */
    enum cask_status (*read)(const void *user, int64_t first, int64_t count, float *values,
                             struct cask_error *err);
};

/* The array stays the caller's. */
struct cask_rows_array {
    const float *values; /* [count][columns] */
    int columns;
};
struct cask_rows cask_rows_of_array(const struct cask_rows_array *array, int64_t count);

/* Rows of two views as rows of one: image plus mirror, or (sum = false) the image alone. Rows of
 * one view stay as they are. `source` is borrowed. */
struct cask_rows_view {
    const struct cask_rows *source;
    int views; /* in a row of the source */
    bool sum;
};
struct cask_rows cask_rows_of_view(const struct cask_rows_view *view);

/* Rows of `source`, zero where the row of `other` is: of two models neither is measured on an image
 * that one of them could not embed. Both are borrowed; their columns may differ. */
struct cask_rows_common {
    const struct cask_rows *source, *other;
};
struct cask_rows cask_rows_of_common(const struct cask_rows_common *common);

/* A dot product in double. Eight running sums keep the order of additions the same everywhere. */
double cask_dot(const double *a, const double *b, int64_t count);

#endif
