/* kernels/cpu/vector/affine.h - a batch norm and its activation for one vector of channels, both
 * ways: the formulas of batchnorm.c for those who do it in passing (cells.c, lines.c).
 */
#ifndef CASK_KERNELS_CPU_AFFINE_H
#define CASK_KERNELS_CPU_AFFINE_H

#include "kernels/cpu/vector/activate.h"
#include "kernels/cpu/vector/some.h"

struct affine {
    vec mean, scale, shift, slope;
};

/* Of channels j to j + LANES, of which `count` are there. */
INLINE struct affine load_affine(enum cask_activation activation, const struct cask_bn_block *bn,
                                 int64_t j, int count)
{
    const float *slopes = activation == CASK_ACT_PRELU ? bn->slope : bn->shift;
    return (struct affine){load_some_f32(bn->mean + j, count), load_some_f32(bn->scale + j, count),
                           load_some_f32(bn->shift + j, count), load_some_f32(slopes + j, count)};
}

INLINE vec affine_vec(enum cask_activation activation, const struct affine *p, vec x)
{
    return activate_vec(activation, (x - p->mean) * p->scale + p->shift, p->slope);
}

/* scale * (dz - mean_dz - d * pull) */
INLINE vec affine_back_vec(enum cask_activation activation, const struct affine *p, vec mean_dz,
                           vec pull, vec x, vec dy)
{
    const vec d = x - p->mean;
    const vec dz = through_vec(activation, d * p->scale + p->shift, dy, p->slope);
    return p->scale * (dz - mean_dz - d * pull);
}

#endif
