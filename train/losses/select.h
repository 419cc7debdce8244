/* train/losses/select.h - ranks: by value, largest first; equal values by index. */
#ifndef CASK_TRAIN_LOSSES_SELECT_H
#define CASK_TRAIN_LOSSES_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "train/losses/real.h"

struct candidate {
    real value;
    uint32_t index;
    real other; /* goes along: the other net's value */
};

/* A class with x > value, or x = value and a number up to index, is in front. The label is decided
 * apart. */
struct cut {
    real value;
    int64_t index;
    bool label;
};

#define rank_keep NAME(cask_rank_keep)
#define rank_drop NAME(cask_rank_drop)
#define rank_before NAME(cask_rank_before)
#define rank_sort NAME(cask_rank_sort)
#define rank_top NAME(cask_rank_top)
#define rank_mass NAME(cask_rank_mass)

bool rank_before(struct candidate a, struct candidate b);
void rank_sort(struct candidate *list, int64_t count); /* first in rank first */

/* The k first in rank of a stream, kept as a heap whose root kept[0] is the last of them; `count`
 * grows to k. rank_drop takes the root out. */
void rank_keep(struct candidate *kept, int64_t *count, int64_t k, struct candidate next);
void rank_drop(struct candidate *kept, int64_t *count);

/* Of an array, without sorting it. Scratch: [RANK_SCRATCH], or [count] if that is less. */
enum { RANK_SCRATCH = 4096 };
/* The cut behind the k largest. */
struct cut rank_top(const real *x, int64_t count, int64_t k, struct candidate *scratch);
/* The smallest k whose k largest hold at least `mass` together; all if none does. */
int64_t rank_mass(const real *x, int64_t count, double mass, struct candidate *scratch);

#endif
