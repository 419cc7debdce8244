/* cache/scratch.h - private: decoding memory of gather calls. A call takes one from the pool and
 * gives it back, so that there are as many as there were callers at once and no step allocates.
 * Taking and giving: any thread. */
#ifndef CASK_CACHE_SCRATCH_H
#define CASK_CACHE_SCRATCH_H

#include <pthread.h>

#include "cache/shard.h"

struct cask_scratch {
    struct cask_scratch *next;
    uint8_t *decoded[CASK_CACHE_VIEWS][2]; /* planes of the last top-k chunk: index, cosine */
    struct cask_plane_source {
        const struct cask_shard *shard;
        uint64_t chunk;
        const uint8_t
            *planes; /* `decoded`, or the mapped file where the chunk is stored as it is */
    } last[CASK_CACHE_VIEWS][2];
    struct cask_recent_span recent[CASK_ARRAYS];
};

struct cask_scratch_pool {
    pthread_mutex_t lock;
    size_t plane_bytes[2];     /* of index and cosine, in the largest chunk */
    struct cask_scratch *free; /* under lock */
};

void cask_scratch_pool_init(struct cask_scratch_pool *pool);
/* full: the layout with the largest chunks; before the first take. */
void cask_scratch_pool_fit(struct cask_scratch_pool *pool, const struct cask_layout *full);
void cask_scratch_pool_release(struct cask_scratch_pool *pool);
/* *scratch is NULL on failure; giving NULL back is allowed. */
enum cask_status cask_scratch_pool_take(struct cask_scratch_pool *pool,
                                        struct cask_scratch **scratch, struct cask_error *err);
void cask_scratch_pool_give(struct cask_scratch_pool *pool, struct cask_scratch *scratch);

#endif
