/* train/criterion.h - from a batch of embeddings to one number and its gradient.
 *
 *   f [B,D] raw --> e unit rows --> cosines c = e W^T [B,C] --> head (margin) --> logits z
 *                              \--> Gram S = e e^T [B,B]
 *
 * The criterion owns the class rows W, the head, and any weighted sum of losses (train/losses). It
 * computes what the chosen losses need and nothing else, lets each add its gradient at its place
 * of attachment, and goes back from there to f and W. The teacher comes as plain arrays; whether
 * they were read from a cache or computed a moment ago cannot be seen from here.
 *
 * Everything here is host float32; on a device that computes in bf16 the products over classes take
 * rounded copies. Thread rule: one criterion, one thread (it uses the device's).
 */
#ifndef CASK_TRAIN_CRITERION_H
#define CASK_TRAIN_CRITERION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "kernels/kernels.h"

/* What the teacher said about the batch. Arrays that the criterion does not need may be NULL. */
struct cask_teacher {
    int dim;              /* D_T */
    uint64_t serial;      /* which batch: equal numbers, equal rows; 0: nobody can say */
    const float *unit;    /* [B][D_T] */
    const float *norm;    /* [B] */
    const float *centers; /* [C][D_T] unit rows: exact mode; NULL: top-k mode */
    int topk;
    const uint32_t *topk_index; /* [B][k], by cosine descending */
    const float *topk_cosine;   /* [B][k] */
    const float *label_cosine;  /* [B] */
    const float *lse;           /* [B][temperature_count]: LSE(scale * cos / T) */
    double scale;
    const double *temperatures;
    int temperature_count;
};

enum cask_teacher_need {
    CASK_NEED_UNIT = 1,
    CASK_NEED_NORM = 2,
    CASK_NEED_CENTERS = 4,
    CASK_NEED_TOPK = 8,
    CASK_NEED_LABEL_COSINE = 16,
    CASK_NEED_LSE = 32,
};

/* The teacher's cosines of one batch to every class, for criteria that take turns on the same
 * batches: made once, up to head.keep_mb of the first of them. Results keep their bits. */
struct cask_teacher_store;
enum cask_status cask_teacher_store_create(struct cask_teacher_store **store,
                                           struct cask_error *err);
void cask_teacher_store_free(struct cask_teacher_store *store); /* accepts NULL; after them */
int64_t cask_teacher_store_found(
    const struct cask_teacher_store *store); /* steps that found their batch's cosines made */

struct cask_criterion_options {
    struct cask_device *device;       /* borrowed: its gemm and optimiser are used */
    struct cask_teacher_store *store; /* borrowed; NULL: the criterion is alone */
    int64_t classes;
    int dim;       /* D of the student */
    int batch;     /* largest B */
    uint64_t seed; /* init of W */
    /* W is updated inside cask_criterion_step, a chunk of classes at a time, by the rule of
     * cask_criterion_set_update(); no gradient of W is ever in memory. The bits are those of a step
     * and an update after it. Not for those who must know W's gradient first (clipping over all).
     */
    bool fused;
    /* the teacher's facts, from the cache's manifest; teacher_dim 0: there is no teacher */
    int teacher_dim, teacher_topk;
    bool teacher_has_centers;
    double teacher_scale;
    const double *teacher_temperatures;
    int teacher_temperature_count;
};

/* The config rows of the head ("head.*") and of every loss ("loss.NAME.*"), to be appended to a
 * program's sections. The storage behind them is created first, then bound by cask_config_create,
 * then given to cask_criterion_create. A loss takes part if its weight is not 0. */
struct cask_criterion_config;
enum cask_status cask_criterion_config_create(struct cask_criterion_config **config,
                                              struct cask_error *err);
void cask_criterion_config_free(struct cask_criterion_config *config); /* accepts NULL */
/* Fills at most `limit` sections, returns how many there are. */
size_t cask_criterion_config_sections(struct cask_criterion_config *config,
                                      struct cask_config_section *sections, size_t limit);

struct cask_criterion;
/* Checks that the teacher can give what the losses ask (else CASK_ERR_MISMATCH, naming the loss and
 * what is missing). `config` is borrowed. */
enum cask_status cask_criterion_create(const struct cask_criterion_config *config,
                                       const struct cask_criterion_options *options,
                                       struct cask_criterion **criterion, struct cask_error *err);
