/* Error rates against scikit-learn's roc_curve and numpy; see make_protocols.py. */
#include "tests/support/test.h"

#include "common/mem.h"
#include "common/rng.h"
#include "eval/rates.h"

static const double targets[6] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};

static double *draw(uint64_t seed, uint64_t stream, int64_t count, double grid, double scale,
                    double shift)
{
    double *values = cask_alloc((size_t)count, sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        double v = cask_rng_uniform(seed, stream, (uint64_t)i) * scale + shift;
        values[i] = floor(v * grid) / grid;
    }
    return values;
}

static void expect_rates(FILE *file, const struct cask_rate *rates, int line)
{
    for (int t = 0; t < 6; t++) {
        long long genuine, impostors;
        assert_int_equal(fscanf(file, "%lld %lld", &genuine, &impostors), 2);
        if (rates[t].genuine != genuine || rates[t].impostors != impostors) {
            fail_msg("case %d, target %g: %lld genuine and %lld impostors, expected %lld and %lld",
                     line, targets[t], (long long)rates[t].genuine, (long long)rates[t].impostors,
                     genuine, impostors);
        }
    }
}

static void rates_are_sklearns(void **state)
{
    struct cask_error err = {0};
    char path[512];
    long long n, m;
    double grid;
    int cases = 0, moved = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/tests/golden/protocols/rates.txt", getenv("CASK_SOURCE"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (; fscanf(file, "%lld %lld %lf", &n, &m, &grid) == 3; cases++) {
        struct cask_scores s = {draw((uint64_t)cases, 0, n, grid, 0.7, 0.3),
                                draw((uint64_t)cases, 1, m, grid, 0.8, -0.1), n, m};
        struct cask_rate thin[6], full[6];
        double want[4];
        assert_ok(cask_scores_sort(&s, &err));
        cask_rates_nearest(&s, true, targets, 6, thin);
        cask_rates_nearest(&s, false, targets, 6, full);
        expect_rates(file, thin, cases);
        expect_rates(file, full, cases);
        for (int t = 0; t < 6; t++) {
            long long genuine;
            struct cask_rate strict = cask_rate_strict(&s, targets[t]);
            assert_int_equal(fscanf(file, "%lld", &genuine), 1);
            assert_int_equal(strict.genuine, genuine);
            assert_true(strict.fpr <= targets[t]);
            moved += thin[t].genuine != full[t].genuine;
        }
        for (int i = 0; i < 4; i++) {
            assert_int_equal(fscanf(file, "%la", &want[i]), 1);
        }
        assert_close(cask_equal_error_rate(&s).rate, want[0], 1e-12);
        assert_close(cask_fisher_ratio(&s), want[1], 1e-9 * want[1]);
        assert_close(1 - cask_rate_strict(&s, 0.01).tpr, want[2], 1e-12);
        assert_close(1 - cask_rate_strict(&s, 0.001).tpr, want[3], 1e-12);
        cask_scores_release(&s);
    }
    fclose(file);
    assert_int_equal(cases, 60);
    assert_true(moved > 0); /* dropping points did move a choice */
}

static void sorting(void **state)
{
    static const double values[] = {0, -0.0, 1, -1, 1e-300, -1e-300, 5, 5, -7, INFINITY, -INFINITY};
    enum { COUNT = sizeof values / sizeof *values };
    double sorted[COUNT], scratch[COUNT];
    (void)state;
    memcpy(sorted, values, sizeof values);
    cask_sort_falling(sorted, COUNT, scratch);
    for (int i = 1; i < COUNT; i++) {
        assert_true(sorted[i - 1] >= sorted[i]);
    }
    assert_true(sorted[0] == INFINITY && sorted[1] == 5 && sorted[COUNT - 1] == -INFINITY);
}

static void refusals(void **state)
{
    struct cask_error err = {0};
    struct cask_scores s = {cask_alloc(1, 8), NULL, 1, 0};
    (void)state;
    assert_refused(CASK_ERR_RANGE, "1 and 0", cask_scores_sort(&s, &err));
    s.impostor = cask_alloc(1, 8);
    s.impostor_count = 1;
    s.impostor[0] = NAN;
    assert_refused(CASK_ERR_RANGE, "finite", cask_scores_sort(&s, &err));
    s.impostor[0] = 1;
    assert_ok(cask_scores_sort(&s, &err));
    assert_close(cask_rate_strict(&s, 0.5).tpr, 0, 0);
    assert_close(cask_rate_strict(&s, 1).tpr, 1, 0);
    cask_scores_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_sklearns),
        cmocka_unit_test(sorting),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
