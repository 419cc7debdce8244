/* eval/rates.h - error rates of a set of genuine and impostor scores.
 *
 * A pair is accepted if its score is at least (a point of the ROC curve) the threshold. The curve
 * has one point for each distinct score, so equal scores are accepted together. TPR = accepted
 * genuine / genuine, FPR = FMR = accepted impostors / impostors, FNMR = 1 - TPR. Nothing is
 * interpolated anywhere. Thread rule: plain functions.
 */
#ifndef CASK_EVAL_RATES_H
#define CASK_EVAL_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

struct cask_scores {
    double *genuine, *impostor; /* owned; falling once sorted */
    int64_t genuine_count, impostor_count;
};
/* Sorts both lists; needs as much memory again as the longer one. CASK_ERR_RANGE if either is empty
 * or holds a score that is not finite: no rate is defined then. */
enum cask_status cask_scores_sort(struct cask_scores *scores, struct cask_error *err);
void cask_scores_release(struct cask_scores *scores);

/* Sorts `count` doubles, largest first; scratch has room for as many. NaN goes to either end. */
void cask_sort_falling(double *values, int64_t count, double *scratch);

struct cask_rate {
    double target; /* the FPR that was asked for */
    double tpr, fpr, threshold;
    int64_t genuine, impostors; /* accepted */
};

/* The rule of insightface's and TFace's IJB scripts ("parity"): of the points of the curve the one
 * whose FPR is nearest to the target, on either side of it; of equally near ones the highest. With
 * drop_intermediate the curve is what scikit-learn's roc_curve keeps by default: points where the
 * second difference of the counts is zero are left out, which can move the chosen point. */
void cask_rates_nearest(const struct cask_scores *scores, bool drop_intermediate,
                        const double *targets, int count, struct cask_rate *out);

/* The highest TPR with FPR <= target ("strict"): scores above `threshold` are accepted. */
struct cask_rate cask_rate_strict(const struct cask_scores *scores, double target);

/* At most `most` points of the curve for a picture, rates: strict ones at FPRs from 1 / impostors
 * to 1, evenly spread over the logarithm. Returns how many. */
int cask_rates_curve(const struct cask_scores *scores, int most, double *fpr, double *tpr);

/* The point of the curve with the smallest |FMR - FNMR|, the first of equals from the highest score
 * down; rate is the mean of the two. */
struct cask_equal_error {
    double rate, fmr, fnmr, threshold;
};
struct cask_equal_error cask_equal_error_rate(const struct cask_scores *scores);

/* FDR = (mean_g - mean_i)^2 / (var_g + var_i), population variances; infinite for no spread. */
double cask_fisher_ratio(const struct cask_scores *scores);

#endif
