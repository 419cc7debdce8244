/* kernels/cpu/vector/batchnorm.c - batch normalisation with an activation behind it, one block of
 * rows.
 *
 *     d = x - mean, z = d * scale + shift, y = act(z)       scale = gamma / std, shift = beta
 */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

/* Four rows per round, so that a channel's sum waits for its own store only once in four rows. */
static void sums(const void *source, int64_t rows, int c, const float *origin, float *restrict sum,
                 float *restrict square)
{
    const element *x = source;
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * (int64_t)c) {
        const element *x1 = x + c, *x2 = x1 + c, *x3 = x2 + c;
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float d0 = element_get(x[j]) - origin[j], d1 = element_get(x1[j]) - origin[j];
            float d2 = element_get(x2[j]) - origin[j], d3 = element_get(x3[j]) - origin[j];
            sum[j] += (d0 + d1) + (d2 + d3);
            square[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; row < rows; row++, x += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float d = element_get(x[j]) - origin[j];
            sum[j] += d;
            square[j] += d * d;
        }
    }
}

static inline __attribute__((always_inline)) void apply_as(enum cask_activation activation,
                                                           const struct cask_bn_block *bn,
                                                           const element *x, element *y,
                                                           int64_t rows, int c)
{
    const float *mean = bn->mean, *scale = bn->scale, *shift = bn->shift, *slope = bn->slope;
    for (int64_t row = 0; row < rows; row++, x += c, y += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float z = (element_get(x[j]) - mean[j]) * scale[j] + shift[j];
            if (activation == CASK_ACT_RELU) {
                z = z <= 0 ? 0 : z;
            }
            if (activation == CASK_ACT_PRELU) {
                float low = z * slope[j];
                z = z > 0 ? z : low;
            }
            y[j] = element_put(z);
        }
    }
}

static void apply(const struct cask_bn_block *bn, const void *x, void *y, int64_t rows, int c)
{
    switch (bn->activation) {
    case CASK_ACT_RELU:
        apply_as(CASK_ACT_RELU, bn, x, y, rows, c);
        return;
    case CASK_ACT_PRELU:
        apply_as(CASK_ACT_PRELU, bn, x, y, rows, c);
        return;
    default:
        apply_as(CASK_ACT_NONE, bn, x, y, rows, c);
    }
}

/* dz: the gradient before the activation. A product with 0, not a 0: what is NaN stays NaN. */
static inline __attribute__((always_inline)) float through_activation(
    enum cask_activation activation, float z, float dy, float slope)
{
    if (activation == CASK_ACT_RELU) {
        return dy * (z <= 0 ? 0.0F : 1.0F);
    }
    if (activation == CASK_ACT_PRELU) {
        float low = dy * slope;
        return z > 0 ? dy : low;
    }
    return dy;
}

static inline __attribute__((always_inline)) void gradient_sums_as(
    enum cask_activation activation, const struct cask_bn_block *bn, const element *x,
    const element *dy, int64_t rows, int c, float *restrict sum_dz, float *restrict sum_dz_d,
    float *restrict dslope)
{
    const float *mean = bn->mean, *scale = bn->scale, *shift = bn->shift;
    const float *slope = activation == CASK_ACT_PRELU ? bn->slope : bn->shift;
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2, x += 2 * (int64_t)c, dy += 2 * (int64_t)c) {
        const element *x1 = x + c, *dy1 = dy + c;
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float d0 = element_get(x[j]) - mean[j], d1 = element_get(x1[j]) - mean[j];
            float z0 = d0 * scale[j] + shift[j], z1 = d1 * scale[j] + shift[j];
            float g0 = element_get(dy[j]), g1 = element_get(dy1[j]);
            float dz0 = through_activation(activation, z0, g0, slope[j]);
            float dz1 = through_activation(activation, z1, g1, slope[j]);
            sum_dz[j] += dz0 + dz1;
            sum_dz_d[j] += dz0 * d0 + dz1 * d1;
            if (activation == CASK_ACT_PRELU) {
                float low0 = z0 * g0, low1 = z1 * g1;
                dslope[j] += (z0 > 0 ? 0 : low0) + (z1 > 0 ? 0 : low1);
            }
        }
    }
    for (; row < rows; row++, x += c, dy += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float d = element_get(x[j]) - mean[j], z = d * scale[j] + shift[j],
                  g = element_get(dy[j]);
            float dz = through_activation(activation, z, g, slope[j]);
            sum_dz[j] += dz;
            sum_dz_d[j] += dz * d;
            if (activation == CASK_ACT_PRELU) {
                float low = z * g;
                dslope[j] += z > 0 ? 0 : low;
            }
        }
    }
}

static void gradient_sums(const struct cask_bn_block *bn, const void *x, const void *dy,
                          int64_t rows, int c, float *sum_dz, float *sum_dz_d, float *dslope)
{
    switch (bn->activation) {
    case CASK_ACT_RELU:
        gradient_sums_as(CASK_ACT_RELU, bn, x, dy, rows, c, sum_dz, sum_dz_d, dslope);
        return;
    case CASK_ACT_PRELU:
        gradient_sums_as(CASK_ACT_PRELU, bn, x, dy, rows, c, sum_dz, sum_dz_d, dslope);
        return;
    default:
        gradient_sums_as(CASK_ACT_NONE, bn, x, dy, rows, c, sum_dz, sum_dz_d, dslope);
    }
}

/* dx = scale * (dz - mean_dz - d * pull) */
static inline __attribute__((always_inline)) void gradient_as(enum cask_activation activation,
                                                              bool accumulate,
                                                              const struct cask_bn_block *bn,
                                                              const element *x, const element *dy,
                                                              element *dx, int64_t rows, int c)
{
    const float *mean = bn->mean, *scale = bn->scale, *shift = bn->shift;
    const float *slope = activation == CASK_ACT_PRELU ? bn->slope : bn->shift;
    const float *mean_dz = bn->mean_dz, *pull = bn->pull;
    for (int64_t row = 0; row < rows; row++, x += c, dy += c, dx += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float d = element_get(x[j]) - mean[j];
            float dz = through_activation(activation, d * scale[j] + shift[j], element_get(dy[j]),
                                          slope[j]);
            float value = scale[j] * (dz - mean_dz[j] - d * pull[j]);
            dx[j] = element_put(accumulate ? element_get(dx[j]) + value : value);
        }
    }
}

static void gradient(const struct cask_bn_block *bn, const void *x, const void *dy, void *dx,
                     bool accumulate, int64_t rows, int c)
{
    switch (bn->activation) {
    case CASK_ACT_RELU:
        if (accumulate) {
            gradient_as(CASK_ACT_RELU, true, bn, x, dy, dx, rows, c);
        } else {
            gradient_as(CASK_ACT_RELU, false, bn, x, dy, dx, rows, c);
        }
        return;
    case CASK_ACT_PRELU:
        if (accumulate) {
            gradient_as(CASK_ACT_PRELU, true, bn, x, dy, dx, rows, c);
        } else {
            gradient_as(CASK_ACT_PRELU, false, bn, x, dy, dx, rows, c);
        }
        return;
    default:
        if (accumulate) {
            gradient_as(CASK_ACT_NONE, true, bn, x, dy, dx, rows, c);
        } else {
            gradient_as(CASK_ACT_NONE, false, bn, x, dy, dx, rows, c);
        }
    }
}

const struct cask_batchnorm_kernels KERNEL(batchnorm) = {
    .sums = sums, .apply = apply, .gradient_sums = gradient_sums, .gradient = gradient};
