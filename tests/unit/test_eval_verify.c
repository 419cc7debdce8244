/* Ties, folds, people, draws, intervals and paired tests of verification, against literal readings
 * of the protocols and numbers worked out by hand. */
#include "common/mem.h"
#include "common/rng.h"
#include "eval/persons.h"
#include "eval/resample.h"
#include "eval/roc.h"
#include "eval/trial.h"
#include "eval/views.h"
#include "tests/support/test.h"

enum { PAIRS = 60, DIM = 2 };

/* Pairs of unit vectors along the axes: cosines are exactly -1, 0 and 1, so ties are many. */
struct lattice {
    struct cask_pair pairs[PAIRS];
    int32_t weights[PAIRS];
    double rows[2 * PAIRS * DIM];
    struct trial_pairs set;
};

static void draw_lattice(struct lattice *l, uint64_t seed, int folds)
{
    static const double axes[4][DIM] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    for (uint64_t i = 0; i < PAIRS; i++) {
        l->pairs[i] = (struct cask_pair){(int64_t)(2 * i), (int64_t)(2 * i + 1),
                                         cask_rng_below(seed, 0, i, 2) == 1};
        l->weights[i] = 1;
        uint64_t a = cask_rng_below(seed, 1, i, 4), b = cask_rng_below(seed, 2, i, 4);
        b = l->pairs[i].same && cask_rng_below(seed, 3, i, 3) > 0 ? a : b;
        memcpy(l->rows + 4 * i, axes[a], sizeof axes[a]);
        memcpy(l->rows + 4 * i + 2, axes[b], sizeof axes[b]);
    }
    l->set = (struct trial_pairs){l->pairs, PAIRS, folds, l->weights};
}

/* getThreshold of FaceX-Zoo, word by word; then the fold at that threshold, ties wrong. */
static double facexzoo_fold(const struct lattice *l, const double *score, int64_t begin,
                            int64_t end)
{
    double least = INFINITY, most = -INFINITY, best = -INFINITY, threshold = NAN;
    for (int64_t i = 0; i < PAIRS; i++) {
        if (i < begin || i >= end) {
            least = fmin(least, score[i]);
            most = fmax(most, score[i]);
        }
    }
    for (int j = 1; j <= 1000; j++) {
        double t = least + (most - least) / 1000 * j;
        int64_t tp = 0, fp = 0, genuine = 0, impostor = 0;
        for (int64_t i = 0; i < PAIRS; i++) {
            if (i < begin || i >= end) {
                *(l->pairs[i].same ? &genuine : &impostor) += 1;
                *(l->pairs[i].same ? &tp : &fp) += score[i] > t;
            }
        }
        double gain = (double)tp / (double)genuine - (double)fp / (double)impostor;
        if (gain > best) {
            best = gain;
            threshold = t;
        }
    }
    int64_t right = 0;
    for (int64_t i = begin; i < end; i++) {
        right += l->pairs[i].same ? score[i] > threshold : score[i] < threshold;
    }
    return 100.0 * (double)right / (double)(end - begin);
}

static void facexzoo_calls_ties_wrong(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct lattice l;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct trial *trial = NULL;
        struct cask_kfold got;
        double score[PAIRS], mean = 0, squares = 0;
        int folds = seed % 2 ? 7 : 10;
        draw_lattice(&l, seed, folds);
        for (int i = 0; i < PAIRS; i++) {
            const double *r = l.rows + 4 * i;
            score[i] = r[0] * r[2] + r[1] * r[3];
        }
        assert_ok(trial_facexzoo.create(&l.set, l.rows, 2 * PAIRS, DIM, &trial, &err));
        trial_facexzoo.run(trial, l.weights, &got, NULL);
        for (int f = 0; f < folds; f++) {
            double want = facexzoo_fold(&l, score, fold_begin(PAIRS, folds, f),
                                        fold_begin(PAIRS, folds, f + 1));
            assert_close(got.fold_accuracy[f], want, 0);
            mean += want / folds;
        }
        for (int f = 0; f < folds; f++) {
            squares += (got.fold_accuracy[f] - mean) * (got.fold_accuracy[f] - mean);
        }
        assert_close(got.accuracy, mean, 1e-10);
        assert_close(got.std, sqrt(squares / (folds - 1)) / sqrt(folds), 1e-10);
        trial_facexzoo.free(trial);
    }
}

