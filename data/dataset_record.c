/* data/dataset_record.c - MXNet RecordIO: train.rec with train.idx and property, or a .rec alone.
 * recordio.h has the format, record_labels.c the way labels are found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "data/record_impl.h"

enum { LARGEST_PROPERTY = 4096 };

static void close_record(struct cask_dataset *base)
{
    struct cask_record_dataset *dataset = (struct cask_record_dataset *)base;
    cask_recordio_close(&dataset->file);
    cask_free(dataset->base.labels);
    cask_free(dataset->offsets);
    cask_free(dataset->keys);
    cask_free(dataset);
}

static uint64_t key_of(const struct cask_dataset *base, int64_t index)
{
    const struct cask_record_dataset *dataset = (const struct cask_record_dataset *)base;
    return dataset->keys != NULL ? dataset->keys[index] : dataset->first_key + (uint64_t)index;
}

static uint64_t offset_of(const struct cask_dataset *base, int64_t index)
{
    return ((const struct cask_record_dataset *)base)->offsets[index];
}

static void name_image(const struct cask_dataset *base, int64_t index, char *buffer, size_t bytes)
{
    const struct cask_record_dataset *dataset = (const struct cask_record_dataset *)base;
    snprintf(buffer, bytes, "%s key %llu", dataset->name, (unsigned long long)key_of(base, index));
}

static enum cask_status read_image(const struct cask_dataset *base, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    const struct cask_record_dataset *dataset = (const struct cask_record_dataset *)base;
    enum cask_status st = CASK_OK;
    struct cask_record record;
    uint32_t label;
    CASK_TRY(cask_recordio_read(&dataset->file, dataset->offsets[index], &record, encoded, err));
    CASK_TRY(cask_record_label(&dataset->file, &record, &label, err));
    if (label != base->labels[index]) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: key %llu at byte %llu has label %u, its identity record says "
                                "%u; the file is damaged",
                                dataset->file.path, (unsigned long long)key_of(base, index),
                                (unsigned long long)record.offset, label, base->labels[index]));
    }
done:
    return st;
}

/* property is one line "classes,height,width"; it only serves as a cross-check. */
static enum cask_status check_property(const struct cask_record_dataset *dataset,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    uint32_t largest = 0;
    int folder = (int)(dataset->name - dataset->file.path);
    char *path = cask_format("%.*sproperty", folder, dataset->file.path);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)folder + 9, "a path"));
    }
    if (!cask_path_exists(path)) {
        goto done;
    }
    CASK_TRY(cask_file_read_all(path, LARGEST_PROPERTY, &text, &bytes, err));
    char *end;
    long long classes = strtoll(text, &end, 10);
    if (end == text || *end != ',' || classes < 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected \"classes,height,width\", found \"%.40s\"", path,
                                text));
    }
    for (int64_t i = 0; i < dataset->base.count; i++) {
        largest = dataset->base.labels[i] > largest ? dataset->base.labels[i] : largest;
    }
    if ((long long)largest + 1 != classes) {
        cask_log_warn("%s says %lld classes; the labels in %s give %lld, which is used", path,
                      classes, dataset->name, (long long)largest + 1);
    }
done:
    cask_free(text);
    cask_free(path);
    return st;
}

static enum cask_status fill(struct cask_record_dataset *dataset, int64_t limit,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_record_entry *entries = NULL;
    int64_t count = 0;
    const char *path = dataset->file.path;
    int length = (int)strlen(path);
    int stem = length > 4 && strcmp(path + length - 4, ".rec") == 0 ? length - 4 : length;
    char *index_path = cask_format("%.*s.idx", stem, path);
    if (index_path == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)length + 5, "a path"));
    }
    if (cask_path_exists(index_path)) {
        CASK_TRY(cask_record_read_index(index_path, dataset->file.bytes, &entries, &count, err));
        CASK_TRY(cask_record_from_index(dataset, entries, count, limit, err));
    } else {
        cask_log_info("%s: no .idx beside it, walking through its records", path);
        CASK_TRY(cask_record_from_scan(dataset, limit, err));
    }
    if (dataset->base.count == 0) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_FORMAT, "%s: expected image records, found none", path));
    }
    if (limit == 0) {
        CASK_TRY(check_property(dataset, err));
    }
done:
    cask_free(index_path);
    cask_free(entries);
    return st;
}

enum cask_status cask_dataset_open_record(const char *path,
                                          const struct cask_dataset_options *options,
                                          struct cask_dataset **out, struct cask_error *err)
{
    static const struct cask_dataset_ops ops = {.kind = "recordio",
                                                .close = close_record,
                                                .id = key_of,
                                                .offset = offset_of,
                                                .name = name_image,
                                                .read = read_image};
    enum cask_status st = CASK_OK;
    struct cask_record_dataset *dataset = cask_alloc(1, sizeof *dataset);
    if (dataset == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *dataset, "a dataset"));
    }
    dataset->base.ops = &ops;
    dataset->file.fd = -1;
    CASK_TRY(cask_recordio_open(&dataset->file, path, err));
    const char *slash = strrchr(dataset->file.path, '/');
    dataset->name = slash != NULL ? slash + 1 : dataset->file.path;
    CASK_TRY(fill(dataset, options->limit, err));
    *out = &dataset->base;
    dataset = NULL;
done:
    if (dataset != NULL) {
        close_record(&dataset->base);
    }
    return st;
}
