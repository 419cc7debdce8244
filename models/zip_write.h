/* models/zip_write.h - a zip of stored members, written in one go. Private to models/.
 *
 * Payloads start at multiples of 64 bytes, as PyTorch aligns them, so a reader may use them where
 * they lie. Sizes are those of the original format: a file of 4 GiB or more is refused. */
#ifndef CASK_MODELS_ZIP_WRITE_H
#define CASK_MODELS_ZIP_WRITE_H

#include <stddef.h>

#include "common/status.h"

struct cask_zip_piece {
    const char *name;
    const void *data;
    size_t bytes;
};

/* Published at once or not at all. */
enum cask_status cask_zip_write(const char *path, const struct cask_zip_piece *pieces, size_t count,
                                struct cask_error *err);

#endif
