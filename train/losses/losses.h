/* train/losses/losses.h - what a loss is: one row of a table.
 *
 * A step computes the student's raw embedding f [B,D], its unit rows e, cosines c = e w^T [B,C] to
 * the class rows, and, if a loss asks, the Gram matrix S = e e^T [B,B]. A loss attaches at exactly
 * one place, returns its value and ADDS weight * gradient there; the engine alone goes on to f, W:
 *
 *   CASK_AT_LOGITS     class logits: KD, DKD, GKD. Such a loss is a rule of the two-group KL
 *                      kernel (two_group.h), which streams the classes in chunks.
 *   CASK_AT_PAIRS      d_gram [B,B], entries independent: EKD, PWR, RKD, DarkRank, SP, CCKD,
 * Triplet CASK_AT_EMBEDDING  d_unit or d_raw [B,D]: cosine, angular, L2, FitNet
 *
 * Teacher quantities are constants. Losses see only kernels/ and common/: no file, no cache.
 *
 * This header is compiled once per number type (real.h): its structs must not leave a variant.
 * What leaves is engine.h.
 */
#ifndef CASK_TRAIN_LOSSES_LOSSES_H
#define CASK_TRAIN_LOSSES_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "kernels/kernels.h"
#include "train/losses/engine.h"
#include "train/losses/real.h"
#include "train/losses/two_group.h"

/* One step as pair and embedding losses see it. Raw members are NULL unless needs() asked. */
struct loss_step {
    int batch, dim, teacher_dim;
    const uint32_t *labels;                 /* [B]; UINT32_MAX: none */
    const real *raw, *unit, *norm;          /* student: f, e [B][D], |f| [B] */
    const real *teacher_raw, *teacher_unit; /* [B][D_T] */
    /* S = e e^T, f f^T [B][B], in double whatever `real` is: losses take differences of nearly
     * equal entries, and compare entries with one another */
    const double *gram, *raw_gram, *teacher_gram, *teacher_raw_gram;
    double *d_gram, *d_raw_gram;  /* added to */
    real *d_raw, *d_unit;         /* added to */
    const int32_t (*triplets)[3]; /* anchor, positive, negative; NULL: the loss mines its own */
    int triplet_count;
    double weight;
    uint64_t seed, counter;     /* for draws: a pure function of both */
    struct cask_device *device; /* its threads */
};

struct loss {
    const char *name;
    enum cask_place place;
    const struct cask_config_row *rows; /* its options, bound below "loss.NAME." */
    size_t row_count, option_bytes;
    /* Which teacher facts and buffers the options ask for: cask_teacher_need | cask_engine_need. */
    unsigned (*needs)(const void *options, const struct cask_engine_facts *facts);
    /* May refuse with CASK_ERR_MISMATCH what the teacher cannot give, or CASK_ERR_RANGE. `options`
     * is borrowed for the loss's life; *state may stay NULL. */
    enum cask_status (*create)(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err);
    void (*free)(void *state);
    /* AT_PAIRS and AT_EMBEDDING */
    double (*step)(void *state, const void *options, const struct loss_step *step);
    /* AT_LOGITS: the rule and, where the index set depends on the batch, what fills row cuts. */
    struct two_group *(*rule)(void *state);
    /* What it trains, at most one; false: nothing. Saved and updated by the engine. */
    bool (*parameter)(void *state, struct cask_engine_parameter *parameter);
    /* What else a resumed run needs; appended to `arrays`, at most `limit`; returns the count. */
    int (*arrays)(void *state, struct cask_engine_array *arrays, int limit);
};

/* registry.c lists all losses, in the order of their terms. */
const struct loss *NAME(cask_loss_at)(int index); /* NULL behind the last */

/* Runs task(user, index, thread) for [0, count) on the device's threads. */
static inline void loss_parallel(struct cask_device *device, int64_t count, cask_task task,
                                 void *user)
{
    cask_device_ops(device)->parallel(device, count, task, user);
}

#endif
