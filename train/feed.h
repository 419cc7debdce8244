/* train/feed.h - batches in training order: pixels, labels, and what the teacher said about them.
 *
 * Everything is a pure function of (seed, step): a feed started at step 700 gives what one that ran
 * there from step 0 would. An epoch of shuffled images is floor(images / batch) steps over a new
 * permutation; the images left over wait for another epoch's permutation. Balanced and EKD batches
 * are those of data/data.h. Mined triplets are a function of the student's state beside
 * (train/bag.h): the feed is connected with the student, an epoch is floor(images / batch) steps,
 * and bags go on across epochs.
 *
 * An image that cannot be decoded gives its place in the batch to the good one before it (the first
 * good one, if it comes first), with that one's label and teacher. Over 1 % of such images is an
 * error.
 */
#ifndef CASK_TRAIN_FEED_H
#define CASK_TRAIN_FEED_H

#include <stdint.h>

#include "common/preprocess.h"
#include "common/status.h"
#include "data/data.h"
#include "train/bag.h"
#include "train/options.h"
#include "train/teacher_source.h"

struct cask_feed {
    const struct cask_train_options *options; /* borrowed */
    struct cask_dataset *dataset;
    struct cask_teacher_source source;  /* source.cache is NULL without a cache */
    struct cask_preprocess preprocess;  /* of the student */
    int64_t *good_rows;                 /* NULL: all images */
    struct cask_identities *identities; /* of the balanced part; NULL: shuffled */
    struct cask_sampler sampler;        /* of the batches; triplets: of the bag in use */
    struct cask_bag bag;                /* triplets only, else zero */
    int64_t images;                     /* that training uses */
    int64_t labelled;                   /* images of the dataset that have a label */
    int64_t classes;
    int64_t steps_per_epoch;
    /* running */
    struct cask_loader *loader;      /* of the run, or the bag in use */
    struct cask_batch *batch;        /* lent by the loader */
    int64_t next_step, loader_end;   /* the step where the loader's batches end */
    int64_t announced;               /* the step up to which the cache knows what comes */
    int64_t images_read, bad_images; /* by this process */
    double waited;                   /* see cask_feed_stall_seconds */
};

/* Opens cache and dataset, checks that they belong together and that labels are in range. */
enum cask_status cask_feed_open(struct cask_feed *feed, const struct cask_train_config *config,
                                struct cask_error *err);
void cask_feed_close(struct cask_feed *feed); /* accepts a zeroed struct */

/* Triplets: whose embeddings they are mined from; other feeds take no notice. */
enum cask_status cask_feed_connect(struct cask_feed *feed, const struct cask_bag_student *student,
                                   struct cask_error *err);
/* Adds what a resumed run needs to know of the feed: the bag in use; else nothing. After the state
 * was written to, call cask_feed_restored. */
enum cask_status cask_feed_state(struct cask_feed *feed, struct cask_state_list *state,
                                 struct cask_error *err);
enum cask_status cask_feed_restored(struct cask_feed *feed, struct cask_error *err);

/* Batches will come from `step` on. */
void cask_feed_seek(struct cask_feed *feed, int64_t step);
/* The batch is valid until the next call; *teacher is NULL without a cache. */
enum cask_status cask_feed_next(struct cask_feed *feed, const struct cask_batch **batch,
                                const struct cask_teacher **teacher, struct cask_error *err);

/* What the steps [first, end) draw: false for shuffled images, which an epoch shows once each.
 * Found by drawing again (data/data.h), so it needs no state. Images that cannot be decoded count.
 * Triplets: what was put into the bags that were in use, either by the last epoch or, from first =
 * 0 on, by the run. */
bool cask_feed_counts_draws(const struct cask_feed *feed);
enum cask_status cask_feed_coverage(const struct cask_feed *feed, int64_t first, int64_t end,
                                    struct cask_coverage *coverage, struct cask_error *err);

/* What steps waited for their input, by this process: images not decoded yet, the start of a
 * loader, rows of the cache. The time in cask_feed_next, but for the student's own work on a bag.
 */
double cask_feed_stall_seconds(const struct cask_feed *feed);

#endif
