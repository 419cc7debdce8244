/* IJB against numpy and scikit-learn: pooling under all switches, both rules of TPR at FPR, and
 * search in two galleries; see make_protocols.py. Counts are equal to the last one. */
#include "tests/support/test.h"

#include "common/mem.h"
#include "common/rng.h"
#include "eval/ijb.h"
#include "eval/ijb_draws.h"

enum { DIM = 24, SUBJECTS = 40, IMAGES = 420, TEMPLATES = 110 };
static const double targets[6] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};

static const char *golden(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, 512, "%s/tests/golden/protocols/%s", getenv("CASK_SOURCE"), name);
    return path;
}

static double centred(uint64_t stream, int64_t counter)
{
    return cask_rng_uniform(7, stream, (uint64_t)counter) - 0.5;
}

/* The embeddings that make_protocols.py draws. */
static float *draw_rows(void)
{
    float *rows = cask_alloc(IMAGES * 2 * DIM, sizeof *rows);
    for (int i = 0; i < IMAGES; i++) {
        int t = i < TEMPLATES ? i : (int)cask_rng_below(7, 0, (uint64_t)i, TEMPLATES);
        int subject = t < SUBJECTS ? t : (int)cask_rng_below(7, 1, (uint64_t)t, SUBJECTS);
        double length = 1 + 3 * cask_rng_uniform(7, 5, (uint64_t)i);
        for (int d = 0; d < 2 * DIM; d++) {
            double centre = centred(4, subject * DIM + d % DIM);
            double noise = centred(6, i * 2 * DIM + d);
            rows[i * 2 * DIM + d] = i == 17 ? 0 : (float)((centre + 1.9 * noise) * length);
        }
    }
    return rows;
}

static int64_t next_count(FILE *file)
{
    long long value;
    assert_int_equal(fscanf(file, "%lld", &value), 1);
    return value;
}

static void expect_11(FILE *file, const struct cask_ijb *set, const struct cask_ijb_templates *t,
                      int threads)
{
    struct cask_error err = {0};
    struct cask_scores scores;
    struct cask_ijb_pairs found;
    struct cask_rate rates[6];
    assert_ok(cask_ijb_score(set, golden("ijb/template_pair_label.txt"), t, threads, &scores,
                             &found, NULL, &err));
    assert_int_equal(found.duplicates, 2);
    assert_int_equal(found.first_duplicate, found.pairs - 1);
    assert_int_equal(found.empty, 0);
    assert_ok(cask_scores_sort(&scores, &err));
    for (int drop = 1; drop >= 0; drop--) {
        cask_rates_nearest(&scores, drop, targets, 6, rates);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(rates[i].genuine, next_count(file));
            assert_int_equal(rates[i].impostors, next_count(file));
        }
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(cask_rate_strict(&scores, targets[i]).genuine, next_count(file));
    }
    cask_scores_release(&scores);
}

static void expect_1n(FILE *file, const struct cask_ijb *set, const struct cask_ijb_templates *t,
                      const char *gallery_name, int threads)
{
    struct cask_error err = {0};
    struct cask_ijb_people gallery, probes;
    struct cask_ijb_identification got;
    assert_ok(cask_ijb_people_read(set, golden(gallery_name), true, &gallery, &err));
    assert_ok(cask_ijb_people_read(set, golden("ijb/probe_mixed.csv"), false, &probes, &err));
    assert_ok(cask_ijb_identify(t, &gallery, &probes, threads, &got, NULL, &err));
    assert_int_equal(got.gallery, next_count(file));
    assert_int_equal(got.probes, next_count(file));
    assert_int_equal(got.mated, next_count(file));
    assert_int_equal(got.nonmated, next_count(file));
    for (int k = 0; k < CASK_IJB_RANKS; k++) {
        assert_int_equal(got.hits[k], next_count(file));
    }
    for (int f = 0; f < CASK_IJB_FPIRS; f++) {
        assert_int_equal(got.accepted[f], next_count(file));
    }
    assert_true(got.accepted[1] > 0 && got.hits[0] < got.mated);
    cask_ijb_people_release(&gallery);
    cask_ijb_people_release(&probes);
}

