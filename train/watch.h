/* train/watch.h - is this still training? Finds what is not, and where it began.
 *
 * A loss, a parameter or a gradient that is not a finite number ends the run, and so does a loss
 * that is the same number to the last bit for CASK_WATCH_STUCK steps of different images: it sits
 * at a clamp, or the network gives the same embedding to everything. The message names the step,
 * and the layer where going forward (or back) first meets it.
 */
#ifndef CASK_TRAIN_WATCH_H
#define CASK_TRAIN_WATCH_H

#include "models/models.h"
#include "train/checkpoint.h"
#include "train/criterion.h"

enum { CASK_WATCH_TERMS = 33, CASK_WATCH_STUCK = 20 };

struct cask_watch {
    /* part of the run's state: a resumed run stops where an uninterrupted one would */
    double values[CASK_WATCH_TERMS]; /* of the last step */
    double equal[CASK_WATCH_TERMS];  /* steps in a row with that value */
};

/* What may be looked at to explain a number that went wrong. */
struct cask_watch_scene {
    int64_t step; /* 0-based */
    struct cask_net *net;
    struct cask_plan *plan;
    struct cask_device *device;
    struct cask_criterion *criterion;
    const float *pixels;
    int count;
};

enum cask_status cask_watch_state(struct cask_watch *watch, struct cask_state_list *state,
                                  struct cask_error *err);
/* The losses of a step. CASK_ERR_RANGE; the network's running statistics are then no longer those
 * of the run, so nothing of it should be kept. */
enum cask_status cask_watch_losses(struct cask_watch *watch, const struct cask_watch_scene *scene,
                                   double total, struct cask_error *err);
/* The network's gradients, after backward and before they are used. */
enum cask_status cask_watch_gradients(const struct cask_watch_scene *scene, struct cask_error *err);

#endif