/* getThreshold of lfw_eval.py over scores that are given. */
static double xiaoccer_fold(const struct lattice *l, const double *score, int64_t begin,
                            int64_t end)
{
    int64_t most = -1, sum = 0, count = 0, right = 0;
    for (int j = -10000; j <= 10000; j++) {
        double t = j / 10000.0;
        int64_t correct = 0;
        for (int64_t i = 0; i < PAIRS; i++) {
            if (i < begin || i >= end) {
                correct += l->pairs[i].same ? score[i] > t : score[i] < t;
            }
        }
        if (correct > most) {
            most = correct;
            sum = count = 0;
        }
        sum += correct == most ? j : 0;
        count += correct == most;
    }
    double threshold = (double)sum / (double)count / 10000;
    for (int64_t i = begin; i < end; i++) {
        right += l->pairs[i].same ? score[i] > threshold : score[i] < threshold;
    }
    return 100.0 * (double)right / (double)(end - begin);
}

/* With as many rows of each direction in every fold the mean is zero, and scores stay on the grid.
 */
static void xiaoccer_calls_ties_wrong(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct lattice l;
    enum { FOLDS = 5 };
    static const double turns[4][4] = {{1, 0, 1, 0}, {-1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, -1, 0}};
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct trial *trial = NULL;
        struct cask_kfold got;
        double score[PAIRS];
        draw_lattice(&l, seed, FOLDS);
        for (int i = 0; i < PAIRS; i++) { /* 12 pairs a fold: three turns of four */
            memcpy(l.rows + 4 * i, turns[i % 4], sizeof turns[0]);
            score[i] = i % 4 < 2 ? 1 : 0;
        }
        assert_ok(trial_xiaoccer.create(&l.set, l.rows, 2 * PAIRS, DIM, &trial, &err));
        trial_xiaoccer.run(trial, l.weights, &got, NULL);
        for (int f = 0; f < FOLDS; f++) {
            assert_close(got.fold_accuracy[f], xiaoccer_fold(&l, score, 12 * f, 12 * f + 12), 0);
        }
        trial_xiaoccer.free(trial);
    }
}

/* Weight 2 is the pair twice, weight 0 is the pair left out, in every protocol. */
static void weights_count_as_repeats(void **state)
{
    (void)state;
    static const struct trial_kind *const kinds[] = {&trial_insightface, &trial_facexzoo,
                                                     &trial_tface};
    struct cask_error err = {0};
    enum { HALF = PAIRS / 2 };
    for (size_t k = 0; k < 3; k++) {
        struct lattice once, twice;
        struct trial *a = NULL, *b = NULL;
        struct cask_kfold got, want;
        draw_lattice(&once, 5, 2);
        twice = once;
        twice.set = (struct trial_pairs){twice.pairs, PAIRS, 2, twice.weights};
        for (int i = 0; i < PAIRS; i++) { /* both folds: even pairs twice, odd ones not at all */
            once.weights[i] = i % 2 == 0 ? 2 : 0;
            int from = i % 2 == 0 ? i : i - 1;
            twice.pairs[i].same = once.pairs[from].same;
            memcpy(twice.rows + 4 * i, once.rows + 4 * from, 4 * sizeof(double));
        }
        assert_ok(kinds[k]->create(&once.set, once.rows, 2 * PAIRS, DIM, &a, &err));
        assert_ok(kinds[k]->create(&twice.set, twice.rows, 2 * PAIRS, DIM, &b, &err));
        kinds[k]->run(a, once.weights, &got, NULL);
        kinds[k]->run(b, twice.weights, &want, NULL);
        for (int f = 0; f < 2; f++) {
            assert_close(got.fold_accuracy[f], want.fold_accuracy[f], 0);
            assert_close(got.fold_threshold[f], want.fold_threshold[f], 0);
        }
        kinds[k]->free(a);
        kinds[k]->free(b);
    }
}

