/* data/recordio.c - reads single records; see recordio.h for the format. */
#include "data/recordio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "data/dataset_impl.h"

enum { PART_WHOLE, PART_FIRST, PART_MIDDLE, PART_LAST };
enum { PART_HEADER = 8, IMAGE_HEADER = 24 };
enum { LARGEST_RECORD = 64 << 20 }; /* an image; the format itself allows 2^29 - 1 */

struct part {
    uint32_t flag, length;
    uint64_t payload, next; /* offsets in the file */
};

static uint32_t u32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static float f32_at(const uint8_t *at)
{
    float value;
    memcpy(&value, at, sizeof value);
    return value;
}

enum cask_status cask_recordio_open(struct cask_recordio *file, const char *path,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct stat info;
    *file = (struct cask_recordio){.fd = -1, .path = cask_strdup(path)};
    if (file->path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(path), "a path"));
    }
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0) {
        CASK_TRY(cask_error_errno(err, errno, "%s: cannot open", path));
    }
    if (fstat(file->fd, &info) != 0) {
        CASK_TRY(cask_error_errno(err, errno, "%s: cannot get its size", path));
    }
    file->bytes = (uint64_t)info.st_size;
done:
    if (st != CASK_OK) {
        cask_recordio_close(file);
    }
    return st;
}

void cask_recordio_close(struct cask_recordio *file)
{
    if (file->fd >= 0) {
        close(file->fd);
    }
    cask_free(file->path);
    *file = (struct cask_recordio){.fd = -1};
}

/* All `bytes` bytes or an error. */
static enum cask_status read_at(const struct cask_recordio *file, uint64_t offset, void *data,
                                size_t bytes, struct cask_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file->fd, (char *)data + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return cask_error_errno(err, errno, "%s: cannot read at byte %llu", file->path,
                                    (unsigned long long)offset);
        }
        if (got == 0) {
            return cask_error_set(err, CASK_ERR_FORMAT, "%s: truncated: it ends before byte %llu",
                                  file->path, (unsigned long long)(offset + bytes));
        }
        done += (size_t)got;
    }
    return CASK_OK;
}

/* Reads a part's 8 bytes and as much behind them as `head` takes (less at the end of the file). */
static enum cask_status read_part(const struct cask_recordio *file, uint64_t offset,
                                  struct part *part, uint8_t *head, size_t head_bytes,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (offset > file->bytes || file->bytes - offset < PART_HEADER) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: truncated: expected a record at byte %llu, the file has %llu",
                                file->path, (unsigned long long)offset,
                                (unsigned long long)file->bytes));
    }
    if (file->bytes - offset < head_bytes) {
        head_bytes = (size_t)(file->bytes - offset);
    }
    CASK_TRY(read_at(file, offset, head, head_bytes, err));
    if (u32_at(head) != CASK_RECORDIO_MAGIC) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: byte %llu: expected a record's magic %08x, found %08x; the "
                                "file is damaged or the .idx belongs to another one",
                                file->path, (unsigned long long)offset, CASK_RECORDIO_MAGIC,
                                u32_at(head)));
    }
    part->flag = u32_at(head + 4) >> 29;
    part->length = u32_at(head + 4) & 0x1FFFFFFF;
    part->payload = offset + PART_HEADER;
    part->next = part->payload + (((uint64_t)part->length + 3) & ~(uint64_t)3);
    if (part->next > file->bytes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: truncated: the record at byte %llu has %u bytes, the file "
                                "ends at %llu",
                                file->path, (unsigned long long)offset, part->length,
                                (unsigned long long)file->bytes));
    }
    if (part->flag > PART_LAST || part->length > LARGEST_RECORD) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: byte %llu: expected part flag 0 to 3 and at most %d bytes, "
                                "found flag %u and %u bytes",
                                file->path, (unsigned long long)offset, LARGEST_RECORD, part->flag,
                                part->length));
    }
done:
    return st;
}

