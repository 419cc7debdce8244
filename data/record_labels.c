/* data/record_labels.c - which records of a RecordIO file are images, and their labels.
 *
 * insightface's layout: keys 1..N are images; keys N+1..N+C have no image bytes and two labels
 * [first, last + 1), the image keys of one identity; key 0 has two labels [N + 1, N + 1 + C). The
 * labels of millions of images thus follow from a few records: one identity and its first image
 * each. Every image's own label is compared when it is read (dataset_record.c).
 *
 * All else - no key 0, key 0 an image (im2rec, shuffled), ranges that leave gaps, keys over 2^24
 * that float32 has rounded - takes one small read an image.
 */
#include <fcntl.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "data/record_impl.h"

#define EXACT_FLOAT (1u << 24) /* integers above are rounded in a float32 */
enum { CHECK_EVERY = 1 << 14 };

bool cask_record_is_contents(const struct cask_record *record)
{
    return record->labels > 0 && record->image_bytes == 0;
}

enum cask_status cask_record_label(const struct cask_recordio *file,
                                   const struct cask_record *record, uint32_t *label,
                                   struct cask_error *err)
{
    if (!cask_label_from_real((double)record->label, label)) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: record at byte %llu: label: expected an integer from 0 to "
                              "2147483647, found %g",
                              file->path, (unsigned long long)record->offset,
                              (double)record->label);
    }
    return CASK_OK;
}

static enum cask_status is_contents_at(const struct cask_recordio *file, uint64_t offset,
                                       bool *contents, struct cask_error *err)
{
    struct cask_record record;
    enum cask_status st = cask_recordio_read(file, offset, &record, NULL, err);
    *contents = st == CASK_OK && cask_record_is_contents(&record);
    return st;
}

/* Finds the range [*first, *end) of entries that are images. */
static enum cask_status find_images(const struct cask_recordio *file,
                                    const struct cask_record_entry *entries, int64_t count,
                                    int64_t *first, int64_t *end, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_record record;
    bool contents;
    *first = 0;
    *end = count;
    if (count == 0 || entries[0].key != 0) {
        goto done;
    }
    CASK_TRY(cask_recordio_read(file, entries[0].offset, &record, NULL, err));
    if (!cask_record_is_contents(&record)) {
        goto done;
    }
    if (!(record.label >= 1 && record.label < 0x1p62f)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: key 0 at byte %llu: expected the number of images + 1, found "
                                "%g",
                                file->path, (unsigned long long)record.offset,
                                (double)record.label));
    }
    uint64_t border = (uint64_t)record.label;
    int64_t low = 1, high = count; /* the first entry with key >= border */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (entries[middle].key < border) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (contents = false; border > EXACT_FLOAT && low < count; low++) {
        CASK_TRY(is_contents_at(file, entries[low].offset, &contents, err));
        if (contents) {
            break;
        }
    }
    for (contents = true; border > EXACT_FLOAT && low > 1; low--) {
        CASK_TRY(is_contents_at(file, entries[low - 1].offset, &contents, err));
        if (!contents) {
            break;
        }
    }
    *first = 1;
    *end = low;
done:
    return st;
}

/* Labels one identity's images. *good is false where its range is not usable. */
static enum cask_status label_identity(struct cask_record_dataset *dataset, uint64_t offset,
                                       int64_t images, int64_t *labelled, bool *good,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_record identity, image;
    uint32_t label;
    CASK_TRY(cask_recordio_read(&dataset->file, offset, &identity, NULL, err));
    *good = cask_record_is_contents(&identity) && identity.labels == 2 && identity.label >= 1 &&
            identity.label2 >= identity.label && identity.label2 <= (float)EXACT_FLOAT &&
            (int64_t)identity.label2 - 1 <= images;
    if (!*good || identity.label == identity.label2) {
        goto done;
    }
    int64_t first = (int64_t)identity.label - 1, end = (int64_t)identity.label2 - 1;
    if (first >= dataset->base.count) {
        goto done; /* beyond the limit */
    }
    CASK_TRY(cask_recordio_read(&dataset->file, dataset->offsets[first], &image, NULL, err));
    CASK_TRY(cask_record_label(&dataset->file, &image, &label, err));
    for (int64_t i = first; i < end && i < dataset->base.count; i++) {
        *good = *good && dataset->base.labels[i] == CASK_NO_LABEL;
        dataset->base.labels[i] = label;
        ++*labelled;
    }
done:
    return st;
}

