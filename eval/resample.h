/* eval/resample.h - the bootstrap's draws: weights for pairs, a pure function of (seed, draw).
 * Private to eval/. */
#ifndef CASK_EVAL_RESAMPLE_H
#define CASK_EVAL_RESAMPLE_H

#include "eval/eval.h"
#include "eval/trial.h"

struct resampler {
    const struct trial_pairs *set; /* borrowed; its weights say which pairs there are */
    enum cask_resample kind;
    uint64_t seed;
    const int64_t *person_of; /* [images], borrowed; of pairs that count */
    int64_t persons;          /* numbers below this */
    int64_t *drawn;           /* PERSONS: the numbers of persons in pairs that count [held] */
    int64_t held;
    int32_t *times;   /* [persons] */
    int64_t *in_fold; /* PAIRS: pairs that count, in order */
};
enum cask_status resampler_create(struct resampler *resampler, struct cask_error *err);
void resampler_release(struct resampler *resampler);
/* weights: [count] */
void resampler_draw(struct resampler *resampler, int64_t draw, int32_t *weights);

/* One draw of units with replacement: adds to times[unit] how often it was drawn. units: [held]. */
void resample_units(uint64_t seed, int64_t draw, const int64_t *units, int64_t held,
                    int32_t *times);

/* 2.5th and 97.5th percentile of values[count], which is sorted in place; NaN values are left out.
 * Between two values on a straight line. */
struct cask_interval percentiles(double *values, int count);
/* The exact binomial bound (Clopper and Pearson, 1934) of a share of `count` where all were right
 * (rate 1) or all wrong (rate 0). */
struct cask_interval exact_bound(double rate, int64_t count);
/* The interval of a number in percent: percentiles of its draws, or the exact bound where all draws
 * are 0 or all are 100. units: how many independent things it is a share of, at most. */
struct cask_interval interval_of_draws(double *values, int count, int64_t units);

#endif
