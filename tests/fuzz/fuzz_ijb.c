/* The lists of an IJB evaluation: any bytes, cut at lines "====" into images, points, pairs and a
 * gallery. What opens is pooled, scored and searched. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "eval/ijb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { PARTS = 4, DIM = 3 };

/* Columns that are never all zero. */
static enum cask_status read_rows(const void *user, int64_t first, int64_t count, float *values,
                                  struct cask_error *err)
{
    (void)user;
    (void)err;
    for (int64_t i = 0; i < count * 2 * DIM; i++) {
        values[i] = (float)((first * 7 + i) % 5 - 1);
    }
    return CASK_OK;
}

static void evaluate(char paths[PARTS][64])
{
    struct cask_error err = {0};
    struct cask_ijb set;
    struct cask_ijb_templates templates = {0};
    struct cask_scores scores = {0};
    struct cask_ijb_pairs found;
    struct cask_ijb_people people = {0};
    struct cask_ijb_identification search;
    if (cask_ijb_open(paths[0], paths[1], &set, &err) != CASK_OK) {
        return;
    }
    struct cask_rows rows = {set.images, 2 * DIM, NULL, read_rows};
    struct cask_ijb_switches switches = {false, true, true};
    if (set.templates < 4096 &&
        cask_ijb_pool(&set, &rows, 2, switches, 1, &templates, &err) == CASK_OK) {
        if (cask_ijb_score(&set, paths[2], &templates, 1, &scores, &found, NULL, &err) == CASK_OK &&
            cask_scores_sort(&scores, &err) == CASK_OK) {
            (void)cask_rate_strict(&scores, 0.1);
            (void)cask_equal_error_rate(&scores);
        }
        if (cask_ijb_people_read(&set, paths[3], true, &people, &err) == CASK_OK) {
            (void)cask_ijb_identify(&templates, &people, &people, 1, &search, NULL, &err);
        }
    }
    cask_ijb_people_release(&people);
    cask_scores_release(&scores);
    cask_ijb_templates_release(&templates);
    cask_ijb_close(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char paths[PARTS][64];
    int fds[PARTS];
    const uint8_t *end = data + bytes;
    for (int part = 0; part < PARTS; part++) {
        const uint8_t *stop = bytes > 0 ? memmem(data, (size_t)(end - data), "====\n", 5) : NULL;
        size_t length = (size_t)((stop != NULL ? stop : end) - data);
        fds[part] = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(paths[part], sizeof paths[part], "/proc/self/fd/%d", fds[part]);
        if (fds[part] < 0 || (length > 0 && write(fds[part], data, length) != (ssize_t)length)) {
            return 0;
        }
        data = stop != NULL ? stop + 5 : end;
    }
    evaluate(paths);
    for (int part = 0; part < PARTS; part++) {
        close(fds[part]);
    }
    return 0;
}