/* --- sets from text --- */

static struct cask_pairs *open_csv(const char *text)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    char folder[256], path[300];
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/set.csv", folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    assert_ok(cask_pairs_open_text(path, NULL, &pairs, &err));
    test_remove_folder(folder);
    return pairs;
}

static void people_are_found_through_pairs_and_folders(void **state)
{
    (void)state;
    struct cask_error err = {0};
    static const struct {
        const char *text;
        int64_t persons, duplicates, conflicts, selves;
    } rows[] = {
        /* a-b-c one by pairs; d, e alone */
        {"a,b,1\nb,c,1\na,d,0\nc,e,0\n", 3, 0, 0, 0},
        /* folders agree with every pair: x of two images that no pair joins */
        {"x/1,x/2,1\ny/1,y/2,1\nx/3,y/1,0\nz/1,y/2,0\n", 3, 0, 0, 0},
        /* an impostor pair within a folder: folders say nothing */
        {"x/1,x/2,1\nx/3,x/1,0\n", 2, 0, 0, 0},
        /* both ways round, then with the other label; an image with itself */
        {"a,b,1\nb,a,1\na,b,0\na,c,0\nc,c,1\n", 2, 2, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cask_pairs *pairs = open_csv(rows[i].text);
        struct persons persons;
        assert_ok(persons_find(pairs, &persons, &err));
        assert_int_equal(persons.count, rows[i].persons);
        assert_int_equal(persons.duplicates, rows[i].duplicates);
        assert_int_equal(persons.conflicts, rows[i].conflicts);
        assert_int_equal(persons.selves, rows[i].selves);
        assert_int_equal(persons.first_duplicate, rows[i].duplicates > 0 ? 1 : -1);
        persons_release(&persons);
        cask_pairs_close(pairs);
    }
}

static void draws_move_people_together(void **state)
{
    (void)state;
    struct cask_error err = {0};
    enum { PEOPLE = 5, COUNT = 8 };
    static const struct cask_pair pairs[COUNT] = {{0, 0, true},  {1, 1, true},  {2, 2, true},
                                                  {3, 3, true},  {0, 1, false}, {1, 2, false},
                                                  {2, 3, false}, {3, 0, false}};
    static const int32_t base[COUNT] = {1, 1, 1, 1, 1, 1, 0, 1};
    static const int64_t person_of[PEOPLE] = {0, 1, 2, 3, 4};
    struct trial_pairs set = {pairs, COUNT, 2, base};
    struct resampler r = {.set = &set,
                          .kind = CASK_RESAMPLE_PERSONS,
                          .seed = 3,
                          .person_of = person_of,
                          .persons = PEOPLE};
    assert_ok(resampler_create(&r, &err));
    assert_int_equal(r.held, 4); /* the fifth is in no pair */
    int different = 0;
    for (int draw = 0; draw < 200; draw++) {
        int32_t w[COUNT], again[COUNT];
        resampler_draw(&r, draw, w);
        resampler_draw(&r, draw, again);
        assert_memory_equal(w, again, sizeof w);
        assert_int_equal(w[0] + w[1] + w[2] + w[3], 4);
        assert_int_equal(w[4], w[0] * w[1]);
        assert_int_equal(w[5], w[1] * w[2]);
        assert_int_equal(w[6], 0);
        assert_int_equal(w[7], w[3] * w[0]);
        different += memcmp(w, base, sizeof w) != 0;
    }
    assert_true(different > 150);
    resampler_release(&r);
    r = (struct resampler){.set = &set, .kind = CASK_RESAMPLE_PAIRS, .seed = 3};
    assert_ok(resampler_create(&r, &err));
    for (int draw = 0; draw < 50; draw++) {
        int32_t w[COUNT];
        resampler_draw(&r, draw, w);
        assert_int_equal(w[0] + w[1] + w[2] + w[3], 4); /* folds keep their sizes */
        assert_int_equal(w[4] + w[5] + w[7], 3);
        assert_int_equal(w[6], 0);
    }
    resampler_release(&r);
}

static void intervals_are_percentiles_or_exact(void **state)
{
    (void)state;
    double values[43];
    for (int i = 0; i < 43; i++) {
        values[(i * 19) % 43] = i < 41 ? i : (double)NAN; /* 0..40 and two that say nothing */
    }
    struct cask_interval i = percentiles(values, 43);
    assert_close(i.low, 1, 1e-12);
    assert_close(i.high, 39, 1e-12);
    assert_true(isnan(percentiles(values, 0).low));
    /* Clopper and Pearson's table: 20 of 20 is 0.8316 to 1 */
    i = exact_bound(1, 20);
    assert_close(i.low, 0.8316, 5e-5);
    assert_close(i.high, 1, 0);
    i = exact_bound(0, 20);
    assert_close(i.low, 0, 0);
    assert_close(i.high, 0.1684, 5e-5);
}

/* --- whole sets --- */

enum { SET = 400, WIDTH = 6 };

/* Genuine pairs lie near one another as far as `noise` lets them. Two rows a pair. */
static void draw_views(uint64_t seed, double noise, struct cask_views *views)
{
    struct cask_error err = {0};
    assert_ok(views_create(2 * SET, WIDTH, true, views, &err));
    for (uint64_t r = 0; r < 2 * SET; r++) {
        uint64_t person = r / 2 % 2 == 0 ? r / 2 * 2 : r;
        for (uint64_t i = 0; i < WIDTH; i++) {
            double x = cask_rng_uniform(1, 0, person * WIDTH + i) - 0.5;
            double y = noise * (cask_rng_uniform(seed, 1, r * WIDTH + i) - 0.5);
            views->view[0][r * WIDTH + i] = (float)(x + y);
            views->view[1][r * WIDTH + i] = (float)(x - 0.5 * y);
        }
    }
}

static struct cask_pairs *open_set(void)
{
    char *text = cask_alloc(SET * 16 + 1, 1);
    for (int i = 0, at = 0; i < SET; i++) {
        at += snprintf(text + at, 16, "%d,%d,%d\n", 2 * i, 2 * i + 1, i % 2 == 0);
    }
    struct cask_pairs *pairs = open_csv(text);
    cask_free(text);
    return pairs;
}

static struct cask_verify_options all_protocols(int draws)
{
    struct cask_verify_options options = cask_verify_default();
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        options.protocols[p] = true;
    }
    options.flip = CASK_FLIP_PROTOCOL;
    options.draws = draws;
    return options;
}

