/* kernels/cpu/vector/masks_native.h - some lanes of a vector, by AVX-512's masks. */
#ifndef CASK_KERNELS_CPU_MASKS_H
#define CASK_KERNELS_CPU_MASKS_H

#include <immintrin.h>
#include <string.h>

/* Lane by lane: a where z > 0, else (a NaN, too) b. */
INLINE vec vec_if_positive(vec z, vec a, vec b)
{
    const __mmask16 positive = _mm512_cmp_ps_mask((__m512)z, _mm512_setzero_ps(), _CMP_GT_OQ);
    return (vec)_mm512_mask_mov_ps((__m512)b, positive, (__m512)a);
}

/* For counts below LANES; lanes beyond are zero and are not stored. */
INLINE __mmask64 bytes_of(int count, int size)
{
    return ((__mmask64)1 << (count * size)) - 1;
}

INLINE vec load_rest(const element *from, int count)
{
    element whole[LANES];
    const __m512i bytes = _mm512_maskz_loadu_epi8(bytes_of(count, sizeof(element)), from);
    memcpy(whole, &bytes, sizeof whole);
    return vec_load(whole);
}

INLINE vec load_rest_f32(const float *from, int count)
{
    return (vec)_mm512_maskz_loadu_epi8(bytes_of(count, sizeof(float)), from);
}

INLINE void store_rest_f32(float *to, vec value, int count)
{
    _mm512_mask_storeu_epi8(to, bytes_of(count, sizeof(float)), (__m512i)value);
}

INLINE void store_rest(element *to, vec value, int count)
{
    const __mmask64 mask = bytes_of(count, sizeof(element));
    element whole[LANES];
    vec_store(whole, value);
    if (sizeof whole == sizeof(__m512i)) {
        __m512i bytes;
        memcpy(&bytes, whole, sizeof bytes);
        _mm512_mask_storeu_epi8(to, mask, bytes);
    } else {
        __m256i bytes;
        memcpy(&bytes, whole, sizeof bytes);
        _mm256_mask_storeu_epi8(to, (__mmask32)mask, bytes);
    }
}

#endif
