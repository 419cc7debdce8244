/* kernels/cpu/vector/inner.c - y = a W + bias for a few rows of a: inner products.
 *
 * W lies in strips of up to TILE_VECS vectors of columns. In a strip DEPTH values of a column are
 * side by side, as they are in a row of a (two of bfloat16, because one instruction multiplies
 * pairs; one of floats), and steps follow each other. So a strip is read from its first byte to its
 * last for each tile of y, which stays in registers meanwhile; a strip fits the L1 or the L2 cache.
 */
#include "kernels/cpu/vector/ahead.h"
#include "kernels/cpu/vector/some.h"
#include "kernels/cpu/vector/tile.h"

/* Strips are of nearly equal width: 5 vectors are 3 and 2. */
static int strip_vecs(int columns)
{
    const int vecs = (columns + LANES - 1) / LANES, strips = (vecs + TILE_VECS - 1) / TILE_VECS;
    return (vecs + strips - 1) / strips;
}

/* One column's part of a strip; `from`: NULL for zeros. */
INLINE void pack_column(const element *from, int64_t step_k, int64_t steps, int width, cell *to)
{
    for (int64_t i = 0; i < steps; i++) {
        const element *at = from != NULL ? from + i * DEPTH * step_k : NULL;
        to[i * width] = at != NULL ? cell_of(at[0], at[(DEPTH - 1) * step_k]) : 0;
    }
}

/* A few steps of all columns at a time: then the lines of a column that lies together, and those
 * of the strip, are in the cache while they are needed. */
static void pack(const struct cask_inner_weight *w, void *packed)
{
    enum { STEPS = 64 / sizeof(cell) };
    cell *to = packed;
    for (int first = 0; first < w->n;) {
        const int width = strip_vecs(w->n - first) * LANES;
        for (int64_t k = 0; k < w->k; k += STEPS * DEPTH) {
            const int64_t left = (w->k - k) / DEPTH, steps = left < STEPS ? left : STEPS;
            const element *from = (const element *)w->plain + k * w->step_k;
            for (int j = 0; j < width; j++) {
                pack_column(first + j < w->n ? from + (first + j) * w->step_n : NULL, w->step_k,
                            steps, width, to + j);
            }
            to += steps * width;
        }
        first += width;
    }
}

struct inner {
    const element *a;
    const cell *strip;
    const float *bias;
    void *y;
    int64_t a_step, y_step, steps;
    int last; /* columns of the strip's last vector */
    bool accumulate, wide;
    struct lines_ahead ahead;
};

INLINE void put(const struct inner *o, int64_t at, vec value, int count)
{
    if (o->wide) {
        float *y = (float *)o->y + at;
        store_some_f32(y, o->accumulate ? value + load_some_f32(y, count) : value, count);
    } else {
        element *y = (element *)o->y + at;
        store_some(y, o->accumulate ? value + load_some(y, count) : value, count);
    }
}

INLINE void *behind(const struct inner *o, void *y, int64_t count)
{
    return (char *)y + count * (int64_t)(o->wide ? sizeof(float) : sizeof(element));
}

INLINE void tile(int rows, int vecs, const struct inner *o)
{
    vec sums[TILE_ROWS][TILE_VECS];
    const element *a = o->a;
    const cell *strip = o->strip;
    struct lines_ahead ahead = o->ahead;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            sums[i][j] = (vec){0};
        }
    }
    for (int64_t step = o->steps; step > 0; step--, a += DEPTH, strip += vecs * LANES) {
        lines_fetch(&ahead);
        cells right[TILE_VECS];
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            right[j] = cells_load(strip + j * LANES);
        }
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const cell left = cell_load(a + i * o->a_step);
#pragma GCC unroll 4
            for (int j = 0; j < vecs; j++) {
                sums[i][j] = cells_madd(sums[i][j], left, right[j]);
            }
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < vecs; j++) {
        const int count = j + 1 < vecs ? LANES : o->last;
        const vec bias = o->bias != NULL ? load_some_f32(o->bias + j * LANES, count) : (vec){0};
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            put(o, i * o->y_step + j * LANES, sums[i][j] + bias, count);
        }
    }
}

TILE_OF(inner)

/* Where tiles are of 2 vectors, wider strips do not occur. */
INLINE void strip(int vecs, struct inner o, int64_t rows, struct cask_ahead **ahead)
{
    for (; vecs <= TILE_VECS && rows > 0; rows -= TILE_ROWS) {
        o.ahead = lines_of(ahead, o.steps, o.strip);
        tile_of(rows < TILE_ROWS ? (int)rows : TILE_ROWS, vecs, &o);
        o.a += TILE_ROWS * o.a_step;
        o.y = behind(&o, o.y, TILE_ROWS * o.y_step);
    }
}

static void run(const struct cask_inner_block *block)
{
    struct inner o = {.a = block->a,
                      .strip = block->weights,
                      .a_step = block->a_step,
                      .y_step = block->y_step,
                      .steps = block->k / DEPTH,
                      .accumulate = block->accumulate,
                      .wide = block->wide};
    struct cask_ahead *ahead = block->ahead;
    for (int first = 0; first < block->n;) {
        const int vecs = strip_vecs(block->n - first), left = block->n - first;
        o.y = behind(&o, block->y, first);
        o.bias = block->bias != NULL ? block->bias + first : NULL;
        o.last = left < vecs * LANES ? left - (vecs - 1) * LANES : LANES;
        switch (vecs) {
        case 1:
            strip(1, o, block->rows, &ahead);
            break;
        case 2:
            strip(2, o, block->rows, &ahead);
            break;
        case 3:
            strip(3, o, block->rows, &ahead);
            break;
        default:
            strip(4, o, block->rows, &ahead);
        }
        o.strip += o.steps * vecs * LANES;
        first += vecs * LANES;
    }
}

const struct cask_inner_kernels KERNEL(inner) = {.depth = DEPTH, .pack = pack, .run = run};
