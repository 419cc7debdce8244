/* cache/gather.c - rows in any order into the caller's arrays. */
#include <inttypes.h>
#include <string.h>

#include "cache/lz4_frame.h"
#include "cache/quantize.h"
#include "cache/reader.h"

/* ---------------------------------------------------------------- one field of one row */

static enum cask_status get_embedding(struct cask_shard *shard, int view, uint64_t row,
                                      struct cask_scratch *scratch, float *out,
                                      struct cask_error *err)
{
    int slot = CASK_ARRAY_VIEW(view, CASK_FIELD_EMBEDDING);
    const struct cask_array *array = &shard->layout->arrays[slot];
    const uint8_t *chunk, *data = NULL;
    size_t bytes;
    enum cask_status st = cask_shard_touch(shard, slot, row, scratch->recent, &chunk, &bytes, err);
    if (st != CASK_OK) {
        return st;
    }
    const char *wrong = cask_lz4_frame_row(chunk, bytes, array->chunk_rows, array->row_bytes,
                                           row % array->chunk_rows, &data);
    if (wrong != NULL) {
        return cask_shard_damage(shard, slot, row, 1, wrong, err);
    }
    if (array->element == CASK_ELEMENT_I8) {
        cask_unit_from_i8((const int8_t *)data, array->row_elements, out);
    } else {
        cask_unit_from_f16(data, array->row_elements, out);
    }
    return CASK_OK;
}

static enum cask_status get_floats(struct cask_shard *shard, int view, enum cask_view_field field,
                                   uint64_t row, struct cask_scratch *scratch, float *out,
                                   struct cask_error *err)
{
    int slot = CASK_ARRAY_VIEW(view, field);
    const uint8_t *rows;
    size_t bytes, row_bytes = shard->layout->arrays[slot].row_bytes;
    enum cask_status st = cask_shard_touch(shard, slot, row, scratch->recent, &rows, &bytes, err);
    if (st == CASK_OK) {
        memcpy(out, rows + row * row_bytes, row_bytes);
    }
    return st;
}

/* The chunk's byte planes, still shuffled: a row is picked out of them without restoring the rest.
 */
static enum cask_status get_planes(struct cask_shard *shard, int view, int which, uint64_t row,
                                   struct cask_scratch *scratch, const uint8_t **planes,
                                   struct cask_error *err)
{
    int slot = CASK_ARRAY_VIEW(view, which == 0 ? CASK_FIELD_TOPK_INDEX : CASK_FIELD_TOPK_COSINE);
    const struct cask_array *array = &shard->layout->arrays[slot];
    struct cask_plane_source *last = &scratch->last[view][which];
    uint64_t chunk_number = row / array->chunk_rows;
    const uint8_t *chunk;
    size_t bytes;
    if (last->shard == shard && last->chunk == chunk_number) {
        *planes = last->planes;
        return CASK_OK;
    }
    last->shard = NULL;
    enum cask_status st = cask_shard_touch(shard, slot, row, scratch->recent, &chunk, &bytes, err);
    if (st != CASK_OK) {
        return st;
    }
    const char *wrong =
        cask_lz4_frame_view(chunk, bytes, scratch->decoded[view][which],
                            cask_array_chunk_raw(array, shard->layout->rows), planes);
    if (wrong != NULL) {
        return cask_shard_damage(shard, slot, chunk_number * array->chunk_rows, array->chunk_rows,
                                 wrong, err);
    }
    *last = (struct cask_plane_source){shard, chunk_number, *planes};
    return CASK_OK;
}