void cask_criterion_free(struct cask_criterion *criterion); /* accepts NULL */
/* Exact mode, once, before the first step: the class centres [C][D_T] of all steps to come. Where
 * a class loss multiplies with them (and head.pack_centers says so) a copy is made,
 * rounded and packed as the device multiplies: 4 bytes a number, 2 on a device that computes in
 * bf16. The rows stay the caller's, and steps read a label's row there now and then. With a store
 * there is one copy, for those that share the store's cosines; others go on with the rows. Results
 * keep their bits. A step with other centres is CASK_ERR_MISMATCH then. */
enum cask_status cask_criterion_pack_centers(struct cask_criterion *criterion, const float *centers,
                                             struct cask_error *err);
unsigned cask_criterion_needs(
    const struct cask_criterion *criterion); /* bits of enum cask_teacher_need */
/* Memory of it all; *step_bytes of that for the passes over the classes: cosines, chunks, sums. */
size_t cask_criterion_bytes(const struct cask_criterion *criterion, size_t *step_bytes);

/* Terms, in a fixed order: the head's cross-entropy first, then each active loss. */
struct cask_term {
    const char *name;       /* "arcface", "gkd", ... */
    double weight;          /* with its ramp at this step */
    double value;           /* unweighted */
    double gradient_norm;   /* of weight * gradient with respect to the unit embedding e; NaN if not
                               measured */
    double gradient_cosine; /* to the head's gradient there; NaN if not measured */
};
struct cask_progress_point {
    double epoch;    /* 0.0 at the first step, counts fractions */
    double fraction; /* 0..1 of the whole run */
};
/* One step: fills d_embedding [B][D] (gradient of the total with respect to f) and keeps the
 * gradient for W inside or, if fused, moves W by it; a total that is no finite number then leaves
 * W as it is. `measure`: also fill the terms' gradient norms (costs a little).
 * Labels of UINT32_MAX take part only in losses that need no label. */
enum cask_status cask_criterion_step(struct cask_criterion *criterion, const float *embedding,
                                     const uint32_t *labels, int batch,
                                     const struct cask_teacher *teacher,
                                     struct cask_progress_point at, bool measure,
                                     float *d_embedding, double *total, struct cask_error *err);
/* The number of the next step, for losses that draw at random; without this call steps count from
 * 0. A resumed run sets it, so that it draws what an uninterrupted one would have drawn. */
void cask_criterion_set_step(struct cask_criterion *criterion, int64_t step);
/* From the next step on the head's cross-entropy, its accuracy and its gradient count the first
 * `rows` of a batch only, as EKD's general part; 0: all. Losses still see every row. */
void cask_criterion_set_head_rows(struct cask_criterion *criterion, int rows);
/* From the next step on rows 3i, 3i+1, 3i+2 of a batch are anchor, positive and negative of a mined
 * triplet; loss.triplet then takes these and mines none of its own. */
enum cask_status cask_criterion_set_triplets(struct cask_criterion *criterion,
                                             struct cask_error *err);
int cask_criterion_terms(const struct cask_criterion *criterion,
                         const struct cask_term **terms); /* of the last step */
/* Fraction of the batch whose largest margin-free cosine is at its label. */
double cask_criterion_accuracy(const struct cask_criterion *criterion);
/* Mean teacher mass, at the T of the last class loss, inside what the teacher was known at: 1 in
 * exact mode; NaN without a class loss or without its LSE. */
double cask_criterion_captured(const struct cask_criterion *criterion);
/* Fused only: how the next step updates W. Until it is called W stays. */
void cask_criterion_set_update(struct cask_criterion *criterion, const struct cask_sgd *sgd);
/* Squared norm of the last step's gradient for what the criterion trains (W, linear maps; NaN if
 * fused), and the update that consumes it. Fused: the update of linear maps alone. */
double cask_criterion_gradient_squares(const struct cask_criterion *criterion);
enum cask_status cask_criterion_update(struct cask_criterion *criterion, const struct cask_sgd *sgd,
                                       struct cask_error *err);

/* All state a resumed run needs (W, its momentum, linear maps, thresholds of EKD, ...): named
 * float32 arrays, owned by the criterion; write into them to restore. */
struct cask_state_array {
    const char *name; /* "head.weight", "head.momentum" */
    float *values;
    int64_t rows, columns;
};
int cask_criterion_state(struct cask_criterion *criterion, const struct cask_state_array **arrays);

#endif
