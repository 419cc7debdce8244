/* cache/shard.h - private: one published file, mapped, with its index. Reads without libhdf5.
 *
 * Thread-safe once open. Pages are mapped read-only and shared with every other process that reads
 * the same cache; a file that is truncated while it is mapped ends the process (SIGBUS), which is
 * why published files are never changed.
 */
#ifndef CASK_CACHE_SHARD_H
#define CASK_CACHE_SHARD_H

#include <stdatomic.h>

#include "cache/journal.h"
#include "cache/layout.h"
#include "cache/sidecar.h"
#include "common/file.h"

struct cask_shard {
    char *path; /* of the .h5 */
    const struct cask_layout *layout;
    struct cask_map map;
    struct cask_sidecar sidecar;
    enum cask_verify verify;
    atomic_uchar *verified; /* one bit per span */
};

/* Maps STEM.h5 through STEM.idx; both must be exactly what `record` says. `layout` is borrowed. */
enum cask_status cask_shard_open(struct cask_shard *shard, const char *stem,
                                 const struct cask_record *record, const struct cask_layout *layout,
                                 enum cask_verify verify, struct cask_error *err);
void cask_shard_close(struct cask_shard *shard); /* accepts a zeroed one */

/* The span that one caller checked last, one for each array: neighbours in a batch share it. Zero
 * it at the start of a batch. */
struct cask_recent_span {
    const struct cask_shard *shard;
    uint32_t span;
};

/* The stored chunk that holds `row` of array `slot`, once the span that covers the row is known to
 * be undamaged (as `verify` asks). `recent` has CASK_ARRAYS elements. */
enum cask_status cask_shard_touch(struct cask_shard *shard, int slot, uint64_t row,
                                  struct cask_recent_span *recent, const uint8_t **chunk,
                                  size_t *bytes, struct cask_error *err);
/* The bytes under the checksum that covers `row`, and the chunk whose header stands before them:
 * what a first read of the row takes from the file. */
const uint8_t *cask_shard_span(const struct cask_shard *shard, int slot, uint64_t row,
                               const uint8_t **chunk, size_t *bytes);
/* Hashes every span of an array, whatever `verify` says. */
enum cask_status cask_shard_check_array(struct cask_shard *shard, int slot, struct cask_error *err);
/* The rows of a contiguous array, unverified: for arrays that have been checked. */
const uint8_t *cask_shard_rows(const struct cask_shard *shard, int slot);

/* "PATH: ARRAY, rows A to B: WHAT" as CASK_ERR_FORMAT. */
enum cask_status cask_shard_damage(const struct cask_shard *shard, int slot, uint64_t first_row,
                                   uint64_t row_count, const char *what, struct cask_error *err);

#endif
