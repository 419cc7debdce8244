/* eval/kfold_xiaoccer.c - lfw_eval.py of Xiaoccer's MobileFaceNet_Pytorch: for each fold the mean
 * embedding of the other folds is taken off, and the threshold is the mean of all that are best.
 *
 * For other choices of pairs (the bootstrap) the mean embeddings stay those of the whole set.
 */
#include <math.h>

#include "common/mem.h"
#include "eval/trial.h"

enum { HALF = 10000, THRESHOLDS = 2 * HALF + 1 };

struct xiaoccer_trial {
    struct trial base;
    double *score;  /* [folds][count]: cosines as fold f's mean makes them */
    int16_t *below; /* [folds][count]: thresholds below the score, minus HALF */
    bool *tie;      /* [folds][count]: the score is a threshold */
    int64_t *gain;  /* [THRESHOLDS + 1]: scratch */
};

static double threshold_at(int j)
{
    return (double)(j - HALF) / HALF;
}

static int thresholds_below(double score)
{
    double guess = (score + 1) * HALF;
    int j = guess > 0 ? (int)fmin(guess, THRESHOLDS) : 0;
    while (j > 0 && !(threshold_at(j - 1) < score)) {
        j--;
    }
    while (j < THRESHOLDS && threshold_at(j) < score) {
        j++;
    }
    return j;
}

/* Over both sides of every pair outside the fold; an image counts as often as it is in pairs. */
static void mean_row(const struct trial_pairs *set, const double *rows, int dim, int fold,
                     double *mean)
{
    int64_t begin = fold_begin(set->count, set->folds, fold), held = 0;
    int64_t end = fold_begin(set->count, set->folds, fold + 1);
    for (int i = 0; i < dim; i++) {
        mean[i] = 0;
    }
    for (int64_t p = 0; p < set->count; p++) {
        if (set->weights[p] > 0 && (p < begin || p >= end)) {
            const double *a = rows + set->pairs[p].a * dim, *b = rows + set->pairs[p].b * dim;
            held += 2;
            for (int i = 0; i < dim; i++) {
                mean[i] += a[i] + b[i];
            }
        }
    }
    for (int i = 0; i < dim && held > 0; i++) {
        mean[i] /= (double)held;
    }
}

/* Cosines of the rows minus `mean`. */
static void score_fold(struct xiaoccer_trial *t, const double *rows, int dim, const double *mean,
                       int fold)
{
    const struct trial_pairs *set = &t->base.set;
    double *score = t->score + fold * set->count;
    for (int64_t p = 0; p < set->count; p++) {
        const double *a = rows + set->pairs[p].a * dim, *b = rows + set->pairs[p].b * dim;
        double dot = 0, aa = 0, bb = 0;
        for (int i = 0; i < dim; i++) {
            double x = a[i] - mean[i], y = b[i] - mean[i];
            dot += x * y;
            aa += x * x;
            bb += y * y;
        }
        score[p] = aa > 0 && bb > 0 ? dot / (sqrt(aa) * sqrt(bb)) : 0;
        int below = thresholds_below(score[p]);
        t->below[fold * set->count + p] = (int16_t)(below - HALF);
        t->tie[fold * set->count + p] = below < THRESHOLDS && threshold_at(below) == score[p];
    }
}

/* gain[j] - gain[j - 1] is what threshold j calls right more than the one before. */
static double best_threshold(struct xiaoccer_trial *t, const int32_t *weights, int fold)
{
    const struct trial_pairs *set = &t->base.set;
    int64_t begin = fold_begin(set->count, set->folds, fold), correct = 0, most = -1;
    int64_t end = fold_begin(set->count, set->folds, fold + 1), sum = 0, best = 0;
    const int16_t *below = t->below + fold * set->count;
    const bool *tie = t->tie + fold * set->count;
    for (int j = 0; j <= THRESHOLDS; j++) {
        t->gain[j] = 0;
    }
    for (int64_t p = 0; p < set->count; p++) {
        if (p >= begin && p < end) {
            continue;
        }
        if (set->pairs[p].same) { /* right at thresholds below the score */
            t->gain[0] += weights[p];
            t->gain[below[p] + HALF] -= weights[p];
        } else if (below[p] + HALF + tie[p] < THRESHOLDS) { /* right at those above it */
            t->gain[below[p] + HALF + tie[p]] += weights[p];
        }
    }
    for (int j = 0; j < THRESHOLDS; j++) {
        correct += t->gain[j];
        if (correct > most) {
            most = correct;
            sum = best = 0;
        }
        if (correct == most) {
            sum += j - HALF;
            best++;
        }
    }
    return (double)sum / (double)best / HALF;
}

static void run(struct trial *trial, const int32_t *weights, struct cask_kfold *out, bool *right)
{
    struct xiaoccer_trial *t = (struct xiaoccer_trial *)trial;
    const struct trial_pairs *set = &trial->set;
    out->folds = set->folds;
    for (int f = 0; f < set->folds; f++) {
        out->fold_threshold[f] = best_threshold(t, weights, f);
        out->fold_accuracy[f] = trial_fold_accuracy(set, f, t->score + f * set->count,
                                                    out->fold_threshold[f], weights, right);
    }
    kfold_summary(out, false);
}

static void free_trial(struct trial *trial)
{
    struct xiaoccer_trial *t = (struct xiaoccer_trial *)trial;
    cask_free(t->score);
    cask_free(t->below);
    cask_free(t->tie);
    cask_free(t->gain);
    trial_release(trial);
    cask_free(t);
}

static enum cask_status create(const struct trial_pairs *set, double *rows, int64_t images, int dim,
                               struct trial **trial, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t scores = (size_t)set->folds * (size_t)set->count;
    double *mean = cask_alloc((size_t)dim, sizeof *mean);
    struct xiaoccer_trial *t = cask_alloc(1, sizeof *t);
    *trial = (struct trial *)t;
    if (t == NULL || mean == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *t, "a trial"));
    }
    t->base = (struct trial){.kind = &trial_xiaoccer, .set = *set};
    t->score = cask_alloc(scores, sizeof *t->score);
    t->below = cask_alloc(scores, sizeof *t->below);
    t->tie = cask_alloc(scores, sizeof *t->tie);
    t->gain = cask_alloc(THRESHOLDS + 1, sizeof *t->gain);
    if (t->score == NULL || t->below == NULL || t->tie == NULL || t->gain == NULL) {
        CASK_TRY(cask_error_memory(err, scores * (sizeof *t->score + sizeof *t->below + 1),
                                   "the scores of every fold"));
    }
    for (int f = 0; f < set->folds; f++) {
        mean_row(set, rows, dim, f, mean);
        score_fold(t, rows, dim, mean, f);
    }
    unit_rows(rows, images, dim);
    CASK_TRY(trial_score_pairs(&t->base, rows, dim, false, err));
done:
    cask_free(mean);
    return st;
}

const struct trial_kind trial_xiaoccer = {
    "xiaoccer",
    CASK_FLIP_CONCAT,
    "minus the other folds' mean, cos > t (0.0001 steps), mean of the best t, ties wrong",
    "",
    create,
    run,
    free_trial,
};
