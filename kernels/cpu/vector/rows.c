/* kernels/cpu/vector/rows.c - rows of a matrix: inner products, softmax; and plain arrays: SGD.
 *
 * A sum over a row is kept in sixteen parts that meet in a fixed tree, so its bits depend on the
 * row alone.
 */
#include <math.h>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/exponential.h"
#include "kernels/cpu/vector/vector.h"

enum { PARTS = 16 };

static double total_of(const double *part)
{
    double half[PARTS / 2];
    for (int i = 0; i < PARTS / 2; i++) {
        half[i] = part[i] + part[i + PARTS / 2];
    }
    return ((half[0] + half[4]) + (half[1] + half[5])) +
           ((half[2] + half[6]) + (half[3] + half[7]));
}

static double dot(const void *first, const void *second, int64_t count)
{
    const element *a = first, *b = second;
    double part[PARTS] = {0};
    int64_t i = 0;
    for (; i + PARTS <= count; i += PARTS) {
        for (int j = 0; j < PARTS; j++) {
            part[j] += (double)element_get(a[i + j]) * (double)element_get(b[i + j]);
        }
    }
    for (int j = 0; i < count; i++, j++) {
        part[j] += (double)element_get(a[i]) * (double)element_get(b[i]);
    }
    return total_of(part);
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
    float part[PARTS];
    int64_t i = 0;
    for (int j = 0; j < PARTS; j++) {
        part[j] = -INFINITY;
    }
    for (; i + PARTS <= count; i += PARTS) {
        for (int j = 0; j < PARTS; j++) {
            float value = element_get(x[i + j]);
            part[j] = value > part[j] ? value : part[j];
        }
    }
    for (; i < count; i++) {
        float value = element_get(x[i]);
        part[0] = value > part[0] ? value : part[0];
    }
    for (int j = 1; j < PARTS; j++) {
        part[0] = part[j] > part[0] ? part[j] : part[0];
    }
    return part[0];
}

/* y = e^(x - top); returns the sum of y */
static double exponentials(const void *source, float top, void *result, int64_t count)
{
    const element *x = source;
    element *y = result;
    double part[PARTS] = {0};
    int64_t i = 0;
    for (; i + PARTS <= count; i += PARTS) {
        float value[PARTS];
        for (int j = 0; j < PARTS; j++) {
            value[j] = exponential(element_get(x[i + j]) - top);
        }
        for (int j = 0; j < PARTS; j++) {
            part[j] += (double)value[j];
            y[i + j] = element_put(value[j]);
        }
    }
    for (int j = 0; i < count; i++, j++) {
        float value = exponential(element_get(x[i]) - top);
        part[j] += (double)value;
        y[i] = element_put(value);
    }
    return total_of(part);
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
