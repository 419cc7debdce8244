/* eval/kfold_facexzoo.c - FaceX-Zoo's lfw_evaluator.py: cosines in float32, thresholds between the
 * smallest and the largest score of the other folds, chosen by TPR - FPR. */
#include <math.h>

#include "common/mem.h"
#include "eval/trial.h"

enum { THRESHOLDS = 1000 };

struct facexzoo_trial {
    struct trial base;
    double *score; /* [count]: cosines rounded to float32 */
};

/* Threshold j = 1..1000 stands at grid[j - 1]. */
static bool make_grid(const struct facexzoo_trial *t, const int32_t *weights, int64_t begin,
                      int64_t end, double grid[THRESHOLDS])
{
    double least = INFINITY, most = -INFINITY;
    for (int64_t i = 0; i < t->base.set.count; i++) {
        if (weights[i] > 0 && (i < begin || i >= end)) {
            least = fmin(least, t->score[i]);
            most = fmax(most, t->score[i]);
        }
    }
    double step = (most - least) / THRESHOLDS;
    for (int j = 0; j < THRESHOLDS; j++) {
        grid[j] = least + step * (j + 1);
    }
    return least <= most;
}

/* How many thresholds lie below the score: it is accepted by exactly those. */
static int below(const double grid[THRESHOLDS], double score)
{
    double span = grid[THRESHOLDS - 1] - grid[0];
    double guess = span > 0 ? (score - grid[0]) / span * (THRESHOLDS - 1) : 0;
    int j = guess > 0 ? (int)fmin(guess, THRESHOLDS) : 0;
    while (j > 0 && !(grid[j - 1] < score)) {
        j--;
    }
    while (j < THRESHOLDS && grid[j] < score) {
        j++;
    }
    return j;
}

/* The first threshold with the largest TPR - FPR outside [begin, end). */
static double best_threshold(const struct facexzoo_trial *t, const int32_t *weights, int64_t begin,
                             int64_t end)
{
    const struct trial_pairs *set = &t->base.set;
    double grid[THRESHOLDS], best = NAN, most = -INFINITY;
    int64_t genuine[THRESHOLDS + 1] = {0}, impostor[THRESHOLDS + 1] = {0};
    int64_t all_genuine = 0, all_impostor = 0;
    if (!make_grid(t, weights, begin, end, grid)) {
        return best;
    }
    for (int64_t i = 0; i < set->count; i++) {
        if (weights[i] > 0 && (i < begin || i >= end)) {
            int j = below(grid, t->score[i]);
            *(set->pairs[i].same ? &genuine[j] : &impostor[j]) += weights[i];
            *(set->pairs[i].same ? &all_genuine : &all_impostor) += weights[i];
        }
    }
    int64_t tp = all_genuine, fp = all_impostor;
    for (int j = 0; j < THRESHOLDS; j++) {
        tp -= genuine[j]; /* those with exactly j thresholds below are lost at threshold j + 1 */
        fp -= impostor[j];
        double tpr = all_genuine > 0 ? (double)tp / (double)all_genuine : 0;
        double fpr = all_impostor > 0 ? (double)fp / (double)all_impostor : 0;
        if (tpr - fpr > most) {
            most = tpr - fpr;
            best = grid[j];
        }
    }
    return best;
}

static void run(struct trial *trial, const int32_t *weights, struct cask_kfold *out, bool *right)
{
    struct facexzoo_trial *t = (struct facexzoo_trial *)trial;
    const struct trial_pairs *set = &trial->set;
    out->folds = set->folds;
    for (int f = 0; f < set->folds; f++) {
        int64_t begin = fold_begin(set->count, set->folds, f);
        int64_t end = fold_begin(set->count, set->folds, f + 1);
        out->fold_threshold[f] = best_threshold(t, weights, begin, end);
        out->fold_accuracy[f] =
            trial_fold_accuracy(set, f, t->score, out->fold_threshold[f], weights, right);
    }
    kfold_summary(out, true);
}

static void free_trial(struct trial *trial)
{
    cask_free(((struct facexzoo_trial *)trial)->score);
    trial_release(trial);
    cask_free(trial);
}

static enum cask_status create(const struct trial_pairs *set, double *rows, int64_t images, int dim,
                               struct trial **trial, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct facexzoo_trial *t = cask_alloc(1, sizeof *t);
    *trial = (struct trial *)t;
    if (t == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *t, "a trial"));
    }
    t->base = (struct trial){.kind = &trial_facexzoo, .set = *set};
    unit_rows(rows, images, dim);
    CASK_TRY(trial_score_pairs(&t->base, rows, dim, false, err));
    t->score = cask_alloc((size_t)set->count, sizeof *t->score);
    if (t->score == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)set->count * sizeof *t->score, "pair scores"));
    }
    for (int64_t i = 0; i < set->count; i++) {
        t->score[i] = (double)(float)t->base.cosine[i];
    }
done:
    return st;
}

const struct trial_kind trial_facexzoo = {
    "facexzoo",
    CASK_FLIP_NONE,
    "cos > t, t best in TPR - FPR of 1000 from min to max, ties wrong",
    "std is the standard error",
    create,
    run,
    free_trial,
};
