/* kernels/cpu/vector/depthwise.c - one channel in, one channel out.
 *
 * Weights lie as [tap][channel], so that a vector of channels meets a vector of weights. The border
 * is the caller's: it lists the taps that fall inside, or passes rows of zeros.
 */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

/* One output pixel from a list of (input pixel, weight row) pairs. */
static void pixel(const struct cask_depthwise_tap *taps, int count, int c, const float *bias,
                  void *out, bool accumulate)
{
    element *y = out;
    int j = 0;
    for (; j + LANES <= c; j += LANES) {
        vec sum = {0};
        if (bias != NULL) {
            sum = vec_load_f32(bias + j);
        }
        for (int t = 0; t < count; t++) {
            sum += vec_load((const element *)taps[t].source + j) * vec_load_f32(taps[t].weight + j);
        }
        vec_store(y + j, accumulate ? vec_load(y + j) + sum : sum);
    }
    for (; j < c; j++) {
        float sum = bias != NULL ? bias[j] : 0;
        for (int t = 0; t < count; t++) {
            sum += element_get(((const element *)taps[t].source)[j]) * taps[t].weight[j];
        }
        y[j] = element_put(accumulate ? element_get(y[j]) + sum : sum);
    }
}

enum { QUAD = 4 };

/* Four neighbouring outputs of a 3x3 kernel with compile-time stride: each loaded input vector
 * serves up to three of them. Channels beyond the last full vector are left to pixel(). */
static inline __attribute__((always_inline)) void quad_as(int stride, const void *const *rows,
                                                          int c, const float *weight,
                                                          const float *bias, element *y,
                                                          bool accumulate)
{
    for (int j = 0; j + LANES <= c; j += LANES) {
        vec sum[QUAD] = {{0}};
        for (int kh = 0; kh < 3; kh++) {
            const element *x = (const element *)rows[kh] + j;
            vec w0 = vec_load_f32(weight + (int64_t)(kh * 3) * c + j);
            vec w1 = vec_load_f32(weight + (int64_t)(kh * 3 + 1) * c + j);
            vec w2 = vec_load_f32(weight + (int64_t)(kh * 3 + 2) * c + j);
#pragma GCC unroll 9
            for (int i = 0; i < (QUAD - 1) * stride + 3; i++) {
                vec in = vec_load(x + (int64_t)i * c);
#pragma GCC unroll 4
                for (int q = 0; q < QUAD; q++) {
                    int kw = i - q * stride;
                    if (kw >= 0 && kw < 3) {
                        sum[q] += in * (kw == 0 ? w0 : kw == 1 ? w1 : w2);
                    }
                }
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < QUAD; q++) {
            element *out = y + (int64_t)q * c + j;
            vec value = sum[q];
            if (bias != NULL) {
                value += vec_load_f32(bias + j);
            }
            if (accumulate) {
                value += vec_load(out);
            }
            vec_store(out, value);
        }
    }
}

static void quad(int stride, const void *const *rows, int c, const float *weight, const float *bias,
                 void *y, bool accumulate)
{
    if (stride == 1) {
        quad_as(1, rows, c, weight, bias, y, accumulate);
    } else {
        quad_as(2, rows, c, weight, bias, y, accumulate);
    }
}

/* dw[tap] += sum over `count` pixels of x[tap] * dy for the nine taps of a 3x3 kernel. */
static void weight_nine(const void *const *rows, int64_t x_step, const void *gradient,
                        int64_t dy_step, int count, int c, float *dw)
{
    for (int j = 0; j + LANES <= c; j += LANES) {
        vec sum[9];
#pragma GCC unroll 9
        for (int t = 0; t < 9; t++) {
            sum[t] = vec_load_f32(dw + (int64_t)t * c + j);
        }
        const element *dy = (const element *)gradient + j;
        const element *r0 = (const element *)rows[0] + j, *r1 = (const element *)rows[1] + j;
        const element *r2 = (const element *)rows[2] + j;
        for (int i = 0; i < count; i++, dy += dy_step, r0 += x_step, r1 += x_step, r2 += x_step) {
            vec g = vec_load(dy);
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++) {
                sum[k] += vec_load(r0 + (int64_t)k * c) * g;
                sum[3 + k] += vec_load(r1 + (int64_t)k * c) * g;
                sum[6 + k] += vec_load(r2 + (int64_t)k * c) * g;
            }
        }
#pragma GCC unroll 9
        for (int t = 0; t < 9; t++) {
            vec_store_f32(dw + (int64_t)t * c + j, sum[t]);
        }
    }
}

/* dw[c] += sum over `count` pixels of x * dy, channels from `first` on. */
static void weight_one(const void *source, int64_t x_step, const void *gradient, int64_t dy_step,
                       int count, int first, int c, float *restrict dw)
{
    const element *x = source, *dy = gradient;
    for (int i = 0; i < count; i++, x += x_step, dy += dy_step) {
#pragma omp simd
        for (int j = first; j < c; j++) {
            dw[j] += element_get(x[j]) * element_get(dy[j]);
        }
    }
}

/* dbias[c] += sum over rows of dy */
static void bias(const void *gradient, int64_t rows, int c, float *restrict dbias)
{
    const element *dy = gradient;
    for (int64_t row = 0; row < rows; row++, dy += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            dbias[j] += element_get(dy[j]);
        }
    }
}

/* to[row][j] = from[row][index[j]] */
static void gather(const void *source, int from_c, const int *index, float *to, int to_c,
                   int64_t rows)
{
    const element *from = source;
    for (int64_t row = 0; row < rows; row++, from += from_c, to += to_c) {
        for (int j = 0; j < to_c; j++) {
            to[j] = element_get(from[index[j]]);
        }
    }
}

/* sum[row][index[j]] += from[row][j] in float */
static void scatter(const void *source, int from_c, const int *index, float *sum, int to_c,
                    int64_t rows)
{
    const element *from = source;
    for (int64_t row = 0; row < rows; row++, from += from_c, sum += to_c) {
        for (int j = 0; j < from_c; j++) {
            sum[index[j]] += element_get(from[j]);
        }
    }
}

const struct cask_depthwise_kernels KERNEL(depthwise) = {.pixel = pixel,
                                                         .quad = quad,
                                                         .weight_nine = weight_nine,
                                                         .weight_one = weight_one,
                                                         .bias = bias,
                                                         .gather = gather,
                                                         .scatter = scatter};
