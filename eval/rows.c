#include "eval/rows.h"

#include <string.h>

#include "common/mem.h"

static enum cask_status read_array(const void *user, int64_t first, int64_t count, float *values,
                                   struct cask_error *err)
{
    const struct cask_rows_array *array = user;
    size_t columns = (size_t)array->columns;
    (void)err;
    memcpy(values, array->values + (size_t)first * columns,
           (size_t)count * columns * sizeof *values);
    return CASK_OK;
}

struct cask_rows cask_rows_of_array(const struct cask_rows_array *array, int64_t count)
{
    return (struct cask_rows){count, array->columns, array, read_array};
}

static enum cask_status read_view(const void *user, int64_t first, int64_t count, float *values,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_rows_view *view = user;
    size_t columns = (size_t)view->source->columns, dim = columns / (size_t)view->views;
    float *rows = cask_alloc((size_t)count * columns, sizeof *rows);
    if (rows == NULL) {
        return cask_error_memory(err, (size_t)count * columns * sizeof *rows, "rows of two views");
    }
    CASK_TRY(view->source->read(view->source->user, first, count, rows, err));
    for (size_t r = 0; r < (size_t)count; r++) {
        for (size_t d = 0; d < dim; d++) {
            float mirror = view->sum ? rows[r * columns + dim + d] : 0;
            values[r * dim + d] = rows[r * columns + d] + mirror;
        }
    }
done:
    cask_free(rows);
    return st;
}

struct cask_rows cask_rows_of_view(const struct cask_rows_view *view)
{
    if (view->views == 1) {
        return *view->source;
    }
    return (struct cask_rows){view->source->count, view->source->columns / view->views, view,
                              read_view};
}

static enum cask_status read_common(const void *user, int64_t first, int64_t count, float *values,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_rows_common *common = user;
    size_t columns = (size_t)common->source->columns, others = (size_t)common->other->columns;
    float *rows = cask_alloc((size_t)count * others, sizeof *rows);
    if (rows == NULL) {
        return cask_error_memory(err, (size_t)count * others * sizeof *rows, "rows of two models");
    }
    CASK_TRY(common->source->read(common->source->user, first, count, values, err));
    CASK_TRY(common->other->read(common->other->user, first, count, rows, err));
    for (size_t r = 0; r < (size_t)count; r++) {
        bool zero = true;
        for (size_t d = 0; d < others && zero; d++) {
            zero = rows[r * others + d] == 0;
        }
        if (zero) {
            memset(values + r * columns, 0, columns * sizeof *values);
        }
    }
done:
    cask_free(rows);
    return st;
}

struct cask_rows cask_rows_of_common(const struct cask_rows_common *common)
{
    return (struct cask_rows){common->source->count, common->source->columns, common, read_common};
}

double cask_dot(const double *a, const double *b, int64_t count)
{
    enum { LANES = 8 };
    double sums[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            sums[lane] += a[i + lane] * b[i + lane];
        }
    }
    for (; i < count; i++) {
        sums[0] += a[i] * b[i];
    }
    for (int lane = 0; lane < LANES; lane++) {
        total += sums[lane];
    }
    return total;
}
