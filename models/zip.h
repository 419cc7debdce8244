/* models/zip.h - the directory of a zip in memory, ZIP64 included. Private to models/.
 *
 * Everything is read through the central directory, because PyTorch streams its members: local
 * headers carry zero sizes. A member's bytes are used where they lie, so only stored (not
 * compressed) members have `data`. */
#ifndef CASK_MODELS_ZIP_H
#define CASK_MODELS_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct cask_zip_member {
    const char *name; /* in the file, not ended by a NUL */
    size_t name_bytes;
    const uint8_t *data; /* NULL: compressed or encrypted */
    size_t bytes;
    uint32_t crc; /* 0: the writer did not compute it */
};

struct cask_zip {
    struct cask_zip_member *members; /* sorted by name */
    size_t count;
};

/* `data` is borrowed. A missing end record is reported as a truncated download. */
enum cask_status cask_zip_open(struct cask_zip *zip, const uint8_t *data, size_t bytes,
                               struct cask_error *err);
void cask_zip_close(struct cask_zip *zip); /* accepts a zeroed one */
const struct cask_zip_member *cask_zip_find(const struct cask_zip *zip, const char *name,
                                            size_t name_bytes);

#endif
