/* kernels/cpu/vector/activate.h - the activations that follow a batch norm, and the way back. */
#ifndef CASK_KERNELS_CPU_ACTIVATE_H
#define CASK_KERNELS_CPU_ACTIVATE_H

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

#include CASK_MASKS_HEADER

/* A comparison with a NaN fails, so a NaN passes. */
INLINE vec activate_vec(enum cask_activation activation, vec z, vec slope)
{
    return activation == CASK_ACT_RELU    ? vec_select(z <= 0, (vec){0}, z)
           : activation == CASK_ACT_PRELU ? vec_if_positive(z, z, z * slope)
                                          : z;
}

/* dz: the gradient before the activation. A product with 0, not a 0: what is NaN stays NaN. */
INLINE vec through_vec(enum cask_activation activation, vec z, vec dy, vec slope)
{
    const vec zero = {0}, one = zero + 1;
    return activation == CASK_ACT_RELU    ? dy * vec_select(z <= 0, zero, one)
           : activation == CASK_ACT_PRELU ? vec_if_positive(z, dy, dy * slope)
                                          : dy;
}

#endif
