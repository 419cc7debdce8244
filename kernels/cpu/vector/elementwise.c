/* kernels/cpu/vector/elementwise.c - sums, products by a channel gate, copies between types. */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

static void add(const void *first, const void *second, void *result, int64_t count)
{
    const element *a = first, *b = second;
    element *y = result;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        y[i] = element_put(element_get(a[i]) + element_get(b[i]));
    }
}

/* y = a * gate[c], added to y if accumulate */
static void scale(const void *source, const void *gates, void *result, int64_t rows, int c,
                  bool accumulate)
{
    const element *x = source, *gate = gates;
    element *y = result;
    for (int64_t row = 0; row < rows; row++, x += c, y += c) {
        if (accumulate) {
#pragma omp simd
            for (int j = 0; j < c; j++) {
                y[j] = element_put(element_get(y[j]) + element_get(x[j]) * element_get(gate[j]));
            }
        } else {
#pragma omp simd
            for (int j = 0; j < c; j++) {
                y[j] = element_put(element_get(x[j]) * element_get(gate[j]));
            }
        }
    }
}

/* sum[c] += sum over rows of a * b */
static void dot(const void *first, const void *second, int64_t rows, int c, float *restrict sum)
{
    const element *a = first, *b = second;
    for (int64_t row = 0; row < rows; row++, a += c, b += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            sum[j] += element_get(a[j]) * element_get(b[j]);
        }
    }
}

/* sum[c] += sum over rows of a */
static void sum(const void *source, int64_t rows, int c, float *restrict total)
{
    const element *a = source;
    for (int64_t row = 0; row < rows; row++, a += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            total[j] += element_get(a[j]);
        }
    }
}

/* Every row of y becomes, or grows by, factor * x[c]. */
static void spread(const void *source, float factor, void *result, int64_t rows, int c,
                   bool accumulate)
{
    const element *x = source;
    element *y = result;
    for (int64_t row = 0; row < rows; row++, y += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float value = factor * element_get(x[j]);
            y[j] = element_put(accumulate ? element_get(y[j]) + value : value);
        }
    }
}

static void to_float(const void *source, float *to, int64_t count)
{
    const element *from = source;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        to[i] = element_get(from[i]);
    }
}

static void from_float(const float *from, void *target, int64_t count)
{
    element *to = target;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        to[i] = element_put(from[i]);
    }
}

const struct cask_elementwise_kernels KERNEL(elementwise) = {.add = add,
                                                             .scale = scale,
                                                             .dot = dot,
                                                             .sum = sum,
                                                             .spread = spread,
                                                             .to_float = to_float,
                                                             .from_float = from_float};
