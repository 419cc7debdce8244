/* kernels/cpu/vector/batchnorm.c - batch normalisation with an activation behind it, one block of
 * rows.
 *
 *     d = x - mean, z = d * scale + shift, y = act(z)       scale = gamma / std, shift = beta
 *
 * Sums take rows four at a time, so that what belongs to a channel is loaded once for four rows and
 * a channel's sum waits for its own store only once in four rows; what they read is in cache as a
 * rule. apply and gradient take one row after the other: they read from memory, and hardware
 * prefetching follows one rising address best (15 against 22 GB/s on Zen 5). Channels beyond the
 * last full vector are done one by one with the same formulas.
 */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/activate.h"
#include "kernels/cpu/vector/vector.h"

enum { ROWS = 4 };

/* --------------------------------------------------------------- statistics */

INLINE void sums_of(int rows, const element *x, int c, const float *origin, float *restrict sum,
                    float *restrict square)
{
    int j = 0;
    for (; j + LANES <= c; j += LANES) {
        vec o = vec_load_f32(origin + j), s = vec_load_f32(sum + j), q = vec_load_f32(square + j);
        vec d[ROWS], part = {0}, squares = {0};
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            d[r] = vec_load(x + (int64_t)r * c + j) - o;
            part += d[r];
            squares += d[r] * d[r];
        }
        vec_store_f32(sum + j, s + part);
        vec_store_f32(square + j, q + squares);
    }
    for (; j < c; j++) {
        for (int r = 0; r < rows; r++) {
            float d = element_get(x[(int64_t)r * c + j]) - origin[j];
            sum[j] += d;
            square[j] += d * d;
        }
    }
}

static void sums(const void *source, int64_t rows, int c, const float *origin, float *restrict sum,
                 float *restrict square)
{
    const element *x = source;
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * (int64_t)c) {
        sums_of(ROWS, x, c, origin, sum, square);
    }
    for (; rows > 0; rows--, x += c) {
        sums_of(1, x, c, origin, sum, square);
    }
}

/* -------------------------------------------------------------------- apply */

/* activate.h, for one channel */
INLINE float activate(enum cask_activation activation, float z, float slope)
{
    float low = z * slope;
    return activation == CASK_ACT_RELU    ? (z <= 0 ? 0 : z)
           : activation == CASK_ACT_PRELU ? (z > 0 ? z : low)
                                          : z;
}

