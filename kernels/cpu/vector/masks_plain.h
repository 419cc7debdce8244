/* kernels/cpu/vector/masks_plain.h - some lanes of a vector, in vectors of the compiler. */
#ifndef CASK_KERNELS_CPU_MASKS_H
#define CASK_KERNELS_CPU_MASKS_H

#include <string.h>

/* Lane by lane: a where z > 0, else (a NaN, too) b. */
INLINE vec vec_if_positive(vec z, vec a, vec b)
{
    return vec_select(z > 0, a, b);
}

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

/* For counts below LANES; lanes beyond are zero and are not stored. */
INLINE vec load_rest(const element *from, int count)
{
    element whole[LANES] = {0};
    copy_some(whole, from, count, sizeof(element));
    return vec_load(whole);
}

INLINE vec load_rest_f32(const float *from, int count)
{
    float whole[LANES] = {0};
    copy_some(whole, from, count, sizeof(float));
    return vec_load_f32(whole);
}

INLINE void store_rest_f32(float *to, vec value, int count)
{
    float whole[LANES];
    vec_store_f32(whole, value);
    copy_some(to, whole, count, sizeof(float));
}

INLINE void store_rest(element *to, vec value, int count)
{
    element whole[LANES];
    vec_store(whole, value);
    copy_some(to, whole, count, sizeof(element));
}

#endif
