/* eval/feature_file.c - the MegaFace devkit's feature files: an OpenCV matrix of one column. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "eval/megaface.h"

enum { HEADER = 16, CV_32FC1 = 5, MOST_COLUMNS = 65536 };

static int32_t little_endian(const uint8_t *bytes)
{
    uint32_t value = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                     (uint32_t)bytes[3] << 24;
    return (int32_t)value;
}

static enum cask_status read_bytes(int fd, const char *path, void *out, size_t bytes,
                                   struct cask_error *err)
{
    char *at = out;
    while (bytes > 0) {
        ssize_t got = read(fd, at, bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return cask_error_errno(err, errno, "%s: reading", path);
        }
        if (got == 0) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s: expected %zu more bytes of features, found the end", path,
                                  bytes);
        }
        at += got;
        bytes -= (size_t)got;
    }
    return CASK_OK;
}

static enum cask_status read_header(int fd, const char *path, int *rows, struct cask_error *err)
{
    uint8_t header[HEADER];
    enum cask_status st = read_bytes(fd, path, header, sizeof header, err);
    if (st != CASK_OK) {
        return st;
    }
    int32_t field[4];
    for (int i = 0; i < 4; i++) {
        field[i] = little_endian(header + 4 * i);
    }
    if (field[0] < 1 || field[0] > MOST_COLUMNS || field[1] != 1 || field[2] != 4 ||
        field[3] != CV_32FC1) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: expected the header rows 1 4 5 (float32, one column, at most %d "
                              "rows), found %d %d %d %d",
                              path, MOST_COLUMNS, field[0], field[1], field[2], field[3]);
    }
    *rows = field[0];
    return CASK_OK;
}

enum cask_status cask_feature_read(const char *path, int columns, float *values, int *found,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t extra;
    int rows = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cask_error_errno(err, errno, "%s", path);
    }
    CASK_TRY(read_header(fd, path, &rows, err));
    if (found != NULL) {
        *found = rows;
    }
    if (columns > 0 && rows != columns) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: expected %d numbers, as in the other files, found %d", path,
                                columns, rows));
    }
    if (columns > 0) {
        CASK_TRY(read_bytes(fd, path, values, (size_t)columns * sizeof *values, err));
        if (read(fd, &extra, 1) == 1) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: expected the end after %d numbers, found more bytes", path,
                                    columns));
        }
    }
done:
    close(fd);
    return st;
}

static enum cask_status read_one(const struct cask_feature_files *files, int64_t index, int columns,
                                 float *values, int *found, struct cask_error *err)
{
    char *path = cask_format("%s/%s%s", files->folder, files->list->path[index], files->suffix);
    if (path == NULL) {
        return cask_error_memory(err, strlen(files->folder), "a path");
    }
    enum cask_status st = cask_feature_read(path, columns, values, found, err);
    cask_free(path);
    return st;
}

static enum cask_status read_rows(const void *user, int64_t first, int64_t count, float *values,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_feature_files *files = user;
    for (int64_t i = 0; i < count; i++) {
        CASK_TRY(
            read_one(files, first + i, files->columns, values + i * files->columns, NULL, err));
    }
done:
    return st;
}

enum cask_status cask_feature_files_open(const struct cask_name_list *list, const char *folder,
                                         const char *suffix, struct cask_feature_files *files,
                                         struct cask_rows *rows, struct cask_error *err)
{
    *files = (struct cask_feature_files){list, folder, suffix, 0};
    enum cask_status st = read_one(files, 0, 0, NULL, &files->columns, err);
    *rows = (struct cask_rows){list->count, files->columns, files, read_rows};
    return st;
}
