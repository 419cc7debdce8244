/* train/validation.h - how good the student is while it trains, and the best one kept.
 *
 *   every valid.every steps: embed the sets of valid.pairs and valid.bin -> accuracy per set
 *       -> a line {"step": ..., "validation": {...}} in metrics.jsonl
 *       -> student-best.safetensors, if the mean over the sets is the best so far
 *   at the end: the same for the final student, and evaluation.json
 *
 * Training does not feel it: the evaluation's plan shares the network with the training plan and
 * only reads it. Only valid.patience, which may end a run early, belongs to the run's identity.
 *
 * What has been best, and for how long, is part of the run's state; a killed run goes on with it. A
 * run that is continued with other sets starts to look for its best anew, and says so.
 */
#ifndef CASK_TRAIN_VALIDATION_H
#define CASK_TRAIN_VALIDATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"
#include "common/preprocess.h"
#include "eval/eval.h"
#include "train/checkpoint.h"
#include "train/options.h"

/* In a checkpoint as "validation.state": numbers that resume needs. */
enum cask_validation_number {
    CASK_VALID_STEP,       /* of the last validation: steps done; 0: none yet */
    CASK_VALID_BEST,       /* accuracy, in percent, mean over the sets */
    CASK_VALID_BEST_STEP,  /* 0: none yet */
    CASK_VALID_SINCE_BEST, /* validations since then */
    CASK_VALID_SECONDS,    /* spent here, over all restarts */
    CASK_VALID_SETTINGS,   /* hash of the sets and the protocol that these numbers belong to */
    CASK_VALID_NUMBERS
};

struct cask_validation {
    const struct cask_valid_options *options; /* borrowed */
    struct cask_embed_options embed;
    struct cask_pairs **pairs;       /* [count], open for the run's life */
    int count;                       /* 0: there is nothing to validate on */
    struct cask_set_result *results; /* [count], of result_step */
    int64_t result_step;             /* -1: none in memory */
    double state[CASK_VALID_NUMBERS];
    double settings; /* as CASK_VALID_SETTINGS should be */
};

/* Opens the sets. Everything may be asked of a validation without sets; it does nothing. */
enum cask_status cask_validation_open(struct cask_validation *validation,
                                      const struct cask_valid_options *options,
                                      const struct cask_preprocess *preprocess, int threads,
                                      struct cask_error *err);
void cask_validation_close(struct cask_validation *validation); /* accepts a zeroed struct */

enum cask_status cask_validation_state(struct cask_validation *validation,
                                       struct cask_state_list *state, struct cask_error *err);
/* Call after the state was written to. */
void cask_validation_restored(struct cask_validation *validation);

/* True if the sets are to be looked at after this many steps, and have not been. */
bool cask_validation_due(const struct cask_validation *validation, int64_t steps_done);
/* True if the results are a validation of the run already. */
bool cask_validation_taken_up(const struct cask_validation *validation);
/* True if a run that ended with `settings` in its result.json (-1: nothing was looked at) has
 * nothing left to look at. */
bool cask_validation_is_done(const struct cask_valid_options *options, double settings);
/* Evaluates `net` on every set into validation->results; after SIGINT or SIGTERM:
 * CASK_ERR_INTERRUPTED, and nothing is changed. */
enum cask_status cask_validation_evaluate(struct cask_validation *validation, struct cask_net *net,
                                          int64_t steps_done, struct cask_error *err);
/* Takes up the results as those of a validation; true if they are the best so far. */
bool cask_validation_accept(struct cask_validation *validation);
/* True if valid.patience is over. */
bool cask_validation_exhausted(const struct cask_validation *validation);

/* Mean accuracy of the results over the sets, in percent. */
double cask_validation_mean(const struct cask_validation *validation);
/* {"accuracy": mean, "best": bool, "sets": [{"name", "accuracy", "std"}]}: of the results */
struct cask_json *cask_validation_json(const struct cask_validation *validation, bool best);

#endif
