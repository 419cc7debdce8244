/* tests/unit/test_kernels_products.c - the own matrix products (kernels/cpu/vector/inner.c,
 * outer.c) against sums in double, and the cells that they take (cells.c) against rows made
 * plainly; at every instruction set and in both types. Which of them a machine chooses is not asked
 * here; widths that fill no vector, odd rows and single ones all occur. */
#include "kernels/cpu/cpu.h"
#include "tests/support/test.h"

enum { MOST = 160 * 160, GUARD = 3 };

static float noise(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return (float)(*state >> 8) / 8388608.0F - 1.0F;
}

/* Memory of a case: `stored` is what the kernel sees, `value` the same numbers. */
struct array {
    float value[MOST];
    _Alignas(64) char stored[MOST * sizeof(float)];
};

static void fill(struct array *array, const struct cask_cpu_kernels *kernels, int64_t count,
                 uint32_t seed)
{
    assert_true(count <= MOST);
    for (int64_t i = 0; i < count; i++) {
        array->value[i] = noise(&seed);
    }
    kernels->elementwise->from_float(array->value, array->stored, count);
    kernels->elementwise->to_float(array->stored, array->value, count);
}

static void read_back(struct array *array, const struct cask_cpu_kernels *kernels, int64_t count)
{
    kernels->elementwise->to_float(array->stored, array->value, count);
}

typedef void (*check)(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype);

static void at_every_isa(check run)
{
    struct cask_error err;
    enum cask_isa most;
    assert_ok(cask_isa_detect(&most, &err));
    for (int isa = CASK_ISA_SCALAR; isa <= (int)most && isa <= CASK_ISA_AVX512; isa++) {
        run(cask_isa_kernels((enum cask_isa)isa, CASK_F32), CASK_F32);
        run(cask_isa_kernels((enum cask_isa)isa, CASK_BF16), CASK_BF16);
    }
}

static const double unit = 1.0 / (1 << 24);

/* --------------------------------------------------------------------- cells */

enum { CHANNELS = 80 };

/* Rows behind a norm come as the plain kernels make them, then packed; a gradient row by row too.
 */
struct cell_case {
    int rows, c;
    enum cask_activation activation;
};

static float cell_value(const struct cask_cpu_kernels *kernels, const void *cells, int c, int row,
                        int column, enum cask_dtype dtype)
{
    const int depth = kernels->cells->depth;
    const int64_t at =
        ((int64_t)(row / depth) * cask_filled(kernels, c) + column) * depth + row % depth;
    float value;
    kernels->elementwise->to_float(cask_at(cells, dtype, at), &value, 1);
    return value;
}

/* rows: NULL for zeros */
static void assert_cells(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype,
                         const struct cell_case *c, const void *cells, const void *rows)
{
    const double most = dtype == CASK_BF16 ? 1.0 / 128 : 64 * unit;
    const int depth = kernels->cells->depth;
    for (int row = 0; row < (c->rows + depth - 1) / depth * depth; row++) {
        for (int j = 0; j < cask_filled(kernels, c->c); j++) {
            const bool there = row < c->rows && j < c->c;
            const double got = (double)cell_value(kernels, cells, c->c, row, j, dtype);
            float want = 0;
            if (there) {
                kernels->elementwise->to_float(cask_at(rows, dtype, (int64_t)row * c->c + j), &want,
                                               1);
            }
            const double error = fabs(got - (double)want);
            if (!(error <= (there ? most * (fabs((double)want) + 1e-3) : 0))) {
                fail_msg("cells: %d rows of %d, activation %d, at %d, %d: %g, expected %g", c->rows,
                         c->c, c->activation, row, j, got, (double)want);
            }
        }
    }
}

