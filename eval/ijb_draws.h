/* eval/ijb_draws.h - the bootstrap of IJB's numbers: persons are drawn with replacement, and every
 * rate is taken again over what the draw holds. Private to eval/.
 *
 * A pair counts as often as its person was drawn, or, of two persons, the product (as
 * CASK_RESAMPLE_PERSONS does). A probe counts as often as its subject; galleries stay.
 */
#ifndef CASK_EVAL_IJB_DRAWS_H
#define CASK_EVAL_IJB_DRAWS_H

#include "eval/ijb.h"

struct ijb_draws {
    int draws, threads;
    uint64_t seed;
    int64_t persons; /* found: that stand in pairs, or subjects of probes */
    int numbers;     /* found: rows of values */
    double *values;  /* found: [numbers][draws], percent; NaN: not defined in that draw */
};
void ijb_draws_release(struct ijb_draws *draws);

enum { IJB_PARITY, IJB_FULL, IJB_STRICT, IJB_RULES };

/* 1:1. Two templates are of one person if a genuine pair says so, also through others. Number
 * rule * count + t: TPR at targets[t], rising. scores: not yet sorted; sides: become persons.
 *
 * FPRs up to the last target hang on the highest impostors alone, once the weight of all is known.
 * So all pairs are passed for their weight in 128 draws at a time, and only the highest of them are
 * sorted, and walked in each draw; more of them where a draw needs more. */
enum cask_status ijb_draws_verify(const struct cask_scores *scores, struct cask_ijb_sides *sides,
                                  int64_t templates, const double *targets, int count,
                                  struct ijb_draws *draws, struct cask_error *err);

/* 1:N over all galleries. Numbers: rank-k for each of cask_ijb_ranks, TPIR for each of
 * cask_ijb_fpirs. outcomes[g]: [probes->count]. */
enum cask_status ijb_draws_search(const struct cask_ijb_people *probes,
                                  struct cask_ijb_outcome *const *outcomes, int galleries,
                                  struct ijb_draws *draws, struct cask_error *err);

#endif
