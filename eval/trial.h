/* eval/trial.h - one protocol over one set, prepared so that it can be run for any choice of pairs.
 *
 * A choice is a weight for each pair: how often it counts. 0 leaves it out; the bootstrap draws
 * others. Everything that does not depend on the choice (scores, the thresholds they lie between)
 * is computed once by create; run costs one pass over the pairs for each fold at most.
 *
 * Private to eval/. Thread rule: a trial holds scratch memory, so one thread at a time.
 */
#ifndef CASK_EVAL_TRIAL_H
#define CASK_EVAL_TRIAL_H

#include "eval/eval.h"

/* The set as every protocol sees it. Borrowed by trials. */
struct trial_pairs {
    const struct cask_pair *pairs; /* [count] */
    int64_t count;
    int folds;
    const int32_t *weights; /* [count]: the pairs that count, 1 or 0 */
};

/* Fold f is pairs [fold_begin(f), fold_begin(f + 1)): contiguous blocks, the first count mod folds
 * of them one longer (scikit-learn's KFold without shuffling). */
static inline int64_t fold_begin(int64_t count, int folds, int f)
{
    int64_t extra = count % folds;
    return f * (count / folds) + (f < extra ? f : extra);
}

/* CASK_ERR_RANGE unless 2 <= folds <= CASK_FOLDS_MAX and every fold has a pair. */
enum cask_status fold_check(int64_t count, int folds, struct cask_error *err);

struct trial;
struct trial_kind {
    const char *name;
    enum cask_flip flip;
    const char *rule;      /* "d^2 < t (0.01 steps)" */
    const char *deviation; /* what "std" is, if not the population's; else "" */
    /* rows: [images][dim] double of the trial's flip, not yet of unit length. May overwrite them.
     * On failure *trial may still need free. */
    enum cask_status (*create)(const struct trial_pairs *set, double *rows, int64_t images, int dim,
                               struct trial **trial, struct cask_error *err);
    /* right: NULL, or [count]: was pair i called right at its fold's threshold? A fold without
     * pairs has accuracy NaN and does not enter the mean. */
    void (*run)(struct trial *trial, const int32_t *weights, struct cask_kfold *out, bool *right);
    void (*free)(struct trial *trial);
};
extern const struct trial_kind trial_insightface, trial_tface, trial_facexzoo, trial_xiaoccer;
const struct trial_kind *trial_kind(enum cask_protocol protocol);

/* A kind's struct begins with this. */
struct trial {
    const struct trial_kind *kind;
    struct trial_pairs set;
    /* score of each pair for pictures and ROC: the cosine; and d^2 for val@FAR, or NULL */
    double *cosine, *distance;
};
/* cosine and distance of unit rows */
enum cask_status trial_score_pairs(struct trial *trial, const double *rows, int dim,
                                   bool with_distance, struct cask_error *err);
void trial_release(struct trial *trial); /* the members above */

void unit_rows(double *rows, int64_t count, int dim); /* a zero row stays zero */

/* Percent of a held-out fold's pairs, by weight, on their side of the threshold: the same person
 * above it, others below. NaN for a fold without pairs. right: as for run. */
double trial_fold_accuracy(const struct trial_pairs *set, int fold, const double *score,
                           double threshold, const int32_t *weights, bool *right);

/* Mean and deviation over the folds that have pairs; sample: ddof 1, over sqrt(folds). */
void kfold_summary(struct cask_kfold *kfold, bool standard_error);

/* --- insightface's d^2 < t on a grid, shared by accuracy and val@FAR --- */

/* Smallest k in 0..count with d < step k; count if there is none, or d is NaN. The comparison is
 * the one that defines the protocol, so rounding of step k is the same everywhere. */
int first_threshold_above(double d, double step, int count);

struct val_far {
    double val, std, far; /* percent, percent, rate; NaN where not defined */
};
/* Scratch of cask_val_at_far: made once for a set. */
struct val_scratch;
enum cask_status val_scratch_create(const double *distances, const struct trial_pairs *set,
                                    struct val_scratch **scratch, struct cask_error *err);
void val_scratch_free(struct val_scratch *scratch); /* accepts NULL */
struct val_far val_at_far(struct val_scratch *scratch, const int32_t *weights, double target);

#endif