INLINE void apply_as(enum cask_activation activation, const struct cask_bn_block *bn,
                     const element *x, element *y, int64_t rows, int c)
{
    /* A store might change what `bn` holds, as far as the compiler knows. */
    const float *mean = bn->mean, *scale = bn->scale, *shift = bn->shift;
    const float *slope = activation == CASK_ACT_PRELU ? bn->slope : shift;
    for (; rows > 0; rows--, x += c, y += c) {
        int j = 0;
        for (; j + LANES <= c; j += LANES) {
            vec z = (vec_load(x + j) - vec_load_f32(mean + j)) * vec_load_f32(scale + j) +
                    vec_load_f32(shift + j);
            vec_store(y + j, activate_vec(activation, z, vec_load_f32(slope + j)));
        }
        for (; j < c; j++) {
            float z = (element_get(x[j]) - mean[j]) * scale[j] + shift[j];
            y[j] = element_put(activate(activation, z, slope[j]));
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

/* ------------------------------------------------------------------- reduce */

INLINE float through(enum cask_activation activation, float z, float dy, float slope)
{
    float low = dy * slope;
    return activation == CASK_ACT_RELU    ? dy * (z <= 0 ? 0.0F : 1.0F)
           : activation == CASK_ACT_PRELU ? (z > 0 ? dy : low)
                                          : dy;
}

struct reduced {
    float *restrict sum_dz, *restrict sum_dz_d, *restrict dslope;
};

INLINE void gradient_sums_rows(enum cask_activation activation, int rows,
                               const struct cask_bn_block *bn, const element *x, const element *dy,
                               int c, const struct reduced *to)
{
    const bool prelu = activation == CASK_ACT_PRELU;
    const float *slope = prelu ? bn->slope : bn->shift;
    int j = 0;
    for (; j + LANES <= c; j += LANES) {
        vec mean = vec_load_f32(bn->mean + j), scale = vec_load_f32(bn->scale + j);
        vec shift = vec_load_f32(bn->shift + j), low = vec_load_f32(slope + j);
        vec sum = {0}, products = {0}, slopes = {0};
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vec d = vec_load(x + (int64_t)r * c + j) - mean, z = d * scale + shift;
            vec g = vec_load(dy + (int64_t)r * c + j), dz = through_vec(activation, z, g, low);
            sum += dz;
            products += dz * d;
            slopes += prelu ? vec_select(z > 0, (vec){0}, z * g) : slopes;
        }
        vec_store_f32(to->sum_dz + j, vec_load_f32(to->sum_dz + j) + sum);
        vec_store_f32(to->sum_dz_d + j, vec_load_f32(to->sum_dz_d + j) + products);
        if (prelu) {
            vec_store_f32(to->dslope + j, vec_load_f32(to->dslope + j) + slopes);
        }
    }
    for (; j < c; j++) {
        for (int r = 0; r < rows; r++) {
            float d = element_get(x[(int64_t)r * c + j]) - bn->mean[j];
            float z = d * bn->scale[j] + bn->shift[j], g = element_get(dy[(int64_t)r * c + j]);
            float dz = through(activation, z, g, slope[j]), low = z * g;
            to->sum_dz[j] += dz;
            to->sum_dz_d[j] += dz * d;
            to->dslope[j] += !prelu || z > 0 ? 0 : low;
        }
    }
}

INLINE void gradient_sums_as(enum cask_activation activation, const struct cask_bn_block *bn,
                             const element *x, const element *dy, int64_t rows, int c,
                             const struct reduced *to)
{
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * (int64_t)c, dy += ROWS * (int64_t)c) {
        gradient_sums_rows(activation, ROWS, bn, x, dy, c, to);
    }
    for (; rows > 0; rows--, x += c, dy += c) {
        gradient_sums_rows(activation, 1, bn, x, dy, c, to);
    }
}

static void gradient_sums(const struct cask_bn_block *bn, const void *x, const void *dy,
                          int64_t rows, int c, float *sum_dz, float *sum_dz_d, float *dslope)
{
    const struct reduced to = {sum_dz, sum_dz_d, dslope};
    switch (bn->activation) {
    case CASK_ACT_RELU:
        gradient_sums_as(CASK_ACT_RELU, bn, x, dy, rows, c, &to);
        return;
    case CASK_ACT_PRELU:
        gradient_sums_as(CASK_ACT_PRELU, bn, x, dy, rows, c, &to);
        return;
    default:
        gradient_sums_as(CASK_ACT_NONE, bn, x, dy, rows, c, &to);
    }
}

/* ----------------------------------------------------------------- gradient */

/* dx = scale * (dz - mean_dz - d * pull) */
INLINE void gradient_as(enum cask_activation activation, bool accumulate,
                        const struct cask_bn_block *bn, const element *x, const element *dy,
                        element *dx, int64_t rows, int c)
{
    const float *mean = bn->mean, *scales = bn->scale, *shift = bn->shift;
    const float *mean_dz = bn->mean_dz, *pull = bn->pull;
    const float *slope = activation == CASK_ACT_PRELU ? bn->slope : shift;
    for (; rows > 0; rows--, x += c, dy += c, dx += c) {
        int j = 0;
        for (; j + LANES <= c; j += LANES) {
            vec scale = vec_load_f32(scales + j), d = vec_load(x + j) - vec_load_f32(mean + j);
            vec z = d * scale + vec_load_f32(shift + j);
            vec dz = through_vec(activation, z, vec_load(dy + j), vec_load_f32(slope + j));
            vec value = scale * (dz - vec_load_f32(mean_dz + j) - d * vec_load_f32(pull + j));
            vec_store(dx + j, accumulate ? vec_load(dx + j) + value : value);
        }
        for (; j < c; j++) {
            float d = element_get(x[j]) - mean[j], z = d * scales[j] + shift[j];
            float dz = through(activation, z, element_get(dy[j]), slope[j]);
            float value = scales[j] * (dz - mean_dz[j] - d * pull[j]);
            dx[j] = element_put(accumulate ? element_get(dx[j]) + value : value);
        }
    }
}

static void gradient(const struct cask_bn_block *bn, const void *x, const void *dy, void *dx,
                     bool accumulate, int64_t rows, int c)
{
#define EACH(activation)                                                                           \
    if (accumulate) {                                                                              \
        gradient_as(activation, true, bn, x, dy, dx, rows, c);                                     \
    } else {                                                                                       \
        gradient_as(activation, false, bn, x, dy, dx, rows, c);                                    \
    }
    switch (bn->activation) {
    case CASK_ACT_RELU:
        EACH(CASK_ACT_RELU)
        return;
    case CASK_ACT_PRELU:
        EACH(CASK_ACT_PRELU)
        return;
    default:
        EACH(CASK_ACT_NONE)
    }
#undef EACH
}

const struct cask_batchnorm_kernels KERNEL(batchnorm) = {
    .sums = sums, .apply = apply, .gradient_sums = gradient_sums, .gradient = gradient};
