/* train/losses/two_group_sides.h - on which side of a row's cut a run of classes lies. */
#ifndef CASK_TRAIN_LOSSES_TWO_GROUP_SIDES_H
#define CASK_TRAIN_LOSSES_TWO_GROUP_SIDES_H

#include "train/losses/two_group.h"

/* What a row's loops know. Membership of a run on one side of the cut's index are tests that need
 * no index. */
struct sides {
    bool by_teacher;
    real threshold; /* x, or the teacher's y, >= threshold is in Phi ... */
    real floor;     /* ... if the teacher's value is above this */
    real below;     /* and < below is not; between the two it is undecided */
    real tail;      /* stands for unknown teacher values */
    real fa, fb;    /* scale / T of student and teacher */
    real ga, gb;    /* the same for powers of two */
    bool search;    /* maxima are not known beforehand; if they are, both sides have the same, no
                       exponential comes near the least float, and every teacher value is known */
};

/* Runs whose side is known take the short loops: all of KD and DKD. */
enum side { OUTSIDE, INSIDE, MIXED };

/* A chunk falls into at most four runs: it is cut at the label and behind the cut's index. */
enum { RUNS = 4 };
struct run {
    int from, to;
    real threshold;
};

#define sides_of NAME(cask_sides_of)
#define side_of NAME(cask_side_of)
#define sides_split NAME(cask_sides_split)
#define next_above NAME(cask_next_above)
#define raise_maxima NAME(cask_raise_maxima)

struct sides sides_of(const struct two_group *rule, const struct classes *classes, int64_t row);
enum side side_of(const struct two_group *rule, const struct sides *sides);
/* Returns the number of runs, none of them empty; sides->threshold is each run's own. */
int sides_split(const struct two_group *rule, const struct classes *classes, int64_t row,
                const struct chunk *chunk, struct run runs[RUNS]);
real next_above(real value);
/* To maxima at least as large, with what was summed up so far. */
void raise_maxima(struct group *group, real max_a, real max_b, const struct sides *sides);

#endif
