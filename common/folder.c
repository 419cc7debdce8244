#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/file.h"
#include "common/mem.h"

bool cask_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool cask_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum cask_status cask_folder_create(const char *path, struct cask_error *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) {
        return cask_error_set(err, CASK_ERR_USAGE, "'%.100s': expected a folder name", path);
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != 0) {
            continue;
        }
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            return cask_error_errno(err, errno, "%s: creating the folder", part);
        }
        part[i] = i < length ? '/' : 0;
    }
    if (!cask_path_is_folder(path)) {
        return cask_error_set(err, CASK_ERR_IO, "%s: expected a folder, found a file", path);
    }
    return CASK_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum cask_status cask_folder_list(const char *path, char ***names, size_t *count,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **list = NULL;
    size_t used = 0, capacity = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return cask_error_errno(err, errno, "%s: opening the folder", path);
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (used == capacity) {
            size_t larger = capacity * 2 + 64;
            char **grown = cask_grow(list, capacity, larger, sizeof *list);
            if (grown == NULL) {
                CASK_TRY(cask_error_memory(err, larger * sizeof *list, path));
            }
            list = grown;
            capacity = larger;
        }
        list[used] = cask_strdup(entry->d_name);
        if (list[used] == NULL) {
            CASK_TRY(cask_error_memory(err, strlen(entry->d_name), path));
        }
        used++;
    }
    if (used > 0) {
        qsort(list, used, sizeof *list, compare_names);
    }
    *names = list;
    *count = used;
    list = NULL;
done:
    closedir(folder);
    cask_folder_list_free(list, list != NULL ? used : 0);
    return st;
}

void cask_folder_list_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cask_free(names[i]);
    }
    cask_free(names);
}

enum cask_status cask_folder_free_bytes(const char *path, uint64_t *bytes, struct cask_error *err)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0) {
        return cask_error_errno(err, errno, "%s: reading the free space", path);
    }
    *bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return CASK_OK;
}

int64_t cask_folder_bytes(const char *path)
{
    struct cask_error ignored;
    char **names = NULL;
    size_t count = 0;
    int64_t bytes = 0;
    if (cask_folder_list(path, &names, &count, &ignored) != CASK_OK) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        char name[PATH_MAX];
        struct stat info;
        if (snprintf(name, sizeof name, "%s/%s", path, names[i]) < (int)sizeof name &&
            stat(name, &info) == 0 && S_ISREG(info.st_mode)) {
            bytes += info.st_size;
        }
    }
    cask_folder_list_free(names, count);
    return bytes;
}

enum cask_status cask_folder_sweep_temporaries(const char *path, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    size_t count = 0;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_folder_list(path, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        char name[PATH_MAX];
        if (strstr(names[i], ".tmp.") != NULL &&
            snprintf(name, sizeof name, "%s/%s", path, names[i]) < (int)sizeof name &&
            unlink(name) != 0 && errno != ENOENT) {
            CASK_TRY(cask_error_errno(err, errno, "%s: removing a temporary file", name));
        }
    }
done:
    cask_folder_list_free(names, count);
    return st;
}
