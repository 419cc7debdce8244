#include "models/zip_write.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

enum { ALIGNMENT = 64, LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, EXTRA_HEADER = 4 };
enum { VERSION = 10, DATE_1980 = 0x21, PADDING_ID = 0x4246 /* "FB", PyTorch's */ };

struct entry {
    uint32_t crc, offset;
    uint16_t padding; /* bytes of the local extra field */
};

/* Little-endian numbers, one after the other. */
struct cursor {
    uint8_t *at;
};

static void put(struct cursor *c, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *c->at++ = (uint8_t)(value >> (8 * i));
    }
}

/* What local header and directory entry have in common: version to CRC and sizes, name length. */
static void put_common(struct cursor *c, const struct cask_zip_piece *piece, uint32_t crc)
{
    put(c, VERSION, 2);
    put(c, 0, 2);         /* flags */
    put(c, 0, 2);         /* stored */
    put(c, 0, 2);         /* time: the same bytes for the same weights */
    put(c, DATE_1980, 2); /* the format's first day */
    put(c, crc, 4);
    put(c, piece->bytes, 4);
    put(c, piece->bytes, 4);
    put(c, strlen(piece->name), 2);
}

/* Offsets and paddings; total is where the directory starts. */
static enum cask_status lay_out(const struct cask_zip_piece *pieces, size_t count,
                                struct entry *entries, uint64_t *total, struct cask_error *err)
{
    uint64_t at = 0, directory = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t name = strlen(pieces[i].name);
        const uint64_t start = at + LOCAL_BYTES + name + EXTRA_HEADER;
        entries[i].offset = (uint32_t)at;
        entries[i].padding = (uint16_t)(EXTRA_HEADER + (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT);
        at += LOCAL_BYTES + name + entries[i].padding + pieces[i].bytes;
        directory += CENTRAL_BYTES + name;
        if (at + directory > UINT32_MAX - END_BYTES || name > 1000) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "the zip would have 4 GiB or more at \"%.100s\"; write "
                                  "safetensors instead",
                                  pieces[i].name);
        }
    }
    if (count >= UINT16_MAX) {
        return cask_error_set(err, CASK_ERR_RANGE, "%zu members; a zip holds at most 65534", count);
    }
    *total = at;
    return CASK_OK;
}

static enum cask_status write_member(struct cask_file *file, const struct cask_zip_piece *piece,
                                     struct entry *entry, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint8_t header[LOCAL_BYTES], extra[EXTRA_HEADER + ALIGNMENT];
    struct cursor c = {header}, e = {extra};
    entry->crc = cask_crc32(0, piece->data, piece->bytes);
    put(&c, 0x04034b50, 4);
    put_common(&c, piece, entry->crc);
    put(&c, entry->padding, 2);
    memset(extra, 'Z', sizeof extra);
    put(&e, PADDING_ID, 2);
    put(&e, entry->padding - EXTRA_HEADER, 2);
    CASK_TRY(cask_file_write(file, header, sizeof header, err));
    CASK_TRY(cask_file_write(file, piece->name, strlen(piece->name), err));
    CASK_TRY(cask_file_write(file, extra, entry->padding, err));
    CASK_TRY(cask_file_write(file, piece->data, piece->bytes, err));
done:
    return st;
}

static enum cask_status write_directory(struct cask_file *file, const struct cask_zip_piece *pieces,
                                        size_t count, const struct entry *entries, uint64_t start,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t bytes = 0;
    uint8_t header[CENTRAL_BYTES], end[END_BYTES];
    for (size_t i = 0; i < count; i++) {
        struct cursor c = {header};
        put(&c, 0x02014b50, 4);
        put(&c, VERSION, 2); /* made by */
        put_common(&c, &pieces[i], entries[i].crc);
        put(&c, 0, 8); /* lengths of extra and comment, disk, internal attributes */
        put(&c, 0, 4); /* external attributes */
        put(&c, entries[i].offset, 4);
        CASK_TRY(cask_file_write(file, header, sizeof header, err));
        CASK_TRY(cask_file_write(file, pieces[i].name, strlen(pieces[i].name), err));
        bytes += sizeof header + strlen(pieces[i].name);
    }
    struct cursor c = {end};
    put(&c, 0x06054b50, 4);
    put(&c, 0, 4); /* disks */
    put(&c, count, 2);
    put(&c, count, 2);
    put(&c, bytes, 4);
    put(&c, start, 4);
    put(&c, 0, 2);
    CASK_TRY(cask_file_write(file, end, sizeof end, err));
done:
    return st;
}

enum cask_status cask_zip_write(const char *path, const struct cask_zip_piece *pieces, size_t count,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_file file = {.fd = -1};
    uint64_t directory = 0;
    struct entry *entries = cask_alloc(count, sizeof *entries);
    if (entries == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *entries, "zip directory"));
    }
    CASK_TRY(lay_out(pieces, count, entries, &directory, err));
    CASK_TRY(cask_file_begin(&file, path, err));
    for (size_t i = 0; i < count; i++) {
        CASK_TRY(write_member(&file, &pieces[i], &entries[i], err));
    }
    CASK_TRY(write_directory(&file, pieces, count, entries, directory, err));
    CASK_TRY(cask_file_commit(&file, err));
done:
    cask_file_abort(&file);
    cask_free(entries);
    return st;
}
