/* cache/merge.h - private: one cache out of the parts that several machines built.
 *
 * A part is a cache, finished or not, that holds some of the shards. Parts must describe the same
 * build, field by field, and hold each shard exactly once between them.
 */
#ifndef CASK_CACHE_MERGE_H
#define CASK_CACHE_MERGE_H

#include <stdint.h>

#include "common/status.h"

struct cask_merge_counts {
    int64_t shards, copied; /* of the cache; by this call */
    uint64_t bytes;         /* copied */
};

/* Shards are copied whole, each checked against its checksums on the way, and published one by one:
 * a merge that was killed goes on where it stopped. The parts are only read. */
enum cask_status cask_cache_merge(const char *out, const char *const *parts, int count,
                                  struct cask_merge_counts *counts, struct cask_error *err);

#endif
