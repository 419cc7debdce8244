/* data/pairs_csv.c - verification pairs as lines "a,b,same". */
#include <string.h>
#include <strings.h>

#include "common/lines.h"
#include "common/mem.h"
#include "data/pairs_images.h"

enum { FOLDS = 10, COLUMNS = 3 };

static bool read_same(struct cask_slice text, bool *same)
{
    static const char *const words[] = {"0", "false", "1", "true"};
    for (int i = 0; i < 4; i++) {
        if (text.bytes == strlen(words[i]) && strncasecmp(text.data, words[i], text.bytes) == 0) {
            *same = i >= 2;
            return true;
        }
    }
    return false;
}

/* A part ".." would lead out of the folder. */
static bool leads_out(const char *name)
{
    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0)) {
            return true;
        }
    }
    return false;
}

static enum cask_status find_image(struct pairs_images *images, const struct cask_lines *lines,
                                   struct cask_slice text, int64_t *image, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char name[CASK_LINE_LONGEST + 1];
    memcpy(name, text.data, text.bytes);
    name[text.bytes] = 0;
    if (text.bytes == 0 || (images->folder != NULL && leads_out(name))) {
        CASK_TRY(
            cask_lines_refuse(lines, text, "a path under the image folder, without \"..\"", err));
    }
    CASK_TRY(pairs_images_find(images, name, image, err));
    if (*image < 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s:%lld: no image %s/%s", lines->path,
                                (long long)lines->number, images->folder, name));
    }
done:
    return st;
}

static enum cask_status parse_line(struct pairs_images *images, const struct cask_lines *lines,
                                   struct cask_slice line, bool first, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_slice fields[COLUMNS];
    struct cask_pair pair = {0};
    if (cask_slice_fields(line, ',', fields, COLUMNS) != COLUMNS) {
        CASK_TRY(cask_lines_refuse(lines, line, "three columns \"a,b,same\"", err));
    }
    if (!read_same(fields[2], &pair.same)) {
        if (first) {
            return CASK_OK; /* the head */
        }
        CASK_TRY(
            cask_lines_refuse(lines, fields[2], "1 or 0, true or false, as third column", err));
    }
    CASK_TRY(find_image(images, lines, fields[0], &pair.a, err));
    CASK_TRY(find_image(images, lines, fields[1], &pair.b, err));
    images->base.pairs[images->base.count++] = pair;
done:
    return st;
}

enum cask_status cask_pairs_open_csv(const char *path, const char *folder, struct cask_pairs **out,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct pairs_images *images = NULL;
    struct cask_lines lines = {0};
    struct cask_slice line;
    CASK_TRY(cask_lines_open(&lines, path, err));
    CASK_TRY(pairs_images_create(path, folder, cask_lines_left(&lines), &images, err));
    images->base.folds = FOLDS;
    images->base.count = 0;
    for (bool first = true;; first = false) {
        CASK_TRY(cask_lines_next(&lines, &line, err));
        if (line.data == NULL) {
            break;
        }
        if (line.data[0] != '#') {
            CASK_TRY(parse_line(images, &lines, line, first, err));
        }
    }
    if (images->base.count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected lines \"a,b,same\", found none",
                                path));
    }
    *out = &images->base;
    images = NULL;
done:
    cask_lines_close(&lines);
    cask_pairs_close(images != NULL ? &images->base : NULL);
    return st;
}
