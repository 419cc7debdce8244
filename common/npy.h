/* common/npy.h - reads a matrix from numpy's .npy file; nothing in it is evaluated.
 *
 * Format: "numpy.lib.format", versions 1.0 to 3.0. Taken are little-endian float32 and float64 of
 * rank 1 or 2 in C order; everything else is refused by name. The file must be exactly as long as
 * its header says. It is mapped, so rows are read as they are needed.
 *
 * Thread rule: an open file may be read by any number of threads.
 */
#ifndef CASK_COMMON_NPY_H
#define CASK_COMMON_NPY_H

#include <stdint.h>

#include "common/file.h"

struct cask_npy {
    struct cask_map map;
    const uint8_t *data;   /* in the map */
    int element;           /* bytes of one: 4 or 8 */
    int64_t rows, columns; /* rank 1: columns is 1 */
};

enum cask_status cask_npy_open(const char *path, struct cask_npy *npy, struct cask_error *err);
void cask_npy_close(struct cask_npy *npy); /* accepts a zeroed struct */
/* values[count][columns]: rows first .. first + count - 1, which must exist; float64 is rounded. */
void cask_npy_read(const struct cask_npy *npy, int64_t first, int64_t count, float *values);

#endif
