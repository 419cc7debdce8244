/* .npy: any bytes as a matrix, and every row of what is accepted. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err = {0};
    struct cask_npy npy = {0};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes &&
        cask_npy_open(path, &npy, &err) == CASK_OK) {
        float *row = cask_alloc((size_t)npy.columns, sizeof *row);
        for (int64_t r = 0; row != NULL && r < npy.rows; r++) {
            cask_npy_read(&npy, r, 1, row);
        }
        cask_free(row);
    }
    cask_npy_close(&npy);
    if (fd >= 0) {
        close(fd);
    }
    return 0;
}
