/* eval/verification.h - a verified set with all its trials. Private to eval/. */
#ifndef CASK_EVAL_VERIFICATION_H
#define CASK_EVAL_VERIFICATION_H

#include "eval/persons.h"
#include "eval/resample.h"
#include "eval/roc.h"
#include "eval/trial.h"

struct cask_verification {
    char name[64];
    struct cask_pair *pairs; /* [count], copied */
    bool *same;              /* [count] */
    int32_t *weights;        /* [count]: 1, or 0 for what is excluded */
    struct trial_pairs set;  /* the three above */
    struct persons persons;
    int draws;
    struct resampler resampler;
    int trial_count;
    struct verified {
        enum cask_protocol protocol;
        struct trial *trial;
        struct val_scratch *val; /* NULL: the protocol has none */
    } trials[CASK_PROTOCOLS];
    double far;
    struct roc_order order; /* of the first trial's cosines */
};

/* Copies the pairs; every one counts. *out is to be freed on failure, too. */
enum cask_status verification_create(const struct cask_pairs *pairs, int folds,
                                     struct cask_verification **out, struct cask_error *err);

/* bootstrap.c. Fills every interval of `out`. */
enum cask_status verification_bootstrap(struct cask_verification *v, struct cask_set_result *out,
                                        struct cask_error *err);

extern const double roc_targets[CASK_ROC_TARGETS];

#endif
