/* safetensors: u64 header length, header JSON, data.
 *
 * The header maps a name to {"dtype", "shape", "data_offsets": [begin, end)}, offsets counted from
 * the end of the header, and "__metadata__" to a map of texts. The data is row-major, little-endian
 * and covered exactly: no overlap and no hole, so that nothing can hide in a file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "models/checkpoint.h"

enum { PREFIX = 8, MAX_HEADER = 100 * 1000 * 1000 };

struct range {
    int64_t begin, end;
    int tensor;
};

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    int by_begin = (x->begin > y->begin) - (x->begin < y->begin);
    return by_begin != 0 ? by_begin : (x->end > y->end) - (x->end < y->end);
}

static bool parse_dtype(const char *text, enum cask_file_dtype *dtype)
{
    for (int i = CASK_FILE_F32; i <= CASK_FILE_BOOL; i++) {
        if (strcmp(text, cask_file_dtype_name((enum cask_file_dtype)i)) == 0) {
            *dtype = (enum cask_file_dtype)i;
            return true;
        }
    }
    return false;
}

static enum cask_status read_shape(const char *name, const struct cask_json *value,
                                   struct cask_file_tensor *tensor, struct cask_error *err)
{
    const struct cask_json *shape = cask_json_get(value, "shape");
    if (cask_json_kind(shape) != CASK_JSON_ARRAY || cask_json_size(shape) > CASK_FILE_RANK) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "tensor \"%.200s\": expected \"shape\" with up to %d numbers", name,
                              CASK_FILE_RANK);
    }
    tensor->rank = (int)cask_json_size(shape);
    for (int i = 0; i < tensor->rank; i++) {
        if (!cask_json_as_int(cask_json_at(shape, (size_t)i), &tensor->shape[i]) ||
            tensor->shape[i] < 0) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "tensor \"%.200s\": shape[%d] is not a size", name, i);
        }
    }
    return CASK_OK;
}

static enum cask_status read_tensor(struct cask_checkpoint *c, size_t data_start, const char *name,
                                    const struct cask_json *value, struct range *range,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_file_tensor tensor = {.name = name};
    const char *dtype = "nothing";
    int64_t room = (int64_t)(c->bytes - data_start);
    if (!cask_json_as_text(cask_json_get(value, "dtype"), &dtype) ||
        !parse_dtype(dtype, &tensor.dtype)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "tensor \"%.200s\": dtype %.40s is not read", name, dtype));
    }
    CASK_TRY(read_shape(name, value, &tensor, err));
    const struct cask_json *offsets = cask_json_get(value, "data_offsets");
    if (cask_json_size(offsets) != 2 ||
        !cask_json_as_int(cask_json_at(offsets, 0), &range->begin) ||
        !cask_json_as_int(cask_json_at(offsets, 1), &range->end) || range->begin < 0 ||
        range->end < range->begin) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "tensor \"%.200s\": expected \"data_offsets\" [begin, end]", name));
    }
    if (range->end > room) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "tensor \"%.200s\": its data ends at byte %" PRId64
                                ", the file's data has %" PRId64
                                ": a truncated download? fetch the file again",
                                name, range->end, room));
    }
    tensor.data = c->data + data_start + range->begin;
    range->tensor = c->tensors.count;
    CASK_TRY(cask_checkpoint_add(c, &c->tensors, &tensor, name, strlen(name), err));
    const struct cask_file_tensor *added = &c->tensors.items[range->tensor];
    int64_t need = added->count * (int64_t)cask_file_dtype_size(added->dtype);
    if (need != range->end - range->begin) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "tensor \"%.200s\": its shape needs %" PRId64
                                " bytes, its data_offsets give %" PRId64,
                                name, need, range->end - range->begin));
    }
done:
    return st;
}

enum cask_status cask_checkpoint_read_metadata(struct cask_checkpoint *c,
                                               const struct cask_json *metadata,
                                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *key = NULL, *text = NULL;
    const struct cask_json *value = NULL;
    if (cask_json_kind(metadata) != CASK_JSON_OBJECT) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "__metadata__ is not a map"));
    }
    for (void *i = cask_json_next(metadata, NULL, &key, &value); i != NULL;
         i = cask_json_next(metadata, i, &key, &value)) {
        if (!cask_json_as_text(value, &text)) {
            CASK_TRY(
                cask_error_set(err, CASK_ERR_FORMAT, "__metadata__ \"%.200s\" is not a text", key));
        }
        CASK_TRY(cask_checkpoint_add_entry(c, key, text, err));
    }
    const char *format = cask_checkpoint_metadata(c, "format_version");
    c->own = format != NULL && strncmp(format, "cask ", 5) == 0;
done:
    return st;
}

static enum cask_status check_cover(const struct cask_checkpoint *c, struct range *ranges,
                                    int64_t data_bytes, struct cask_error *err)
{
    int count = c->tensors.count;
    int64_t at = 0;
    if (count > 0) {
        qsort(ranges, (size_t)count, sizeof *ranges, compare_ranges);
    }
    for (int i = 0; i < count; i++) {
        if (ranges[i].begin != at) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "tensor \"%.200s\" begins at data byte %" PRId64
                                  ", expected %" PRId64 ": %s",
                                  c->tensors.items[ranges[i].tensor].name, ranges[i].begin, at,
                                  ranges[i].begin < at ? "tensors overlap" : "there is a hole");
        }
        at = ranges[i].end;
    }
    if (at != data_bytes) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%" PRId64 " bytes after the last tensor belong to nothing",
                              data_bytes - at);
    }
    return CASK_OK;
}

static enum cask_status find_header(const struct cask_checkpoint *c, size_t *header_bytes,
                                    struct cask_error *err)
{
    uint64_t length = 0;
    memcpy(&length, c->data, PREFIX);
    if (length > MAX_HEADER) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "safetensors header of %" PRIu64 " bytes; at most %d are read",
                              length, MAX_HEADER);
    }
    if (length > c->bytes - PREFIX) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "safetensors header of %" PRIu64
                              " bytes in a file of %zu: a truncated download? fetch the file again",
                              length, c->bytes);
    }
    *header_bytes = (size_t)length;
    return CASK_OK;
}

enum cask_status cask_safetensors_read(struct cask_checkpoint *c, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *header = NULL;
    struct range *ranges = NULL;
    size_t length = 0;
    CASK_TRY(find_header(c, &length, err));
    CASK_TRY(cask_json_parse((const char *)c->data + PREFIX, length, &header, err));
    if (cask_json_kind(header) != CASK_JSON_OBJECT) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "the safetensors header is not a map"));
    }
    ranges = cask_alloc(cask_json_size(header), sizeof *ranges);
    if (ranges == NULL) {
        CASK_TRY(cask_error_memory(err, cask_json_size(header) * sizeof *ranges, "offsets"));
    }
    const char *name = NULL;
    const struct cask_json *value = NULL;
    for (void *i = cask_json_next(header, NULL, &name, &value); i != NULL;
         i = cask_json_next(header, i, &name, &value)) {
        if (strcmp(name, "__metadata__") == 0) {
            CASK_TRY(cask_checkpoint_read_metadata(c, value, err));
        } else {
            CASK_TRY(read_tensor(c, PREFIX + length, name, value, &ranges[c->tensors.count], err));
        }
    }
    CASK_TRY(check_cover(c, ranges, (int64_t)(c->bytes - PREFIX - length), err));
done:
    cask_json_free(header);
    cask_free(ranges);
    return st;
}
