/* data/record_scan.c - a .rec file without .idx: walks from record to record. Keys are then the ids
 * in the image headers. */
#include "common/mem.h"
#include "common/thread.h"
#include "data/record_impl.h"

enum { CHECK_EVERY = 1 << 14 };

static enum cask_status grow_tables(struct cask_record_dataset *dataset, size_t old, size_t now,
                                    struct cask_error *err)
{
    void *offsets = cask_grow(dataset->offsets, old, now, sizeof *dataset->offsets);
    dataset->offsets = offsets != NULL ? offsets : dataset->offsets;
    void *keys = cask_grow(dataset->keys, old, now, sizeof *dataset->keys);
    dataset->keys = keys != NULL ? keys : dataset->keys;
    void *labels = cask_grow(dataset->base.labels, old, now, sizeof *dataset->base.labels);
    dataset->base.labels = labels != NULL ? labels : dataset->base.labels;
    return offsets != NULL && keys != NULL && labels != NULL
               ? CASK_OK
               : cask_error_memory(err, now * 20, "the image table");
}

enum cask_status cask_record_from_scan(struct cask_record_dataset *dataset, int64_t limit,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_record record;
    size_t capacity = 0;
    int64_t *count = &dataset->base.count, records = 0;
    for (uint64_t offset = 0; offset < dataset->file.bytes && (limit == 0 || *count < limit);
         offset = record.next) {
        if (records++ % CHECK_EVERY == 0) {
            CASK_TRY(cask_interrupt_check(err));
        }
        CASK_TRY(cask_recordio_read(&dataset->file, offset, &record, NULL, err));
        if (cask_record_is_contents(&record)) {
            continue;
        }
        if ((size_t)*count == capacity) {
            CASK_TRY(grow_tables(dataset, capacity, capacity * 2 + 1024, err));
            capacity = capacity * 2 + 1024;
        }
        CASK_TRY(cask_record_label(&dataset->file, &record, &dataset->base.labels[*count], err));
        dataset->offsets[*count] = offset;
        dataset->keys[(*count)++] = record.id;
    }
done:
    return st;
}
