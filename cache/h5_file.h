/* cache/h5_file.h - private, and the only header with libhdf5 in it: what every HDF5 file that Cask
 * writes has in common. Format bounds 1.10, no user block, no time stamps: the same data gives the
 * same bytes. libhdf5 keeps global state, so one thread at a time.
 */
#ifndef CASK_CACHE_H5_FILE_H
#define CASK_CACHE_H5_FILE_H

#include <hdf5.h>

#include "cache/layout.h"

/* Registers our class for filter 32004, so that no plugin is looked for. Idempotent. */
enum cask_status cask_h5_register_lz4(struct cask_error *err);

/* Raises what libhdf5 complained of: "shard-00001.h5: cannot write orig/lse: ..." */
enum cask_status cask_h5_error(struct cask_error *err, const char *file, const char *what);

/* In memory (path is only a name; *increment* is the growth step), or on disk where increment is 0. */
enum cask_status cask_h5_create(const char *path, size_t increment, hid_t *file, struct cask_error *err);
enum cask_status cask_h5_create_group(hid_t file, const char *path, const char *name, struct cask_error *err);
/* Root attributes: the manifest's identity, then file kind, shard and its rows. */
enum cask_status cask_h5_put_attributes(hid_t file, const char *path, const struct cask_manifest *manifest, const char *kind, int64_t shard, uint64_t rows, struct cask_error *err);
enum cask_status cask_h5_create_dataset(hid_t file, const char *path, const struct cask_array *array, uint64_t rows, hid_t *dataset, struct cask_error *err);
/* A whole contiguous array; `data` is in file order. */
enum cask_status cask_h5_write_array(hid_t file, const char *path, const struct cask_array *array, uint64_t rows, const void *data, struct cask_error *err);
enum cask_status cask_h5_close(hid_t *file, const char *path, struct cask_error *err);

/* The dataset's type in the file; to be closed by the caller. */
hid_t cask_h5_type(enum cask_element element);

#endif
