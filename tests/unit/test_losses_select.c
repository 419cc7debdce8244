/* Ranking without sorting, against sorting: rows with more equal or nearly equal values than the
 * scratch holds. */
#include "tests/support/test.h"

#define CASK_REAL double
#define CASK_REAL_EXP exp
#define CASK_VARIANT f64
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/select.h"

enum { C = 150000 };

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return rank_before(*x, *y) ? -1 : rank_before(*y, *x);
}

/* kind 0: uniform; 1: one outlier over a narrow cluster; 2: two values; 3: all the same */
static double draw(int kind, int64_t j)
{
    double u = cask_rng_uniform(5, (uint64_t)kind, (uint64_t)j);
    return kind == 0 ? u : kind == 1 ? (j == 77 ? 1 : 0.25 + 1e-9 * u) : kind == 2 ? u < 0.5 : 0.5;
}

static void check_row(int kind, int64_t label)
{
    double *x = cask_alloc(C, sizeof *x), mass = 0, before = 0;
    struct candidate *sorted = cask_alloc(C, sizeof *sorted);
    /* one array, or runs of 1000 as chunks lie; here they lie side by side */
    struct ranking r = rank_array(x, C, NULL);
    r.width = label < 0 ? C : 1000;
    r.step = label < 0 ? 0 : 1000;
    r.label = label;
    r.with_label = true;
    static const int64_t ks[] = {1, 2, 7, 70000, 149998, C};
    r.label_value = 0.3;
    r.scratch = cask_alloc(RANK_SCRATCH, sizeof *r.scratch);
    assert_non_null(r.scratch);
    for (int64_t j = 0; j < C; j++) {
        x[j] = draw(kind, j);
        sorted[j] = (struct candidate){j == label ? r.label_value : x[j], (uint32_t)j};
    }
    qsort(sorted, C, sizeof *sorted, by_rank);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        const struct cut cut = rank_top(&r, ks[i]);
        const struct candidate at = {cut.value, (uint32_t)cut.index};
        int64_t inside = 0;
        for (int64_t j = 0; j < C; j++) {
            bool in = ks[i] == C || !rank_before(at, sorted[j]);
            inside += in;
            assert_true(sorted[j].index != (uint32_t)label || in == cut.label);
        }
        assert_int_equal(inside, ks[i]);
    }
    for (int64_t k = 0; k < 100001; k++) {
        before = mass;
        mass += exp((sorted[k].value - 1) * 2 - 12);
    }
    bool closer;
    int64_t k = rank_mass(&r, 2, 1, 12, (before + mass) / 2, &closer);
    assert_int_equal(k, 100001);
    cask_free(r.scratch);
    cask_free(sorted);
    cask_free(x);
}

static void test_against_sorting(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        check_row(kind, -1);
        check_row(kind, 1234);
    }
}

static void test_stream(void **state)
{
    (void)state;
    struct candidate kept[9], all[400];
    int64_t count = 0;
    for (uint32_t j = 0; j < 400; j++) {
        all[j] = (struct candidate){(double)cask_rng_below(3, 1, j, 60), j};
        rank_keep(kept, &count, 9, all[j]);
    }
    qsort(all, 400, sizeof *all, by_rank);
    for (int64_t last = 8; last >= 0; last--) {
        assert_int_equal(count, last + 1);
        assert_int_equal(kept[0].index, all[last].index);
        rank_drop(kept, &count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