static void check_cells_of(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype,
                           const struct cell_case *c)
{
    static struct array x, dy, rows, dx;
    static char cells[MOST * sizeof(float)];
    float params[6][CHANNELS];
    const int64_t count = (int64_t)c->rows * c->c;
    uint32_t seed = 11;
    for (int i = 0; i < 6 * CHANNELS; i++) {
        params[i / CHANNELS][i % CHANNELS] = noise(&seed);
    }
    const struct cask_bn_block bn = {.activation = c->activation,
                                     .mean = params[0],
                                     .scale = params[1],
                                     .shift = params[2],
                                     .slope = params[3],
                                     .mean_dz = params[4],
                                     .pull = params[5]};
    fill(&x, kernels, count, 1);
    fill(&dy, kernels, count, 2);
    memset(cells, 0x7f, sizeof cells);
    kernels->cells->pack(x.stored, c->rows, c->c, cells);
    assert_cells(kernels, dtype, c, cells, x.stored);
    memset(cells, 0x7f, sizeof cells);
    kernels->batchnorm->apply(&bn, x.stored, rows.stored, c->rows, c->c);
    kernels->cells->apply(&bn, x.stored, c->rows, c->c, cells);
    assert_cells(kernels, dtype, c, cells, rows.stored);
    memset(cells, 0x7f, sizeof cells);
    kernels->batchnorm->gradient(&bn, x.stored, dy.stored, rows.stored, false, c->rows, c->c);
    fill(&dx, kernels, count + GUARD, 4);
    kernels->cells->gradient(&bn, x.stored, dy.stored, c->rows, c->c, dx.stored, cells);
    assert_cells(kernels, dtype, c, cells, rows.stored);
    memset(cells, 0x7f, sizeof cells);
    kernels->cells->pack(dx.stored, c->rows, c->c, cells);
    assert_cells(kernels, dtype, c, cells, rows.stored);
    for (int64_t i = count; i < count + GUARD; i++) {
        float kept;
        kernels->elementwise->to_float(cask_at(dx.stored, dtype, i), &kept, 1);
        assert_true(kept == dx.value[i]);
    }
}

static void check_cells(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype)
{
    static const int rows[] = {1, 2, 3, 8}, cs[] = {1, 15, 16, 24, 64, 72};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t i = 0; i < sizeof cs / sizeof *cs; i++) {
            for (int activation = CASK_ACT_NONE; activation <= CASK_ACT_PRELU; activation++) {
                check_cells_of(kernels, dtype, &(struct cell_case){rows[r], cs[i], activation});
            }
        }
    }
}

static void cells_are_packed_rows(void **state)
{
    (void)state;
    at_every_isa(check_cells);
}

/* ------------------------------------------------------------ outer products */

static struct array left, right;
static char left_cells[MOST * sizeof(float)], right_cells[MOST * sizeof(float)];

/* What is already there stays, filled-up columns too, and two calls add twice. */
static void check_outer(const struct cask_cpu_kernels *kernels, int64_t rows, int m, int n)
{
    static float sum[MOST], before[MOST];
    const int width = cask_filled(kernels, n);
    struct cask_ahead second = {left_cells, left_cells + 200, NULL};
    struct cask_ahead first = {right_cells, right_cells + 64, &second};
    uint32_t seed = 5;
    fill(&left, kernels, rows * m, 1);
    fill(&right, kernels, rows * n, 2);
    for (int i = 0; i < m * width; i++) {
        sum[i] = before[i] = noise(&seed);
    }
    kernels->cells->pack(left.stored, rows, m, left_cells);
    kernels->cells->pack(right.stored, rows, n, right_cells);
    kernels->outer->sum(left_cells, m, right_cells, n, rows, false, sum, NULL);
    kernels->outer->sum(left_cells, m, right_cells, n, rows, false, sum, &first);
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < width; j++) {
            double want = (double)before[i * width + j], size = fabs(want);
            for (int64_t r = 0; j < n && r < rows; r++) {
                const double term = (double)left.value[r * m + i] * (double)right.value[r * n + j];
                want += 2 * term;
                size += 2 * fabs(term);
            }
            const double error = fabs((double)sum[i * width + j] - want);
            if (!(error <= (double)(2 * rows + 2) * unit * size)) {
                fail_msg("outer: %lld rows, %d x %d, at %d, %d: %g, expected %g", (long long)rows,
                         m, n, i, j, (double)sum[i * width + j], want);
            }
        }
    }
}

/* A sum that begins is one that adds to zeros. */
static void check_fresh(const struct cask_cpu_kernels *kernels, int64_t rows, int m, int n)
{
    static float fresh[MOST], added[MOST];
    const size_t bytes = (size_t)(m * cask_filled(kernels, n)) * sizeof *fresh;
    memset(fresh, 0xff, bytes); /* NaN */
    memset(added, 0, bytes);
    kernels->outer->sum(left_cells, m, right_cells, n, rows, true, fresh, NULL);
    kernels->outer->sum(left_cells, m, right_cells, n, rows, false, added, NULL);
    assert_memory_equal(fresh, added, bytes);
}

static void check_outers(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype)
{
    static const int rows[] = {1, 2, 3, 8, 31}, ms[] = {1, 5, 6, 7, 20, 64},
                     ns[] = {1, 15, 16, 24, 64, 72, 130};
    assert_int_equal(kernels->cells->depth, dtype == CASK_BF16 ? 2 : 1);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
            for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) {
                check_outer(kernels, rows[r], ms[i], ns[j]);
                check_fresh(kernels, rows[r], ms[i], ns[j]);
            }
        }
    }
}

