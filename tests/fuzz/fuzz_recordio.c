/* RecordIO: the input is an .idx text up to the first NUL (none if it is empty) and the .rec after
 * it. Every image is read. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char folder[64];

static void clean_up(void)
{
    char path[96];
    snprintf(path, sizeof path, "%s/f.rec", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/f.idx", folder);
    unlink(path);
    rmdir(folder);
}

static int write_file(const char *name, const uint8_t *data, size_t bytes)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int good = fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset = NULL;
    struct cask_encoded encoded = {0};
    char path[96];
    if (folder[0] == 0) {
        snprintf(folder, sizeof folder, "%s/cask-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        setenv("CASK_LOG", "error", 1);
        if (mkdtemp(folder) == NULL || atexit(clean_up) != 0) {
            abort();
        }
    }
    const uint8_t *nul = bytes > 0 ? memchr(data, 0, bytes) : NULL;
    size_t index = nul != NULL ? (size_t)(nul - data) : 0, skip = nul != NULL ? index + 1 : 0;
    snprintf(path, sizeof path, "%s/f.idx", folder);
    unlink(path);
    if (index > 0 && !write_file("f.idx", data, index)) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/f.rec", folder);
    if (write_file("f.rec", data + skip, bytes - skip) &&
        cask_dataset_open(path, NULL, &dataset, &err) == CASK_OK) {
        for (int64_t i = 0; i < cask_dataset_count(dataset) && i < 64; i++) {
            (void)cask_dataset_read(dataset, i, &encoded, &err);
        }
    }
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
    return 0;
}
