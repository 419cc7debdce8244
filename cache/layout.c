/* cache/layout.c - from the manifest's shape to names, chunks and sizes. */
#include "cache/layout.h"

#include <stdio.h>
#include <string.h>

#include "cache/lz4_frame.h"
#include "cache/sidecar.h"

/* An embedding chunk is 64 rows; its one-row blocks make every row reachable without the others. */
enum { EMBEDDING_CHUNK_ROWS = 64 };
/* A top-k row costs a whole chunk to decode: about 2 KiB of indices keep that under a microsecond.
 */
enum { TOPK_CHUNK_INDICES = 512, TOPK_CHUNK_ROWS_MAX = 16 };
/* A checksum is taken over the span that holds the row: 8 KiB hash in less time than a cache miss
 * storm. */
enum { EMBEDDING_SPAN_BYTES = 8192, CONTIGUOUS_SPAN_ROWS = 512 };
/* Superblock, groups, object headers with attributes: measured under 12 KiB; chunk index entries
 * are 16 B. */
enum { FILE_METADATA_BYTES = 16384, CHUNK_INDEX_BYTES = 24 };

static const char *const VIEW_GROUPS[CASK_CACHE_VIEWS] = {"orig", "hflip"};

uint32_t cask_element_bytes(enum cask_element element)
{
    static const uint8_t bytes[CASK_ELEMENTS] = {
        [CASK_ELEMENT_U8] = 1,  [CASK_ELEMENT_I8] = 1,  [CASK_ELEMENT_F16] = 2,
        [CASK_ELEMENT_I16] = 2, [CASK_ELEMENT_U32] = 4, [CASK_ELEMENT_F32] = 4,
        [CASK_ELEMENT_U64] = 8,
    };
    return bytes[element];
}

static uint32_t power_of_two_below(uint32_t value)
{
    uint32_t power = 1;
    while (power <= value / 2) {
        power *= 2;
    }
    return power;
}

static uint32_t smaller(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* Puts one array in slot `slot`; HDF5 wants chunks no longer than the dataset. */
static void place(struct cask_layout *layout, int slot, const char *group, const char *name,
                  enum cask_element element, int rank, uint32_t row_elements,
                  enum cask_storage storage)
{
    struct cask_array *array = &layout->arrays[slot];
    snprintf(array->name, sizeof array->name, "%s%s%s", group, group[0] != '\0' ? "/" : "", name);
    array->element = element;
    array->storage = storage;
    array->rank = rank;
    array->row_elements = row_elements;
    array->row_bytes = row_elements * cask_element_bytes(element);
    if (storage == CASK_STORAGE_CONTIGUOUS) {
        array->chunk_rows = (uint32_t)layout->rows;
        array->span_rows = smaller(CONTIGUOUS_SPAN_ROWS, layout->rows);
    } else if (storage == CASK_STORAGE_ROW_BLOCKS) {
        array->chunk_rows = smaller(EMBEDDING_CHUNK_ROWS, layout->rows);
        uint32_t rows = EMBEDDING_SPAN_BYTES / array->row_bytes;
        array->span_rows = smaller(power_of_two_below(rows), array->chunk_rows);
    } else {
        uint32_t rows =
            smaller(power_of_two_below(TOPK_CHUNK_INDICES / row_elements), TOPK_CHUNK_ROWS_MAX);
        array->chunk_rows = smaller(rows, layout->rows);
        array->span_rows = array->chunk_rows;
    }
    array->chunks = (uint32_t)((layout->rows + array->chunk_rows - 1) / array->chunk_rows);
    array->spans_per_chunk = (array->chunk_rows + array->span_rows - 1) / array->span_rows;
    array->first_chunk = layout->chunks;
    array->first_span = layout->spans;
    layout->chunks += array->chunks;
    layout->spans += array->chunks * array->spans_per_chunk;
}

static void place_view(struct cask_layout *layout, const struct cask_manifest *manifest, int view)
{
    const char *group = VIEW_GROUPS[view];
    bool int8 = manifest->embedding_type == CASK_EMBEDDING_INT8;
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_EMBEDDING), group, "embedding",
          int8 ? CASK_ELEMENT_I8 : CASK_ELEMENT_F16, 2, (uint32_t)manifest->embedding,
          CASK_STORAGE_ROW_BLOCKS);
    if (int8) {
        place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_EMBEDDING_SCALE), group, "embedding_scale",
              CASK_ELEMENT_F32, 1, 1, CASK_STORAGE_CONTIGUOUS);
    }
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_INDEX), group, "topk_index",
          CASK_ELEMENT_U32, 2, (uint32_t)manifest->topk, CASK_STORAGE_SHUFFLED);
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_COSINE), group, "topk_cosine",
          CASK_ELEMENT_I16, 2, (uint32_t)manifest->topk, CASK_STORAGE_SHUFFLED);
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_LABEL_COSINE), group, "label_cosine",
          CASK_ELEMENT_F32, 1, 1, CASK_STORAGE_CONTIGUOUS);
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_NORM), group, "norm", CASK_ELEMENT_F32, 1, 1,
          CASK_STORAGE_CONTIGUOUS);
    place(layout, CASK_ARRAY_VIEW(view, CASK_FIELD_LSE), group, "lse", CASK_ELEMENT_F32, 2,
          (uint32_t)manifest->temperature_count, CASK_STORAGE_CONTIGUOUS);
}

