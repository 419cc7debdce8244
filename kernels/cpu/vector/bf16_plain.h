/* kernels/cpu/vector/bf16_plain.h - a vector of bfloat16 to floats and back, in vectors of the
 * compiler. */
#ifndef CASK_KERNELS_CPU_BF16_H
#define CASK_KERNELS_CPU_BF16_H

typedef uint32_t bits_vec __attribute__((vector_size(VECTOR_BYTES)));

INLINE vec half_widen(half_vec stored)
{
    return (vec)(__builtin_convertvector(stored, bits_vec) << 16);
}

/* element_put() for each lane, in its upper half; what the lower half holds does not matter. */
INLINE bits_vec upper_half(vec value)
{
    const bits_vec bits = (bits_vec)value;
    const bits_vec rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
    const bits_vec is_nan = (bits_vec)(value != value);
    return (is_nan & (bits | 0x400000U)) | (~is_nan & rounded);
}

INLINE half_vec half_narrow(vec value)
{
    return __builtin_convertvector(upper_half(value) >> 16, half_vec);
}

/* Two rows, as cells have them. */
typedef bits_vec both_vec;

INLINE both_vec both_narrow(vec first, vec second)
{
    return (upper_half(first) >> 16) | (upper_half(second) & 0xffff0000U);
}

INLINE cells cells_of(both_vec both)
{
    return both;
}

INLINE void both_store(element *to, both_vec both, int row)
{
    const bits_vec lower = row == 0 ? both & 0xffffU : both >> 16;
    *(loose_half_vec *)to = __builtin_convertvector(lower, half_vec);
}

INLINE vec cells_madd(vec sum, cell a, cells b)
{
    return sum + element_get((element)a) * (vec)(b << 16) +
           element_get((element)(a >> 16)) * (vec)(b & 0xffff0000U);
}

#endif
