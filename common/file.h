/* common/file.h - files that are whole or absent.
 *
 * Writing: everything Cask publishes goes through cask_file_begin/commit: temporary name in the
 * same folder, write, fsync, rename, fsync of the folder. A crash leaves the old file or the new
 * one. Temporary names match "*.tmp.*" and may be swept at any start.
 * All paths are given to the caller's messages as they came. Thread rule: one file, one thread.
 */
#ifndef CASK_COMMON_FILE_H
#define CASK_COMMON_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* --- atomic publish --- */
struct cask_file {
    int fd;
    char *path, *temp_path; /* owned */
};
enum cask_status cask_file_begin(struct cask_file *file, const char *path, struct cask_error *err);
enum cask_status cask_file_write(struct cask_file *file, const void *data, size_t bytes,
                                 struct cask_error *err);
enum cask_status cask_file_commit(struct cask_file *file,
                                  struct cask_error *err); /* releases either way */
void cask_file_abort(struct cask_file *file);              /* accepts a released file */

/* Publishes a file that something else (libhdf5) wrote and closed under `temp_path`. */
enum cask_status cask_file_publish(const char *temp_path, const char *path, struct cask_error *err);

/* Whole contents at once, published atomically. */
enum cask_status cask_file_write_all(const char *path, const void *data, size_t bytes,
                                     struct cask_error *err);
/* One line appended to a log (journal, metrics) with O_APPEND; `sync` adds fsync. */
enum cask_status cask_file_append(const char *path, const void *data, size_t bytes, bool sync,
                                  struct cask_error *err);
/* The same for a file that nobody else writes: what does not fit as a whole is taken back. */
enum cask_status cask_file_append_whole(const char *path, const void *data, size_t bytes,
                                        struct cask_error *err);

/* --- reading --- */
/* Fills *data with `*bytes` bytes plus a NUL (caller frees with cask_free). Refuses files over
 * max_bytes with CASK_ERR_FORMAT. */
enum cask_status cask_file_read_all(const char *path, size_t max_bytes, char **data, size_t *bytes,
                                    struct cask_error *err);

/* Read-only map of a whole file; an empty file gives data "" and 0 bytes. */
struct cask_map {
    const uint8_t *data;
    size_t bytes;
};
enum cask_status cask_map_open(struct cask_map *map, const char *path, struct cask_error *err);
void cask_map_close(struct cask_map *map); /* accepts a zeroed map */

/* --- folders --- */
bool cask_path_exists(const char *path);
bool cask_path_is_folder(const char *path);
enum cask_status cask_folder_create(const char *path,
                                    struct cask_error *err); /* with parents; existing is fine */
/* Names in a folder, byte-wise sorted, without "." and ".."; caller frees each and the array. */
enum cask_status cask_folder_list(const char *path, char ***names, size_t *count,
                                  struct cask_error *err);
void cask_folder_list_free(char **names, size_t count);
enum cask_status cask_folder_free_bytes(const char *path, uint64_t *bytes, struct cask_error *err);
/* Bytes of the files directly in `path`; what cannot be read counts as nothing. */
int64_t cask_folder_bytes(const char *path);
/* Removes files in `path` whose name contains ".tmp."; missing folder is fine. */
enum cask_status cask_folder_sweep_temporaries(const char *path, struct cask_error *err);

/* Test hook of the write path: NULL restores the real calls. Each call of write(2), fsync(2) and
 * rename(2) made by this module asks first; a non-zero answer is the errno to fail with;
 * for write, *bytes may be lowered to force a short write. */
typedef int (*cask_file_fault)(const char *call, const char *path, size_t *bytes, void *user);
void cask_file_set_fault(cask_file_fault fault, void *user);

#endif