/* 400 pairs of 600 people that meet once: the interval of independent pairs is the binomial one,
 * and that of people holds it and is at most twice as wide. */
static void intervals_have_the_width_they_should(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs = open_set();
    struct cask_views views;
    static struct cask_set_result result[2];
    draw_views(2, 1.7, &views);
    struct cask_verify_options options = all_protocols(400);
    options.resample = CASK_RESAMPLE_PAIRS;
    assert_ok(cask_verify(pairs, &views, NULL, &options, &result[0], NULL, &err));
    options.resample = CASK_RESAMPLE_PERSONS;
    assert_ok(cask_verify(pairs, &views, NULL, &options, &result[1], NULL, &err));
    for (int p = 0; p < CASK_PROTOCOLS; p++) {
        double share = result[0].protocols[p].kfold.accuracy / 100;
        double binomial = 2 * 1.96 * 100 * sqrt(share * (1 - share) / SET);
        struct cask_interval narrow = result[0].protocols[p].accuracy_interval;
        struct cask_interval wide = result[1].protocols[p].accuracy_interval;
        assert_true(share > 0.6 && share < 0.99);
        assert_close((narrow.high - narrow.low) / binomial, 1, 0.35);
        assert_true(wide.high - wide.low > 0.9 * (narrow.high - narrow.low));
        assert_true(wide.high - wide.low < 2 * (narrow.high - narrow.low));
    }
    assert_int_equal(result[1].persons, 600);
    assert_true(result[1].eer_interval.low < result[1].eer &&
                result[1].eer < result[1].eer_interval.high);
    cask_views_release(&views);
    cask_pairs_close(pairs);
}

