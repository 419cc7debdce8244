/* eval/roc.h - receiver operating characteristic of scored pairs, with exact counts.
 *
 * A pair is accepted at score >= threshold. Scores that are equal are one point. Private to eval/.
 */
#ifndef CASK_EVAL_ROC_H
#define CASK_EVAL_ROC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

struct roc_point {
    double score;              /* the threshold; +infinity at the first point */
    int64_t genuine, impostor; /* accepted */
};

struct roc {
    struct roc_point *points; /* [count], falling score; the first accepts nothing, the last all */
    int64_t count;
};

/* Pairs in falling order of score, made once for many choices of weights. */
struct roc_order {
    int64_t *index; /* [count] */
    int64_t count;
};
enum cask_status roc_order_create(const double *scores, int64_t count, struct roc_order *order,
                                  struct cask_error *err);
void roc_order_release(struct roc_order *order); /* accepts a zeroed one */

/* Fills roc->points, which has room for order->count + 1. weights: how often each pair counts. */
void roc_fill(const struct roc_order *order, const double *scores, const bool *same,
              const int32_t *weights, struct roc *roc);
/* scikit-learn's drop_intermediate: keeps the first two points, the last, and those where the
 * second difference of either count is not zero. */
void roc_drop_intermediate(struct roc *roc);

/* Trapezoids; equal to the share of (genuine, impostor) with the higher genuine score, ties half.
 * NaN without pairs of a kind. Rates. */
double roc_auc(const struct roc *roc);
/* cask_equal_error_rate's rule: at the point with the smallest |FPR - FNR|, the first of equals,
 * the mean of the two. */
double roc_eer(const struct roc *roc);
/* Largest TPR among points with FPR <= target. */
double roc_tpr_at(const struct roc *roc, double target);
/* At most `most` of the points, first and last among them: half spread evenly over the logarithm of
 * the impostor count, half over the genuine count. Returns how many; rates. */
int roc_thin(const struct roc *roc, int most, double *fpr, double *tpr);

#endif
