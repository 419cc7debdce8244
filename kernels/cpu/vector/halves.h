/* kernels/cpu/vector/halves.h - the sums of a batch norm's gradient (norm.h) by halves: of g and of
 * g d over all pixels, and over those alone where z is not positive. What is a channel's own is
 * multiplied in once at the end: with PReLU
 *
 *     sum dz     = all + (slope - 1) low
 *     sum dz d   = all_d + (slope - 1) low_d
 *     sum of z g where z is not positive = scale low_d + shift low       as z = scale d + shift
 */
#ifndef CASK_KERNELS_CPU_HALVES_H
#define CASK_KERNELS_CPU_HALVES_H

#include "kernels/cpu/vector/affine.h"

struct halves {
    vec all, all_d, low, low_d;
};

struct sums {
    float *dz, *dz_d, *dslope;
};

/* Of channels j to j + LANES, of which `count` are there. Other activations than PReLU: a.low is
 * what `all` has too much. */
INLINE void put_halves(enum cask_activation activation, const struct affine *p, struct halves a,
                       const struct sums *to, int j, int count)
{
    vec dz = a.all, dz_d = a.all_d;
    if (activation == CASK_ACT_PRELU) {
        const vec dslope = p->scale * a.low_d + p->shift * a.low;
        dz += (p->slope - 1) * a.low;
        dz_d += (p->slope - 1) * a.low_d;
        store_some_f32(to->dslope + j, load_some_f32(to->dslope + j, count) + dslope, count);
    } else {
        dz -= a.low;
        dz_d -= a.low_d;
    }
    store_some_f32(to->dz + j, load_some_f32(to->dz + j, count) + dz, count);
    store_some_f32(to->dz_d + j, load_some_f32(to->dz_d + j, count) + dz_d, count);
}

#endif
