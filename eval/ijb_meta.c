/* eval/ijb_meta.c - the two lists about the images of an IJB set. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "eval/ijb.h"

enum { LARGEST_ID = INT32_MAX, POINT_COLUMNS = 12, MOST_IMAGES = INT32_MAX };

static enum cask_status read_image(struct cask_lines *ids, struct cask_slice line,
                                   struct cask_ijb_image *image, int64_t *id,
                                   struct cask_slice *name, struct cask_error *err)
{
    struct cask_slice columns[3];
    int64_t media;
    if (cask_slice_columns(line, columns, 3) != 3 ||
        !cask_slice_int(columns[1], 0, LARGEST_ID, id) ||
        !cask_slice_int(columns[2], 0, LARGEST_ID, &media)) {
        return cask_lines_refuse(ids, line,
                                 "\"image template media\" with ids from 0 to 2147483647", err);
    }
    *name = columns[0];
    image->media = (uint32_t)media;
    return CASK_OK;
}

static enum cask_status read_points(struct cask_lines *points, struct cask_slice line,
                                    struct cask_ijb_image *image, struct cask_error *err)
{
    struct cask_slice columns[POINT_COLUMNS];
    double value = 0;
    bool good = cask_slice_columns(line, columns, POINT_COLUMNS) == POINT_COLUMNS;
    for (int i = 0; good && i < 10; i++) {
        good = cask_slice_real(columns[1 + i], &value);
        image->points.at[i / 2][i % 2] = (float)value;
    }
    good = good && cask_slice_is_below(columns[0]);
    if (!good || !cask_slice_real(columns[11], &value)) {
        return cask_lines_refuse(points, line,
                                 "\"image x1 y1 ... x5 y5 score\", image a relative path", err);
    }
    image->name = columns[0];
    image->score = (float)value;
    return CASK_OK;
}

static enum cask_status differing_lengths(const struct cask_lines *ids,
                                          const struct cask_lines *points, int64_t ids_left,
                                          int64_t points_left, int64_t read, struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_MISMATCH,
                          "%s and %s: expected line i of both to be about image i, found %lld and "
                          "%lld lines",
                          ids->path, points->path, (long long)(read + ids_left),
                          (long long)(read + points_left));
}

/* Lines that are not empty, from the one in hand. */
static int64_t count_lines(struct cask_lines *lines, struct cask_slice line)
{
    struct cask_error ignored;
    int64_t count = 0;
    while (line.data != NULL) {
        count++;
        if (cask_lines_next(lines, &line, &ignored) != CASK_OK) {
            break;
        }
    }
    return count;
}

static enum cask_status read_lists(struct cask_ijb *set, struct cask_lines *ids, int64_t *raw_ids,
                                   int64_t most, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (;;) {
        struct cask_slice id_line, point_line, name;
        CASK_TRY(cask_lines_next(ids, &id_line, err));
        CASK_TRY(cask_lines_next(&set->points, &point_line, err));
        if (id_line.data == NULL && point_line.data == NULL) {
            break;
        }
        if (id_line.data == NULL || point_line.data == NULL || set->images >= most) {
            int64_t left = count_lines(ids, id_line);
            CASK_TRY(differing_lengths(ids, &set->points, left,
                                       count_lines(&set->points, point_line), set->images, err));
        }
        struct cask_ijb_image *image = &set->image[set->images];
        CASK_TRY(read_image(ids, id_line, image, &raw_ids[set->images], &name, err));
        CASK_TRY(read_points(&set->points, point_line, image, err));
        if (!cask_slice_equal(name, image->name)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                    "%s:%lld: expected the image of %s:%lld, \"%.*s\", found "
                                    "\"%.*s\"",
                                    set->points.path, (long long)set->points.number, ids->path,
                                    (long long)ids->number, CASK_SLICE_SHOWN(name),
                                    CASK_SLICE_SHOWN(image->name)));
        }
        set->images++;
    }
    if (set->images == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected images, found an empty list",
                                ids->path));
    }
done:
    return st;
}

struct placed {
    int64_t template_id;
    uint32_t media, image;
};

static int by_template(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->template_id != y->template_id) {
        return x->template_id < y->template_id ? -1 : 1;
    }
    if (x->media != y->media) {
        return x->media < y->media ? -1 : 1;
    }
    return x->image < y->image ? -1 : x->image > y->image;
}

