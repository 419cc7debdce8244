/* kernels/cpu/vector/cells.c - rows as outer products take them (outer.c): DEPTH rows at once, the
 * DEPTH values of a column side by side in a cell. As they lie, behind a batch norm, or behind its
 * gradient: what only the outer product reads is never written row by row.
 */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/affine.h"

enum what { LIE, APPLY, GRADIENT };

/* What is made of which rows. */
struct making {
    enum what what;
    enum cask_activation activation;
    struct cask_bn_block bn;
    const element *x, *dy; /* dy, dx: GRADIENT only */
    element *dx;
    int64_t c;
};

struct norm {
    struct affine affine;
    vec mean_dz, pull;
};

INLINE struct norm load_norm(const struct making *m, int64_t j, int count)
{
    struct norm n = {0};
    if (m->what != LIE) {
        n.affine = load_affine(m->activation, &m->bn, j, count);
    }
    if (m->what == GRADIENT) {
        n.mean_dz = load_some_f32(m->bn.mean_dz + j, count);
        n.pull = load_some_f32(m->bn.pull + j, count);
    }
    return n;
}

/* The second cache has what is read here (outer.h, "ahead"); the first gets what the next cell
 * needs.
 */
INLINE void fetch_next(const element *now, const struct making *m)
{
    __builtin_prefetch(now + DEPTH * m->c, 0, 3);
}

INLINE vec made(const struct making *m, const struct norm *n, int64_t at, int count)
{
    const vec x = load_some(m->x + at, count);
    fetch_next(m->x + at, m);
    if (m->what == LIE) {
        return x;
    }
    if (m->what == APPLY) {
        return affine_vec(m->activation, &n->affine, x);
    }
    fetch_next(m->dy + at, m);
    return affine_back_vec(m->activation, &n->affine, n->mean_dz, n->pull, x,
                           load_some(m->dy + at, count));
}

/* A vector of columns of one cell's rows, from value `row` * c + `j` on; rows that the last cell
 * lacks are zeros. */
INLINE void make_cells(const struct making *m, int rows, int64_t row, int64_t j, int count,
                       cell *to)
{
    const struct norm n = load_norm(m, j, count);
    vec values[DEPTH];
#pragma GCC unroll 2
    for (int r = 0; r < DEPTH; r++) {
        values[r] = r < rows ? made(m, &n, (row + r) * m->c + j, count) : (vec){0};
    }
    const both_vec both = both_narrow(values[0], values[DEPTH - 1]);
    cells_store(to + j, cells_of(both));
    if (m->what != GRADIENT) {
        return;
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) {
        element *dx = m->dx + (row + r) * m->c + j;
        if (count == LANES) {
            both_store(dx, both, r);
        } else {
            store_some(dx, values[r], count);
        }
    }
}

INLINE void make_rows(const struct making *m, int rows, int64_t row, cell *to)
{
    int64_t j = 0;
    for (; j + LANES <= m->c; j += LANES) {
        make_cells(m, rows, row, j, LANES, to);
    }
    if (j < m->c) {
        make_cells(m, rows, row, j, (int)(m->c - j), to);
    }
}

INLINE void make(struct making m, int64_t rows, cell *to)
{
    const int64_t width = (m.c + LANES - 1) / LANES * LANES;
    int64_t row = 0;
    for (; row + DEPTH <= rows; row += DEPTH, to += width) {
        make_rows(&m, DEPTH, row, to);
    }
    if (row < rows) {
        make_rows(&m, 1, row, to);
    }
}

/* The activation as a constant, which the formulas then lose. */
INLINE void make_activated(struct making m, int64_t rows, cell *to)
{
    switch (m.bn.activation) {
    case CASK_ACT_RELU:
        m.activation = CASK_ACT_RELU;
        make(m, rows, to);
        return;
    case CASK_ACT_PRELU:
        m.activation = CASK_ACT_PRELU;
        make(m, rows, to);
        return;
    default:
        m.activation = CASK_ACT_NONE;
        make(m, rows, to);
    }
}

static void pack(const void *x, int64_t rows, int c, void *to)
{
    make((struct making){.what = LIE, .x = x, .c = c}, rows, to);
}

static void apply(const struct cask_bn_block *bn, const void *x, int64_t rows, int c, void *to)
{
    make_activated((struct making){.what = APPLY, .bn = *bn, .x = x, .c = c}, rows, to);
}

static void gradient(const struct cask_bn_block *bn, const void *x, const void *dy, int64_t rows,
                     int c, void *dx, void *to)
{
    make_activated((struct making){.what = GRADIENT, .bn = *bn, .x = x, .dy = dy, .dx = dx, .c = c},
                   rows, to);
}

const struct cask_cell_kernels KERNEL(cells) = {
    .depth = DEPTH, .pack = pack, .apply = apply, .gradient = gradient};
