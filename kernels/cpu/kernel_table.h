/* kernels/cpu/kernel_table.h - the vector kernels as tables of functions.
 *
 * One table per element type (f32, bf16) and instruction set (scalar, avx2, avx512); the files are
 * in vector/. `const void *` is an array of the table's element type; `float *` is a parameter, a
 * statistic or a partial sum. Kernels are serial. A pointer named sum_... is added to.
 */
#ifndef CASK_KERNELS_CPU_KERNEL_TABLE_H
#define CASK_KERNELS_CPU_KERNEL_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct cask_bn_block {
    enum cask_activation activation;
    const float *mean, *scale, *shift, *slope; /* [c]; slope for PReLU only */
    const float *mean_dz, *pull; /* [c]; gradient() only: mean of dz, mean of dz*d / var */
};

struct cask_batchnorm_kernels {
    /* sum += x - origin, square += (x - origin)^2 */
    void (*sums)(const void *x, int64_t rows, int c, const float *origin, float *sum,
                 float *square);
    void (*apply)(const struct cask_bn_block *bn, const void *x, void *y, int64_t rows, int c);
    void (*gradient_sums)(const struct cask_bn_block *bn, const void *x, const void *dy,
                          int64_t rows, int c, float *sum_dz, float *sum_dz_d, float *sum_dslope);
    void (*gradient)(const struct cask_bn_block *bn, const void *x, const void *dy, void *dx,
                     bool accumulate, int64_t rows, int c);
};

struct cask_activation_block {
    const float *slope; /* PReLU */
    const void *x, *dy;
    void *dx;
    bool accumulate;
    float *dslope; /* PReLU, may be NULL; added to */
};

struct cask_activation_kernels {
    void (*forward)(enum cask_activation activation, const float *slope, const void *x, void *y,
                    int64_t rows, int c);
    void (*backward)(enum cask_activation activation, const struct cask_activation_block *at,
                     int64_t rows, int c);
};

struct cask_depthwise_tap {
    const void *source;  /* pixel [c] */
    const float *weight; /* [c] */
};

struct cask_depthwise_kernels {
    void (*pixel)(const struct cask_depthwise_tap *taps, int count, int c, const float *bias,
                  void *out, bool accumulate);
    /* Four neighbouring outputs of a 3x3 kernel; rows: three input rows from the leftmost tap on;
     * stride 1 or 2. Only the first c / 16 * 16 channels; the caller does the others. */
    void (*quad)(int stride, const void *const *rows, int c, const float *weight, const float *bias,
                 void *y, bool accumulate);
    /* dw [9][c] += x * dy over `count` pixels; steps in elements; first c / 16 * 16 channels */
    void (*weight_nine)(const void *const *rows, int64_t x_step, const void *dy, int64_t dy_step,
                        int count, int c, float *dw);
    /* one tap, channels from `first` on */
    void (*weight_one)(const void *x, int64_t x_step, const void *dy, int64_t dy_step, int count,
                       int first, int c, float *dw);
    void (*bias)(const void *dy, int64_t rows, int c, float *sum_dbias);
    /* to[row][j] = from[row][index[j]], j < to_c */
    void (*gather)(const void *from, int from_c, const int *index, float *to, int to_c,
                   int64_t rows);
    /* sum[row][index[j]] += from[row][j], j < from_c */
    void (*scatter)(const void *from, int from_c, const int *index, float *sum, int to_c,
                    int64_t rows);
};

struct cask_elementwise_kernels {
    void (*add)(const void *a, const void *b, void *y, int64_t count);
    void (*scale)(const void *x, const void *gate, void *y, int64_t rows, int c, bool accumulate);
    void (*dot)(const void *a, const void *b, int64_t rows, int c, float *sum);
    void (*sum)(const void *a, int64_t rows, int c, float *sum);
    void (*spread)(const void *x, float factor, void *y, int64_t rows, int c, bool accumulate);
    void (*to_float)(const void *from, float *to, int64_t count);
    void (*from_float)(const float *from, void *to, int64_t count);
};

struct cask_max_pool_kernels {
    /* best = x where x is larger, or where either is NaN */
    void (*largest)(const void *x, float *best, int c);
    /* dx += dy where x is the best and `open` is 1, which then becomes 0 */
    void (*give)(const void *x, const void *dy, const float *best, float *open, float *dx, int c);
    void (*put)(const float *from, void *to, int64_t count, bool accumulate);
};

struct cask_row_kernels {
    double (*dot)(const void *a, const void *b, int64_t count);
    void (*combine)(float alpha, const void *x, float beta, const void *e, void *y, int64_t count,
                    bool accumulate);
    float (*largest)(const void *x, int64_t count);
    double (*exponentials)(const void *x, float top, void *y, int64_t count);
    void (*sgd)(const struct cask_sgd *sgd, int64_t count, float *w, const float *g, float *v);
};

/* Memory that will be read soon: lines from `at` to `end`, then the next region. */
struct cask_ahead {
    const char *at, *end;
    struct cask_ahead *next;
};

struct cask_outer_kernels {
    int depth; /* rows of a cell */
    /* to[ceil(rows / depth)][c up to a multiple of 16][depth] = rows [rows][c] */
    void (*pack)(const void *rows, int64_t count, int c, void *to);
    /* sum[m][n up to a multiple of 16] += a^T b; a, b packed rows; ahead: NULL or what to fetch */
    void (*sum)(const void *a, int m, const void *b, int n, int64_t rows, float *sum,
                struct cask_ahead *ahead);
};

struct cask_cpu_kernels {
    const struct cask_batchnorm_kernels *batchnorm;
    const struct cask_activation_kernels *activation;
    const struct cask_depthwise_kernels *depthwise;
    const struct cask_elementwise_kernels *elementwise;
    const struct cask_row_kernels *rows;
    const struct cask_max_pool_kernels *max_pool;
    const struct cask_outer_kernels *outer;
};

extern const struct cask_cpu_kernels cask_kernels_f32_scalar, cask_kernels_f32_avx2,
    cask_kernels_f32_avx512;
extern const struct cask_cpu_kernels cask_kernels_bf16_scalar, cask_kernels_bf16_avx2,
    cask_kernels_bf16_avx512;

#endif
