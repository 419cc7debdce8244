/* kernels/cpu/lowering.h - a convolution seen as a matrix product.
 *
 * Row (image, oh, ow) of the matrix holds the input pixels under the kernel at that place, taps in
 * order, channels innermost; pixels outside the image are zeros ("im2col"). It is made a block of
 * rows at a time, small enough to stay in the L2 cache, so the full matrix never exists.
 */
#ifndef CASK_KERNELS_CPU_LOWERING_H
#define CASK_KERNELS_CPU_LOWERING_H

#include "kernels/cpu/cpu.h"

struct cask_lowering {
    enum cask_dtype dtype;
    int src_h, src_w, src_c;
    int kernel_h, kernel_w, stride;
    int top, left; /* tap (0,0) of output (0,0) is input pixel (-top, -left) */
    int out_h, out_w;
};

/* True if the matrix is the input as it lies: 1x1 kernels of stride 1, kernels as large as the
 * input. */
bool cask_lowering_is_input(const struct cask_lowering *lowering);

/* Which source pixels, counted over the whole batch, rows [row, row + rows) may see. */
struct cask_span {
    int64_t first, pixels;
};
struct cask_span cask_lowering_span(const struct cask_lowering *lowering, int64_t row,
                                    int64_t rows);
/* The most pixels in the span of any chunk. */
int64_t cask_lowering_widest(const struct cask_lowering *lowering, int64_t rows, int64_t chunk);

/* Taps [first_tap, first_tap + taps) of rows [row, row + rows) to to[rows][taps * src_c]. `src`
 * begins with source pixel src_first of the batch. */
void cask_lowering_gather(const struct cask_lowering *lowering, const void *src, int64_t src_first,
                          int64_t row, int64_t rows, int first_tap, int taps, void *to);

/* Where rows (image, a, b) of a product go when they are not dense: to pixel (phase_h + a*step,
 * phase_w + b*step) of an image dst_h x dst_w. */
struct cask_placing {
    int step, phase_h, phase_w, dst_h, dst_w, channels;
};
/* from: [rows][channels] or, if NULL, zeros */
void cask_placing_put(const struct cask_placing *placing, const struct cask_lowering *lowering,
                      const struct cask_cpu_kernels *kernels, const void *from, int64_t row,
                      int64_t rows, void *dst, bool accumulate);

#endif