static void nothing_wrong_is_not_certainty(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs = open_set();
    struct cask_views views;
    static struct cask_set_result result;
    draw_views(2, 0.0, &views);
    struct cask_verify_options options = cask_verify_default();
    options.draws = 100;
    assert_ok(cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    if (result.kfold.accuracy == 100) {
        assert_close(result.protocols[0].accuracy_interval.low, 100 * pow(0.025, 1.0 / SET), 1e-9);
        assert_close(result.protocols[0].accuracy_interval.high, 100, 0);
    } else {
        assert_true(result.protocols[0].accuracy_interval.low < result.kfold.accuracy);
    }
    int64_t genuine = 0, impostor = 0;
    for (int b = 0; b < CASK_HISTOGRAM_BINS; b++) {
        genuine += result.histogram_genuine[b];
        impostor += result.histogram_impostor[b];
    }
    assert_int_equal(genuine, SET / 2);
    assert_int_equal(impostor, SET / 2);
    assert_int_equal(result.histogram_genuine[CASK_HISTOGRAM_BINS - 1], SET / 2);
    assert_true(result.roc_count >= 2 && result.roc_fpr[0] == 0 && result.roc_tpr[0] == 0);
    assert_true(result.roc_fpr[result.roc_count - 1] == 1 &&
                result.roc_tpr[result.roc_count - 1] == 1);
    cask_views_release(&views);
    cask_pairs_close(pairs);
}

static void a_better_model_is_told_from_a_worse_one(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs = open_set();
    struct cask_views views[2];
    struct cask_verification *kept[2];
    static struct cask_set_result result[2];
    struct cask_paired paired[CASK_PROTOCOLS];
    int count = 0;
    struct cask_verify_options options = all_protocols(200);
    draw_views(2, 1.0, &views[0]);
    draw_views(3, 3.0, &views[1]);
    for (int s = 0; s < 2; s++) {
        assert_ok(
            cask_verify(pairs, &views[s], &views[1 - s], &options, &result[s], &kept[s], &err));
    }
    assert_ok(cask_verify_paired(kept[0], kept[1], paired, &count, &err));
    assert_int_equal(count, CASK_PROTOCOLS);
    for (int p = 0; p < count; p++) {
        assert_close(paired[p].a, result[0].protocols[p].kfold.accuracy, 0);
        assert_close(paired[p].b, result[1].protocols[p].kfold.accuracy, 0);
        assert_int_equal(
            paired[p].both_right + paired[p].only_a + paired[p].only_b + paired[p].both_wrong, SET);
        /* folds of one size: accuracies are shares of all pairs */
        assert_close(paired[p].difference,
                     100.0 * (double)(paired[p].only_a - paired[p].only_b) / SET, 1e-9);
        assert_true(paired[p].interval.low > 0 && paired[p].mcnemar < 1e-3);
        assert_true(paired[p].bootstrap < 0.02);
    }
    assert_ok(cask_verify_paired(kept[0], kept[0], paired, &count, &err));
    assert_true(paired[0].only_a == 0 && paired[0].mcnemar == 1 && paired[0].bootstrap == 1);
    for (int s = 0; s < 2; s++) {
        cask_verification_free(kept[s]);
        cask_views_release(&views[s]);
    }
    cask_verification_free(NULL);
    cask_pairs_close(pairs);
}

static void bad_images_are_an_error_or_told(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs = open_set();
    struct cask_views views, other;
    static struct cask_set_result result;
    draw_views(2, 1.0, &views);
    draw_views(2, 1.0, &other);
    memset(views.view[0] + 6 * WIDTH, 0, WIDTH * sizeof(float)); /* row 6: pair 3 */
    views.view[1][9 * WIDTH] = INFINITY;                         /* row 9: pair 4 */
    views_check(&views, pairs);
    assert_int_equal(views.bad_count, 2);
    assert_true(views.view[0][9 * WIDTH] == 0); /* the whole image is out */
    struct cask_verify_options options = cask_verify_default();
    options.draws = 0;
    assert_refused(CASK_ERR_FORMAT, "6: expected finite numbers that are not all zero",
                   cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    assert_refused(CASK_ERR_FORMAT, "and 1 more images",
                   cask_verify(pairs, &other, &views, &options, &result, NULL, &err));
    options.exclude_bad = true;
    assert_ok(cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    assert_true(result.pairs == SET - 2 && result.bad_pairs == 2 && result.bad_images == 2);
    assert_true(result.genuine == SET / 2 - 1 && result.impostor == SET / 2 - 1);
    assert_ok(cask_verify(pairs, &other, &views, &options, &result, NULL, &err));
    assert_int_equal(result.pairs, SET - 2); /* bad for the other model: out for both */
    options.folds = 100;
    for (int64_t i = 0; i < 8; i++) { /* the first fold of four pairs */
        views.bad[i] = true;
    }
    assert_refused(CASK_ERR_RANGE, "fold 1 of 100 holds no pair that counts",
                   cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    cask_views_release(&views);
    cask_views_release(&other);
    cask_pairs_close(pairs);
}

static void what_is_not_defined_is_nan(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs = open_csv("0,1,1\n2,3,1\n4,5,0\n6,7,0\n");
    struct cask_views views;
    static struct cask_set_result result;
    draw_views(2, 1.0, &views);
    views.images = 8;
    struct cask_verify_options options = cask_verify_default();
    options.folds = 2;
    options.draws = 0;
    assert_ok(cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    assert_true(
        isnan(result.protocols[0].val)); /* fold 1 has no impostor, fold 2 no genuine pair */
    assert_true(!isnan(result.auc) && isnan(result.auc_interval.low));
    struct cask_json *json = cask_report_json("m", &result, 1);
    const struct cask_json *set = cask_json_at(cask_json_get(json, "sets"), 0);
    const struct cask_json *one = cask_json_get(cask_json_get(set, "protocols"), "insightface");
    assert_int_equal(cask_json_kind(cask_json_get(one, "val")), CASK_JSON_NULL);
    assert_int_equal(cask_json_kind(cask_json_get(set, "accuracy_interval")), CASK_JSON_NULL);
    assert_int_equal(cask_json_size(cask_json_get(cask_json_get(set, "histogram"), "edges")),
                     CASK_HISTOGRAM_BINS + 1);
    cask_json_free(json);
    cask_free(views.view[1]);
    views.view[1] = NULL;
    assert_refused(CASK_ERR_RANGE, "--flip none",
                   cask_verify(pairs, &views, NULL, &options, &result, NULL, &err));
    cask_views_release(&views);
    cask_pairs_close(pairs);
}

static void a_thin_curve_keeps_its_ends(void **state)
{
    (void)state;
    enum { POINTS = 5000, MOST = 100 };
    struct roc_point *points = cask_alloc(POINTS, sizeof *points);
    double fpr[MOST], tpr[MOST];
    for (int i = 0; i < POINTS; i++) {
        points[i] = (struct roc_point){-i, i < 2500 ? 2 * i : 4999, i < 2500 ? i / 10 : i - 2250};
    }
    struct roc roc = {points, POINTS};
    int count = roc_thin(&roc, MOST, fpr, tpr);
    assert_true(count > MOST / 2 && count <= MOST);
    assert_true(fpr[0] == 0 && tpr[0] == 0 && fpr[count - 1] == 1 && tpr[count - 1] == 1);
    for (int i = 1; i < count; i++) {
        assert_true(fpr[i] >= fpr[i - 1] && tpr[i] >= tpr[i - 1]);
    }
    cask_free(points);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facexzoo_calls_ties_wrong),
        cmocka_unit_test(xiaoccer_calls_ties_wrong),
        cmocka_unit_test(weights_count_as_repeats),
        cmocka_unit_test(people_are_found_through_pairs_and_folders),
        cmocka_unit_test(draws_move_people_together),
        cmocka_unit_test(intervals_are_percentiles_or_exact),
        cmocka_unit_test(intervals_have_the_width_they_should),
        cmocka_unit_test(nothing_wrong_is_not_certainty),
        cmocka_unit_test(a_better_model_is_told_from_a_worse_one),
        cmocka_unit_test(bad_images_are_an_error_or_told),
        cmocka_unit_test(what_is_not_defined_is_nan),
        cmocka_unit_test(a_thin_curve_keeps_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
