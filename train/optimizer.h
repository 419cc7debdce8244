/* train/optimizer.h - one SGD step over the network's parameters and the criterion's class rows. */
#ifndef CASK_TRAIN_OPTIMIZER_H
#define CASK_TRAIN_OPTIMIZER_H

#include "common/status.h"
#include "models/models.h"
#include "train/criterion.h"
#include "train/options.h"

/* Does clipping ask for the gradient of the class rows before they are updated? If not, the
 * criterion updates them inside its step, by the second. */
bool cask_optimizer_wants_head(const struct cask_train_options *options);
struct cask_sgd cask_optimizer_head(const struct cask_train_options *options, double rate);

/* Freezes what train.freeze names, before training plans are made of the net. A word that names no
 * trained parameter is CASK_ERR_USAGE. *frozen: how many parameters stay as they are. */
enum cask_status cask_optimizer_freeze(struct cask_net *net,
                                       const struct cask_train_options *options, int *frozen,
                                       struct cask_error *err);

/* The network's part: clips if asked, updates every trained parameter that is not frozen, and tells
 * the plans. head_squares: what the class rows add to the squared norm; *scale: what clipping
 * multiplied gradients by. */
enum cask_status cask_optimizer_network(struct cask_net *net, struct cask_device *device,
                                        const struct cask_train_options *options, double rate,
                                        double head_squares, double *norm, double *scale,
                                        struct cask_error *err);

/* Clips if asked, updates every trained parameter at `rate`, and tells the plans. *norm is the
 * global gradient norm before clipping, NaN if clipping is off (it is not computed then). A norm
 * that is not finite is CASK_ERR_RANGE, before anything is changed. */
enum cask_status cask_optimizer_step(struct cask_net *net, struct cask_device *device,
                                     struct cask_criterion *criterion,
                                     const struct cask_train_options *options, double rate,
                                     double *norm, struct cask_error *err);

#endif
