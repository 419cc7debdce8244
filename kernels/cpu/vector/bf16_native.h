/* kernels/cpu/vector/bf16_native.h - sixteen bfloat16 to floats and back, one instruction each way.
 * Rounds as element_put() does, except that numbers below 2^-126 become zero. */
#ifndef CASK_KERNELS_CPU_BF16_H
#define CASK_KERNELS_CPU_BF16_H

#include <immintrin.h>

/* Two rows, one behind the other. */
typedef uint16_t both_vec __attribute__((vector_size(64)));

/* Each value goes to the upper half of its float, and zeros to the lower halves: one shuffle, where
 * a zero-extension and a shift are two instructions. */
INLINE vec half_widen(half_vec stored)
{
    const both_vec places = {0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
                             8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
    return (vec)_mm512_maskz_permutexvar_epi16(0xaaaaaaaaU, (__m512i)places,
                                               _mm512_castsi256_si512((__m256i)stored));
}

INLINE half_vec half_narrow(vec value)
{
    return (half_vec)_mm512_cvtneps_pbh((__m512)value);
}

INLINE both_vec both_narrow(vec first, vec second)
{
    return (both_vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

INLINE cells cells_of(both_vec both)
{
    return (cells)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                          22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                          14, 30, 15, 31);
}

INLINE void both_store(element *to, both_vec both, int row)
{
    const half_vec half = row == 0 ? __builtin_shufflevector(both, both, 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                             9, 10, 11, 12, 13, 14, 15)
                                   : __builtin_shufflevector(both, both, 16, 17, 18, 19, 20, 21, 22,
                                                             23, 24, 25, 26, 27, 28, 29, 30, 31);
    *(loose_half_vec *)to = half;
}

INLINE vec cells_madd(vec sum, cell a, cells b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

#endif
