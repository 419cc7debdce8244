/* train/trainer.h - one student: network, class rows, optimiser, and the step that moves them.
 *
 *   forward -> criterion -> backward -> clip -> SGD
 *
 * The trainer knows no files and no order of images; several trainers may be fed the same batch.
 */
#ifndef CASK_TRAIN_TRAINER_H
#define CASK_TRAIN_TRAINER_H

#include "data/data.h"
#include "models/models.h"
#include "train/checkpoint.h"
#include "train/criterion.h"
#include "train/options.h"
#include "train/schedule.h"
#include "train/watch.h"

/* What training needs to know about the data, once. */
struct cask_trainer_setting {
    struct cask_device *device;           /* borrowed */
    struct cask_step_memory *step_memory; /* borrowed, of trainers that take turns; NULL: own */
    struct cask_teacher_store *store;     /* the same */
    struct cask_preprocess preprocess;
    int64_t classes, steps_per_epoch;
    const struct cask_manifest *teacher; /* NULL: no teacher; copied facts only */
    bool teacher_has_centers;
};

struct cask_trainer {
    const struct cask_train_config *config; /* borrowed */
    struct cask_device *device;
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_plan *plan;
    struct cask_plan *eval_plan; /* of cask_trainer_embed; NULL: not asked for */
    struct cask_criterion *criterion;
    struct cask_schedule schedule;
    struct cask_watch watch;
    int64_t classes;
    int dim;
    float *embedding, *d_embedding; /* [batch][dim] */
};

/* Parts of a step, for the question where the time goes. */
enum cask_stage {
    CASK_STAGE_FORWARD,
    CASK_STAGE_LOSSES, /* head and losses, forward and backward */
    CASK_STAGE_BACKWARD,
    CASK_STAGE_UPDATE,
    CASK_STAGES
};
extern const char *const cask_stage_names[CASK_STAGES]; /* "forward", ... */

/* What one step did. Terms belong to the criterion and are valid until its next step. */
struct cask_step_report {
    int64_t step; /* 0-based number of the step done */
    double epoch, rate, total, accuracy;
    double captured;      /* cask_criterion_captured() */
    double gradient_norm; /* NaN if clipping is off */
    double seconds[CASK_STAGES];
    const struct cask_term *terms;
    int term_count;
};

/* Network and class rows are initialised from train.seed, or from student.init. */
enum cask_status cask_trainer_create(const struct cask_train_config *config,
                                     const struct cask_trainer_setting *setting,
                                     struct cask_trainer **trainer, struct cask_error *err);
void cask_trainer_free(struct cask_trainer *trainer); /* accepts NULL */

/* One update. `measure`: also the terms' gradient norms. A loss or a gradient that is not a finite
 * number, and a loss that is stuck, is CASK_ERR_RANGE naming step, term and layer (train/watch.h);
 * the state in memory is then of no use, what was saved before is. */
enum cask_status cask_trainer_step(struct cask_trainer *trainer, int64_t step,
                                   const struct cask_batch *batch,
                                   const struct cask_teacher *teacher, bool measure,
                                   struct cask_step_report *report, struct cask_error *err);

/* Raw embeddings [count][dim] of at most train.batch images by the network as it is, in eval mode.
 * Only with train.sampler: triplets. */
enum cask_status cask_trainer_embed(struct cask_trainer *trainer, const float *pixels, int count,
                                    float *embedding, struct cask_error *err);

/* Adds every array that a resumed run needs. */
enum cask_status cask_trainer_state(struct cask_trainer *trainer, struct cask_state_list *state,
                                    struct cask_error *err);
/* Call after the state was written to. */
void cask_trainer_restored(struct cask_trainer *trainer);

/* The network as safetensors, with its class rows ("head.weight") if with_head. */
enum cask_status cask_trainer_export(struct cask_trainer *trainer, const char *path,
                                     const struct cask_preprocess *preprocess, bool with_head,
                                     const struct cask_metadata_entry *entries, int entry_count,
                                     struct cask_error *err);

#endif
