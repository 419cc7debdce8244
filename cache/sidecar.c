/* cache/sidecar.c - writes and reads the index beside an HDF5 file. */
#include "cache/sidecar.h"

#include <inttypes.h>
#include <string.h>

#include "cache/bytes.h"
#include "cache/lz4_frame.h"
#include "common/hash.h"
#include "common/mem.h"

static const char MAGIC[8] = "CASKIDX";

/* Places in the header; FORMAT.md has the table. */
enum {
    AT_MAJOR = 8,
    AT_MINOR = 12,
    AT_KIND = 16,
    AT_SHARD = 20,
    AT_ROWS = 24,
    AT_FILE_BYTES = 32,
    AT_FILE_XXH3 = 40,
    AT_ARRAYS = 48,
    AT_CHUNKS = 52,
    AT_SPANS = 56,
};

enum cask_status cask_sidecar_allocate(struct cask_sidecar *sidecar,
                                       const struct cask_layout *layout, struct cask_error *err)
{
    sidecar->chunks = cask_alloc(layout->chunks, sizeof *sidecar->chunks);
    sidecar->spans = cask_alloc(layout->spans, sizeof *sidecar->spans);
    if (sidecar->chunks == NULL || sidecar->spans == NULL) {
        cask_sidecar_release(sidecar);
        return cask_error_memory(err, (size_t)layout->chunks * 16 + (size_t)layout->spans * 8,
                                 "shard index");
    }
    return CASK_OK;
}

void cask_sidecar_release(struct cask_sidecar *sidecar)
{
    cask_free(sidecar->chunks);
    cask_free(sidecar->spans);
    sidecar->chunks = NULL;
    sidecar->spans = NULL;
}

void cask_sidecar_hash(struct cask_sidecar *sidecar, const struct cask_layout *layout,
                       const uint8_t *file)
{
    for (int i = 0; i < layout->array_count; i++) {
        const struct cask_array *array = &layout->arrays[i];
        for (uint32_t c = 0; c < array->chunks; c++) {
            const struct cask_chunk *chunk = &sidecar->chunks[array->first_chunk + c];
            uint64_t *spans = &sidecar->spans[array->first_span + c * array->spans_per_chunk];
            for (uint32_t s = 0; s < array->spans_per_chunk; s++) {
                size_t first, bytes;
                cask_array_span(array, s, cask_chunk_bytes(chunk), &first, &bytes);
                spans[s] = cask_xxh3(file + chunk->address + first, bytes);
            }
        }
    }
}

static void put_array(uint8_t *out, const struct cask_array *array)
{
    memcpy(out, array->name, CASK_ARRAY_NAME);
    out[32] = (uint8_t)array->element;
    out[33] = (uint8_t)array->storage;
    out[34] = (uint8_t)array->rank;
    cask_put_le32(out + 36, array->row_elements);
    cask_put_le32(out + 40, array->chunk_rows);
    cask_put_le32(out + 44, array->span_rows);
    cask_put_le32(out + 48, array->chunks);
    cask_put_le32(out + 52, array->spans_per_chunk);
    cask_put_le32(out + 56, array->first_chunk);
    cask_put_le32(out + 60, array->first_span);
}

/* Everything before the chunk table; `out` is zeroed. Returns the bytes used. */
static size_t put_front(uint8_t *out, const struct cask_sidecar *sidecar,
                        const struct cask_layout *layout)
{
    uint32_t arrays = 0;
    for (int i = 0; i < layout->array_count; i++) {
        if (layout->arrays[i].row_elements > 0) {
            put_array(out + CASK_SIDECAR_HEADER + arrays * CASK_SIDECAR_ARRAY, &layout->arrays[i]);
            arrays++;
        }
    }
    memcpy(out, MAGIC, sizeof MAGIC);
    cask_put_le32(out + AT_MAJOR, CASK_CACHE_MAJOR);
    cask_put_le32(out + AT_MINOR, CASK_CACHE_MINOR);
    cask_put_le32(out + AT_KIND, (uint32_t)sidecar->kind);
    cask_put_le32(out + AT_SHARD, sidecar->shard);
    cask_put_le64(out + AT_ROWS, layout->rows);
    cask_put_le64(out + AT_FILE_BYTES, sidecar->file_bytes);
    cask_put_le64(out + AT_FILE_XXH3, sidecar->file_xxh3);
    cask_put_le32(out + AT_ARRAYS, arrays);
    cask_put_le32(out + AT_CHUNKS, layout->chunks);
    cask_put_le64(out + AT_SPANS, layout->spans);
    return CASK_SIDECAR_HEADER + (size_t)arrays * CASK_SIDECAR_ARRAY;
}

enum cask_status cask_sidecar_encode(const struct cask_sidecar *sidecar,
                                     const struct cask_layout *layout, uint8_t **data,
                                     size_t *bytes, struct cask_error *err)
{
    *bytes = cask_layout_sidecar_bytes(layout);
    *data = cask_alloc(*bytes, 1);
    if (*data == NULL) {
        return cask_error_memory(err, *bytes, "shard index file");
    }
    uint8_t *out = *data + put_front(*data, sidecar, layout);
    for (uint32_t c = 0; c < layout->chunks; c++, out += CASK_SIDECAR_CHUNK) {
        cask_put_le64(out, sidecar->chunks[c].address);
        cask_put_le32(out + 8, sidecar->chunks[c].bytes);
        cask_put_le32(out + 12, sidecar->chunks[c].bytes_high);
    }
    for (uint32_t s = 0; s < layout->spans; s++, out += 8) {
        cask_put_le64(out, sidecar->spans[s]);
    }
    cask_put_le64(out, cask_xxh3(*data, *bytes - 8));
    return CASK_OK;
}

