/* insightface .bin: a pickle of any bytes, and every image it yields. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs = NULL;
    struct cask_encoded encoded = {0};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes &&
        cask_pairs_open_bin(path, &pairs, &err) == CASK_OK) {
        for (int64_t i = 0; i < cask_pairs_image_count(pairs) && i < 64; i++) {
            (void)cask_pairs_read(pairs, i, &encoded, &err);
        }
    }
    cask_encoded_release(&encoded);
    cask_pairs_close(pairs);
    if (fd >= 0) {
        close(fd);
    }
    return 0;
}
