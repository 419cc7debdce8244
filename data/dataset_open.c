/* data/dataset_open.c - finds out what kind of dataset a path is. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/dataset_impl.h"
#include "data/recordio.h"

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