static enum cask_status check_front(const uint8_t *data, size_t bytes, struct cask_error *err)
{
    if (bytes < CASK_SIDECAR_HEADER + 8 || memcmp(data, MAGIC, sizeof MAGIC) != 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "not a Cask index (%zu bytes, wrong or missing \"%s\")", bytes,
                              MAGIC);
    }
    uint32_t major = cask_get_le32(data + AT_MAJOR);
    if (major != CASK_CACHE_MAJOR) {
        return cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "index format %" PRIu32 ".%" PRIu32
            ", this Cask reads %d.x: use the Cask that wrote it or build the cache again",
            major, cask_get_le32(data + AT_MINOR), CASK_CACHE_MAJOR);
    }
    uint64_t stated = cask_get_le64(data + bytes - 8), found = cask_xxh3(data, bytes - 8);
    if (stated != found) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "index is damaged: checksum %016" PRIx64 ", expected %016" PRIx64,
                              found, stated);
    }
    return CASK_OK;
}

/* The front part is a function of layout, kind, shard and the file's size and hash: write the one
 * that is expected and compare. */
static enum cask_status check_layout(const uint8_t *data, const struct cask_sidecar *sidecar,
                                     const struct cask_layout *layout, struct cask_error *err)
{
    uint8_t front[CASK_SIDECAR_HEADER + CASK_ARRAYS * CASK_SIDECAR_ARRAY] = {0};
    size_t bytes = put_front(front, sidecar, layout);
    cask_put_le32(front + AT_MINOR, cask_get_le32(data + AT_MINOR));
    for (size_t at = 0; at < bytes; at++) {
        if (data[at] != front[at]) {
            return cask_error_set(
                err, CASK_ERR_FORMAT,
                "index describes another %s than the manifest (byte %zu is %u, expected %u)",
                at < CASK_SIDECAR_HEADER ? "file" : "array", at, data[at], front[at]);
        }
    }
    return CASK_OK;
}

static enum cask_status check_chunk(const struct cask_array *array, uint32_t c,
                                    const struct cask_chunk *chunk, uint64_t rows,
                                    uint64_t file_bytes, struct cask_error *err)
{
    uint64_t bytes = cask_chunk_bytes(chunk), bound = cask_array_chunk_bound(array, rows);
    bool exact = array->storage != CASK_STORAGE_SHUFFLED;
    if (chunk->address > file_bytes || bytes > file_bytes - chunk->address) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s chunk %" PRIu32 ": bytes %" PRIu64 "+%" PRIu64
                              " lie outside the file of %" PRIu64,
                              array->name, c, chunk->address, bytes, file_bytes);
    }
    if (bytes > bound || (exact && bytes != bound) ||
        bytes < (exact ? 1 : CASK_LZ4_FRAME_HEADER + CASK_LZ4_BLOCK_HEADER)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s chunk %" PRIu32 ": %" PRIu64 " bytes stored, expected %s%" PRIu64,
                              array->name, c, bytes, exact ? "" : "at most ", bound);
    }
    return CASK_OK;
}

enum cask_status cask_sidecar_decode(const uint8_t *data, size_t bytes,
                                     const struct cask_layout *layout, enum cask_sidecar_kind kind,
                                     uint32_t shard, struct cask_sidecar *sidecar,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    memset(sidecar, 0, sizeof *sidecar);
    CASK_TRY(check_front(data, bytes, err));
    if (bytes != cask_layout_sidecar_bytes(layout)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "index has %zu bytes, expected %zu for this manifest", bytes,
                                cask_layout_sidecar_bytes(layout)));
    }
    sidecar->kind = kind;
    sidecar->shard = shard;
    sidecar->file_bytes = cask_get_le64(data + AT_FILE_BYTES);
    sidecar->file_xxh3 = cask_get_le64(data + AT_FILE_XXH3);
    CASK_TRY(check_layout(data, sidecar, layout, err));
    CASK_TRY(cask_sidecar_allocate(sidecar, layout, err));
    const uint8_t *in =
        data + bytes - 8 - (size_t)layout->spans * 8 - (size_t)layout->chunks * CASK_SIDECAR_CHUNK;
    for (int i = 0; i < layout->array_count; i++) {
        for (uint32_t c = 0; c < layout->arrays[i].chunks; c++, in += CASK_SIDECAR_CHUNK) {
            struct cask_chunk *chunk = &sidecar->chunks[layout->arrays[i].first_chunk + c];
            *chunk = (struct cask_chunk){cask_get_le64(in), cask_get_le32(in + 8),
                                         cask_get_le32(in + 12)};
            CASK_TRY(
                check_chunk(&layout->arrays[i], c, chunk, layout->rows, sidecar->file_bytes, err));
        }
    }
    for (uint32_t s = 0; s < layout->spans; s++, in += 8) {
        sidecar->spans[s] = cask_get_le64(in);
    }
done:
    if (st != CASK_OK) {
        cask_sidecar_release(sidecar);
    }
    return st;
}
