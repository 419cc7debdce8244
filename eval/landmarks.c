/* eval/landmarks.c - five points of each image, found by the image's name. */
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/lines.h"
#include "common/log.h"
#include "common/mem.h"
#include "eval/masked.h"

enum { LONGEST_NAME = 512 };

struct named {
    uint64_t key;
    int64_t image;
};

static int by_key(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->image < y->image ? -1 : x->image > y->image;
}

struct reading {
    const struct cask_pairs *pairs;
    struct cask_lines lines;
    struct named *names;           /* [images], by key */
    struct cask_landmarks *points; /* [images] */
    bool *known;                   /* [images] */
    int64_t images, strange, strange_line;
};

static uint64_t key_of(const char *name, size_t bytes)
{
    return cask_xxh3(name, bytes);
}

/* The index of the image; -1: no image has this name. */
static int64_t find(const struct reading *r, struct cask_slice name)
{
    struct named wanted = {key_of(name.data, name.bytes), 0};
    int64_t low = 0, high = r->images;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (r->names[middle].key < wanted.key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < r->images && r->names[low].key == wanted.key; low++) {
        char text[LONGEST_NAME];
        cask_pairs_image_name(r->pairs, r->names[low].image, text, sizeof text);
        if (cask_slice_equal(name, cask_slice_of(text))) {
            return r->names[low].image;
        }
    }
    return -1;
}

/* Names may hold blanks ("lfw.bin image 7"), so the ten numbers are counted from the end. */
static bool cut(struct cask_slice line, struct cask_slice *name, struct cask_landmarks *points)
{
    const char *end = line.data + line.bytes;
    for (int i = 9; i >= 0; i--) {
        const char *begin = end;
        double value;
        while (begin > line.data && begin[-1] != ' ' && begin[-1] != '\t') {
            begin--;
        }
        if (!cask_slice_real((struct cask_slice){begin, (size_t)(end - begin)}, &value)) {
            return false;
        }
        points->at[i / 2][i % 2] = (float)value;
        end = begin;
        while (end > line.data && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }
    }
    *name = (struct cask_slice){line.data, (size_t)(end - line.data)};
    return name->bytes > 0;
}

static enum cask_status read_lines(struct reading *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (;;) {
        struct cask_slice line, name = {0};
        struct cask_landmarks points;
        CASK_TRY(cask_lines_next(&r->lines, &line, err));
        if (line.data == NULL) {
            break;
        }
        if (!cut(line, &name, &points)) {
            CASK_TRY(cask_lines_refuse(&r->lines, line, "\"image x1 y1 ... x5 y5\"", err));
        }
        int64_t image = find(r, name);
        if (image < 0) {
            r->strange_line = r->strange == 0 ? r->lines.number : r->strange_line;
            r->strange++;
            continue;
        }
        if (r->known[image]) {
            CASK_TRY(cask_lines_refuse(&r->lines, line, "one line an image", err));
        }
        r->known[image] = true;
        r->points[image] = points;
    }
done:
    return st;
}

static enum cask_status check_all_known(const struct reading *r, struct cask_error *err)
{
    int64_t missing = 0, first = -1;
    for (int64_t i = 0; i < r->images; i++) {
        first = !r->known[i] && missing == 0 ? i : first;
        missing += !r->known[i];
    }
    if (r->strange > 0) {
        cask_log_info("%s:%lld: this line and %lld more are about images that are not in the set",
                      r->lines.path, (long long)r->strange_line, (long long)r->strange - 1);
    }
    if (missing > 0) {
        char text[LONGEST_NAME];
        cask_pairs_image_name(r->pairs, first, text, sizeof text);
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s: expected landmarks of every image, found none of %s; %lld "
                              "image(s) have none",
                              r->lines.path, text, (long long)missing);
    }
    return CASK_OK;
}

enum cask_status cask_landmarks_read(const char *path, const struct cask_pairs *pairs,
                                     struct cask_landmarks **points, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct reading r = {.pairs = pairs, .images = cask_pairs_image_count(pairs)};
    size_t images = (size_t)r.images;
    *points = NULL;
    CASK_TRY(cask_lines_open(&r.lines, path, err));
    r.names = cask_alloc(images, sizeof *r.names);
    r.points = cask_alloc(images, sizeof *r.points);
    r.known = cask_alloc(images, sizeof *r.known);
    if (r.names == NULL || r.points == NULL || r.known == NULL) {
        CASK_TRY(cask_error_memory(err, images * 64, "landmarks"));
    }
    for (int64_t i = 0; i < r.images; i++) {
        char text[LONGEST_NAME];
        cask_pairs_image_name(pairs, i, text, sizeof text);
        r.names[i] = (struct named){key_of(text, strlen(text)), i};
    }
    qsort(r.names, images, sizeof *r.names, by_key);
    CASK_TRY(read_lines(&r, err));
    CASK_TRY(check_all_known(&r, err));
    *points = r.points;
    r.points = NULL;
done:
    cask_lines_close(&r.lines);
    cask_free(r.names);
    cask_free(r.points);
    cask_free(r.known);
    return st;
}
