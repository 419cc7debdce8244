/* cache/reader.h - private: the open cache, shared by reader.c, gather.c and the tool. */
#ifndef CASK_CACHE_READER_H
#define CASK_CACHE_READER_H

#include <pthread.h>

#include "cache/manifest.h"
#include "cache/shard.h"

/* Decoding memory of one gather call. A call takes one from the cache's list and gives it back, so
 * that there are as many as there were callers at once and no step allocates. */
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

struct cask_cache {
    char *folder;
    enum cask_verify verify;
    struct cask_manifest_file file;
    int64_t shards;
    struct cask_layout full, tail, centers_layout; /* of all shards but the last; of the last */
    struct cask_shard *shard;                      /* [shards] */
    struct cask_shard centers;
    int centers_state; /* 0 not read yet, 1 checked; under lock */
    pthread_mutex_t lock;
    struct cask_scratch *scratch; /* free list, under lock */
};

/* Shard and row inside it. */
struct cask_shard *cask_cache_locate(const struct cask_cache *cache, int64_t row, uint64_t *inside);

/* gather.c */
void cask_scratch_free_all(struct cask_scratch *list);

#endif
