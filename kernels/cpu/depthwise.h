/* kernels/cpu/depthwise.h - depthwise convolution of one image, serial. Weights as [tap][channel].
 */
#ifndef CASK_KERNELS_CPU_DEPTHWISE_H
#define CASK_KERNELS_CPU_DEPTHWISE_H

#include "kernels/cpu/cpu.h"

struct cask_depthwise {
    const struct cask_cpu_kernels *kernels;
    enum cask_dtype dtype;
    int h, w, c, kernel_h, kernel_w, stride, top, left, out_h, out_w;
    const void *zeros; /* cask_depthwise_zeros() elements: stands in for rows outside the image */
};

int64_t cask_depthwise_zeros(const struct cask_depthwise *shape);

/* The stride-1 convolution over dy that gives dx; its weights are flipped in both directions. */
struct cask_depthwise cask_depthwise_transposed(const struct cask_depthwise *shape);

/* weight [c][kernel_h * kernel_w] (PyTorch's order) to [tap][c], flipped if asked. */
void cask_depthwise_pack(const struct cask_depthwise *shape, const float *weight, bool flip,
                         float *packed);

/* Rows of one image that are in memory: `data` begins with row `first`. What is read of an image
 * may be in memory only where it is needed. */
struct cask_lines {
    const void *data;
    int first;
};

/* Output rows [first, first + rows) of one image; y is the image. */
void cask_depthwise_forward(const struct cask_depthwise *shape, const float *weight,
                            const float *bias, struct cask_lines x, int first, int rows, void *y,
                            bool accumulate);

/* Input rows [first, first + rows) of dx; any stride. For stride 1 the transposed forward is
 * faster. */
void cask_depthwise_data(const struct cask_depthwise *shape, const float *weight,
                         struct cask_lines dy, int first, int rows, void *dx, bool accumulate);

/* dw[tap][c] += over output rows [first, first + rows) */
void cask_depthwise_weights(const struct cask_depthwise *shape, struct cask_lines x,
                            struct cask_lines dy, int first, int rows, float *dw);

#endif
