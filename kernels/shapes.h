/* kernels/shapes.h - the one place that knows how shapes follow from descriptors. */
#ifndef CASK_KERNELS_SHAPES_H
#define CASK_KERNELS_SHAPES_H

#include "kernels/kernels.h"

int cask_conv_out_h(const struct cask_conv_desc *desc);
int cask_conv_out_w(const struct cask_conv_desc *desc);
size_t cask_conv_weight_count(
    const struct cask_conv_desc *desc);                     /* out_c * in_c/groups * kh * kw */
uint64_t cask_conv_macs(const struct cask_conv_desc *desc); /* multiply-adds for the whole batch */

/* CASK_ERR_RANGE with a message that names the field, if the descriptor makes no sense. */
enum cask_status cask_conv_check(const struct cask_conv_desc *desc, struct cask_error *err);

#endif
