/* cache/tool/export.c - a range of rows as an HDF5 file (export_h5.c) or as an .npz file: a ZIP
 * archive of .npy arrays, stored without compression. Formats: "numpy.lib.format" version 1.0;
 * PKWARE APPNOTE 6.3.3 sections 4.3.7, 4.3.12, 4.3.16.
 *
 * Arrays are [2][rows][...], the view first, apart from label, sample_id, source_offset and flags:
 * [rows]. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
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

static const char *numpy_type(enum cask_element element)
{
    return element == CASK_ELEMENT_U8    ? "|u1"
           : element == CASK_ELEMENT_U32 ? "<u4"
           : element == CASK_ELEMENT_U64 ? "<u8"
                                         : "<f4";
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

static enum cask_status put_array(struct archive *zip, const struct tool_array *array,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char header[256];
    uint8_t local[LOCAL_HEADER] = {'P', 'K', 3, 4};
    size_t header_bytes = npy_header(header, numpy_type(array->element), array->rank, array->shape);
    struct entry *entry = &zip->entries[zip->count++];
    if (zip->written + header_bytes + array->bytes > ZIP_LIMIT) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "more than 4 GB in one .npz: export fewer rows with --rows A:B, or "
                                "--h5"));
    }
    snprintf(entry->name, sizeof entry->name, "%s.npy", array->name);
    entry->offset = (uint32_t)zip->written;
    entry->bytes = (uint32_t)(header_bytes + array->bytes);
    entry->crc = cask_crc32(cask_crc32(0, header, header_bytes), array->data, array->bytes);
    put_common(local + 4, entry);
    CASK_TRY(put(zip, local, sizeof local, err));
    CASK_TRY(put(zip, entry->name, strlen(entry->name), err));
    CASK_TRY(put(zip, header, header_bytes, err));
    CASK_TRY(put(zip, array->data, array->bytes, err));
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

static void list_arrays(const struct columns *c, const struct cask_manifest *m,
                        struct tool_array arrays[ARRAYS])
{
    const size_t n = (size_t)c->rows, d = (size_t)m->embedding, k = (size_t)m->topk,
                 t = (size_t)m->temperature_count;
    const struct tool_array list[ARRAYS] = {
        {"label", CASK_ELEMENT_U32, 1, {c->rows}, c->label, n * 4},
        {"sample_id", CASK_ELEMENT_U64, 1, {c->rows}, c->sample_id, n * 8},
        {"source_offset", CASK_ELEMENT_U64, 1, {c->rows}, c->source_offset, n * 8},
        {"flags", CASK_ELEMENT_U8, 1, {c->rows}, c->flags, n},
        {"embedding", CASK_ELEMENT_F32, 3, {2, c->rows, m->embedding}, c->embedding, 8 * n * d},
        {"norm", CASK_ELEMENT_F32, 2, {2, c->rows}, c->norm, 8 * n},
        {"topk_index", CASK_ELEMENT_U32, 3, {2, c->rows, m->topk}, c->topk_index, 8 * n * k},
        {"topk_cosine", CASK_ELEMENT_F32, 3, {2, c->rows, m->topk}, c->topk_cosine, 8 * n * k},
        {"label_cosine", CASK_ELEMENT_F32, 2, {2, c->rows}, c->label_cosine, 8 * n},
        {"lse", CASK_ELEMENT_F32, 3, {2, c->rows, m->temperature_count}, c->lse, 8 * n * t},
    };
    memcpy(arrays, list, sizeof list);
}

static enum cask_status write_npz(const char *path, const struct tool_array *arrays,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct archive zip = {.file = {.fd = -1}};
    CASK_TRY(cask_file_begin(&zip.file, path, err));
    for (int i = 0; i < ARRAYS; i++) {
        CASK_TRY(put_array(&zip, &arrays[i], err));
    }
    CASK_TRY(put_directory(&zip, err));
    CASK_TRY(cask_file_commit(&zip.file, err));
done:
    cask_file_abort(&zip.file);
    return st;
}

/* "FIRST:END": the rows [first, end). */
static enum cask_status read_range(const char *text, int64_t *first, int64_t *end,
                                   struct cask_error *err)
{
    char *colon = NULL, *last = NULL;
    errno = 0;
    *first = strtoll(text, &colon, 10);
    *end = colon > text && *colon == ':' ? strtoll(colon + 1, &last, 10) : 0;
    return errno == 0 && last != NULL && last > colon + 1 && *last == '\0' && *first >= 0 &&
                   *end > *first
               ? CASK_OK
               : cask_error_set(err, CASK_ERR_USAGE,
                                "--rows: expected FIRST:END, as 0:10 for the first ten, found "
                                "\"%.100s\"",
                                text);
}

enum cask_status tool_export(const struct tool_arguments *arguments, int *exit_code,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *cache = NULL;
    struct columns columns = {0};
    struct tool_array arrays[ARRAYS];
    const bool npz = arguments->npz[0] != '\0';
    const char *path = npz ? arguments->npz : arguments->h5;
    int64_t first = 0, end = 0;
    *exit_code = 0;
    if (path[0] == '\0' || (npz && arguments->h5[0] != '\0')) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "export needs --npz FILE or --h5 FILE"));
    }
    CASK_TRY(cask_cache_open(arguments->folders.values[0], CASK_VERIFY_FIRST, &cache, err));
    end = cask_cache_rows(cache);
    if (arguments->rows[0] != '\0') {
        CASK_TRY(read_range(arguments->rows, &first, &end, err));
    }
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
    list_arrays(&columns, cask_cache_manifest(cache), arrays);
    CASK_TRY(npz ? write_npz(path, arrays, err) : tool_write_h5(path, arrays, ARRAYS, err));
    if (arguments->json) {
        struct cask_json *object = cask_json_object();
        cask_json_set_int(object, "first_row", first);
        cask_json_set_int(object, "rows", end - first);
        cask_json_set_text(object, "file", path);
        CASK_TRY(cask_json_print(object, err));
    } else {
        printf("%" PRId64 " rows x 2 views written to %s\n", end - first, path);
    }
done:
    columns_close(&columns);
    cask_cache_close(cache);
    return st;
}
