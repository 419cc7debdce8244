/* cache/h5_locate.h - private: where an HDF5 file keeps the arrays of a layout.
 *
 * A bounded reader of the part of the HDF5 1.10 file format that Cask's own files use (superblock
 * 3, version-2 object headers, compact links, contiguous storage, single-chunk and fixed-array
 * chunk indexes). H5Dget_chunk_info of 1.10.8 walks all chunks at each call, so indexing with it is
 * quadratic; and it would trust the file. Nothing outside `file` is read, whatever it says.
 */
#ifndef CASK_CACHE_H5_LOCATE_H
#define CASK_CACHE_H5_LOCATE_H

#include <stdint.h>

#include "cache/layout.h"
#include "cache/sidecar.h"

/* Fills chunks[layout->chunks] with addresses and stored sizes that lie inside the file. */
enum cask_status cask_h5_locate(const uint8_t *file, uint64_t file_bytes,
                                const struct cask_layout *layout, struct cask_chunk *chunks,
                                struct cask_error *err);

#endif
