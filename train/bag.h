/* train/bag.h - TripletDistillation's batches: bags of images, and triplets mined from them.
 *
 *   draw a bag -> the student as it is embeds it -> triplets (train/mining.h) -> shuffle -> batches
 *
 * A bag is used up before the next one is drawn; triplets that fill no batch are left out, and so
 * is a bag with less than a batch of them. What a bag gives is a function of (seed, number of the
 * bag, the student at that step), so its triplets are kept in the checkpoint: a run resumed in the
 * middle of a bag has no other way to know them.
 */
#ifndef CASK_TRAIN_BAG_H
#define CASK_TRAIN_BAG_H

#include "data/data.h"
#include "kernels/kernels.h"
#include "train/checkpoint.h"

/* Who embeds the bag. */
struct cask_bag_student {
    /* embedding [count][dim], not normalised, of at most `batch` images; in eval mode */
    enum cask_status (*embed)(void *user, const float *pixels, int count, float *embedding,
                              struct cask_error *err);
    void *user;
    struct cask_device *device;
    int dim;
};

/* Whole numbers; doubles are what a checkpoint keeps. */
enum cask_bag_number {
    CASK_BAG_DRAWN,     /* bags drawn: the one in use is the last of them */
    CASK_BAG_STEP,      /* the first step of the bag in use */
    CASK_BAG_TRIPLETS,  /* of the bag in use */
    CASK_BAG_EPOCH_BAG, /* in use at the first step of the epoch */
    CASK_BAG_NUMBERS
};

struct cask_bag_options {
    const struct cask_dataset *dataset; /* borrowed */
    struct cask_sampler sampler;        /* TRIPLETS */
    struct cask_preprocess preprocess;
    int batch;         /* images of a step: a multiple of three */
    int threads;       /* of the loader */
    double window;     /* see train/mining.h */
    int64_t max_empty; /* so many bags in a row without a batch are an error */
    int64_t steps_per_epoch;
};

struct cask_bag {
    struct cask_bag_options options;
    struct cask_bag_student student;
    double numbers[CASK_BAG_NUMBERS];
    double *kept;                /* [pairs][3]: the triplets, as the checkpoint keeps them */
    struct cask_sample *order;   /* [pairs][3]: the same as images, in training order */
    struct cask_sample *samples; /* [images] the rest is work */
    int32_t (*triplets)[3];
    float *unit, *cosines;
    bool *usable;
    int64_t images, pairs, bad_images;
};

enum cask_status cask_bag_open(struct cask_bag *bag, const struct cask_bag_options *options,
                               struct cask_error *err);
/* Before the first draw. */
enum cask_status cask_bag_connect(struct cask_bag *bag, const struct cask_bag_student *student,
                                  struct cask_error *err);
void cask_bag_close(struct cask_bag *bag); /* accepts a zeroed struct */

/* Makes the bag in use one that `step` draws from; steps come in their order, and nobody may read
 * from cask_bag_order() meanwhile. *fresh: the training order changed. */
enum cask_status cask_bag_prepare(struct cask_bag *bag, int64_t step, bool *fresh,
                                  struct cask_error *err);
/* Steps of the bag in use: [*first, end). */
int64_t cask_bag_steps(const struct cask_bag *bag, int64_t *first);
/* The bag's triplets as a LIST sampler: anchor, positive, negative, anchor, ... in whole batches.
 */
struct cask_sampler cask_bag_order(const struct cask_bag *bag);
/* What was put into the bags that the last epoch begun, or the whole run, trained from. */
enum cask_status cask_bag_coverage(const struct cask_bag *bag, bool of_epoch,
                                   struct cask_coverage *coverage, struct cask_error *err);

enum cask_status cask_bag_state(struct cask_bag *bag, struct cask_state_list *state,
                                struct cask_error *err);
/* Call after the state was written to. CASK_ERR_FORMAT if it names no triplets of such a bag. */
enum cask_status cask_bag_restored(struct cask_bag *bag, struct cask_error *err);

#endif
