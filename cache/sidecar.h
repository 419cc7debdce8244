/* cache/sidecar.h - private: the index beside a file, "shard-00012.idx" for "shard-00012.h5".
 *
 * It states where every chunk and contiguous array lies in the HDF5 file and what its bytes hash
 * to, so that a reader needs neither libhdf5 nor trust. Byte layout: FORMAT.md, "Sidecar".
 */
#ifndef CASK_CACHE_SIDECAR_H
#define CASK_CACHE_SIDECAR_H

#include <stddef.h>
#include <stdint.h>

#include "cache/layout.h"
#include "common/status.h"

enum { CASK_SIDECAR_HEADER = 64, CASK_SIDECAR_ARRAY = 64, CASK_SIDECAR_CHUNK = 16 };
enum cask_sidecar_kind { CASK_SIDECAR_SHARD, CASK_SIDECAR_CENTERS };

struct cask_chunk {
    uint64_t address;
    uint32_t bytes; /* stored size; contiguous arrays may be larger than 4 GiB: see bytes_high */
    uint32_t bytes_high;
};

struct cask_sidecar {
    enum cask_sidecar_kind kind;
    uint32_t shard;      /* 0 for centres */
    uint64_t file_bytes; /* of the HDF5 file */
    uint64_t file_xxh3;
    struct cask_chunk *chunks; /* [layout.chunks], owned */
    uint64_t *spans;           /* [layout.spans], owned */
};

static inline uint64_t cask_chunk_bytes(const struct cask_chunk *chunk)
{
    return (uint64_t)chunk->bytes_high << 32 | chunk->bytes;
}

enum cask_status cask_sidecar_allocate(struct cask_sidecar *sidecar,
                                       const struct cask_layout *layout, struct cask_error *err);
void cask_sidecar_release(struct cask_sidecar *sidecar); /* accepts a zeroed one */

/* Fills the span checksums from the file's bytes; chunks must be set and lie inside. */
void cask_sidecar_hash(struct cask_sidecar *sidecar, const struct cask_layout *layout,
                       const uint8_t *file);

/* *data is the caller's, to free with cask_free. */
enum cask_status cask_sidecar_encode(const struct cask_sidecar *sidecar,
                                     const struct cask_layout *layout, uint8_t **data,
                                     size_t *bytes, struct cask_error *err);
/* Refuses whatever is damaged, of another version, or states another layout than `layout`; every
 * chunk that is accepted lies inside file_bytes and has a size its storage allows. */
enum cask_status cask_sidecar_decode(const uint8_t *data, size_t bytes,
                                     const struct cask_layout *layout, enum cask_sidecar_kind kind,
                                     uint32_t shard, struct cask_sidecar *sidecar,
                                     struct cask_error *err);

#endif
