/* cache/tool/export.c - a range of rows as an .npz file: a ZIP archive of .npy arrays, stored
 * without compression. Formats: "numpy.lib.format" version 1.0; PKWARE APPNOTE 6.3.3
 * sections 4.3.7, 4.3.12, 4.3.16.
 *
 * Arrays are [2][rows][...], the view first, apart from label, sample_id, source_offset and flags:
 * [rows]. */
#include <inttypes.h>
#include <string.h>

#include "cache/bytes.h"
#include "cache/tool/tool.h"
#include "common/hash.h"
#include "common/mem.h"

enum {
    BATCH = 256,
    ARRAYS = 10,
    LOCAL_HEADER = 30,
    CENTRAL_HEADER = 46,
    END_RECORD = 22,
    NAME = 32
};
static const uint64_t ZIP_LIMIT = 0xfffffff0u; /* without the 64-bit extension */

struct entry {
    char name[NAME];
    uint32_t crc, bytes, offset;
};

struct archive {
    struct cask_file file;
    uint64_t written;
    struct entry entries[ARRAYS];
    int count;
};

static enum cask_status put(struct archive *zip, const void *data, size_t bytes,
                            struct cask_error *err)
{
    zip->written += bytes;
    return cask_file_write(&zip->file, data, bytes, err);
}

/* Fields that the local and the central header share, from "version needed" on. */
static void put_common(uint8_t *p, const struct entry *entry)
{
    cask_put_le16(p, 20);       /* version needed */
    cask_put_le16(p + 8, 0x21); /* 1 January 1980: the same rows give the same file */
    cask_put_le32(p + 10, entry->crc);
    cask_put_le32(p + 14, entry->bytes);
    cask_put_le32(p + 18, entry->bytes);
    cask_put_le16(p + 22, (uint16_t)strlen(entry->name));
}

/* "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 10, 512), }", padded so that data starts
 * at a multiple of 64. Returns the header's size. */
static size_t npy_header(char header[256], const char *type, int rank, const int64_t *shape)
{
    char text[200];
    int used =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (int i = 0; i < rank; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%" PRId64 ", ", shape[i]);
    }
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    size_t total = (10 + (size_t)used + 1 + 63) / 64 * 64;
    memset(header, ' ', total);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    cask_put_le16((uint8_t *)header + 8, (uint16_t)(total - 10));
    memcpy(header + 10, text, (size_t)used);
    header[total - 1] = '\n';
    return total;
}

static enum cask_status put_array(struct archive *zip, const char *name, const char *type, int rank,
                                  const int64_t *shape, const void *data, size_t bytes,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char header[256];
    uint8_t local[LOCAL_HEADER] = {'P', 'K', 3, 4};
    size_t header_bytes = npy_header(header, type, rank, shape);
    struct entry *entry = &zip->entries[zip->count++];
    if (zip->written + header_bytes + bytes > ZIP_LIMIT) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "more than 4 GB in one .npz: export fewer rows with --rows A:B"));
    }
    snprintf(entry->name, sizeof entry->name, "%s.npy", name);
    entry->offset = (uint32_t)zip->written;
    entry->bytes = (uint32_t)(header_bytes + bytes);
    entry->crc = cask_crc32(cask_crc32(0, header, header_bytes), data, bytes);
    put_common(local + 4, entry);
    CASK_TRY(put(zip, local, sizeof local, err));
    CASK_TRY(put(zip, entry->name, strlen(entry->name), err));
    CASK_TRY(put(zip, header, header_bytes, err));
    CASK_TRY(put(zip, data, bytes, err));
done:
    return st;
}

static enum cask_status put_directory(struct archive *zip, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t start = zip->written;
    uint8_t end[END_RECORD] = {'P', 'K', 5, 6};
    for (int i = 0; i < zip->count; i++) {
        uint8_t central[CENTRAL_HEADER] = {'P', 'K', 1, 2, 20};
        put_common(central + 6, &zip->entries[i]);
        cask_put_le32(central + 42, zip->entries[i].offset);
        CASK_TRY(put(zip, central, sizeof central, err));
        CASK_TRY(put(zip, zip->entries[i].name, strlen(zip->entries[i].name), err));
    }
    cask_put_le16(end + 8, (uint16_t)zip->count);
    cask_put_le16(end + 10, (uint16_t)zip->count);
    cask_put_le32(end + 12, (uint32_t)(zip->written - start));
    cask_put_le32(end + 16, (uint32_t)start);
    CASK_TRY(put(zip, end, sizeof end, err));
done:
    return st;
}

/* --- gathering --- */

struct columns {
    int64_t rows;
    float *embedding, *norm, *topk_cosine, *label_cosine, *lse;
    uint32_t *topk_index, *label;
    uint64_t *sample_id, *source_offset;
    uint8_t *flags;
};

static bool columns_open(struct columns *c, const struct cask_manifest *m, int64_t rows)
{
    size_t n = (size_t)rows, both = 2 * n;
    c->rows = rows;
    c->embedding = cask_alloc(both * (size_t)m->embedding, 4);
    c->norm = cask_alloc(both, 4);
    c->topk_index = cask_alloc(both * (size_t)m->topk, 4);
    c->topk_cosine = cask_alloc(both * (size_t)m->topk, 4);
    c->label_cosine = cask_alloc(both, 4);
    c->lse = cask_alloc(both * (size_t)m->temperature_count, 4);
    c->label = cask_alloc(n, 4);
    c->sample_id = cask_alloc(n, 8);
    c->source_offset = cask_alloc(n, 8);
    c->flags = cask_alloc(n, 1);
    return c->embedding && c->norm && c->topk_index && c->topk_cosine && c->label_cosine &&
           c->lse && c->label && c->sample_id && c->source_offset && c->flags;
}

