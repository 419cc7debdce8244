/* data/recordio.h - dmlc RecordIO with MXNet's image header. Private to data/.
 *
 * A file is a sequence of records, all numbers little endian:
 *
 *   u32 magic | u32 flag:3, length:29 | payload | zeros to a multiple of 4
 *
 * flag 0 is a whole record. A writer that meets the magic at a multiple of 4 inside a payload
 * drops it and splits there: parts 1 (first), 2 (middle), 3 (last). Putting the parts together
 * puts the magic back between them.
 *
 * The payload begins with u32 labels | f32 label | u64 id | u64 id2; if `labels` is not 0, that
 * many f32 follow and `label` means nothing. The image's bytes are the rest. insightface uses
 * records without image bytes as tables of contents: see dataset_record.c.
 *
 * Thread-safe after opening: reading is by pread.
 */
#ifndef CASK_DATA_RECORDIO_H
#define CASK_DATA_RECORDIO_H

#include "data/data.h"

#define CASK_RECORDIO_MAGIC 0xCED7230Au

struct cask_recordio {
    int fd;
    uint64_t bytes;
    char *path; /* owned */
};

struct cask_record {
    uint64_t offset, next; /* of its magic, and of the record behind it */
    uint32_t labels;       /* 0: one label, in the header */
    float label, label2;   /* the first two (label2 is 0 where there is one) */
    uint64_t id;
    uint64_t image_bytes;
};

enum cask_status cask_recordio_open(struct cask_recordio *file, const char *path,
                                    struct cask_error *err);
void cask_recordio_close(struct cask_recordio *file); /* accepts a zeroed one with fd -1 */

/* The header of the record at `offset`; `encoded` (may be NULL) gets the image's bytes. */
enum cask_status cask_recordio_read(const struct cask_recordio *file, uint64_t offset,
                                    struct cask_record *record, struct cask_encoded *encoded,
                                    struct cask_error *err);

#endif