void cask_layout_shard(const struct cask_manifest *manifest, int64_t shard,
                       struct cask_layout *layout)
{
    memset(layout, 0, sizeof *layout);
    layout->rows = (uint64_t)cask_layout_shard_rows(manifest, shard);
    layout->array_count = CASK_ARRAYS;
    place(layout, CASK_ARRAY_LABEL, "", "label", CASK_ELEMENT_U32, 1, 1, CASK_STORAGE_CONTIGUOUS);
    place(layout, CASK_ARRAY_SAMPLE_ID, "", "sample_id", CASK_ELEMENT_U64, 1, 1,
          CASK_STORAGE_CONTIGUOUS);
    place(layout, CASK_ARRAY_SOURCE_OFFSET, "", "source_offset", CASK_ELEMENT_U64, 1, 1,
          CASK_STORAGE_CONTIGUOUS);
    place(layout, CASK_ARRAY_FLAGS, "", "flags", CASK_ELEMENT_U8, 1, 1, CASK_STORAGE_CONTIGUOUS);
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        place_view(layout, manifest, view);
    }
}

void cask_layout_centers(const struct cask_manifest *manifest, struct cask_layout *layout)
{
    memset(layout, 0, sizeof *layout);
    layout->rows = (uint64_t)manifest->classes;
    layout->array_count = 1;
    place(layout, 0, "", "centers", CASK_ELEMENT_F32, 2, (uint32_t)manifest->embedding,
          CASK_STORAGE_CONTIGUOUS);
}

int64_t cask_layout_shards(const struct cask_manifest *manifest)
{
    return (manifest->images + manifest->shard_images - 1) / manifest->shard_images;
}

int64_t cask_layout_shard_rows(const struct cask_manifest *manifest, int64_t shard)
{
    int64_t left = manifest->images - shard * manifest->shard_images;
    return left < manifest->shard_images ? left : manifest->shard_images;
}

size_t cask_array_chunk_raw(const struct cask_array *array, uint64_t rows)
{
    uint64_t chunk_rows = array->storage == CASK_STORAGE_CONTIGUOUS ? rows : array->chunk_rows;
    return (size_t)(chunk_rows * array->row_bytes);
}

size_t cask_array_chunk_bound(const struct cask_array *array, uint64_t rows)
{
    size_t raw = cask_array_chunk_raw(array, rows);
    if (array->storage == CASK_STORAGE_CONTIGUOUS) {
        return raw;
    }
    return cask_lz4_frame_stored_bytes(
        raw, array->storage == CASK_STORAGE_ROW_BLOCKS ? array->row_bytes : raw);
}

void cask_array_span(const struct cask_array *array, uint32_t span, size_t chunk_bytes,
                     size_t *first, size_t *bytes)
{
    size_t begin = 0, end = chunk_bytes, rows = array->span_rows;
    size_t stride = array->row_bytes, header = 0;
    if (array->storage == CASK_STORAGE_ROW_BLOCKS) {
        stride += CASK_LZ4_BLOCK_HEADER;
        header = CASK_LZ4_FRAME_HEADER; /* hashed with the first span */
    }
    if (array->spans_per_chunk > 1) {
        begin = span == 0 ? 0 : header + span * rows * stride;
        end =
            span + 1 == array->spans_per_chunk ? chunk_bytes : header + (span + 1) * rows * stride;
    }
    *first = begin;
    *bytes = end - begin;
}

size_t cask_layout_sidecar_bytes(const struct cask_layout *layout)
{
    size_t arrays = 0;
    for (int i = 0; i < layout->array_count; i++) {
        arrays += layout->arrays[i].row_elements > 0;
    }
    return CASK_SIDECAR_HEADER + arrays * CASK_SIDECAR_ARRAY +
           (size_t)layout->chunks * CASK_SIDECAR_CHUNK + (size_t)layout->spans * 8 + 8;
}

uint64_t cask_layout_file_bound(const struct cask_layout *layout)
{
    uint64_t bytes = FILE_METADATA_BYTES + cask_layout_sidecar_bytes(layout);
    for (int i = 0; i < layout->array_count; i++) {
        const struct cask_array *array = &layout->arrays[i];
        if (array->row_elements > 0) {
            uint64_t chunk = cask_array_chunk_bound(array, layout->rows) + CHUNK_INDEX_BYTES;
            bytes += array->chunks * chunk;
        }
    }
    return bytes;
}
