/* kernels/ref/conv.h - a planned convolution of the oracle; shared by conv.c and chain.c. */
#ifndef CASK_KERNELS_REF_CONV_H
#define CASK_KERNELS_REF_CONV_H

#include "kernels/ref/ref.h"

struct cask_conv {
    struct cask_device *device;
    struct cask_conv_desc desc;
    real *weight;             /* [out_c][in_c/groups][kernel_h][kernel_w] */
    real *bias;               /* zeros where there is none */
    real *operand, *gradient; /* chains: f(BN(x)) and the gradient of y; NULL for inference */
};

#endif