/* Gives templates dense indices in the order of their ids. */
static enum cask_status group(struct cask_ijb *set, const int64_t *raw_ids, struct cask_error *err)
{
    size_t images = (size_t)set->images;
    struct placed *placed = cask_alloc(images, sizeof *placed);
    set->order = cask_alloc(images, sizeof *set->order);
    set->begin = cask_alloc(images + 1, sizeof *set->begin);
    set->template_id = cask_alloc(images, sizeof *set->template_id);
    if (placed == NULL || set->order == NULL || set->begin == NULL || set->template_id == NULL) {
        cask_free(placed);
        return cask_error_memory(err, images * 36, "templates");
    }
    for (size_t i = 0; i < images; i++) {
        placed[i] = (struct placed){raw_ids[i], set->image[i].media, (uint32_t)i};
    }
    qsort(placed, images, sizeof *placed, by_template);
    for (size_t i = 0; i < images; i++) {
        if (i == 0 || placed[i].template_id != placed[i - 1].template_id) {
            set->begin[set->templates] = (int64_t)i;
            set->template_id[set->templates++] = placed[i].template_id;
        }
        set->order[i] = placed[i].image;
        set->image[placed[i].image].template_index = (uint32_t)set->templates - 1;
    }
    set->begin[set->templates] = set->images;
    cask_free(placed);
    return CASK_OK;
}

static size_t slot_of(const struct cask_ijb *set, int64_t id)
{
    size_t slot = (size_t)id * 0x9e3779b97f4a7c15u >> 20 & (set->slot_count - 1);
    while (set->slots[slot] != 0 && set->template_id[set->slots[slot] - 1] != id) {
        slot = (slot + 1) & (set->slot_count - 1);
    }
    return slot;
}

int64_t cask_ijb_find_template(const struct cask_ijb *set, int64_t id)
{
    return (int64_t)set->slots[slot_of(set, id)] - 1;
}

/* A table of twice as many slots as templates: 31 million look-ups are made for IJB-C's pairs. */
static enum cask_status build_slots(struct cask_ijb *set, struct cask_error *err)
{
    set->slot_count = 16;
    while (set->slot_count < 2 * (size_t)set->templates) {
        set->slot_count *= 2;
    }
    set->slots = cask_alloc(set->slot_count, sizeof *set->slots);
    if (set->slots == NULL) {
        return cask_error_memory(err, set->slot_count * sizeof *set->slots, "template ids");
    }
    for (int64_t t = 0; t < set->templates; t++) {
        set->slots[slot_of(set, set->template_id[t])] = (uint32_t)t + 1;
    }
    return CASK_OK;
}

enum cask_status cask_ijb_open(const char *tid_mid_path, const char *points_path,
                               struct cask_ijb *set, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines ids = {0};
    int64_t *raw_ids = NULL;
    *set = (struct cask_ijb){0};
    CASK_TRY(cask_lines_open(&ids, tid_mid_path, err));
    CASK_TRY(cask_lines_open(&set->points, points_path, err));
    int64_t most = cask_lines_left(&ids);
    if (most > MOST_IMAGES) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: expected at most %d images, found %lld",
                                tid_mid_path, MOST_IMAGES, (long long)most));
    }
    set->image = cask_alloc((size_t)most, sizeof *set->image);
    raw_ids = cask_alloc((size_t)most, sizeof *raw_ids);
    if ((set->image == NULL || raw_ids == NULL) && most > 0) {
        CASK_TRY(cask_error_memory(err, (size_t)most * sizeof *set->image, "the list of images"));
    }
    CASK_TRY(read_lists(set, &ids, raw_ids, most, err));
    CASK_TRY(group(set, raw_ids, err));
    CASK_TRY(build_slots(set, err));
done:
    cask_lines_close(&ids);
    cask_free(raw_ids);
    if (st != CASK_OK) {
        cask_ijb_close(set);
    }
    return st;
}

void cask_ijb_close(struct cask_ijb *set)
{
    cask_lines_close(&set->points);
    cask_free(set->image);
    cask_free(set->template_id);
    cask_free(set->order);
    cask_free(set->begin);
    cask_free(set->slots);
    *set = (struct cask_ijb){0};
}
