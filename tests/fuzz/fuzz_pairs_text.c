/* Pairs as text, LFW's format or CSV, without images: any bytes. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs = NULL;
    char path[64], name[256];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes &&
        cask_pairs_open_text(path, NULL, &pairs, &err) == CASK_OK) {
        for (int64_t i = 0; i < cask_pairs_count(pairs); i++) {
            const struct cask_pair *pair = cask_pairs_at(pairs, i);
            cask_pairs_image_name(pairs, pair->a, name, sizeof name);
            cask_pairs_image_name(pairs, pair->b, name, sizeof name);
        }
    }
    cask_pairs_close(pairs);
    if (fd >= 0) {
        close(fd);
    }
    return 0;
}