/* Parses the image header from the payload's first bytes; `known` of them are at `data`. */
static enum cask_status parse_header(const struct cask_recordio *file, const uint8_t *data,
                                     size_t known, uint64_t payload_bytes,
                                     struct cask_record *record, struct cask_error *err)
{
    uint32_t labels = known >= IMAGE_HEADER ? u32_at(data) : 0;
    if (known < IMAGE_HEADER || labels > (payload_bytes - IMAGE_HEADER) / 4) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: byte %llu: expected an image header of 24 bytes and %u labels, "
                              "found %llu bytes in all",
                              file->path, (unsigned long long)record->offset, labels,
                              (unsigned long long)payload_bytes);
    }
    record->labels = labels;
    record->label = labels > 0 ? f32_at(data + IMAGE_HEADER) : f32_at(data + 4);
    record->label2 = labels > 1 ? f32_at(data + IMAGE_HEADER + 4) : 0;
    memcpy(&record->id, data + 8, sizeof record->id);
    record->image_bytes = payload_bytes - IMAGE_HEADER - (uint64_t)labels * 4;
    return CASK_OK;
}

static enum cask_status append(const struct cask_recordio *file, const struct part *part,
                               struct cask_encoded *whole, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t need = whole->bytes + 4 + part->length;
    if (need > LARGEST_RECORD) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: byte %llu: the record's parts have over %d bytes", file->path,
                                (unsigned long long)part->payload, LARGEST_RECORD));
    }
    if (need > whole->capacity) {
        uint8_t *data = cask_grow(whole->data, whole->capacity, need * 2, 1);
        if (data == NULL) {
            CASK_TRY(cask_error_memory(err, need * 2, "a record"));
        }
        whole->data = data;
        whole->capacity = need * 2;
    }
    if (part->flag != PART_FIRST) {
        const uint32_t magic = CASK_RECORDIO_MAGIC;
        memcpy(whole->data + whole->bytes, &magic, sizeof magic);
        whole->bytes += sizeof magic;
    }
    CASK_TRY(read_at(file, part->payload, whole->data + whole->bytes, part->length, err));
    whole->bytes += part->length;
done:
    return st;
}

/* Reads all parts of a split record into `whole`. */
static enum cask_status gather(const struct cask_recordio *file, struct part part,
                               struct cask_record *record, struct cask_encoded *whole,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t head[PART_HEADER];
    whole->bytes = 0;
    for (;;) {
        CASK_TRY(append(file, &part, whole, err));
        record->next = part.next;
        if (part.flag == PART_LAST) {
            break;
        }
        CASK_TRY(read_part(file, record->next, &part, head, sizeof head, err));
        if (part.flag != PART_MIDDLE && part.flag != PART_LAST) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: byte %llu: expected the next part of the record at byte "
                                    "%llu, found part flag %u",
                                    file->path, (unsigned long long)record->next,
                                    (unsigned long long)record->offset, part.flag));
        }
    }
done:
    return st;
}

static enum cask_status read_split(const struct cask_recordio *file, const struct part *first,
                                   struct cask_record *record, struct cask_encoded *encoded,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_encoded whole = {0};
    CASK_TRY(gather(file, *first, record, &whole, err));
    CASK_TRY(parse_header(file, whole.data, whole.bytes, whole.bytes, record, err));
    if (encoded != NULL) {
        CASK_TRY(cask_encoded_reserve(encoded, record->image_bytes, err));
        memcpy(encoded->data, whole.data + (whole.bytes - record->image_bytes),
               record->image_bytes);
        encoded->bytes = record->image_bytes;
    }
done:
    cask_encoded_release(&whole);
    return st;
}

enum cask_status cask_recordio_read(const struct cask_recordio *file, uint64_t offset,
                                    struct cask_record *record, struct cask_encoded *encoded,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t head[PART_HEADER + IMAGE_HEADER + 8] = {0};
    struct part part;
    *record = (struct cask_record){.offset = offset};
    CASK_TRY(read_part(file, offset, &part, head, sizeof head, err));
    if (part.flag == PART_FIRST) {
        CASK_TRY(read_split(file, &part, record, encoded, err));
        goto done;
    }
    if (part.flag != PART_WHOLE) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: byte %llu: expected the begin of a record, found part flag %u",
                                file->path, (unsigned long long)offset, part.flag));
    }
    record->next = part.next;
    CASK_TRY(parse_header(file, head + PART_HEADER,
                          part.length < IMAGE_HEADER ? part.length : IMAGE_HEADER, part.length,
                          record, err));
    if (encoded != NULL) {
        CASK_TRY(cask_encoded_reserve(encoded, record->image_bytes, err));
        CASK_TRY(read_at(file, part.payload + part.length - record->image_bytes, encoded->data,
                         record->image_bytes, err));
        encoded->bytes = record->image_bytes;
    }
done:
    return st;
}
