/* k-fold verification against a brute-force reading of the protocol, and its edge cases. */
#include "tests/support/test.h"

#include "common/rng.h"
#include "eval/eval.h"

/* The protocol word by word: for every fold and every threshold, count over all other pairs. */
static double brute_accuracy(const double *d, const bool *same, int64_t n, int folds, int fold,
                             double *threshold)
{
    int64_t begin = 0, size = 0;
    for (int f = 0; f <= fold; f++) {
        begin += size;
        size = n / folds + (f < n % folds);
    }
    int64_t best = -1;
    for (int k = 0; k < 400; k++) {
        int64_t right = 0;
        for (int64_t i = 0; i < n; i++) {
            if (i < begin || i >= begin + size) {
                right += (d[i] < 0.01 * k) == same[i];
            }
        }
        if (right > best) {
            best = right;
            *threshold = 0.01 * k;
        }
    }
    int64_t right = 0;
    for (int64_t i = begin; i < begin + size; i++) {
        right += (d[i] < *threshold) == same[i];
    }
    return 100.0 * (double)right / (double)size;
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    enum { N = 203 };
    struct cask_error err = {0};
    for (uint64_t seed = 0; seed < 20; seed++) {
        double d[N];
        bool same[N];
        for (uint64_t i = 0; i < N; i++) {
            same[i] = cask_rng_below(seed, 1, i, 2) == 1;
            d[i] = fmin(4, fmax(0, (same[i] ? 1.1 : 1.6) + 0.5 * cask_rng_normal(seed, 2, i)));
            if (i % 5 == 0) {
                d[i] =
                    0.01 * round(100 * d[i]); /* exactly on a threshold: must count as different */
            }
        }
        for (int folds = 2; folds <= 10; folds += 4) {
            struct cask_kfold got;
            double sum = 0;
            assert_ok(cask_verify_kfold(d, same, N, folds, &got, &err));
            for (int f = 0; f < folds; f++) {
                double threshold = -1;
                assert_close(got.fold_accuracy[f], brute_accuracy(d, same, N, folds, f, &threshold),
                             1e-12);
                assert_close(got.fold_threshold[f], threshold, 0);
                sum += got.fold_accuracy[f];
            }
            assert_close(got.accuracy, sum / folds, 1e-12);
        }
    }
}

static void first_best_threshold_wins(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_kfold got;
    /* Every threshold from 0.51 to 1.50 separates these perfectly. */
    double d[] = {0.5, 0.5, 1.5, 1.5};
    bool same[] = {true, true, false, false};
    assert_ok(cask_verify_kfold(d, same, 4, 2, &got, &err));
    assert_close(got.fold_threshold[0], 0.0,
                 0); /* the others are all "different": k = 0 is right */
    assert_close(got.fold_threshold[1], 0.51, 1e-12); /* all "same": the first t above 0.5 */
}

static void nan_is_never_the_same_person(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_kfold got;
    double d[] = {NAN, 0.1, NAN, 0.1};
    bool same[] = {true, true, true, true};
    assert_ok(cask_verify_kfold(d, same, 4, 2, &got, &err));
    assert_close(got.accuracy, 50, 1e-12);
}

static void too_few_folds_or_pairs_are_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_kfold got;
    double d[3] = {0};
    bool same[3] = {0};
    assert_refused(CASK_ERR_RANGE, "found 1 folds", cask_verify_kfold(d, same, 3, 1, &got, &err));
    assert_refused(CASK_ERR_RANGE, "3 pairs", cask_verify_kfold(d, same, 3, 10, &got, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_brute_force),
        cmocka_unit_test(first_best_threshold_wins),
        cmocka_unit_test(nan_is_never_the_same_person),
        cmocka_unit_test(too_few_folds_or_pairs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
