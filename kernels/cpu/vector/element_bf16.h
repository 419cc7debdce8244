/* kernels/cpu/vector/element_bf16.h - activations are bfloat16: the upper half of a float. */
#ifndef CASK_KERNELS_CPU_ELEMENT_H
#define CASK_KERNELS_CPU_ELEMENT_H

#include <stdint.h>
#include <string.h>

typedef uint16_t element;

static inline float element_get(element stored)
{
    uint32_t bits = (uint32_t)stored << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest, ties to even. A NaN stays a NaN: rounding could carry it into infinity. */
static inline element element_put(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    uint32_t quiet_nan = (bits >> 16) | 0x40U;
    return (element)((bits & 0x7fffffffU) > 0x7f800000U ? quiet_nan : rounded);
}

/* Two values of a column, see outer.c. */
enum { DEPTH = 2 };
typedef uint32_t cell;
typedef uint32_t cells __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t loose_cells __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline cell cell_of(element first, element second)
{
    return first | (uint32_t)second << 16;
}

/* The DEPTH values of a row that meet a cell. */
INLINE cell cell_load(const element *from)
{
    cell value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void cells_store(cell *to, cells value)
{
    *(loose_cells *)to = value;
}

INLINE cells cells_load(const cell *from)
{
    return *(const loose_cells *)from;
}

typedef uint16_t half_vec __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef uint16_t loose_half_vec
    __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));

#include CASK_BF16_HEADER

INLINE vec vec_load(const element *from)
{
    return half_widen(*(const loose_half_vec *)from);
}

INLINE void vec_store(element *to, vec value)
{
    *(loose_half_vec *)to = half_narrow(value);
}

#endif
