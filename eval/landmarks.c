/* eval/landmarks.c - five points of each image, found by the image's name. */
#include <string.h>

#include "common/lines.h"
#include "common/log.h"
#include "common/mem.h"
#include "eval/image_names.h"
#include "eval/masked.h"

struct reading {
    const struct cask_pairs *pairs;
    struct cask_lines lines;
    struct image_names names;
    struct cask_landmarks *points; /* [images] */
    bool *known;                   /* [images] */
    int64_t images, strange, strange_line;
};

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
        int64_t image = image_names_find(&r->names, name.data, name.bytes);
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
        char text[IMAGE_NAME_LONGEST];
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
    r.points = cask_alloc(images, sizeof *r.points);
    r.known = cask_alloc(images, sizeof *r.known);
    if (r.points == NULL || r.known == NULL) {
        CASK_TRY(cask_error_memory(err, images * 48, "landmarks"));
    }
    CASK_TRY(image_names_open(pairs, &r.names, err));
    CASK_TRY(read_lines(&r, err));
    CASK_TRY(check_all_known(&r, err));
    *points = r.points;
    r.points = NULL;
done:
    cask_lines_close(&r.lines);
    image_names_close(&r.names);
    cask_free(r.points);
    cask_free(r.known);
    return st;
}
