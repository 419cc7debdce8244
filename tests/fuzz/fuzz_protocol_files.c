/* The other files of large protocols. The first byte says which: a list of names with a noise list
 * behind "====", a devkit feature file, the journal of kept embeddings, landmarks. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "eval/masked.h"
#include "eval/megaface.h"
#include "eval/store_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int make_file(const uint8_t *data, size_t bytes, char path[64])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    if (fd >= 0 && bytes > 0 && write(fd, data, bytes) != (ssize_t)bytes) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void read_names(const char *path, const char *noise_path)
{
    struct cask_error err = {0};
    struct cask_name_list list;
    struct cask_noise noise = {0};
    if (cask_name_list_open(path, 0, &list, &err) == CASK_OK) {
        for (int64_t i = 0; i < list.count; i++) {
            if (list.identity[i] >= list.identities || strlen(list.path[i]) > 1024) {
                __builtin_trap();
            }
        }
        (void)cask_noise_read(noise_path, &list, &noise, &err);
    }
    cask_free(noise.noisy);
    cask_name_list_close(&list);
}

static void read_feature(const char *path)
{
    struct cask_error err = {0};
    float values[8];
    int found = 0;
    (void)cask_feature_read(path, 8, values, NULL, &err);
    (void)cask_feature_read(path, 0, NULL, &found, &err);
}

static enum cask_status visit(const struct store_block *block, void *user, struct cask_error *err)
{
    int64_t *sum = user;
    (void)err;
    *sum ^= block->number;
    for (int i = 0; i < block->bad_count; i++) {
        *sum ^= (int64_t)strlen(block->bad[i]);
    }
    return CASK_OK;
}

static void read_landmarks(const char *path)
{
    static const char csv[] = "a.jpg,b c.jpg,1\nb c.jpg,d.jpg,0\n";
    struct cask_error err = {0};
    struct cask_pairs *pairs = NULL;
    struct cask_landmarks *points = NULL;
    char pairs_path[64];
    int fd = make_file((const uint8_t *)csv, sizeof csv - 1, pairs_path);
    if (cask_pairs_open_text(pairs_path, NULL, &pairs, &err) == CASK_OK) {
        (void)cask_landmarks_read(path, pairs, &points, &err);
    }
    cask_free(points);
    cask_pairs_close(pairs);
    if (fd >= 0) {
        close(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char path[64], second[64];
    int64_t sum = 0;
    struct cask_error err = {0};
    if (bytes < 1) {
        return 0;
    }
    uint8_t kind = data[0] % 4;
    const uint8_t *stop = memmem(data + 1, bytes - 1, "====\n", 5);
    size_t length = stop != NULL ? (size_t)(stop - data) - 1 : bytes - 1;
    int fd = make_file(data + 1, kind == 0 ? length : bytes - 1, path);
    int other =
        make_file(stop != NULL ? stop + 5 : data, stop != NULL ? bytes - length - 6 : 0, second);
    if (fd >= 0 && other >= 0) {
        switch (kind) {
        case 0:
            read_names(path, second);
            break;
        case 1:
            read_feature(path);
            break;
        case 2:
            (void)cask_store_read_journal(path, visit, &sum, &err);
            break;
        default:
            read_landmarks(path);
        }
    }
    close(fd);
    close(other);
    return 0;
}
