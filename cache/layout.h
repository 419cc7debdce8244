/* cache/layout.h - private: which arrays a file of the cache holds and how each is cut.
 *
 * Everything here follows from the manifest alone, so that a reader never takes a shape from a
 * shard: a sidecar index must state the very layout that the manifest implies, or it is refused.
 */
#ifndef CASK_CACHE_LAYOUT_H
#define CASK_CACHE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "cache/cache.h"

enum cask_element {
    CASK_ELEMENT_U8,
    CASK_ELEMENT_I8,
    CASK_ELEMENT_F16,
    CASK_ELEMENT_I16,
    CASK_ELEMENT_U32,
    CASK_ELEMENT_F32,
    CASK_ELEMENT_U64,
    CASK_ELEMENTS
};

enum cask_storage {
    CASK_STORAGE_CONTIGUOUS, /* the bare rows, one after the other: one chunk, no filter */
    CASK_STORAGE_ROW_BLOCKS, /* LZ4 frames with one stored block per row: a row is at a known place
                              */
    CASK_STORAGE_SHUFFLED,   /* bytes shuffled, then one LZ4 block per chunk */
    CASK_STORAGES
};

/* Arrays of the shard, in file order; those of view v sit at CASK_ARRAY_VIEW(v, field). */
enum {
    CASK_ARRAY_LABEL,
    CASK_ARRAY_SAMPLE_ID,
    CASK_ARRAY_SOURCE_OFFSET,
    CASK_ARRAY_FLAGS,
    CASK_ARRAY_SHARED
};
enum cask_view_field {
    CASK_FIELD_EMBEDDING,
    CASK_FIELD_EMBEDDING_SCALE, /* only with int8 embeddings */
    CASK_FIELD_TOPK_INDEX,
    CASK_FIELD_TOPK_COSINE,
    CASK_FIELD_LABEL_COSINE,
    CASK_FIELD_NORM,
    CASK_FIELD_LSE,
    CASK_FIELDS
};
#define CASK_ARRAY_VIEW(view, field) (CASK_ARRAY_SHARED + (view) * (int)CASK_FIELDS + (int)(field))
enum {
    CASK_ARRAYS = CASK_ARRAY_SHARED + CASK_CACHE_VIEWS * (int)CASK_FIELDS,
    CASK_ARRAY_NAME = 32
};

struct cask_array {
    char name[CASK_ARRAY_NAME]; /* HDF5 path without the first slash: "orig/topk_index" */
    enum cask_element element;
    enum cask_storage storage;
    int rank;              /* 1: [rows], 2: [rows][row_elements] */
    uint32_t row_elements; /* 0: the array is absent */
    uint32_t row_bytes;
    uint32_t
        chunk_rows; /* rows of one chunk; the last chunk is padded with zeros unless contiguous */
    uint32_t span_rows; /* rows under one checksum */
    uint32_t chunks, spans_per_chunk;
    uint32_t first_chunk, first_span; /* in the sidecar's tables */
};

struct cask_layout {
    struct cask_array arrays[CASK_ARRAYS];
    int array_count; /* slots in use, absent ones included */
    uint64_t rows;
    uint32_t chunks, spans; /* totals */
};

/* A valid manifest is assumed. Shards are all alike but the last, which may be shorter. */
void cask_layout_shard(const struct cask_manifest *manifest, int64_t shard,
                       struct cask_layout *layout);
/* centers.h5: one array, [classes][D] float32, contiguous. */
void cask_layout_centers(const struct cask_manifest *manifest, struct cask_layout *layout);

int64_t cask_layout_shards(const struct cask_manifest *manifest);
int64_t cask_layout_shard_rows(const struct cask_manifest *manifest, int64_t shard);

uint32_t cask_element_bytes(enum cask_element element);

/* Bytes of a chunk before LZ4, padding included; and the most that it may take when stored. */
size_t cask_array_chunk_raw(const struct cask_array *array, uint64_t rows);
size_t cask_array_chunk_bound(const struct cask_array *array, uint64_t rows);
/* Byte range of a span inside its stored chunk of `chunk_bytes`. */
void cask_array_span(const struct cask_array *array, uint32_t span, size_t chunk_bytes,
                     size_t *first, size_t *bytes);

/* The most a shard with this layout can take on disk, HDF5's own structures and sidecar included.
 * Only LZ4's gain on the top-k arrays makes a real one smaller. */
uint64_t cask_layout_file_bound(const struct cask_layout *layout);
size_t cask_layout_sidecar_bytes(const struct cask_layout *layout);

#endif
