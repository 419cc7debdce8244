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
    /* [c]; gradient_sums() of bf16 with an activation: z is not positive for x from low_from to
     * low_from + low_count, as 16 bits that wrap; each number twice, in both halves. */
    const uint32_t *low_from, *low_count;
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

/* A row of pixels as floats (lines.h): vectors of `lanes` channels, `vector` floats from one to the
 * next, in each of them pixel after pixel; channels are filled up with zeros. What it is made from
 * lies `step` elements from pixel to pixel, and what will be read next lies `ahead` bytes behind.
 */
struct cask_line {
    float *to;
    int64_t vector, step, ahead;
    int pixels, c;
};

struct cask_line_kernels {
    void (*widen)(const void *x, const struct cask_line *line);
    void (*apply)(const struct cask_bn_block *bn, const void *x, const struct cask_line *line);
    void (*gradient)(const struct cask_bn_block *bn, const void *x, const void *dy,
                     const struct cask_line *line);
    /* Channel j of a pixel is that of `from` which lies order[j] floats behind the pixel's first.
     */
    void (*reorder)(const float *from, const int *order, const struct cask_line *line);
    /* As the batch norm kernels of these names, over the pixels that a line is made from. */
    void (*sums)(const void *y, const struct cask_line *line, const float *origin, float *sum,
                 float *square);
    void (*gradient_sums)(const struct cask_bn_block *bn, const void *x, const void *dy,
                          const struct cask_line *line, float *sum_dz, float *sum_dz_d,
                          float *sum_dslope);
};

/* One row of a kernel on the line it meets. */
struct cask_depthwise_row {
    const float *line;   /* from the first column that the first output sees */
    const float *weight; /* of each column; channels are filled up */
    float *dweight;      /* pairs() only, added to */
};

struct cask_depthwise_block {
    const struct cask_depthwise_row *rows;
    int row_count, columns, step; /* step: pixels from an output's window to the next one's */
    int64_t vector, weight_step;  /* floats from vector to vector; from column to column */
    int count, c;                 /* outputs */
};

/* What pairs() meets lines of dy with, and what it makes. */
struct cask_depthwise_pairs {
    const float *x;            /* a line */
    int64_t x_vector, x_pixel; /* floats from vector to vector; from output to output */
    void *dx;                  /* NULL: not wanted; else as correlate() has it */
    int64_t dx_step, ahead;
    bool accumulate;
};

struct cask_depthwise_kernels {
    /* y (+)= bias + sum over rows and columns of line * weight; outputs lie y_step elements apart,
     * those of the next call `ahead` bytes behind */
    void (*correlate)(const struct cask_depthwise_block *block, const float *bias, void *y,
                      int64_t y_step, int64_t ahead, bool accumulate);
    /* The way back, `rows` are of dy: dx as correlate() would make it and dweight += sum over
     * outputs of line * x, of which each pair of a pixel of x and one of dy is met once for both */
    void (*pairs)(const struct cask_depthwise_block *block, const struct cask_depthwise_pairs *to);
    void (*bias)(const void *dy, int64_t rows, int c, float *sum_dbias);
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

/* Rows [rows][c] as outer products take them: to[ceil(rows / depth)][c up to a multiple of `lanes`]
 * [depth], filled up with zeros. */
struct cask_cell_kernels {
    int depth; /* rows of a cell */
    void (*pack)(const void *x, int64_t rows, int c, void *to);
    void (*apply)(const struct cask_bn_block *bn, const void *x, int64_t rows, int c, void *to);
    /* dx: the same row by row */
    void (*gradient)(const struct cask_bn_block *bn, const void *x, const void *dy, int64_t rows,
                     int c, void *dx, void *to);
};

struct cask_outer_kernels {
    /* sum[m][n up to a multiple of `lanes`] += a^T b, or = if `fresh`; a, b packed rows; ahead:
     * NULL or what to fetch */
    void (*sum)(const void *a, int m, const void *b, int n, int64_t rows, bool fresh, float *sum,
                struct cask_ahead *ahead);
    /* total[j] = sum of partials[group * step + j], groups in order, j below count */
    void (*join)(const float *partials, int64_t step, int groups, int64_t count, float *total);
};

struct cask_inner_weight {
    const void *plain; /* [k][n], by steps of elements */
    int64_t step_k, step_n;
    int k, n;
};

/* y[rows][n] (+)= a[rows][k] W + bias */
struct cask_inner_block {
    const void *a;
    int64_t rows;
    int k, n;
    const void *weights; /* packed */
    const float *bias;   /* NULL: none */
    void *y;
    int64_t a_step, y_step; /* numbers from row to row */
    bool accumulate;
    bool wide;                /* y is floats, whatever the elements are */
    struct cask_ahead *ahead; /* NULL, or what to fetch meanwhile */
};

struct cask_inner_kernels {
    int depth; /* of which k is a multiple */
    /* to: k rows of n up to a multiple of `lanes` */
    void (*pack)(const struct cask_inner_weight *weight, void *to);
    void (*run)(const struct cask_inner_block *block);
};

struct cask_cpu_kernels {
    int lanes; /* channels that are worked on at once */
    const struct cask_batchnorm_kernels *batchnorm;
    const struct cask_activation_kernels *activation;
    const struct cask_line_kernels *lines;
    const struct cask_depthwise_kernels *depthwise;
    const struct cask_elementwise_kernels *elementwise;
    const struct cask_row_kernels *rows;
    const struct cask_max_pool_kernels *max_pool;
    const struct cask_cell_kernels *cells;
    const struct cask_outer_kernels *outer;
    const struct cask_inner_kernels *inner;
};

extern const struct cask_cpu_kernels cask_kernels_f32_scalar, cask_kernels_f32_avx2,
    cask_kernels_f32_avx512;
extern const struct cask_cpu_kernels cask_kernels_bf16_scalar, cask_kernels_bf16_avx2,
    cask_kernels_bf16_avx512;

#endif
