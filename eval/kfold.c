/* eval/kfold.c - insightface's and TFace's k-fold: squared distances against a grid of thresholds.
 */
#include <math.h>

#include "common/mem.h"
#include "eval/trial.h"

enum { THRESHOLDS = 400 };
static const double step = 0.01;

struct kfold_trial {
    struct trial base;
    uint16_t *above;                /* [count]: first threshold above the pair's distance */
    int64_t (*correct)[THRESHOLDS]; /* [folds]: pairs that threshold k calls right */
    int64_t *held;                  /* [folds]: pairs, by weight */
};

int first_threshold_above(double d, double step_, int count)
{
    double guess = d / step_;
    int k = guess > 0 && guess < count ? (int)guess : 0;
    while (k > 0 && d < step_ * (k - 1)) {
        k--;
    }
    while (k < count && !(d < step_ * k)) {
        k++;
    }
    return k;
}

static void count_fold(struct kfold_trial *t, const int32_t *weights, int fold)
{
    const struct trial_pairs *set = &t->base.set;
    int64_t begin = fold_begin(set->count, set->folds, fold);
    int64_t end = fold_begin(set->count, set->folds, fold + 1);
    int64_t starts_same[THRESHOLDS + 1] = {0}, starts_other[THRESHOLDS + 1] = {0};
    int64_t called_same = 0, other = 0, same = 0;
    for (int64_t i = begin; i < end; i++) {
        bool genuine = set->pairs[i].same;
        *(genuine ? &starts_same[t->above[i]] : &starts_other[t->above[i]]) += weights[i];
        *(genuine ? &same : &other) += weights[i];
    }
    t->held[fold] = same + other;
    for (int k = 0; k < THRESHOLDS; k++) {
        called_same += starts_same[k];
        other -= starts_other[k];
        t->correct[fold][k] = called_same + other;
    }
}

/* The first of the thresholds that are right most often outside the fold. */
static int best_threshold(const struct kfold_trial *t, const int64_t total[THRESHOLDS],
                          int left_out)
{
    int best = 0;
    int64_t most = -1;
    for (int k = 0; k < THRESHOLDS; k++) {
        int64_t sum = total[k] - t->correct[left_out][k];
        if (sum > most) {
            most = sum;
            best = k;
        }
    }
    return best;
}

static void run(struct trial *trial, const int32_t *weights, struct cask_kfold *out, bool *right)
{
    struct kfold_trial *t = (struct kfold_trial *)trial;
    const struct trial_pairs *set = &trial->set;
    int64_t total[THRESHOLDS] = {0};
    for (int f = 0; f < set->folds; f++) {
        count_fold(t, weights, f);
        for (int k = 0; k < THRESHOLDS; k++) {
            total[k] += t->correct[f][k];
        }
    }
    out->folds = set->folds;
    for (int f = 0; f < set->folds; f++) {
        int k = best_threshold(t, total, f);
        out->fold_threshold[f] = step * k;
        out->fold_accuracy[f] =
            t->held[f] > 0 ? 100.0 * (double)t->correct[f][k] / (double)t->held[f] : (double)NAN;
        int64_t end = fold_begin(set->count, set->folds, f + 1);
        for (int64_t i = fold_begin(set->count, set->folds, f); right != NULL && i < end; i++) {
            right[i] = (t->above[i] <= k) == set->pairs[i].same;
        }
    }
    kfold_summary(out, false);
}

static void free_trial(struct trial *trial)
{
    struct kfold_trial *t = (struct kfold_trial *)trial;
    cask_free(t->above);
    cask_free(t->correct);
    cask_free(t->held);
    trial_release(trial);
    cask_free(t);
}

/* distances: [count]; NULL: those of `rows`, which have unit length. */
static enum cask_status make(const struct trial_kind *kind, const struct trial_pairs *set,
                             const double *rows, int dim, const double *distances,
                             struct kfold_trial **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = (size_t)set->count, folds = (size_t)set->folds;
    struct kfold_trial *t = cask_alloc(1, sizeof *t);
    *out = t;
    if (t == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *t, "a trial"));
    }
    t->base = (struct trial){.kind = kind, .set = *set};
    t->above = cask_alloc(count, sizeof *t->above);
    t->correct = cask_alloc(folds, sizeof *t->correct);
    t->held = cask_alloc(folds, sizeof *t->held);
    if (t->above == NULL || t->correct == NULL || t->held == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *t->above + folds * sizeof *t->correct,
                                   "fold counts"));
    }
    if (distances == NULL) {
        CASK_TRY(trial_score_pairs(&t->base, rows, dim, true, err));
        distances = t->base.distance;
    }
    for (size_t i = 0; i < count; i++) {
        t->above[i] = (uint16_t)first_threshold_above(distances[i], step, THRESHOLDS);
    }
done:
    return st;
}

static enum cask_status create(const struct trial_pairs *set, double *rows, int64_t images, int dim,
                               struct trial **trial, struct cask_error *err)
{
    struct kfold_trial *t = NULL;
    unit_rows(rows, images, dim);
    enum cask_status st = make(&trial_insightface, set, rows, dim, NULL, &t, err);
    *trial = (struct trial *)t;
    return st;
}

/* torch.norm and torch.div of a float32 tensor. How torch orders that sum is not told, so here the
 * root is of the exact sum. */
static enum cask_status create_float(const struct trial_pairs *set, double *rows, int64_t images,
                                     int dim, struct trial **trial, struct cask_error *err)
{
    struct kfold_trial *t = NULL;
    for (int64_t r = 0; r < images; r++) {
        double *row = rows + r * dim, squares = 0;
        for (int i = 0; i < dim; i++) {
            row[i] = (double)(float)row[i];
            squares += row[i] * row[i];
        }
        float norm = (float)sqrt(squares);
        for (int i = 0; i < dim && norm > 0; i++) {
            row[i] = (double)((float)row[i] / norm);
        }
    }
    enum cask_status st = make(&trial_tface, set, rows, dim, NULL, &t, err);
    *trial = (struct trial *)t;
    return st;
}

const struct trial_kind trial_insightface = {
    "insightface", CASK_FLIP_SUM, "d^2 < t (0.01 steps)", "", create, run, free_trial};
const struct trial_kind trial_tface = {
    "tface", CASK_FLIP_SUM, "d^2 < t (0.01 steps), float32 rows", "", create_float,
    run,     free_trial};

enum cask_status cask_verify_kfold(const double *distances, const bool *same, int64_t count,
                                   int folds, struct cask_kfold *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct kfold_trial *t = NULL;
    struct cask_pair *pairs = NULL;
    int32_t *weights = NULL;
    CASK_TRY(fold_check(count, folds, err));
    pairs = cask_alloc((size_t)count, sizeof *pairs);
    weights = cask_alloc((size_t)count, sizeof *weights);
    if (pairs == NULL || weights == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *pairs, "pairs"));
    }
    for (int64_t i = 0; i < count; i++) {
        pairs[i].same = same[i];
        weights[i] = 1;
    }
    struct trial_pairs set = {pairs, count, folds, weights};
    CASK_TRY(make(&trial_insightface, &set, NULL, 0, distances, &t, err));
    *out = (struct cask_kfold){0};
    run(&t->base, weights, out, NULL);
done:
    if (t != NULL) {
        free_trial(&t->base);
    }
    cask_free(pairs);
    cask_free(weights);
    return st;
}
