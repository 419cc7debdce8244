/* kernels/cpu/vector/some.h - the last vector of a pixel, where fewer than sixteen channels are
 * left. Lanes beyond `count` are zero and are not stored. */
#ifndef CASK_KERNELS_CPU_SOME_H
#define CASK_KERNELS_CPU_SOME_H

#include <string.h>

#include "kernels/cpu/vector/vector.h"

/* Copies of known length become single instructions. */
INLINE void copy_some(void *to, const void *from, int count, int size)
{
    char *at = to;
    const char *source = from;
#pragma GCC unroll 4
    for (int step = LANES / 2; step > 0; step /= 2) {
        if ((count & step) != 0) {
            memcpy(at, source, (size_t)(step * size));
            at += step * size;
            source += step * size;
        }
    }
}

INLINE vec load_some(const element *from, int count)
{
    element whole[LANES] = {0};
    if (count >= LANES) {
        return vec_load(from);
    }
    copy_some(whole, from, count, sizeof(element));
    return vec_load(whole);
}

INLINE vec load_some_f32(const float *from, int count)
{
    float whole[LANES] = {0};
    if (count >= LANES) {
        return vec_load_f32(from);
    }
    copy_some(whole, from, count, sizeof(float));
    return vec_load_f32(whole);
}

INLINE void store_some(element *to, vec value, int count)
{
    element whole[LANES];
    if (count >= LANES) {
        vec_store(to, value);
        return;
    }
    vec_store(whole, value);
    copy_some(to, whole, count, sizeof(element));
}

#endif
