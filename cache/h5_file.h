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

/* Receives a file that libhdf5 composes in memory; `data` is the caller's to free after closing. */
struct cask_h5_image {
    uint8_t *data;
    size_t room;
};
/* In memory, where `image` is given (path is then only a name in messages; `increment` is the step
 * by which the image grows), else on disk. */
enum cask_status cask_h5_create(const char *path, struct cask_h5_image *image, size_t increment,
                                hid_t *file, struct cask_error *err);
/* Size of a closed file's image, from its superblock: the buffer may be larger. */
size_t cask_h5_image_bytes(const struct cask_h5_image *image);
enum cask_status cask_h5_create_group(hid_t file, const char *path, const char *name,
                                      struct cask_error *err);
/* Root attributes: the manifest's identity, then file kind, shard and its rows. */
enum cask_status cask_h5_put_attributes(hid_t file, const char *path,
                                        const struct cask_manifest *manifest, const char *kind,
                                        int64_t shard, uint64_t rows, struct cask_error *err);
enum cask_status cask_h5_create_dataset(hid_t file, const char *path,
                                        const struct cask_array *array, uint64_t rows,
                                        hid_t *dataset, struct cask_error *err);
/* A whole contiguous array; `data` is in file order. */
enum cask_status cask_h5_write_array(hid_t file, const char *path, const struct cask_array *array,
                                     uint64_t rows, const void *data, struct cask_error *err);
enum cask_status cask_h5_close(hid_t *file, const char *path, struct cask_error *err);

/* The dataset's type in the file; to be closed by the caller. */
hid_t cask_h5_type(enum cask_element element);

#endif
