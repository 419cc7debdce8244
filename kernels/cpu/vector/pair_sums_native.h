/* kernels/cpu/vector/pair_sums_native.h - the sums of a batch norm's gradient from pairs of pixels,
 * by AVX-512's bf16 instruction: a lane multiplies two values by two and adds both products to a
 * float. So nothing is widened: g is summed as g 1, and g d as g x, from which mean g is taken at
 * the end. (What that cancels is below what bf16 lost of x: 2^-24 of the mean against 2^-9.)
 *
 * Whether z is positive is asked of x's bits. The x whose z is not positive are all x on one side
 * of one number; and on the circle of 16 bits, where those of bf16 rise from 0 to infinity and then
 * from -0 to -infinity, both sides of any number are one stretch (norm.c finds it).
 */
#ifndef CASK_KERNELS_CPU_PAIR_SUMS_H
#define CASK_KERNELS_CPU_PAIR_SUMS_H

#include <immintrin.h>

#include "kernels/cpu/vector/halves.h"

/* Two vectors of channels are a register of bf16. */
enum { PAIR_VECS = 2, PAIR_CHANNELS = PAIR_VECS * LANES };

/* Vector `h` of the channels of two pixels: a channel's two values side by side. */
INLINE __m512i pair_of(__m512i first, __m512i second, int h)
{
    const both_vec places = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                             8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const both_vec those = places + (uint16_t)(h * LANES);
    return _mm512_permutex2var_epi16(first, (__m512i)those, second);
}

INLINE vec pair_madd(vec sum, __m512i a, __m512i b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

/* For one vector of channels; d is x here. */
struct pair_sums {
    __m512i low_from, low_count;
    struct halves halves;
};

INLINE void add_pair(enum cask_activation activation, __m512i x, __m512i g, struct pair_sums *to)
{
    const __m512i ones = _mm512_set1_epi16(0x3f80);
    struct halves *sums = &to->halves;
    sums->all = pair_madd(sums->all, g, ones);
    sums->all_d = pair_madd(sums->all_d, g, x);
    if (activation != CASK_ACT_NONE) {
        const __m512i place = _mm512_sub_epi16(x, to->low_from);
        const __mmask32 is_low = _mm512_cmple_epu16_mask(place, to->low_count);
        const __m512i low = _mm512_maskz_mov_epi16(is_low, g);
        sums->low = pair_madd(sums->low, low, ones);
        sums->low_d = pair_madd(sums->low_d, low, x);
    }
}

/* Channels [j, j + PAIR_CHANNELS). */
INLINE void pair_channels(enum cask_activation activation, const struct cask_bn_block *bn,
                          const element *x, const element *dy, const struct cask_line *l,
                          const struct sums *to, int j)
{
    struct pair_sums sums[PAIR_VECS] = {0};
#pragma GCC unroll 2
    for (int h = 0; h < PAIR_VECS && activation != CASK_ACT_NONE; h++) {
        sums[h].low_from = _mm512_loadu_si512(bn->low_from + j + h * LANES);
        sums[h].low_count = _mm512_loadu_si512(bn->low_count + j + h * LANES);
    }
    x += j;
    dy += j;
    for (int i = 0; i < l->pixels; i += 2, x += 2 * l->step, dy += 2 * l->step) {
        const bool both = i + 1 < l->pixels;
        const __m512i zeros = _mm512_setzero_si512();
        const __m512i x0 = _mm512_loadu_si512(x), g0 = _mm512_loadu_si512(dy);
        const __m512i x1 = both ? _mm512_loadu_si512(x + l->step) : zeros;
        const __m512i g1 = both ? _mm512_loadu_si512(dy + l->step) : zeros;
#pragma GCC unroll 2
        for (int h = 0; h < PAIR_VECS; h++) {
            add_pair(activation, pair_of(x0, x1, h), pair_of(g0, g1, h), &sums[h]);
        }
    }
#pragma GCC unroll 2
    for (int h = 0; h < PAIR_VECS; h++) {
        const struct affine p = load_affine(activation, bn, j + h * LANES, LANES);
        struct halves *a = &sums[h].halves;
        a->all_d -= p.mean * a->all;
        a->low_d -= p.mean * a->low;
        put_halves(activation, &p, *a, to, j + h * LANES, LANES);
    }
}

/* Returns how many channels it has done. */
INLINE int pair_gradient_sums(enum cask_activation activation, const struct cask_bn_block *bn,
                              const element *x, const element *dy, const struct cask_line *line,
                              const struct sums *to)
{
    int j = 0;
    for (; j + PAIR_CHANNELS <= line->c; j += PAIR_CHANNELS) {
        pair_channels(activation, bn, x, dy, line, to, j);
    }
    return j;
}

#endif