static enum cask_status get_indices(struct cask_cache *cache, struct cask_shard *shard, int view,
                                    uint64_t row, struct cask_scratch *scratch, uint32_t *out,
                                    struct cask_error *err)
{
    const struct cask_array *array =
        &shard->layout->arrays[CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_INDEX)];
    const uint8_t *planes;
    enum cask_status st = get_planes(shard, view, 0, row, scratch, &planes, err);
    if (st != CASK_OK) {
        return st;
    }
    size_t k = array->row_elements, count = array->chunk_rows * k;
    const uint8_t *a = planes + row % array->chunk_rows * k, *b = a + count, *c = b + count,
                  *d = c + count;
    uint32_t largest = 0;
    for (size_t j = 0; j < k; j++) {
        uint32_t index =
            (uint32_t)a[j] | (uint32_t)b[j] << 8 | (uint32_t)c[j] << 16 | (uint32_t)d[j] << 24;
        out[j] = index;
        largest = index > largest ? index : largest;
    }
    /* Callers index tables with these: with checksums off, this is what stands between damage and a
     * crash. */
    if ((int64_t)largest >= cache->file.manifest.classes) {
        return cask_shard_damage(shard, CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_INDEX), row, 1,
                                 "a class index is out of range", err);
    }
    return CASK_OK;
}

static enum cask_status get_cosines(struct cask_shard *shard, int view, uint64_t row,
                                    struct cask_scratch *scratch, float *out,
                                    struct cask_error *err)
{
    const struct cask_array *array =
        &shard->layout->arrays[CASK_ARRAY_VIEW(view, CASK_FIELD_TOPK_COSINE)];
    const uint8_t *planes;
    enum cask_status st = get_planes(shard, view, 1, row, scratch, &planes, err);
    if (st != CASK_OK) {
        return st;
    }
    size_t k = array->row_elements;
    const uint8_t *low = planes + row % array->chunk_rows * k, *high = low + array->chunk_rows * k;
    for (size_t j = 0; j < k; j++) {
        out[j] = cask_cosine_from_i16((int16_t)(uint16_t)(low[j] | high[j] << 8));
    }
    return CASK_OK;
}

/* ---------------------------------------------------------------- rows */

static enum cask_status gather_row(struct cask_cache *cache, int64_t row, int view, size_t to,
                                   struct cask_scratch *scratch,
                                   const struct cask_cache_gather *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *manifest = &cache->file.manifest;
    size_t d = (size_t)manifest->embedding, k = (size_t)manifest->topk,
           t = (size_t)manifest->temperature_count;
    if (row < 0 || row >= manifest->images) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "row %" PRId64 " of a cache of %" PRId64, row,
                                manifest->images));
    }
    uint64_t inside;
    struct cask_shard *shard = cask_cache_locate(cache, row, &inside);
    if (out->embedding != NULL) {
        CASK_TRY(get_embedding(shard, view, inside, scratch, out->embedding + to * d, err));
    }
    if (out->norm != NULL) {
        CASK_TRY(get_floats(shard, view, CASK_FIELD_NORM, inside, scratch, out->norm + to, err));
    }
    if (out->topk_index != NULL) {
        CASK_TRY(get_indices(cache, shard, view, inside, scratch, out->topk_index + to * k, err));
    }
    if (out->topk_cosine != NULL) {
        CASK_TRY(get_cosines(shard, view, inside, scratch, out->topk_cosine + to * k, err));
    }
    if (out->label_cosine != NULL) {
        CASK_TRY(get_floats(shard, view, CASK_FIELD_LABEL_COSINE, inside, scratch,
                            out->label_cosine + to, err));
    }
    if (out->lse != NULL) {
        CASK_TRY(get_floats(shard, view, CASK_FIELD_LSE, inside, scratch, out->lse + to * t, err));
    }
done:
    return st;
}

enum cask_status cask_cache_gather(struct cask_cache *cache, const int64_t *rows,
                                   const bool *mirror, int count,
                                   const struct cask_cache_gather *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_scratch *scratch = NULL;
    CASK_TRY(cask_scratch_pool_take(&cache->scratch, &scratch, err));
    for (int i = 0; i < count; i++) {
        int view = mirror != NULL && mirror[i] ? 1 : 0;
        CASK_TRY(gather_row(cache, rows[i], view, (size_t)i, scratch, out, err));
    }
done:
    cask_scratch_pool_give(&cache->scratch, scratch);
    return st;
}
