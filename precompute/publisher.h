/* precompute/publisher.h - a finished shard's way to disk, beside the teacher.
 *
 * Compression, fsync and rename of a shard run in a thread of their own while the caller makes the
 * next one. One shard is on its way at a time: giving the next waits for it. So memory holds two,
 * and shards are published in the order in which they were given. A shard's lease goes with it and
 * is dropped when it has arrived.
 */
#ifndef CASK_PRECOMPUTE_PUBLISHER_H
#define CASK_PRECOMPUTE_PUBLISHER_H

#include <pthread.h>
#include <stdatomic.h>

#include "precompute/precompute.h"

/* Zeroed but for the first two members: nothing is on its way. Only the caller's thread reads it,
 * but for `failed`. */
struct publisher {
    struct cask_cache_writer *writer; /* borrowed */
    const struct staging *staging;    /* borrowed; NULL: nothing is staged */
    double took, waited; /* seconds: of publishing; of those, the caller's that it stood still */
    /* what is on its way: a sealed shard, or staged rows */
    bool running;
    pthread_t thread;
    int64_t shard, images; /* 0 images: nothing */
    struct cask_sealed *sealed;
    struct shard_rows staged; /* the second half of a double buffer */
    struct cask_lease *lease;
    enum cask_status status;
    struct cask_error error;
    atomic_bool failed;
};

/* The writer's open shard, all rows of which are there. Takes *lease (may be NULL), also when it
 * fails: with the error of the shard before, or its own. */
enum cask_status publisher_give_shard(struct publisher *publisher, int64_t shard, int64_t images,
                                      struct cask_lease **lease, struct cask_error *err);
/* The embeddings of a shard, to be staged. `rows` gets other memory of the same size in return. */
enum cask_status publisher_give_stage(struct publisher *publisher, int64_t shard,
                                      struct shard_rows *rows, struct cask_lease **lease,
                                      struct cask_error *err);
/* The error of the shard that is on its way, if there is one already. Does not wait. */
enum cask_status publisher_check(const struct publisher *publisher, struct cask_error *err);
/* Waits until what is on its way has arrived, and tells its error once. */
enum cask_status publisher_settle(struct publisher *publisher, struct cask_error *err);
/* At the end of a pass that came out as `st`: settles, whatever `st` is, so that a finished shard
 * is kept. Its error takes the place of success and of an interrupt. */
enum cask_status publisher_end(struct publisher *publisher, enum cask_status st,
                               struct cask_error *err);
void publisher_release(struct publisher *publisher); /* after publisher_end */

#endif