static void outer_products_are_summed(void **state)
{
    (void)state;
    at_every_isa(check_outers);
}

/* ------------------------------------------------------------ inner products */

struct inner_case {
    int rows, k, n;
    bool turned; /* the weight's columns lie together */
    bool bias, accumulate;
    bool wide; /* y is floats */
};

/* y as the kernel sees it, and back. */
static void fill_y(struct array *y, const struct cask_cpu_kernels *kernels, int64_t count,
                   bool wide)
{
    fill(y, kernels, count, 3);
    if (wide) {
        memcpy(y->stored, y->value, (size_t)count * sizeof *y->value);
    }
}

static void read_y(struct array *y, const struct cask_cpu_kernels *kernels, int64_t count,
                   bool wide)
{
    if (wide) {
        memcpy(y->value, y->stored, (size_t)count * sizeof *y->value);
    } else {
        read_back(y, kernels, count);
    }
}

static void check_inner(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype,
                        const struct inner_case *c)
{
    static struct array weight, y, before;
    static float bias[MOST];
    static char packed[MOST * sizeof(float)];
    const int64_t step = c->n + GUARD, a_step = c->k + GUARD;
    uint32_t seed = 7;
    fill(&left, kernels, (int64_t)c->rows * a_step, 1);
    fill(&weight, kernels, (int64_t)c->k * c->n, 2);
    fill_y(&y, kernels, c->rows * step, c->wide);
    fill(&before, kernels, c->rows * step, 3);
    for (int j = 0; j < c->n; j++) {
        bias[j] = noise(&seed);
    }
    const struct cask_inner_weight w = {weight.stored, c->turned ? 1 : c->n, c->turned ? c->k : 1,
                                        c->k, c->n};
    kernels->inner->pack(&w, packed);
    struct cask_ahead ahead = {packed, packed + 100, NULL};
    kernels->inner->run(&(struct cask_inner_block){.a = left.stored,
                                                   .rows = c->rows,
                                                   .k = c->k,
                                                   .n = c->n,
                                                   .weights = packed,
                                                   .bias = c->bias ? bias : NULL,
                                                   .y = y.stored,
                                                   .a_step = a_step,
                                                   .y_step = step,
                                                   .accumulate = c->accumulate,
                                                   .wide = c->wide,
                                                   .ahead = c->bias ? &ahead : NULL});
    read_y(&y, kernels, c->rows * step, c->wide);
    for (int i = 0; i < c->rows; i++) {
        for (int j = 0; j < step; j++) {
            const bool made = j < c->n;
            double want = !made || c->accumulate ? (double)before.value[i * step + j] : 0;
            double size = fabs(want) + fabs((double)bias[j]);
            want += made && c->bias ? (double)bias[j] : 0;
            for (int k = 0; made && k < c->k; k++) {
                const int64_t at = k * w.step_k + j * w.step_n;
                const double term = (double)left.value[i * a_step + k] * (double)weight.value[at];
                want += term;
                size += fabs(term);
            }
            const double got = (double)y.value[i * step + j], error = fabs(got - want);
            double most = made ? (c->k + 3) * unit * size : 0;
            most += made && dtype == CASK_BF16 && !c->wide ? fabs(want) / 256 : 0;
            if (!(error <= most)) {
                fail_msg("inner: %d rows of %d to %d%s%s%s%s, at %d, %d: %g, expected %g", c->rows,
                         c->k, c->n, c->turned ? ", turned" : "", c->bias ? ", bias" : "",
                         c->accumulate ? ", added" : "", c->wide ? ", wide" : "", i, j, got, want);
            }
        }
    }
}

static void check_inners(const struct cask_cpu_kernels *kernels, enum cask_dtype dtype)
{
    static const int rows[] = {1, 2, 3, 4, 5, 6, 13}, ks[] = {2, 6, 64},
                     ns[] = {1, 15, 16, 24, 48, 64, 72, 80, 144};
    assert_int_equal(kernels->inner->depth, dtype == CASK_BF16 ? 2 : 1);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
            for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) {
                for (int way = 0; way < 16; way++) {
                    check_inner(kernels, dtype,
                                &(struct inner_case){rows[r], ks[i], ns[j], (way & 1) != 0,
                                                     (way & 2) != 0, (way & 4) != 0,
                                                     (way & 8) != 0});
                }
            }
        }
    }
}

static void inner_products_are_made(void **state)
{
    (void)state;
    at_every_isa(check_inners);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_packed_rows),
        cmocka_unit_test(outer_products_are_summed),
        cmocka_unit_test(inner_products_are_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
