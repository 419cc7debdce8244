/* Writes safetensors: tensors in the order given, the header padded with spaces so that the data
 * starts at a multiple of 8 bytes, all of it published at once. */
#include <string.h>

#include "common/json.h"
#include "models/checkpoint.h"

static enum cask_status add_tensor(struct cask_json *header, const struct cask_file_tensor *tensor,
                                   int64_t *offset, struct cask_error *err)
{
    int64_t count = 0;
    if (!cask_shape_count(tensor->shape, tensor->rank, tensor->dtype, &count)) {
        return cask_error_set(err, CASK_ERR_RANGE, "tensor \"%s\": its size overflows",
                              tensor->name);
    }
    if (cask_json_get(header, tensor->name) != NULL || strcmp(tensor->name, "__metadata__") == 0) {
        return cask_error_set(err, CASK_ERR_INTERNAL, "two tensors are called \"%s\"",
                              tensor->name);
    }
    struct cask_json *entry = cask_json_object(), *shape = cask_json_array();
    struct cask_json *offsets = cask_json_array();
    for (int i = 0; i < tensor->rank; i++) {
        cask_json_append_int(shape, tensor->shape[i]);
    }
    cask_json_append_int(offsets, *offset);
    *offset += count * (int64_t)cask_file_dtype_size(tensor->dtype);
    cask_json_append_int(offsets, *offset);
    cask_json_set_text(entry, "dtype", cask_file_dtype_name(tensor->dtype));
    cask_json_set(entry, "shape", shape);
    cask_json_set(entry, "data_offsets", offsets);
    cask_json_set(header, tensor->name, entry);
    return CASK_OK;
}

/* The header's text, padded to a multiple of 8 bytes. */
static enum cask_status make_header(const struct cask_file_tensor *tensors, int count,
                                    const struct cask_metadata_entry *entries, int entry_count,
                                    char **text, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *json = NULL;
    int64_t offset = 0;
    struct cask_json *header = cask_json_object(), *metadata = cask_json_object();
    cask_json_set_text(metadata, "format_version", "cask 1");
    for (int i = 0; i < entry_count; i++) {
        cask_json_set_text(metadata, entries[i].key, entries[i].value);
    }
    cask_json_set(header, "__metadata__", metadata);
    for (int i = 0; i < count; i++) {
        CASK_TRY(add_tensor(header, &tensors[i], &offset, err));
    }
    json = cask_json_dump(header, CASK_JSON_COMPACT);
    *text = json == NULL ? NULL : cask_format("%s%*s", json, (int)(-strlen(json) & 7), "");
    if (*text == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * 100, "the safetensors header"));
    }
done:
    cask_json_free(header);
    cask_free(json);
    return st;
}

enum cask_status cask_safetensors_write(const char *path, const struct cask_file_tensor *tensors,
                                        int count, const struct cask_metadata_entry *entries,
                                        int entry_count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_file file = {.fd = -1};
    char *header = NULL;
    CASK_TRY(make_header(tensors, count, entries, entry_count, &header, err));
    uint64_t length = strlen(header);
    CASK_TRY(cask_file_begin(&file, path, err));
    CASK_TRY(cask_file_write(&file, &length, sizeof length, err));
    CASK_TRY(cask_file_write(&file, header, length, err));
    for (int i = 0; i < count; i++) {
        int64_t elements = 0;
        cask_shape_count(tensors[i].shape, tensors[i].rank, tensors[i].dtype, &elements);
        CASK_TRY(cask_file_write(&file, tensors[i].data,
                                 (size_t)elements * cask_file_dtype_size(tensors[i].dtype), err));
    }
    CASK_TRY(cask_file_commit(&file, err));
done:
    cask_file_abort(&file);
    cask_free(header);
    return st;
}
