/* Every protocol, flip and fold count against numpy and scikit-learn; see make_verification.py. */
#include "common/file.h"
#include "common/mem.h"
#include "common/rng.h"
#include "eval/eval.h"
#include "eval/rates.h"
#include "eval/roc.h"
#include "tests/support/test.h"

static FILE *open_expected(const char *name)
{
    char path[600];
    const char *folder =
        getenv("CASK_VERIFICATION"); /* a fresh run of the script, if there is one */
    if (folder != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
    } else {
        snprintf(path, sizeof path, "%s/tests/golden/verification/%s", getenv("CASK_SOURCE"), name);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

struct drawn {
    struct cask_pairs *pairs;
    struct cask_views views;
};

static double centred(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return cask_rng_uniform(seed, stream, counter) - 0.5;
}

/* Pairs of rows 0-1, 2-3, ...: written as CSV, so that the reader is part of the test. */
static struct cask_pairs *write_pairs(uint64_t seed, int64_t pairs, uint64_t genuine)
{
    struct cask_error err = {0};
    struct cask_pairs *out;
    char folder[256], path[300];
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/drawn.csv", folder);
    FILE *file = fopen(path, "w");
    for (int64_t i = 0; i < pairs; i++) {
        fprintf(file, "%lld,%lld,%d\n", (long long)(2 * i), (long long)(2 * i + 1),
                cask_rng_below(seed, 9, (uint64_t)i, 8) < genuine);
    }
    fclose(file);
    assert_ok(cask_pairs_open_text(path, NULL, &out, &err));
    test_remove_folder(folder);
    return out;
}

static struct drawn draw(uint64_t seed, int64_t pairs, int dim, double spread, uint64_t genuine)
{
    struct drawn d = {.pairs = write_pairs(seed, pairs, genuine),
                      .views = {.images = 2 * pairs, .dim = dim}};
    size_t values = (size_t)(2 * pairs * dim);
    d.views.view[0] = cask_alloc(values, sizeof(float));
    d.views.view[1] = cask_alloc(values, sizeof(float));
    d.views.bad = cask_alloc((size_t)(2 * pairs), 1);
    for (uint64_t r = 0; r < (uint64_t)(2 * pairs); r++) {
        bool same = cask_pairs_at(d.pairs, (int64_t)r / 2)->same;
        uint64_t person = same ? r / 2 * 2 : r;
        double length = 1 + cask_rng_uniform(seed, 3, r);
        for (uint64_t i = 0; i < (uint64_t)dim; i++) {
            uint64_t at = r * (uint64_t)dim + i;
            double x = centred(seed, 0, person * (uint64_t)dim + i) + spread * centred(seed, 1, at);
            double image = floor(x * length * 4096) / 4096;
            double mirror = floor((image + 0.3 * spread * centred(seed, 2, at)) * 4096) / 4096;
            d.views.view[0][at] = (float)image;
            d.views.view[1][at] = (float)mirror;
        }
    }
    return d;
}

static enum cask_protocol protocol_of(const char *name)
{
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        if (strcmp(name, cask_protocol_name((enum cask_protocol)p)) == 0) {
            return (enum cask_protocol)p;
        }
    }
    fail_msg("no protocol %s", name);
    return CASK_PROTOCOLS;
}

static void expect_protocol(FILE *file, const struct drawn *d, int folds)
{
    struct cask_error err = {0};
    struct cask_set_result *result = cask_alloc(1, sizeof *result);
    struct cask_verify_options options = cask_verify_default();
    char name[32], flip[16];
    double accuracy, std;
    assert_int_equal(fscanf(file, "%31s %15s %lf %lf", name, flip, &accuracy, &std), 4);
    enum cask_protocol protocol = protocol_of(name);
    options.protocols[CASK_PROTOCOL_INSIGHTFACE] = false;
    options.protocols[protocol] = true;
    options.flip = strcmp(flip, "sum") == 0    ? CASK_FLIP_SUM
                   : strcmp(flip, "none") == 0 ? CASK_FLIP_NONE
                                               : CASK_FLIP_CONCAT;
    options.folds = folds;
    options.draws = 0;
    assert_ok(cask_verify(d->pairs, &d->views, NULL, &options, result, NULL, &err));
    const struct cask_kfold *got = &result->kfold;
    assert_int_equal(got->folds, folds);
    assert_close(got->accuracy, accuracy, 1e-9);
    assert_close(got->std, std, 1e-9);
    for (int f = 0; f < folds; f++) {
        long long correct, size;
        double threshold;
        assert_int_equal(fscanf(file, "%lld/%lld@%lf", &correct, &size, &threshold), 3);
        if (got->fold_accuracy[f] != 100.0 * (double)correct / (double)size) {
            fail_msg("%s, %s, fold %d: %.17g %%, expected %lld of %lld", name, flip, f,
                     got->fold_accuracy[f], correct, size);
        }
        assert_close(got->fold_threshold[f], threshold, 1e-7); /* facexzoo's stand on float32 */
    }
    if (protocol == CASK_PROTOCOL_INSIGHTFACE || protocol == CASK_PROTOCOL_TFACE) {
        double val, val_std, far;
        assert_int_equal(fscanf(file, " val %lf %lf %lf", &val, &val_std, &far), 3);
        assert_close(result->protocols[0].val, val, 1e-9);
        assert_close(result->protocols[0].val_std, val_std, 1e-9);
        assert_close(result->protocols[0].val_far, far, 1e-12);
    } else {
        assert_true(isnan(result->protocols[0].val));
    }
    cask_free(result);
}

static void every_program_counts_as_described(void **state)
{
    (void)state;
    FILE *file = open_expected("kfold.txt");
    long long seed, pairs, genuine;
    int dim, folds, cases = 0;
    double spread;
    while (fscanf(file, " case %lld %lld %d %d %lf %lld", &seed, &pairs, &dim, &folds, &spread,
                  &genuine) == 6) {
        struct drawn d = draw((uint64_t)seed, pairs, dim, spread, (uint64_t)genuine);
        for (int i = 0; i < 3 * CASK_PROTOCOLS; i++) {
            expect_protocol(file, &d, folds);
        }
        cask_views_release(&d.views);
        cask_pairs_close(d.pairs);
        cases++;
    }
    assert_int_equal(cases, 6);
    fclose(file);
}

/* The rest of the line: every point, or sums over all of them. */
static void expect_curve(FILE *file, const struct roc *roc)
{
    long long points, a, b, fp = 0, tp = 0;
    assert_int_equal(fscanf(file, "%lld", &points), 1);
    assert_int_equal(roc->count, points);
    for (int64_t i = 0; i < roc->count; i++) {
        fp += roc->points[i].impostor * i;
        tp += roc->points[i].genuine * i;
    }
    if (fscanf(file, " sums %lld %lld", &a, &b) == 2) {
        assert_int_equal(fp, a);
        assert_int_equal(tp, b);
        return;
    }
    for (int64_t i = 0; i < roc->count; i++) {
        assert_int_equal(fscanf(file, "%lld/%lld", &a, &b), 2);
        assert_int_equal(roc->points[i].impostor, a);
        assert_int_equal(roc->points[i].genuine, b);
    }
}

/* The curve of weighted pairs and the one of sorted lists (eval/rates.h) know one equal error rate.
 */
static void expect_same_eer(const double *scores, const bool *same, int64_t count, double eer)
{
    struct cask_error err = {0};
    struct cask_scores lists = {cask_alloc((size_t)count, sizeof(double)),
                                cask_alloc((size_t)count, sizeof(double)), 0, 0};
    for (int64_t i = 0; i < count; i++) {
        if (same[i]) {
            lists.genuine[lists.genuine_count++] = scores[i];
        } else {
            lists.impostor[lists.impostor_count++] = scores[i];
        }
    }
    assert_ok(cask_scores_sort(&lists, &err));
    assert_close(100 * cask_equal_error_rate(&lists).rate, eer, 1e-9);
    cask_scores_release(&lists);
}

static void curves_are_sklearns(void **state)
{
    (void)state;
    struct cask_error err = {0};
    FILE *file = open_expected("roc.txt");
    long long seed, count;
    int cases = 0;
    double grid, auc, eer;
    while (fscanf(file, " case %lld %lld %lf %lf", &seed, &count, &grid, &auc) == 4) {
        double *scores = cask_alloc((size_t)count, sizeof *scores);
        bool *same = cask_alloc((size_t)count, sizeof *same);
        int32_t *weights = cask_alloc((size_t)count, sizeof *weights);
        struct roc roc = {cask_alloc((size_t)count + 1, sizeof *roc.points), 0};
        struct roc_order order;
        for (uint64_t i = 0; i < (uint64_t)count; i++) {
            same[i] = cask_rng_below((uint64_t)seed, 1, i, 3) == 0;
            same[i] = i == 0 || (i != 1 && same[i]);
            double u = cask_rng_uniform((uint64_t)seed, 0, i) + 0.4 * same[i];
            scores[i] = floor(u * grid) / grid;
            weights[i] = 1;
        }
        assert_ok(roc_order_create(scores, count, &order, &err));
        roc_fill(&order, scores, same, weights, &roc);
        assert_close(100 * roc_auc(&roc), auc, 1e-9);
        expect_curve(file, &roc);
        double found = 100 * roc_eer(&roc);
        roc_drop_intermediate(&roc);
        expect_curve(file, &roc);
        assert_int_equal(fscanf(file, " eer %lf", &eer), 1);
        assert_close(found, eer, 1e-9);
        expect_same_eer(scores, same, count, eer);
        roc_order_release(&order);
        cask_free(roc.points);
        cask_free(weights);
        cask_free(same);
        cask_free(scores);
        cases++;
    }
    assert_int_equal(cases, 5);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_program_counts_as_described),
        cmocka_unit_test(curves_are_sklearns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
