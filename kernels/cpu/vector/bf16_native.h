/* kernels/cpu/vector/bf16_native.h - sixteen bfloat16 to floats and back, one instruction each way.
 * Rounds as element_put() does, except that numbers below 2^-126 become zero. */
#ifndef CASK_KERNELS_CPU_BF16_H
#define CASK_KERNELS_CPU_BF16_H

#include <immintrin.h>

INLINE vec half_widen(half_vec stored)
{
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)stored), 16);
}

INLINE half_vec half_narrow(vec value)
{
    return (half_vec)_mm512_cvtneps_pbh((__m512)value);
}

INLINE both_vec both_narrow(vec first, vec second)
{
    return (both_vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

INLINE vec cells_madd(vec sum, cell a, cells b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

#endif
