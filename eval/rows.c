#include "eval/rows.h"

#include <string.h>

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
