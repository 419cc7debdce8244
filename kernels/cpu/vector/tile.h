/* kernels/cpu/vector/tile.h - the part of a product that stays in registers while its terms stream
 * by (inner.c, outer.c). Of 32 registers 6 rows of 4 vectors leave 8 for the operands, of 16 such
 * of 2 vectors leave 4. */
#ifndef CASK_KERNELS_CPU_VECTOR_TILE_H
#define CASK_KERNELS_CPU_VECTOR_TILE_H

#include "kernels/cpu/vector/vector.h"

enum { TILE_ROWS = 6, TILE_VECS = REGISTERS == 32 ? 4 : 2 };

/* Defines tile_of(rows, vecs, o): tile(rows, vecs, o) with the rows, 1 to TILE_ROWS, as a constant.
 */
#define TILE_OF(operands)                                                                          \
    INLINE void tile_of(int rows, int vecs, const struct operands *o)                              \
    {                                                                                              \
        switch (rows) {                                                                            \
        case 1:                                                                                    \
            tile(1, vecs, o);                                                                      \
            return;                                                                                \
        case 2:                                                                                    \
            tile(2, vecs, o);                                                                      \
            return;                                                                                \
        case 3:                                                                                    \
            tile(3, vecs, o);                                                                      \
            return;                                                                                \
        case 4:                                                                                    \
            tile(4, vecs, o);                                                                      \
            return;                                                                                \
        case 5:                                                                                    \
            tile(5, vecs, o);                                                                      \
            return;                                                                                \
        default:                                                                                   \
            tile(TILE_ROWS, vecs, o);                                                              \
        }                                                                                          \
    }

#endif
