/* eval/trial.c - what the protocols share: rows, scores, the summary over folds. */
#include "eval/trial.h"

#include <math.h>

#include "common/mem.h"

enum cask_status fold_check(int64_t count, int folds, struct cask_error *err)
{
    if (folds < 2 || folds > CASK_FOLDS_MAX || count < folds) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "verification: expected 2 to %d folds and at least one pair in each, "
                              "found %d folds and %lld pairs",
                              CASK_FOLDS_MAX, folds, (long long)count);
    }
    return CASK_OK;
}

void unit_rows(double *rows, int64_t count, int dim)
{
    for (int64_t r = 0; r < count; r++) {
        double *row = rows + r * dim, squares = 0;
        for (int i = 0; i < dim; i++) {
            squares += row[i] * row[i];
        }
        double scale = squares > 0 ? 1 / sqrt(squares) : 0;
        for (int i = 0; i < dim; i++) {
            row[i] *= scale;
        }
    }
}

enum cask_status trial_score_pairs(struct trial *trial, const double *rows, int dim,
                                   bool with_distance, struct cask_error *err)
{
    size_t count = (size_t)trial->set.count;
    trial->cosine = cask_alloc(count, sizeof *trial->cosine);
    trial->distance = with_distance ? cask_alloc(count, sizeof *trial->distance) : NULL;
    if (trial->cosine == NULL || (with_distance && trial->distance == NULL)) {
        return cask_error_memory(err, 2 * count * sizeof *trial->cosine, "pair scores");
    }
    for (size_t p = 0; p < count; p++) {
        const double *a = rows + trial->set.pairs[p].a * dim;
        const double *b = rows + trial->set.pairs[p].b * dim;
        double dot = 0, distance = 0;
        for (int i = 0; i < dim; i++) {
            dot += a[i] * b[i];
            distance += (a[i] - b[i]) * (a[i] - b[i]);
        }
        trial->cosine[p] = dot;
        if (with_distance) {
            trial->distance[p] = distance;
        }
    }
    return CASK_OK;
}

void trial_release(struct trial *trial)
{
    cask_free(trial->cosine);
    cask_free(trial->distance);
}

double trial_fold_accuracy(const struct trial_pairs *set, int fold, const double *score,
                           double threshold, const int32_t *weights, bool *right)
{
    int64_t end = fold_begin(set->count, set->folds, fold + 1), held = 0, correct = 0;
    for (int64_t i = fold_begin(set->count, set->folds, fold); i < end; i++) {
        bool good = set->pairs[i].same ? score[i] > threshold : score[i] < threshold;
        held += weights[i];
        correct += good ? weights[i] : 0;
        if (right != NULL) {
            right[i] = good;
        }
    }
    return held > 0 ? 100.0 * (double)correct / (double)held : (double)NAN;
}

void kfold_summary(struct cask_kfold *kfold, bool standard_error)
{
    double sum = 0, squares = 0;
    int held = 0;
    for (int f = 0; f < kfold->folds; f++) {
        if (!isnan(kfold->fold_accuracy[f])) {
            sum += kfold->fold_accuracy[f];
            held++;
        }
    }
    kfold->accuracy = held > 0 ? sum / held : (double)NAN;
    for (int f = 0; f < kfold->folds; f++) {
        double gap = kfold->fold_accuracy[f] - kfold->accuracy;
        squares += isnan(gap) ? 0 : gap * gap;
    }
    kfold->std = standard_error ? sqrt(squares / (held - 1)) / sqrt(held) : sqrt(squares / held);
}
