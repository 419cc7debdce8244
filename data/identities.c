/* data/identities.c - images by identity, by a counting sort over the labels. */
#include <inttypes.h>

#include "common/mem.h"
#include "data/sampler_impl.h"

/* More people than any set of faces has; a damaged list may name more, and would cost memory. */
static const int64_t most_classes = (int64_t)1 << 28;

static int64_t image_at(const int64_t *subset, int64_t i)
{
    return subset != NULL ? subset[i] : i;
}

static enum cask_status check(const struct cask_dataset *dataset, const int64_t *subset,
                              int64_t count, struct cask_error *err)
{
    const int64_t images = cask_dataset_count(dataset), classes = cask_dataset_classes(dataset);
    if (count < 1 || (subset == NULL && count > images) || images > UINT32_MAX) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "%" PRId64 " images by identity from a dataset of %" PRId64, count,
                              images);
    }
    if (classes > most_classes) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "labels go up to %" PRId64 ": number the identities from 0",
                              classes - 1);
    }
    for (int64_t i = 0; subset != NULL && i < count; i++) {
        if (subset[i] < 0 || subset[i] >= images) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "image %" PRId64 " in the subset of a dataset of %" PRId64,
                                  subset[i], images);
        }
    }
    return CASK_OK;
}

/* Fills *table (caller frees): the number of images of each label. */
static enum cask_status count_labels(const struct cask_dataset *dataset, const int64_t *subset,
                                     int64_t count, uint32_t **table, struct cask_error *err)
{
    const size_t classes = (size_t)cask_dataset_classes(dataset);
    *table = cask_alloc(classes + 1, sizeof **table);
    if (*table == NULL) {
        return cask_error_memory(err, (classes + 1) * sizeof **table, "images of each identity");
    }
    for (int64_t i = 0; i < count; i++) {
        const uint32_t label = cask_dataset_label(dataset, image_at(subset, i));
        if (label != CASK_NO_LABEL) {
            (*table)[label]++;
        }
    }
    return CASK_OK;
}

/* Turns counts into offsets; a label's entry in `table` becomes its identity's number, or
 * CASK_NO_LABEL if it has too few images. */
static enum cask_status lay_out(struct cask_identities *all, uint32_t *table, int64_t classes,
                                int64_t fewest, struct cask_error *err)
{
    for (int64_t label = 0; label < classes; label++) {
        if (table[label] >= fewest) {
            all->count++;
            all->images += table[label];
        }
    }
    const size_t identities = (size_t)all->count, images = (size_t)all->images;
    all->offsets = cask_alloc(identities + 1, sizeof *all->offsets);
    all->members = cask_alloc(images + 1, sizeof *all->members);
    if (all->offsets == NULL || all->members == NULL) {
        return cask_error_memory(
            err, (identities + 1) * sizeof *all->offsets + (images + 1) * sizeof *all->members,
            "index of images by identity");
    }
    /* one entry late: filling moves offsets[n + 1] from the start of n to its end */
    int64_t number = 0, at = 0;
    for (int64_t label = 0; label < classes; label++) {
        const int64_t members = table[label];
        if (members < fewest) {
            table[label] = CASK_NO_LABEL;
            continue;
        }
        table[label] = (uint32_t)number++;
        all->offsets[number] = at;
        at += members;
    }
    return CASK_OK;
}

enum cask_status cask_identities_create(const struct cask_dataset *dataset, const int64_t *subset,
                                        int64_t count, int64_t fewest, struct cask_identities **out,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint32_t *table = NULL;
    struct cask_identities *all = cask_alloc(1, sizeof *all);
    *out = NULL;
    if (all == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *all, "index of images by identity"));
    }
    CASK_TRY(check(dataset, subset, count, err));
    CASK_TRY(count_labels(dataset, subset, count, &table, err));
    all->limit = cask_dataset_count(dataset);
    all->fewest = fewest > 1 ? fewest : 1;
    CASK_TRY(lay_out(all, table, cask_dataset_classes(dataset), all->fewest, err));
    for (int64_t i = 0; i < count; i++) {
        const int64_t index = image_at(subset, i);
        const uint32_t label = cask_dataset_label(dataset, index);
        if (label != CASK_NO_LABEL && table[label] != CASK_NO_LABEL) {
            all->members[all->offsets[table[label] + 1]++] = (uint32_t)index;
        }
    }
    *out = all;
    all = NULL;
done:
    cask_free(table);
    cask_identities_free(all);
    return st;
}

void cask_identities_free(struct cask_identities *identities)
{
    if (identities == NULL) {
        return;
    }
    cask_free(identities->offsets);
    cask_free(identities->members);
    cask_free(identities);
}

int64_t cask_identities_count(const struct cask_identities *identities)
{
    return identities->count;
}

int64_t cask_identities_images(const struct cask_identities *identities)
{
    return identities->images;
}
