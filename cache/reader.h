/* cache/reader.h - private: the open cache, shared by reader.c, gather.c and the tool. */
#ifndef CASK_CACHE_READER_H
#define CASK_CACHE_READER_H

#include <pthread.h>

#include "cache/manifest.h"
#include "cache/scratch.h"

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
    struct cask_scratch_pool scratch;
};

/* Shard and row inside it. */
struct cask_shard *cask_cache_locate(const struct cask_cache *cache, int64_t row, uint64_t *inside);

#endif