static enum cask_status label_by_identities(struct cask_record_dataset *dataset,
                                            const struct cask_record_entry *identities,
                                            int64_t count, int64_t images, bool *complete,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t labelled = 0;
    bool good = true;
    for (int64_t i = 0; i < dataset->base.count; i++) {
        dataset->base.labels[i] = CASK_NO_LABEL;
    }
    for (int64_t i = 0; i < count && good; i++) {
        if (i % CHECK_EVERY == 0) {
            CASK_TRY(cask_interrupt_check(err));
        }
        CASK_TRY(label_identity(dataset, identities[i].offset, images, &labelled, &good, err));
    }
    *complete = good && labelled == dataset->base.count;
done:
    return st;
}

static enum cask_status label_by_images(struct cask_record_dataset *dataset, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_record record;
    for (int64_t i = 0; i < dataset->base.count; i++) {
        if (i % CHECK_EVERY == 0) {
            CASK_TRY(cask_interrupt_check(err));
        }
        CASK_TRY(cask_recordio_read(&dataset->file, dataset->offsets[i], &record, NULL, err));
        CASK_TRY(cask_record_label(&dataset->file, &record, &dataset->base.labels[i], err));
    }
done:
    return st;
}

static enum cask_status create_tables(struct cask_record_dataset *dataset,
                                      const struct cask_record_entry *images, int64_t count,
                                      struct cask_error *err)
{
    bool counted = true;
    for (int64_t i = 0; i < count && counted; i++) {
        counted = images[i].key == images[0].key + (uint64_t)i;
    }
    dataset->base.count = count;
    dataset->base.labels = cask_alloc((size_t)count, sizeof *dataset->base.labels);
    dataset->offsets = cask_alloc((size_t)count, sizeof *dataset->offsets);
    dataset->keys = counted ? NULL : cask_alloc((size_t)count, sizeof *dataset->keys);
    if (dataset->base.labels == NULL || dataset->offsets == NULL ||
        (!counted && dataset->keys == NULL)) {
        return cask_error_memory(err, (size_t)count * 20, "the image table");
    }
    dataset->first_key = count > 0 ? images[0].key : 0;
    for (int64_t i = 0; i < count; i++) {
        dataset->offsets[i] = images[i].offset;
        if (!counted) {
            dataset->keys[i] = images[i].key;
        }
    }
    return CASK_OK;
}

enum cask_status cask_record_from_index(struct cask_record_dataset *dataset,
                                        const struct cask_record_entry *entries, int64_t count,
                                        int64_t limit, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t first, end;
    bool complete = false;
    /* small reads all over the file: reading ahead would fetch a hundred times as much */
    posix_fadvise(dataset->file.fd, 0, 0, POSIX_FADV_RANDOM);
    CASK_TRY(find_images(&dataset->file, entries, count, &first, &end, err));
    int64_t images = end - first, identities = count - end;
    int64_t used = limit > 0 && limit < images ? limit : images;
    CASK_TRY(create_tables(dataset, entries + first, used, err));
    if (identities > 0 && 2 * identities < used && dataset->keys == NULL &&
        dataset->first_key == 1) {
        CASK_TRY(label_by_identities(dataset, entries + end, identities, images, &complete, err));
        if (!complete) {
            cask_log_info("%s: its identity records do not cover all images; reading %lld labels "
                          "one by one",
                          dataset->file.path, (long long)used);
        }
    }
    if (!complete) {
        CASK_TRY(label_by_images(dataset, err));
    }
done:
    posix_fadvise(dataset->file.fd, 0, 0, POSIX_FADV_NORMAL);
    return st;
}
