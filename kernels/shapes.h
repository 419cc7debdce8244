/* kernels/shapes.h - the one place that knows how shapes follow from descriptors. */
#ifndef CASK_KERNELS_SHAPES_H
#define CASK_KERNELS_SHAPES_H

#include "kernels/kernels.h"

int cask_conv_out_h(const struct cask_conv_desc *desc);
int cask_conv_out_w(const struct cask_conv_desc *desc);
size_t cask_conv_weight_count(
    const struct cask_conv_desc *desc);                         /* out_c * in_c/groups * kh * kw */
size_t cask_conv_bias_count(const struct cask_conv_desc *desc); /* regions * out_c */
uint64_t cask_conv_macs(const struct cask_conv_desc *desc); /* multiply-adds for the whole batch */

/* Regions of the output: pixels whose kernel reaches over the same edges of the input, so that the
 * same taps fall on padding. Along one axis they are runs of positions, numbered from 0; the usual
 * 3 x 3 kernel with padding 1 has three along each axis and nine in all: corners, edges, interior.
 * Region (r, c) of the plane has number r * (regions along w) + c. */
struct cask_axis {
    int in, out, kernel, stride, pad; /* positions; pad: before the first */
};
struct cask_axis cask_conv_axis_h(const struct cask_conv_desc *desc);
struct cask_axis cask_conv_axis_w(const struct cask_conv_desc *desc);
/* Taps [*first, *end) of the output position fall on the input; the others on padding. */
void cask_axis_taps(const struct cask_axis *axis, int position, int *first, int *end);
/* Region of a position; of the last one: the number of regions less one. */
int cask_axis_region(const struct cask_axis *axis, int position);
int cask_axis_regions(const struct cask_axis *axis);

/* CASK_ERR_RANGE with a message that names the field, if the descriptor makes no sense. */
enum cask_status cask_conv_check(const struct cask_conv_desc *desc, struct cask_error *err);

#endif
