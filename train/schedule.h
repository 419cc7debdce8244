/* train/schedule.h - the learning rate as a pure function of the step number.
 *
 * Nothing is remembered between calls, so a resumed run needs no schedule state. With S steps an
 * epoch, T = epochs * S steps in all, W = warmup_epochs * S steps of warm-up and base rate r:
 *
 *   warm-up  step < W:  r * (step + 1) / W, a straight line from 0 that reaches r at step W - 1
 *   step     r * gamma^m, m = milestones at or before the step
 *   poly     r * (1 - (step - W) / (T - W))^power, insightface's PolynomialLRWarmup after warm-up
 *   cosine   r * (1 + cos(pi (step - W) / (T - W))) / 2
 *
 * Warm-up "insightface" is what its scheduler does: the very first step runs at the full rate r,
 * the others at r * step / W, which reaches r at step W. An accident of its code, but published
 * recipes ran that way.
 */
#ifndef CASK_TRAIN_SCHEDULE_H
#define CASK_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "common/config.h"

enum cask_schedule_kind { CASK_SCHEDULE_STEP, CASK_SCHEDULE_POLY, CASK_SCHEDULE_COSINE };

enum cask_warmup { CASK_WARMUP_LINEAR, CASK_WARMUP_INSIGHTFACE };

struct cask_schedule {
    enum cask_schedule_kind kind;
    double rate;             /* base */
    int64_t steps_per_epoch; /* > 0 */
    int64_t total_steps;     /* of the whole run */
    double warmup_epochs;    /* 0: none */
    enum cask_warmup warmup;
    struct cask_config_reals milestones; /* STEP: in epochs, ascending */
    double gamma;                        /* STEP */
    double power;                        /* POLY */
};

/* The rate of step 0, 1, ... total_steps - 1; a step past the end gets the last rate. */
double cask_schedule_rate(const struct cask_schedule *schedule, int64_t step);

#endif
