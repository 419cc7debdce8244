/* cache/shard.c - see the header. */
#include "cache/shard.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "common/hash.h"
#include "common/mem.h"

enum { INDEX_MAX_BYTES = 1 << 30 };

/* The manifest lists the file: where it is gone, `cachetool COMMAND...` is the way out. */
static enum cask_status check_there(const char *path, const char *command, struct cask_error *err)
{
    return cask_path_exists(path)
               ? CASK_OK
               : cask_error_set(err, CASK_ERR_IO, "%s: is missing; `cachetool %s", path, command);
}

static enum cask_status read_index(struct cask_shard *shard, const char *path,
                                   const struct cask_record *record, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *data = NULL;
    size_t bytes = 0;
    enum cask_sidecar_kind kind =
        record->shard == CASK_CACHE_CENTERS ? CASK_SIDECAR_CENTERS : CASK_SIDECAR_SHARD;
    uint32_t number = kind == CASK_SIDECAR_CENTERS ? 0 : (uint32_t)record->shard;
    CASK_TRY(check_there(path, "repair-index` makes it again from its shard", err));
    CASK_TRY(cask_file_read_all(path, INDEX_MAX_BYTES, &data, &bytes, err));
    st = cask_sidecar_decode((const uint8_t *)data, bytes, shard->layout, kind, number,
                             &shard->sidecar, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
    if (bytes != record->index_bytes || cask_xxh3(data, bytes) != record->index_xxh3) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: not the index that the manifest lists (%016" PRIx64
                                ", expected %016" PRIx64
                                "); `cachetool repair-index` makes it again from its shard",
                                path, cask_xxh3(data, bytes), record->index_xxh3));
    }
done:
    cask_free(data);
    return st;
}

enum cask_status cask_shard_open(struct cask_shard *shard, const char *stem,
                                 const struct cask_record *record, const struct cask_layout *layout,
                                 enum cask_verify verify, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *index_path = cask_format("%s.idx", stem);
    memset(shard, 0, sizeof *shard);
    shard->layout = layout;
    shard->verify = verify;
    shard->path = cask_format("%s.h5", stem);
    shard->verified = cask_alloc(layout->spans / 8 + 1, 1);
    if (shard->path == NULL || index_path == NULL || shard->verified == NULL) {
        CASK_TRY(cask_error_memory(err, layout->spans / 8, "shard"));
    }
    CASK_TRY(read_index(shard, index_path, record, err));
    CASK_TRY(check_there(shard->path, "verify` says how to build it again", err));
    CASK_TRY(cask_map_open(&shard->map, shard->path, err));
    if (shard->map.bytes != shard->sidecar.file_bytes || shard->map.bytes != record->bytes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: %zu bytes, expected %" PRIu64
                                ": cut short or not the file that was published; run `cachetool "
                                "verify`, then build this shard again",
                                shard->path, shard->map.bytes, record->bytes));
    }
    /* Without this the kernel reads 8 MiB ahead of every random row: measured 100 times slower
     * cold. */
    madvise((void *)(uintptr_t)shard->map.data, shard->map.bytes, MADV_RANDOM);
done:
    cask_free(index_path);
    if (st != CASK_OK) {
        cask_shard_close(shard);
    }
    return st;
}

void cask_shard_close(struct cask_shard *shard)
{
    cask_map_close(&shard->map);
    cask_sidecar_release(&shard->sidecar);
    cask_free(shard->verified);
    cask_free(shard->path);
    memset(shard, 0, sizeof *shard);
}

enum cask_status cask_shard_damage(const struct cask_shard *shard, int slot, uint64_t first_row,
                                   uint64_t row_count, const char *what, struct cask_error *err)
{
    uint64_t last =
        first_row + row_count < shard->layout->rows ? first_row + row_count : shard->layout->rows;
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "%s: %s, rows %" PRIu64 " to %" PRIu64
                          " of the shard: %s; run `cachetool verify`, then build this shard again",
                          shard->path, shard->layout->arrays[slot].name, first_row, last - 1, what);
}

const uint8_t *cask_shard_span(const struct cask_shard *shard, int slot, uint64_t row,
                               const uint8_t **chunk, size_t *bytes)
{
    const struct cask_array *array = &shard->layout->arrays[slot];
    const struct cask_chunk *stored =
        &shard->sidecar.chunks[array->first_chunk + row / array->chunk_rows];
    size_t first;
    cask_array_span(array, (uint32_t)(row % array->chunk_rows / array->span_rows),
                    cask_chunk_bytes(stored), &first, bytes);
    *chunk = shard->map.data + stored->address;
    return *chunk + first;
}

static enum cask_status check_span(struct cask_shard *shard, int slot, uint32_t chunk_number,
                                   uint32_t span, struct cask_error *err)
{
    const struct cask_array *array = &shard->layout->arrays[slot];
    const struct cask_chunk *chunk = &shard->sidecar.chunks[array->first_chunk + chunk_number];
    size_t first, bytes;
    cask_array_span(array, span, cask_chunk_bytes(chunk), &first, &bytes);
    uint32_t index = array->first_span + chunk_number * array->spans_per_chunk + span;
    if (cask_xxh3(shard->map.data + chunk->address + first, bytes) != shard->sidecar.spans[index]) {
        uint64_t row =
            (uint64_t)chunk_number * array->chunk_rows + (uint64_t)span * array->span_rows;
        return cask_shard_damage(shard, slot, row, array->span_rows, "damaged (checksum differs)",
                                 err);
    }
    atomic_fetch_or_explicit(&shard->verified[index / 8], (unsigned char)(1u << index % 8),
                             memory_order_relaxed);
    return CASK_OK;
}

enum cask_status cask_shard_touch(struct cask_shard *shard, int slot, uint64_t row,
                                  struct cask_recent_span *recent, const uint8_t **data,
                                  size_t *bytes, struct cask_error *err)
{
    const struct cask_array *array = &shard->layout->arrays[slot];
    uint32_t chunk_number = (uint32_t)(row / array->chunk_rows);
    uint32_t span = (uint32_t)(row % array->chunk_rows / array->span_rows);
    const struct cask_chunk *chunk = &shard->sidecar.chunks[array->first_chunk + chunk_number];
    uint32_t index = array->first_span + chunk_number * array->spans_per_chunk + span;
    *data = shard->map.data + chunk->address;
    *bytes = cask_chunk_bytes(chunk);
    bool known =
        shard->verify == CASK_VERIFY_OFF ||
        (shard->verify == CASK_VERIFY_FIRST &&
         atomic_load_explicit(&shard->verified[index / 8], memory_order_relaxed) >> index % 8 & 1u);
    if (known || (recent[slot].shard == shard && recent[slot].span == index)) {
        return CASK_OK;
    }
    recent[slot] = (struct cask_recent_span){shard, index};
    enum cask_status st = check_span(shard, slot, chunk_number, span, err);
    recent[slot].shard = st == CASK_OK ? shard : NULL;
    return st;
}

enum cask_status cask_shard_check_array(struct cask_shard *shard, int slot, struct cask_error *err)
{
    const struct cask_array *array = &shard->layout->arrays[slot];
    for (uint32_t c = 0; c < array->chunks; c++) {
        for (uint32_t s = 0; s < array->spans_per_chunk; s++) {
            enum cask_status st = check_span(shard, slot, c, s, err);
            if (st != CASK_OK) {
                return st;
            }
        }
    }
    return CASK_OK;
}

const uint8_t *cask_shard_rows(const struct cask_shard *shard, int slot)
{
    return shard->map.data + shard->sidecar.chunks[shard->layout->arrays[slot].first_chunk].address;
}
