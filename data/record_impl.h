/* data/record_impl.h - the parts of a RecordIO dataset. Private to data/. */
#ifndef CASK_DATA_RECORD_IMPL_H
#define CASK_DATA_RECORD_IMPL_H

#include "data/dataset_impl.h"
#include "data/recordio.h"

struct cask_record_entry {
    uint64_t key, offset;
};

struct cask_record_dataset {
    struct cask_dataset base;
    struct cask_recordio file;
    const char *name;  /* the file's name without folders, within file.path */
    uint64_t *offsets; /* [count] */
    uint64_t *keys;    /* [count], or NULL where image i has key first_key + i */
    uint64_t first_key;
};

/* All lines of an .idx file, sorted by key. Caller frees. Offsets lie inside `file_bytes`. */
enum cask_status cask_record_read_index(const char *path, uint64_t file_bytes,
                                        struct cask_record_entry **entries, int64_t *count,
                                        struct cask_error *err);

/* Fill count, labels, offsets and keys: from the entries of an index, or by walking the file. */
enum cask_status cask_record_from_index(struct cask_record_dataset *dataset,
                                        const struct cask_record_entry *entries, int64_t count,
                                        int64_t limit, struct cask_error *err);
enum cask_status cask_record_from_scan(struct cask_record_dataset *dataset, int64_t limit,
                                       struct cask_error *err);

/* A record without image bytes but with labels describes others; it is not an image. */
bool cask_record_is_contents(const struct cask_record *record);
/* The class index of an image record. */
enum cask_status cask_record_label(const struct cask_recordio *file,
                                   const struct cask_record *record, uint32_t *label,
                                   struct cask_error *err);

#endif
