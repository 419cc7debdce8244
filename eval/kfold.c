#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "eval/eval.h"

enum { THRESHOLDS = 400 };

/* The first k in 0..399 whose threshold 0.01 k lies above d; 400: none does. The comparison is the
 * one that defines the protocol, so rounding of 0.01 k is the same everywhere. NaN is above every
 * threshold. */
static int first_threshold_above(double d)
{
    int k = d > 0 && d < 4 ? (int)(d * 100) : 0;
    while (k > 0 && d < 0.01 * (k - 1)) {
        k--;
    }
    while (k < THRESHOLDS && !(d < 0.01 * k)) {
        k++;
    }
    return k;
}

/* correct[k] for one fold: how many of its pairs threshold k calls right. */
static void count_correct(const double *distances, const bool *same, int64_t begin, int64_t end,
                          int64_t correct[THRESHOLDS])
{
    int64_t starts_same[THRESHOLDS + 1] = {0}, starts_other[THRESHOLDS + 1] = {0};
    int64_t called_same = 0, other = 0;
    for (int64_t i = begin; i < end; i++) {
        int k = first_threshold_above(distances[i]);
        *(same[i] ? &starts_same[k] : &starts_other[k]) += 1;
        other += !same[i];
    }
    for (int k = 0; k < THRESHOLDS; k++) {
        called_same += starts_same[k];
        other -= starts_other[k];
        correct[k] = called_same + other;
    }
}

static int best_threshold(int64_t (*correct)[THRESHOLDS], int folds, int left_out)
{
    int best = 0;
    int64_t most = -1;
    for (int k = 0; k < THRESHOLDS; k++) {
        int64_t sum = 0;
        for (int f = 0; f < folds; f++) {
            sum += f != left_out ? correct[f][k] : 0;
        }
        if (sum > most) {
            most = sum;
            best = k;
        }
    }
    return best;
}

enum cask_status cask_verify_kfold(const double *distances, const bool *same, int64_t count,
                                   int folds, struct cask_kfold *out, struct cask_error *err)
{
    if (folds < 2 || folds > CASK_FOLDS_MAX || count < folds) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "verification: expected 2 to %d folds and at least one pair in each, "
                              "found %d folds and %lld pairs",
                              CASK_FOLDS_MAX, folds, (long long)count);
    }
    int64_t(*correct)[THRESHOLDS] = cask_alloc((size_t)folds, sizeof *correct);
    int64_t sizes[CASK_FOLDS_MAX], begin = 0;
    if (correct == NULL) {
        return cask_error_memory(err, (size_t)folds * sizeof *correct, "fold counts");
    }
    for (int f = 0; f < folds; f++) {
        sizes[f] = count / folds + (f < count % folds);
        count_correct(distances, same, begin, begin + sizes[f], correct[f]);
        begin += sizes[f];
    }
    *out = (struct cask_kfold){.folds = folds};
    for (int f = 0; f < folds; f++) {
        int k = best_threshold(correct, folds, f);
        out->fold_threshold[f] = 0.01 * k;
        out->fold_accuracy[f] = 100.0 * (double)correct[f][k] / (double)sizes[f];
        out->accuracy += out->fold_accuracy[f] / folds;
    }
    for (int f = 0; f < folds; f++) {
        double gap = out->fold_accuracy[f] - out->accuracy;
        out->std += gap * gap / folds;
    }
    out->std = sqrt(out->std);
    cask_free(correct);
    return CASK_OK;
}
