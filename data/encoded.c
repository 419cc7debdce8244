/* data/encoded.c - a reusable buffer for one image's bytes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "data/dataset_impl.h"

enum { LARGEST_IMAGE_FILE = 64 << 20 };

enum cask_status cask_encoded_reserve(struct cask_encoded *encoded, size_t bytes,
                                      struct cask_error *err)
{
    if (bytes > encoded->capacity || encoded->data == NULL) {
        size_t capacity = bytes < 4096 ? 4096 : bytes + bytes / 2;
        uint8_t *data = cask_alloc(capacity, 1);
        if (data == NULL) {
            return cask_error_memory(err, capacity, "an image's bytes");
        }
        cask_free(encoded->data);
        encoded->data = data;
        encoded->capacity = capacity;
    }
    encoded->bytes = 0;
    return CASK_OK;
}

void cask_encoded_release(struct cask_encoded *encoded)
{
    cask_free(encoded->data);
    *encoded = (struct cask_encoded){0};
}

static enum cask_status read_descriptor(struct cask_encoded *encoded, int fd, const char *path,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return cask_error_errno(err, errno, "%s: cannot get its size", path);
    }
    if (!S_ISREG(info.st_mode) || info.st_size > LARGEST_IMAGE_FILE) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: expected an image file of at most %d bytes, found %s of %lld "
                              "bytes",
                              path, LARGEST_IMAGE_FILE,
                              S_ISREG(info.st_mode) ? "a file" : "something else",
                              (long long)info.st_size);
    }
    CASK_TRY(cask_encoded_reserve(encoded, (size_t)info.st_size, err));
    while (encoded->bytes < (size_t)info.st_size) {
        ssize_t got =
            read(fd, encoded->data + encoded->bytes, (size_t)info.st_size - encoded->bytes);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return cask_error_errno(err, errno, "%s: cannot read", path);
        }
        if (got == 0) {
            break; /* the file shrank meanwhile: the decoder will say so */
        }
        encoded->bytes += (size_t)got;
    }
done:
    return st;
}

enum cask_status cask_encoded_read_file(struct cask_encoded *encoded, const char *path,
                                        struct cask_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cask_error_errno(err, errno, "%s: cannot open", path);
    }
    enum cask_status st = read_descriptor(encoded, fd, path, err);
    close(fd);
    return st;
}
