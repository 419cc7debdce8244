/* cache/shard_write.h - private: from arrays in memory to a published HDF5 file and its sidecar. */
#ifndef CASK_CACHE_SHARD_WRITE_H
#define CASK_CACHE_SHARD_WRITE_H

#include "cache/journal.h"
#include "cache/layout.h"
#include "common/thread.h"

/* Composes shard `shard` from arrays[slot], each with the layout's rows in file order (chunked
 * arrays padded with zero rows to whole chunks), publishes PATH.h5 and PATH.idx ("stem" without
 * extension) and fills record->bytes, index_bytes, index_xxh3. libhdf5 composes the file in memory
 * and never touches the disk: a full disk or an interrupted call is met by common/file.c alone. */
enum cask_status cask_shard_write(const char *stem, const struct cask_manifest *manifest,
                                  int64_t shard, const struct cask_layout *layout,
                                  uint8_t *const *arrays, struct cask_pool *pool,
                                  struct cask_record *record, struct cask_error *err);

/* STEM.h5 with /centers and its sidecar. Written to disk by libhdf5 under a temporary name, since
 * the matrix may be gigabytes. */
enum cask_status cask_centers_write(const char *stem, const struct cask_manifest *manifest,
                                    const float *centers, struct cask_record *record,
                                    struct cask_error *err);

#endif