static void columns_close(struct columns *c)
{
    void *all[] = {c->embedding, c->norm,  c->topk_index, c->topk_cosine,   c->label_cosine,
                   c->lse,       c->label, c->sample_id,  c->source_offset, c->flags};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        cask_free(all[i]);
    }
}

static enum cask_status columns_read(struct columns *c, struct cask_cache *cache, int64_t first,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *m = cask_cache_manifest(cache);
    int64_t row[BATCH];
    bool mirror[BATCH];
    for (int64_t at = 0; at < 2 * c->rows; at += BATCH) {
        int count = 2 * c->rows - at < BATCH ? (int)(2 * c->rows - at) : BATCH;
        for (int i = 0; i < count; i++) {
            mirror[i] = at + i >= c->rows;
            row[i] = first + (at + i) % c->rows;
        }
        struct cask_cache_gather out = {c->embedding + at * m->embedding,
                                        c->norm + at,
                                        c->topk_index + at * m->topk,
                                        c->topk_cosine + at * m->topk,
                                        c->label_cosine + at,
                                        c->lse + at * m->temperature_count};
        CASK_TRY(cask_cache_gather(cache, row, mirror, count, &out, err));
    }
    for (int64_t i = 0; i < c->rows; i++) {
        c->label[i] = cask_cache_label(cache, first + i);
        c->sample_id[i] = cask_cache_sample_id(cache, first + i);
        c->source_offset[i] = cask_cache_source_offset(cache, first + i);
        c->flags[i] = cask_cache_flags(cache, first + i);
    }
done:
    return st;
}

static enum cask_status write_npz(const char *path, const struct columns *c,
                                  const struct cask_manifest *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct archive zip = {.file = {.fd = -1}};
    size_t n = (size_t)c->rows;
    const int64_t flat[] = {c->rows}, scalar[] = {2, c->rows},
                  embedding[] = {2, c->rows, m->embedding};
    const int64_t topk[] = {2, c->rows, m->topk}, lse[] = {2, c->rows, m->temperature_count};
    CASK_TRY(cask_file_begin(&zip.file, path, err));
    CASK_TRY(put_array(&zip, "label", "<u4", 1, flat, c->label, n * 4, err));
    CASK_TRY(put_array(&zip, "sample_id", "<u8", 1, flat, c->sample_id, n * 8, err));
    CASK_TRY(put_array(&zip, "source_offset", "<u8", 1, flat, c->source_offset, n * 8, err));
    CASK_TRY(put_array(&zip, "flags", "|u1", 1, flat, c->flags, n, err));
    CASK_TRY(put_array(&zip, "embedding", "<f4", 3, embedding, c->embedding,
                       2 * n * (size_t)m->embedding * 4, err));
    CASK_TRY(put_array(&zip, "norm", "<f4", 2, scalar, c->norm, 2 * n * 4, err));
    CASK_TRY(put_array(&zip, "topk_index", "<u4", 3, topk, c->topk_index,
                       2 * n * (size_t)m->topk * 4, err));
    CASK_TRY(put_array(&zip, "topk_cosine", "<f4", 3, topk, c->topk_cosine,
                       2 * n * (size_t)m->topk * 4, err));
    CASK_TRY(put_array(&zip, "label_cosine", "<f4", 2, scalar, c->label_cosine, 2 * n * 4, err));
    CASK_TRY(put_array(&zip, "lse", "<f4", 3, lse, c->lse, 2 * n * (size_t)m->temperature_count * 4,
                       err));
    CASK_TRY(put_directory(&zip, err));
    CASK_TRY(cask_file_commit(&zip.file, err));
done:
    cask_file_abort(&zip.file);
    return st;
}

enum cask_status tool_export(const struct tool_arguments *arguments, int *exit_code,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *cache = NULL;
    struct columns columns = {0};
    *exit_code = 0;
    if (arguments->npz == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "export needs --npz FILE"));
    }
    CASK_TRY(cask_cache_open(arguments->positional[0], CASK_VERIFY_FIRST, &cache, err));
    int64_t first = arguments->has_rows ? arguments->first_row : 0;
    int64_t end = arguments->has_rows ? arguments->end_row : cask_cache_rows(cache);
    if (end > cask_cache_rows(cache)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "--rows %" PRId64 ":%" PRId64 ": the cache has %" PRId64 " rows",
                                first, end, cask_cache_rows(cache)));
    }
    if (!columns_open(&columns, cask_cache_manifest(cache), end - first)) {
        CASK_TRY(cask_error_memory(
            err, (size_t)(end - first) * 2 * (size_t)cask_cache_manifest(cache)->embedding * 4,
            "rows to export; give fewer with --rows A:B"));
    }
    CASK_TRY(columns_read(&columns, cache, first, err));
    CASK_TRY(write_npz(arguments->npz, &columns, cask_cache_manifest(cache), err));
    if (arguments->json) {
        struct cask_json *object = cask_json_object();
        cask_json_set_int(object, "first_row", first);
        cask_json_set_int(object, "rows", end - first);
        cask_json_set_text(object, "file", arguments->npz);
        CASK_TRY(tool_print_json(object, err));
    } else {
        printf("%" PRId64 " rows x 2 views written to %s\n", end - first, arguments->npz);
    }
done:
    columns_close(&columns);
    cask_cache_close(cache);
    return st;
}
