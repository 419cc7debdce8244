/* train/criterion_config.h - private to train/criterion*.c: the settings' memory. */
#ifndef CASK_TRAIN_CRITERION_CONFIG_H
#define CASK_TRAIN_CRITERION_CONFIG_H

#include "train/criterion.h"
#include "train/losses/engine.h"

enum { CASK_MAX_LOSSES = 32 };

/* What every loss has: its share in the sum. */
struct cask_loss_share {
    double weight, ramp_epochs, ramp_fraction;
};

struct cask_loss_entry {
    const char *name;
    char *prefix; /* "loss.NAME." */
    const struct cask_config_row *rows;
    size_t row_count;
    void *options;
    struct cask_loss_share share;
};

struct cask_criterion_config {
    struct cask_head_options head;
    struct cask_loss_entry losses[CASK_MAX_LOSSES]; /* in the order of the registry */
    int loss_count;
};

#endif
