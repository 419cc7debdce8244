/* tests/bench/bench_rows.h - unit rows of numbers whose law does not matter. */
#ifndef CASK_TESTS_BENCH_BENCH_ROWS_H
#define CASK_TESTS_BENCH_BENCH_ROWS_H

#include <math.h>
#include <stdint.h>

#include "common/mem.h"
#include "kernels/kernels.h"

struct bench_fill {
    float *rows;
    int64_t dim;
    uint64_t seed;
};

static inline void bench_fill_row(void *user, int64_t row, int thread)
{
    const struct bench_fill *fill = user;
    float *x = fill->rows + row * fill->dim;
    uint64_t state = (fill->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)row;
    double sum = 0;
    (void)thread;
    for (int64_t j = 0; j < fill->dim; j++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[j] = (float)(int32_t)(state >> 32) * 0x1p-31f;
        sum += (double)x[j] * (double)x[j];
    }
    for (int64_t j = 0; j < fill->dim; j++) {
        x[j] *= (float)(1 / sqrt(sum));
    }
}

/* [count][dim], the caller's to free; NULL: no memory. */
static inline float *bench_unit_rows(struct cask_device *device, uint64_t seed, int64_t count,
                                     int64_t dim)
{
    struct bench_fill fill = {cask_alloc((size_t)count * (size_t)dim, sizeof(float)), dim, seed};
    if (fill.rows != NULL) {
        cask_device_ops(device)->parallel(device, count, bench_fill_row, &fill);
    }
    return fill.rows;
}

#endif
