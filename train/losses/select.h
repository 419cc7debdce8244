/* train/losses/select.h - ranks: by value, largest first; equal values by index. Nothing is sorted:
 * the value at a rank is bisected, in at most 32 steps (64 in double) that each count a row.
 */
#ifndef CASK_TRAIN_LOSSES_SELECT_H
#define CASK_TRAIN_LOSSES_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "train/losses/real.h"

/* A class with x > value, or x = value and a number up to index, is in front. The label is decided
 * apart. */
struct cut {
    real value;
    int64_t index;
    bool label;
};

#define rank_key NAME(cask_rank_key)
#define rank_value NAME(cask_rank_value)
#define rank_nth NAME(cask_rank_nth)
#define rank_top NAME(cask_rank_top)
#define rank_mass NAME(cask_rank_mass)
#define rank_among_equal NAME(cask_rank_among_equal)

/* Values in their order as integers, 0 and -0 as one; and back. */
int64_t rank_key(real value);
real rank_value(int64_t key);
/* The k-th largest of x, 1 <= k <= count, and the cut behind it; a NaN has no rank. */
real rank_nth(const real *x, int64_t count, int64_t k);
struct cut rank_top(const real *x, int64_t count, int64_t k);
/* The smallest k whose k largest weigh at least `mass` together, all if none does; equal x weigh
 * the same. before, after: what k - 1 and k weigh. A weight of NULL: x itself. */
int64_t rank_mass(const real *x, const double *weight, int64_t count, double mass, double *before,
                  double *after);
/* How many of `count` that weigh `one` each weigh at least `mass`: 1 to count. */
int64_t rank_among_equal(double mass, double one, int64_t count);

#endif
