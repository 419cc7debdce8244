#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"

static cask_file_fault fault_hook;
static void *fault_user;

void cask_file_set_fault(cask_file_fault fault, void *user)
{
    fault_hook = fault;
    fault_user = user;
}

static int fault(const char *call, const char *path, size_t *bytes)
{
    return fault_hook != NULL ? fault_hook(call, path, bytes, fault_user) : 0;
}

/* Writes everything, through short writes and EINTR. 0 or an errno. */
static int write_fully(int fd, const char *path, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        size_t part = bytes;
        int injected = fault("write", path, &part);
        ssize_t written = injected == 0 ? write(fd, data, part) : -1;
        if (written < 0) {
            int problem = injected != 0 ? injected : errno;
            if (problem == EINTR) {
                continue;
            }
            return problem;
        }
        data += written;
        bytes -= (size_t)written;
    }
    return 0;
}

static int sync_fd(int fd, const char *path)
{
    int injected = fault("fsync", path, NULL);
    return injected != 0 ? injected : fsync(fd) == 0 ? 0 : errno;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int problem = sync_fd(fd, path);
    close(fd);
    return problem;
}

/* Makes a rename in the folder of `path` survive a power cut. */
static int sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder) {
        return ENAMETOOLONG;
    }
    memcpy(folder, path, length);
    folder[length] = 0;
    const char *name = slash == NULL ? "." : length == 0 ? "/" : folder;
    return sync_path(name, O_RDONLY | O_DIRECTORY);
}

static enum cask_status rename_durably(const char *from, const char *to, struct cask_error *err)
{
    int injected = fault("rename", to, NULL);
    if (injected != 0 || rename(from, to) != 0) {
        return cask_error_errno(err, injected != 0 ? injected : errno, "%s: renaming from %s", to,
                                from);
    }
    int problem = sync_folder_of(to);
    return problem == 0 ? CASK_OK : cask_error_errno(err, problem, "%s: syncing its folder", to);
}

enum cask_status cask_file_begin(struct cask_file *file, const char *path, struct cask_error *err)
{
    *file = (struct cask_file){.fd = -1};
    file->path = cask_strdup(path);
    file->temp_path = cask_format("%s.tmp.%ld", path, (long)getpid());
    if (file->path == NULL || file->temp_path == NULL) {
        cask_file_abort(file);
        return cask_error_memory(err, strlen(path), "file name");
    }
    file->fd = open(file->temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->fd < 0) {
        int problem = errno;
        cask_file_abort(file);
        return cask_error_errno(err, problem, "%s: creating", path);
    }
    return CASK_OK;
}

enum cask_status cask_file_write(struct cask_file *file, const void *data, size_t bytes,
                                 struct cask_error *err)
{
    int problem = write_fully(file->fd, file->path, data, bytes);
    return problem == 0 ? CASK_OK : cask_error_errno(err, problem, "%s: writing", file->path);
}

enum cask_status cask_file_commit(struct cask_file *file, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int problem = sync_fd(file->fd, file->path);
    if (close(file->fd) != 0 && problem == 0) {
        problem = errno;
    }
    file->fd = -1;
    if (problem != 0) {
        CASK_TRY(cask_error_errno(err, problem, "%s: syncing", file->path));
    }
    CASK_TRY(rename_durably(file->temp_path, file->path, err));
    cask_free(file->temp_path);
    file->temp_path = NULL;
done:
    cask_file_abort(file);
    return st;
}

void cask_file_abort(struct cask_file *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    if (file->temp_path != NULL) {
        unlink(file->temp_path);
    }
    cask_free(file->temp_path);
    cask_free(file->path);
    *file = (struct cask_file){.fd = -1};
}

enum cask_status cask_file_publish(const char *temp_path, const char *path, struct cask_error *err)
{
    int problem = sync_path(temp_path, O_RDONLY);
    if (problem != 0) {
        return cask_error_errno(err, problem, "%s: syncing", temp_path);
    }
    return rename_durably(temp_path, path, err);
}

enum cask_status cask_file_write_all(const char *path, const void *data, size_t bytes,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_file file = {.fd = -1};
    CASK_TRY(cask_file_begin(&file, path, err));
    CASK_TRY(cask_file_write(&file, data, bytes, err));
    CASK_TRY(cask_file_commit(&file, err));
done:
    cask_file_abort(&file);
    return st;
}

enum cask_status cask_file_append(const char *path, const void *data, size_t bytes, bool sync,
                                  struct cask_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        return cask_error_errno(err, errno, "%s: opening to append", path);
    }
    int problem = write_fully(fd, path, data, bytes);
    if (problem == 0 && sync) {
        problem = sync_fd(fd, path);
    }
    if (close(fd) != 0 && problem == 0) {
        problem = errno;
    }
    return problem == 0 ? CASK_OK : cask_error_errno(err, problem, "%s: appending", path);
}

enum cask_status cask_file_append_whole(const char *path, const void *data, size_t bytes,
                                        struct cask_error *err)
{
    struct stat before;
    const bool there = stat(path, &before) == 0;
    enum cask_status st = cask_file_append(path, data, bytes, false, err);
    if (st != CASK_OK && there) {
        (void)!truncate(path, before.st_size);
    } else if (st != CASK_OK) {
        (void)unlink(path);
    }
    return st;
}

enum cask_status cask_file_read_all(const char *path, size_t max_bytes, char **data, size_t *bytes,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    CASK_TRY(cask_map_open(&map, path, err));
    if (map.bytes > max_bytes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected at most %zu bytes, found %zu",
                                path, max_bytes, map.bytes));
    }
    char *copy = cask_alloc(map.bytes + 1, 1);
    if (copy == NULL) {
        CASK_TRY(cask_error_memory(err, map.bytes, path));
    }
    memcpy(copy, map.data, map.bytes);
    *data = copy;
    *bytes = map.bytes;
done:
    cask_map_close(&map);
    return st;
}

enum cask_status cask_map_open(struct cask_map *map, const char *path, struct cask_error *err)
{
    *map = (struct cask_map){(const uint8_t *)"", 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cask_error_errno(err, errno, "%s: opening", path);
    }
    enum cask_status st = CASK_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        CASK_TRY(cask_error_errno(err, errno, "%s: reading its size", path));
    }
    if (!S_ISREG(info.st_mode)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s: expected a file, found %s", path,
                                S_ISDIR(info.st_mode) ? "a folder" : "something else"));
    }
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            CASK_TRY(cask_error_errno(err, errno, "%s: mapping", path));
        }
        *map = (struct cask_map){data, (size_t)info.st_size};
    }
done:
    close(fd);
    return st;
}

void cask_map_close(struct cask_map *map)
{
    if (map->bytes > 0) {
        munmap((void *)(uintptr_t)map->data, map->bytes);
    }
    *map = (struct cask_map){0};
}