static void all_switches(void **state)
{
    struct cask_error err = {0};
    struct cask_ijb set;
    float *rows = draw_rows();
    struct cask_rows_array array = {rows, 2 * DIM};
    struct cask_rows source = cask_rows_of_array(&array, IMAGES);
    char name[8];
    int cases = 0;
    (void)state;
    assert_ok(cask_ijb_open(golden("ijb/face_tid_mid.txt"), golden("ijb/name_5pts_score.txt"), &set,
                            &err));
    assert_int_equal(set.images, IMAGES);
    assert_int_equal(set.templates, TEMPLATES);
    FILE *file = fopen(golden("ijb.txt"), "r");
    assert_non_null(file);
    for (; fscanf(file, "%7s", name) == 1; cases++) {
        struct cask_ijb_templates t;
        struct cask_ijb_switches switches = {name[0] == '1', name[1] == '1', name[2] == '1'};
        int threads = 1 + cases % 3;
        assert_ok(cask_ijb_pool(&set, &source, 2, switches, threads, &t, &err));
        assert_int_equal(t.zero_images, 1);
        assert_string_equal(t.first_zero, "18.jpg");
        assert_int_equal(t.empty_templates, 0);
        expect_11(file, &set, &t, threads);
        expect_1n(file, &set, &t, "ijb/gallery_G1.csv", threads);
        expect_1n(file, &set, &t, "ijb/gallery_G2.csv", threads);
        cask_ijb_templates_release(&t);
    }
    assert_int_equal(cases, 8);
    fclose(file);
    cask_ijb_close(&set);
    cask_free(rows);
}

/* Every number of every draw against the rates of pairs that were repeated one by one. */
static void expect_draws(const char *name, const struct ijb_draws *draws, int draw, FILE *file)
{
    for (int n = 0; n < draws->numbers; n++) {
        double want, got = draws->values[n * draws->draws + draw];
        assert_int_equal(fscanf(file, "%lf", &want), 1);
        if (!(fabs(got - want) <= 1e-6)) {
            fail_msg("%s: draw %d, number %d: %.10g, expected %.10g", name, draw, n, got, want);
        }
    }
}

static void draw_templates(const struct cask_ijb *set, const struct cask_ijb_templates *t,
                           int threads, struct ijb_draws *pairs, struct ijb_draws *search)
{
    struct cask_error err = {0};
    struct cask_scores scores;
    struct cask_ijb_pairs found;
    struct cask_ijb_sides sides;
    struct cask_ijb_people probes, gallery;
    struct cask_ijb_identification got;
    struct cask_ijb_outcome *outcomes[2];
    *pairs = *search = (struct ijb_draws){.draws = 140, .threads = threads, .seed = 3};
    assert_ok(cask_ijb_score(set, golden("ijb/template_pair_label.txt"), t, threads, &scores,
                             &found, &sides, &err));
    assert_ok(ijb_draws_verify(&scores, &sides, set->templates, targets, 6, pairs, &err));
    cask_ijb_sides_release(&sides);
    cask_scores_release(&scores);
    assert_ok(cask_ijb_people_read(set, golden("ijb/probe_mixed.csv"), false, &probes, &err));
    for (int g = 0; g < 2; g++) {
        outcomes[g] = cask_alloc((size_t)probes.count, sizeof *outcomes[g]);
        assert_ok(cask_ijb_people_read(set,
                                       golden(g == 0 ? "ijb/gallery_G1.csv" : "ijb/gallery_G2.csv"),
                                       true, &gallery, &err));
        assert_ok(cask_ijb_identify(t, &gallery, &probes, threads, &got, outcomes[g], &err));
        cask_ijb_people_release(&gallery);
    }
    assert_ok(ijb_draws_search(&probes, outcomes, 2, search, &err));
    cask_free(outcomes[0]);
    cask_free(outcomes[1]);
    cask_ijb_people_release(&probes);
}

static void all_draws(void **state)
{
    struct cask_error err = {0};
    struct cask_ijb set;
    float *rows = draw_rows();
    struct cask_rows_array array = {rows, 2 * DIM};
    struct cask_rows source = cask_rows_of_array(&array, IMAGES);
    FILE *file = fopen(golden("ijb_draws.txt"), "r");
    (void)state;
    assert_non_null(file);
    assert_ok(cask_ijb_open(golden("ijb/face_tid_mid.txt"), golden("ijb/name_5pts_score.txt"), &set,
                            &err));
    for (int variant = 0; variant < 2; variant++) {
        struct cask_ijb_templates t;
        struct ijb_draws pairs, search;
        bool on = variant == 1;
        assert_ok(
            cask_ijb_pool(&set, &source, 2, (struct cask_ijb_switches){on, on, on}, 1, &t, &err));
        draw_templates(&set, &t, 1 + variant, &pairs, &search);
        for (int d = 0, bits, draw; d < 12; d++) {
            assert_int_equal(fscanf(file, "%d %d", &bits, &draw), 2);
            assert_true(draw == d && bits == 7 * variant);
            expect_draws("1:1", &pairs, d, file);
            expect_draws("1:N", &search, d, file);
        }
        ijb_draws_release(&pairs);
        ijb_draws_release(&search);
        cask_ijb_templates_release(&t);
    }
    fclose(file);
    cask_ijb_close(&set);
    cask_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_switches), cmocka_unit_test(all_draws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
