/* data/loader_impl.h - state shared by loader.c (the consumer's side) and loader_worker.c (the
 * threads). Private to data/.
 *
 * A ring of slots, one batch each. Batch n always goes to slot n % slot_count:
 *
 *   FREE --worker--> FILLING --last image--> READY --next--> LENT --give_back--> FREE
 *
 * Workers take images one by one in order, so that no batch waits for one slow thread. An image's
 * place in its batch is fixed by its position alone: the number of threads changes nothing.
 */
#ifndef CASK_DATA_LOADER_IMPL_H
#define CASK_DATA_LOADER_IMPL_H

#include <pthread.h>

#include "data/data.h"

enum { CASK_LOADER_MESSAGES = 1000 };

enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_LENT };

struct slot {
    struct cask_batch batch; /* first: give_back finds the slot by it */
    enum slot_state state;
    int remaining;   /* images not decoded yet */
    char **messages; /* [batch] why an image is bad, owned, else NULL */
};

struct bad_image {
    int64_t index;
    char *message;
};

struct cask_loader {
    struct cask_loader_options options;
    size_t pixel_count; /* floats of one image */
    int64_t batches;    /* in all */
    int64_t first;      /* whole_epochs: the run's batch that this loader's first one is */

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t slot_freed, slot_ready;
    struct slot *slots;
    int slot_count;
    int64_t fill_batch; /* the next image to decode: batch and place in it */
    int fill_item;
    int64_t next_batch; /* the next one to hand over */
    bool stopping;
    enum cask_status failed; /* a failure that is not one image's fault */
    struct cask_error failure;

    struct bad_image *bad; /* [CASK_LOADER_MESSAGES], in order of position */
    int64_t bad_count;
    double stall_seconds;

    pthread_t *threads;
    int thread_count; /* started */
};

void *cask_loader_worker(void *loader);

/* The position where batch `number` begins. */
int64_t cask_loader_position(const struct cask_loader *loader, int64_t number);
/* Images in batch `number`: all but the last are full. */
int cask_loader_batch_size(const struct cask_loader *loader, int64_t number);

#endif
