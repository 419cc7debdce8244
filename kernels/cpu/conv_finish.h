/* kernels/cpu/conv_finish.h - what follows the rows of a convolution's output while they are in the
 * cache: border bias, residual, activation. Private to this folder. */
#ifndef CASK_KERNELS_CPU_CONV_FINISH_H
#define CASK_KERNELS_CPU_CONV_FINISH_H

#include "kernels/cpu/cpu.h"

/* The convolution itself adds the bias of the largest region to every pixel; the pixels of the
 * others get the difference here. */
struct cask_border {
    int *region_h, *region_w; /* of each output row and column; region_h is times regions along w */
    int largest;
    int64_t regions;
    void *difference; /* [regions][out_c], activation type */
};
enum cask_status cask_border_open(struct cask_conv *conv, struct cask_error *err);
void cask_border_close(struct cask_border *border);
/* bias [regions][out_c]; returns the row that the convolution adds. */
const float *cask_border_set(struct cask_conv *conv, const float *bias);

struct cask_finish {
    const struct cask_conv *conv;
    const struct cask_cpu_kernels *kernels;
    const void *residual; /* NULL: none */
    enum cask_activation activation;
    const float *slope;
};
/* Rows (pixels of all images) [row, row + rows) and channels [first, first + channels) of y. */
void cask_finish_rows(const struct cask_finish *finish, void *y, int64_t row, int64_t rows,
                      int first, int channels);

#endif
