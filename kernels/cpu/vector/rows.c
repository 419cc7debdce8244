/* kernels/cpu/vector/rows.c - rows of a matrix: inner products, softmax; and plain arrays: SGD.
 *
 * A sum over a row is kept in sixteen lanes that meet in a fixed tree, so its bits depend on the
 * row alone.
 */
#include <math.h>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/exponential.h"
#include "kernels/cpu/vector/vector.h"

static double total_of(const double *lane)
{
    double half[LANES / 2];
    for (int i = 0; i < LANES / 2; i++) {
        half[i] = lane[i] + lane[i + LANES / 2];
    }
    return ((half[0] + half[4]) + (half[1] + half[5])) +
           ((half[2] + half[6]) + (half[3] + half[7]));
}

static double dot(const void *first, const void *second, int64_t count)
{
    const element *a = first, *b = second;
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            lane[j] += (double)element_get(a[i + j]) * (double)element_get(b[i + j]);
        }
    }
    for (int j = 0; i < count; i++, j++) {
        lane[j] += (double)element_get(a[i]) * (double)element_get(b[i]);
    }
    return total_of(lane);
}

/* y (+)= alpha * (x + beta * e) */
static void combine(float alpha, const void *first, float beta, const void *second, void *result,
                    int64_t count, bool accumulate)
{
    const element *x = first, *e = second;
    element *y = result;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float value = alpha * (element_get(x[i]) + beta * element_get(e[i]));
        y[i] = element_put(accumulate ? element_get(y[i]) + value : value);
    }
}

static float largest(const void *source, int64_t count)
{
    const element *x = source;
    float lane[LANES];
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) {
        lane[j] = -INFINITY;
    }
    for (; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float value = element_get(x[i + j]);
            lane[j] = value > lane[j] ? value : lane[j];
        }
    }
    for (; i < count; i++) {
        float value = element_get(x[i]);
        lane[0] = value > lane[0] ? value : lane[0];
    }
    for (int j = 1; j < LANES; j++) {
        lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    }
    return lane[0];
}

/* y = e^(x - top); returns the sum of y */
static double exponentials(const void *source, float top, void *result, int64_t count)
{
    const element *x = source;
    element *y = result;
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        float value[LANES];
        for (int j = 0; j < LANES; j++) {
            value[j] = exponential(element_get(x[i + j]) - top);
        }
        for (int j = 0; j < LANES; j++) {
            lane[j] += (double)value[j];
            y[i + j] = element_put(value[j]);
        }
    }
    for (int j = 0; i < count; i++, j++) {
        float value = exponential(element_get(x[i]) - top);
        lane[j] += (double)value;
        y[i] = element_put(value);
    }
    return total_of(lane);
}

/* PyTorch's SGD, see struct cask_sgd; `v` may be NULL where momentum is 0 */
static void sgd(const struct cask_sgd *sgd, int64_t count, float *restrict w,
                const float *restrict g, float *restrict v)
{
    float rate = (float)sgd->rate, momentum = (float)sgd->momentum, decay = (float)sgd->decay;
    float gradient_scale = (float)sgd->gradient_scale;
    bool nesterov = sgd->nesterov;
    if (v == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            w[i] -= rate * (gradient_scale * g[i] + decay * w[i]);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float gradient = gradient_scale * g[i] + decay * w[i];
        v[i] = momentum * v[i] + gradient;
        w[i] -= rate * (nesterov ? gradient + momentum * v[i] : v[i]);
    }
}

const struct cask_row_kernels KERNEL(rows) = {
    .dot = dot, .combine = combine, .largest = largest, .exponentials = exponentials, .sgd = sgd};
