/* kernels/cpu/vector/max_pool.c - the largest of several pixels, and the way back to the winner. */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

/* best = x where x is larger, or where either is NaN */
static void largest(const void *source, float *restrict best, int c)
{
    const element *x = source;
#pragma omp simd
    for (int j = 0; j < c; j++) {
        float value = element_get(x[j]);
        best[j] = value > best[j] || value != value ? value : best[j];
    }
}

/* dx += dy where x is the window's largest and no pixel before it was; `open` is 1 until then. */
static void give(const void *source, const void *gradient, const float *restrict best,
                 float *restrict open, float *restrict dx, int c)
{
    const element *x = source, *dy = gradient;
#pragma omp simd
    for (int j = 0; j < c; j++) {
        float won = element_get(x[j]) == best[j] ? open[j] : 0.0F;
        dx[j] += won * element_get(dy[j]);
        open[j] -= won;
    }
}

static void put(const float *from, void *target, int64_t count, bool accumulate)
{
    element *to = target;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        to[i] = element_put(accumulate ? element_get(to[i]) + from[i] : from[i]);
    }
}

const struct cask_max_pool_kernels KERNEL(max_pool) = {
    .largest = largest, .give = give, .put = put};
