/* Tests of two models: McNemar's p against sums by hand, differences of draws with gaps and ties.
 */
#include "tests/support/test.h"

#include <math.h>

#include "eval/paired.h"

static void expect(const char *what, double found, double wanted, double tolerance)
{
    if (!(fabs(found - wanted) <= tolerance)) {
        fail_msg("%s: %.17g, expected %.17g", what, found, wanted);
    }
}

static double mcnemar(int64_t only_a, int64_t only_b)
{
    struct cask_paired p = paired_begin("set", "protocol", "number", 80, 70);
    paired_trial(&p, true, true, 1000); /* those that both get right say nothing */
    paired_trial(&p, true, false, only_a);
    paired_trial(&p, false, true, only_b);
    paired_trial(&p, false, false, 50);
    assert_true(p.both_right == 1000 && p.only_a == only_a && p.only_b == only_b &&
                p.both_wrong == 50);
    paired_mcnemar(&p);
    return p.mcnemar;
}

static void mcnemar_is_the_binomial_test(void **state)
{
    (void)state;
    expect("0 : 0", mcnemar(0, 0), 1, 0);
    expect("3 : 3", mcnemar(3, 3), 1, 0);
    expect("0 : 1", mcnemar(0, 1), 1, 1e-15);
    expect("0 : 6", mcnemar(0, 6), 2.0 / 64, 1e-15);
    /* (1 + 12 + 66) of 4096, twice */
    expect("10 : 2", mcnemar(10, 2), 158.0 / 4096, 1e-14);
    expect("2 : 10", mcnemar(2, 10), mcnemar(10, 2), 0);
    expect("50 : 50", mcnemar(50, 50), 1, 0);
    /* scipy.stats.binomtest(60, 100).pvalue and of 10150 in 20000 */
    expect("60 : 40", mcnemar(60, 40), 0.05688793364098088, 1e-13);
    expect("10150 : 9850", mcnemar(10150, 9850), 0.034491372609840885, 1e-10);
    assert_true(mcnemar(100000, 0) >= 0 && mcnemar(100000, 0) < 1e-300);
}

static void nothing_is_said_before_a_test(void **state)
{
    (void)state;
    struct cask_paired p = paired_begin("lfw", "insightface", "accuracy", 99, 98.5);
    assert_true(p.difference == 0.5 && isnan(p.mcnemar) && isnan(p.bootstrap));
    assert_true(isnan(p.interval.low) && isnan(p.interval.high));
    assert_string_equal(p.set, "lfw");
    assert_string_equal(p.protocol, "insightface");
    assert_string_equal(p.number, "accuracy");
}

static struct cask_paired draw(const double *a, const double *b, int draws)
{
    struct cask_error err = {0};
    struct cask_paired p = paired_begin("set", "protocol", "number", 0, 0);
    assert_ok(paired_draws(&p, a, b, draws, &err));
    return p;
}

static void draws_are_counted_on_both_sides_of_zero(void **state)
{
    (void)state;
    /* differences 1, 2, 3, -1, 0: two are not positive, and 2 (2 + 1) / (5 + 1) = 1 */
    const double a[] = {11, 12, 13, 9, 10}, b[] = {10, 10, 10, 10, 10};
    struct cask_paired p = draw(a, b, 5);
    expect("p", p.bootstrap, 1, 0);
    expect("low", p.interval.low, -1 + 0.1, 1e-12); /* a tenth of the way from -1 to 0 */
    expect("high", p.interval.high, 3 - 0.1, 1e-12);
    p = draw(a, b, 3); /* none is negative: 2 / (3 + 1) */
    expect("p", p.bootstrap, 0.5, 0);
    p = draw(b, a, 3);
    expect("p", p.bootstrap, 0.5, 0);
    p = draw(a, a, 5);
    assert_true(p.bootstrap == 1 && p.interval.low == 0 && p.interval.high == 0);
}

static void a_draw_that_one_model_does_not_define_is_left_out(void **state)
{
    (void)state;
    const double a[] = {NAN, 11, 12, 13, 5}, b[] = {0, 10, 10, 10, NAN}, none[] = {NAN, NAN};
    struct cask_paired p = draw(a, b, 5);
    expect("p", p.bootstrap, 0.5, 0);
    expect("low", p.interval.low, 1.05, 1e-12);
    expect("high", p.interval.high, 2.95, 1e-12);
    p = draw(none, b, 2);
    assert_true(isnan(p.bootstrap) && isnan(p.interval.low));
    p = draw(a, b, 0);
    assert_true(isnan(p.bootstrap) && isnan(p.interval.high));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mcnemar_is_the_binomial_test),
        cmocka_unit_test(nothing_is_said_before_a_test),
        cmocka_unit_test(draws_are_counted_on_both_sides_of_zero),
        cmocka_unit_test(a_draw_that_one_model_does_not_define_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
