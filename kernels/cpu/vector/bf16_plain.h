/* kernels/cpu/vector/bf16_plain.h - sixteen bfloat16 to floats and back, in vectors of the
 * compiler. */
#ifndef CASK_KERNELS_CPU_BF16_H
#define CASK_KERNELS_CPU_BF16_H

typedef uint32_t bits_vec __attribute__((vector_size(64)));

INLINE vec half_widen(half_vec stored)
{
    return (vec)(__builtin_convertvector(stored, bits_vec) << 16);
}

/* element_put() for sixteen */
INLINE half_vec half_narrow(vec value)
{
    bits_vec bits = (bits_vec)value;
    bits_vec rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    bits_vec is_nan = (bits_vec)((bits & 0x7fffffffU) > 0x7f800000U);
    bits_vec chosen = (is_nan & ((bits >> 16) | 0x40U)) | (~is_nan & rounded);
    return __builtin_convertvector(chosen, half_vec);
}

INLINE both_vec both_narrow(vec first, vec second)
{
    both_vec both;
    const half_vec halves[2] = {half_narrow(first), half_narrow(second)};
    memcpy(&both, halves, sizeof both);
    return both;
}

INLINE vec cells_madd(vec sum, cell a, cells b)
{
    return sum + element_get((element)a) * (vec)(b << 16) +
           element_get((element)(a >> 16)) * (vec)(b & 0xffff0000U);
}

#endif
