/* data/dataset.c - finds out what kind of dataset a path is, and what all kinds have in common. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/dataset_impl.h"
#include "data/recordio.h"

bool cask_label_from_real(double value, uint32_t *label)
{
    if (!(value >= 0 && value <= 2147483647.0) || value != (double)(uint32_t)value) {
        return false;
    }
    *label = (uint32_t)value;
    return true;
}

bool cask_name_is_image(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && dot != name &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
            strcasecmp(dot, ".png") == 0);
}

/* Refuses what is certainly not a text list, and says what it looks like. */
static enum cask_status open_file(const char *path, const struct cask_dataset_options *options,
                                  struct cask_dataset **dataset, struct cask_error *err)
{
    uint8_t head[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cask_error_errno(err, errno, "%s: cannot open dataset", path);
    }
    ssize_t got = read(fd, head, sizeof head);
    int errnum = errno;
    close(fd);
    if (got < 0) {
        return cask_error_errno(err, errnum, "%s: cannot read dataset", path);
    }
    size_t length = strlen(path);
    bool named_rec = length > 4 && strcmp(path + length - 4, ".rec") == 0;
    uint32_t magic = 0;
    if (got >= 4) {
        memcpy(&magic, head, 4);
    }
    if (named_rec || magic == CASK_RECORDIO_MAGIC) {
        return cask_dataset_open_record(path, options, dataset, err);
    }
    if (memchr(head, 0, (size_t)got) != NULL || (got > 0 && head[0] == 0x80)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: expected a dataset (a folder, a .rec file or a text list of "
                              "\"path label\" lines), found a binary file%s",
                              path,
                              got > 0 && head[0] == 0x80
                                  ? "; a verification set (.bin) is given to evaluate --bin"
                                  : "");
    }
    return cask_dataset_open_list(path, options, dataset, err);
}

static enum cask_status open_by_kind(const char *path, const struct cask_dataset_options *options,
                                     struct cask_dataset **dataset, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *record = cask_format("%s/train.rec", path);
    if (record == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(path) + 11, "a path"));
    }
    if (!cask_path_is_folder(path)) {
        CASK_TRY(open_file(path, options, dataset, err));
    } else if (cask_path_exists(record)) {
        CASK_TRY(cask_dataset_open_record(record, options, dataset, err));
    } else {
        CASK_TRY(cask_dataset_open_folder(path, options, dataset, err));
    }
done:
    cask_free(record);
    return st;
}

enum cask_status cask_dataset_open(const char *path, const struct cask_dataset_options *options,
                                   struct cask_dataset **dataset, struct cask_error *err)
{
    static const struct cask_dataset_options defaults = {0};
    enum cask_status st = CASK_OK;
    *dataset = NULL;
    options = options != NULL ? options : &defaults;
    if (options->limit < 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "%s: limit is %lld, expected 0 (all) or a number of images", path,
                                (long long)options->limit));
    }
    CASK_TRY(open_by_kind(path, options, dataset, err));
    struct cask_dataset *opened = *dataset;
    for (int64_t i = 0; opened->labels != NULL && i < opened->count; i++) {
        if (opened->labels[i] != CASK_NO_LABEL && (int64_t)opened->labels[i] >= opened->classes) {
            opened->classes = (int64_t)opened->labels[i] + 1;
        }
    }
done:
    return st;
}

void cask_dataset_close(struct cask_dataset *dataset)
{
    if (dataset != NULL) {
        dataset->ops->close(dataset);
    }
}

const char *cask_dataset_kind(const struct cask_dataset *dataset)
{
    return dataset->ops->kind;
}

int64_t cask_dataset_count(const struct cask_dataset *dataset)
{
    return dataset->count;
}

int64_t cask_dataset_classes(const struct cask_dataset *dataset)
{
    return dataset->classes;
}

uint32_t cask_dataset_label(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->labels != NULL ? dataset->labels[index] : CASK_NO_LABEL;
}

uint64_t cask_dataset_id(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->ops->id != NULL ? dataset->ops->id(dataset, index) : (uint64_t)index;
}

uint64_t cask_dataset_offset(const struct cask_dataset *dataset, int64_t index)
{
    return dataset->ops->offset != NULL ? dataset->ops->offset(dataset, index) : 0;
}

void cask_dataset_name(const struct cask_dataset *dataset, int64_t index, char *buffer,
                       size_t bytes)
{
    dataset->ops->name(dataset, index, buffer, bytes);
}

enum cask_status cask_dataset_read(const struct cask_dataset *dataset, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    if (index < 0 || index >= dataset->count) {
        return cask_error_set(err, CASK_ERR_RANGE, "image %lld of a dataset of %lld images",
                              (long long)index, (long long)dataset->count);
    }
    return dataset->ops->read(dataset, index, encoded, err);
}
