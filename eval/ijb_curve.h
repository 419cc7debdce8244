/* eval/ijb_curve.h - TPR at several FPRs of weighted pairs, in one walk down the scores: the rules
 * of eval/rates.h where a pair counts several times or not at all. Private to eval/. */
#ifndef CASK_EVAL_IJB_CURVE_H
#define CASK_EVAL_IJB_CURVE_H

#include <stdbool.h>
#include <stdint.h>

enum { CURVE_TARGETS = 8 };

/* A pair of the walk, highest score first. */
struct curve_step {
    uint32_t a : 31, genuine : 1;
    uint32_t b : 31, last : 1; /* last: the next score differs */
};

struct curve_walk {
    const struct curve_step *steps;
    int64_t count;
    bool complete; /* the steps are all pairs, not the highest only */
    const double *targets;
    int target_count; /* at most CURVE_TARGETS */
};
static inline int32_t curve_weight(const int32_t *times, uint32_t a, uint32_t b)
{
    return a == b ? times[a] : times[a] * times[b];
}
/* times: of each person; genuine, impostors: weights of all pairs, both above 0. tpr: [IJB_RULES *
 * target_count]. Returns false where the steps end before the last target is decided. */
bool curve_rates(const struct curve_walk *walk, const int32_t *times, int64_t genuine,
                 int64_t impostors, double *tpr);

#endif
