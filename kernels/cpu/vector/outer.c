/* kernels/cpu/vector/outer.c - c[m][n] += a^T b, the sum of the outer products of the rows of a and
 * b: the weight gradient of a layer.
 *
 * Nothing is transposed. A step takes DEPTH rows at once (two of bfloat16, because one instruction
 * multiplies pairs; one of floats). In a cell the DEPTH values of a column are side by side, which
 * is all the arrangement that either operand needs (cells.c). A tile of c stays in registers over
 * all rows.
 */
#include <string.h>

#include "kernels/cpu/vector/ahead.h"
#include "kernels/cpu/vector/tile.h"

/* The operands of a tile. */
struct outer {
    const cell *a, *b;
    int a_width, b_width;
    int64_t steps;
    bool fresh; /* c is nothing yet */
    float *c;
    struct lines_ahead ahead;
};

INLINE void tile(int rows, int vecs, const struct outer *o)
{
    vec sums[TILE_ROWS][TILE_VECS];
    const cell *a = o->a, *b = o->b;
    struct lines_ahead ahead = o->ahead;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            sums[i][j] =
                o->fresh ? (vec){0} : vec_load_f32(o->c + (int64_t)i * o->b_width + j * LANES);
        }
    }
    for (int64_t step = o->steps; step > 0; step--, a += o->a_width, b += o->b_width) {
        lines_fetch(&ahead);
        cells right[TILE_VECS];
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            right[j] = cells_load(b + j * LANES);
        }
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
            for (int j = 0; j < vecs; j++) {
                sums[i][j] = cells_madd(sums[i][j], a[i], right[j]);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            vec_store_f32(o->c + (int64_t)i * o->b_width + j * LANES, sums[i][j]);
        }
    }
}

TILE_OF(outer)

static void sum(const void *a, int m, const void *b, int n, int64_t rows, bool fresh, float *c,
                struct cask_ahead *ahead)
{
    struct outer o = {.a_width = (m + LANES - 1) / LANES * LANES,
                      .b_width = (n + LANES - 1) / LANES * LANES,
                      .steps = (rows + DEPTH - 1) / DEPTH,
                      .fresh = fresh};
    for (int j = 0; j < o.b_width;) {
        const bool wide = j + TILE_VECS * LANES <= o.b_width;
        o.b = (const cell *)b + j;
        for (int i = 0; i < m; i += TILE_ROWS) {
            const int tall = m - i < TILE_ROWS ? m - i : TILE_ROWS;
            o.a = (const cell *)a + i;
            o.c = c + (int64_t)i * o.b_width + j;
            o.ahead = lines_of(&ahead, o.steps, a);
            if (wide) {
                tile_of(tall, TILE_VECS, &o);
            } else {
                tile_of(tall, 1, &o);
            }
        }
        j += wide ? TILE_VECS * LANES : LANES;
    }
}

/* Group after group: so memory is read in its order. */
static void join(const float *partials, int64_t step, int groups, int64_t count, float *total)
{
    memcpy(total, partials, (size_t)count * sizeof *total);
    for (int group = 1; group < groups; group++) {
        const float *from = partials + group * step;
#pragma omp simd
        for (int64_t j = 0; j < count; j++) {
            total[j] += from[j];
        }
    }
}

const struct cask_outer_kernels KERNEL(outer) = {.sum = sum, .join = join};
