/* kernels/cpu/vector/some.h - the last vector of a pixel, where fewer channels than lanes are left.
 * Lanes beyond `count` are zero and are not stored. */
#ifndef CASK_KERNELS_CPU_SOME_H
#define CASK_KERNELS_CPU_SOME_H

#include "kernels/cpu/vector/vector.h"

#include CASK_MASKS_HEADER

INLINE vec load_some(const element *from, int count)
{
    return count >= LANES ? vec_load(from) : load_rest(from, count);
}

INLINE vec load_some_f32(const float *from, int count)
{
    return count >= LANES ? vec_load_f32(from) : load_rest_f32(from, count);
}

INLINE void store_some_f32(float *to, vec value, int count)
{
    if (count >= LANES) {
        vec_store_f32(to, value);
    } else {
        store_rest_f32(to, value, count);
    }
}

INLINE void store_some(element *to, vec value, int count)
{
    if (count >= LANES) {
        vec_store(to, value);
    } else {
        store_rest(to, value, count);
    }
}

#endif
