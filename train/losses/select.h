/* train/losses/select.h - rank classes of one row without sorting it.
 *
 * A histogram over the row's own range finds the bin in which the answer lies; only that bin is
 * gathered and sorted, after it was spread over all bins as often as it holds too much. The label
 * is handed in apart, because its margin logit is not in the row. Order: by value, largest first;
 * equal values by class index.
 */
#ifndef CASK_TRAIN_LOSSES_SELECT_H
#define CASK_TRAIN_LOSSES_SELECT_H

#include "train/losses/two_group.h"

enum { RANK_SCRATCH = 32768 }; /* candidates that a ranking may gather */

struct candidate {
    real value;
    uint32_t index;
};

struct ranking {
    const real *x; /* entry j at x[j / width * step + j % width] */
    int64_t width, step;
    int64_t count;   /* C */
    bool cosines;    /* all of them are known to lie in [-1, 1] */
    int64_t label;   /* entry of x that does not count as it is; -1: none */
    bool with_label; /* it counts with label_value instead; false: it is left out */
    double label_value;
    struct candidate *scratch; /* [RANK_SCRATCH], or [C] if that is less */
};

/* All of a plain array. */
static inline struct ranking rank_array(const real *x, int64_t count, struct candidate *scratch)
{
    return (struct ranking){
        .x = x, .width = count, .count = count, .label = -1, .scratch = scratch};
}

static inline int64_t rank_scratch(int64_t count)
{
    return count < RANK_SCRATCH ? count : RANK_SCRATCH;
}

#define rank_keep NAME(cask_rank_keep)
#define rank_drop NAME(cask_rank_drop)
#define rank_before NAME(cask_rank_before)
#define rank_top NAME(cask_rank_top)
#define rank_mass NAME(cask_rank_mass)
#define rank_log_sum NAME(cask_rank_log_sum)

/* The k first in rank of a stream, kept as a heap whose root kept[0] is the last of them; `count`
 * grows to k. rank_drop takes the root out. */
void rank_keep(struct candidate *kept, int64_t *count, int64_t k, struct candidate next);
void rank_drop(struct candidate *kept, int64_t *count);
bool rank_before(struct candidate a, struct candidate b);

/* The cut that lets the k largest in; cut.label tells whether the label is one of them. */
struct cut rank_top(const struct ranking *ranking, int64_t k);

/* log sum exp((x - *high) * factor), *high being the largest entry. */
double rank_log_sum(const struct ranking *ranking, double factor, double *high);

/* Mass of an entry is exp((x - high) * factor - log_sum), or x itself if factor is 0. Returns the
 * smallest k whose k largest hold at least `target`, all if none does; *closer says that k - 1
 * is at least as near to the target and not 0. */
int64_t rank_mass(const struct ranking *ranking, double factor, double high, double log_sum,
                  double target, bool *closer);

#endif
