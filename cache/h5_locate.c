/* cache/h5_locate.c - source: "HDF5 File Format Specification Version 3.0", sections II.A
 * (superblock), IV.A.1.b (object header, version 2), IV.A.2.g (link), IV.A.2.i (data layout,
 * version 4), VII.C (fixed array). Section numbers are repeated where each is read.
 */
#include "cache/h5_locate.h"

#include <inttypes.h>
#include <string.h>

#include "cache/bytes.h"

enum {
    MESSAGE_LAYOUT = 0x08,
    MESSAGE_LINK = 0x06,
    MESSAGE_CONTINUATION = 0x10,
    LAYOUT_CONTIGUOUS = 1,
    LAYOUT_CHUNKED = 2,
    INDEX_SINGLE = 1,
    INDEX_FIXED_ARRAY = 3,
    BLOCKS_MAX = 64, /* header pieces of one object: ours have a handful */
    CHECKSUM = 4,
};

struct bytes {
    const uint8_t *data;
    uint64_t count;
};

/* The `count` bytes at `address`, or NULL if they are not all inside. */
static const uint8_t *at(const struct bytes *file, uint64_t address, uint64_t count)
{
    return address <= file->count && count <= file->count - address ? file->data + address : NULL;
}

/* ------------------------------------------------- object headers (IV.A.1.b) */

/* All messages of one object, in order; continuation blocks are appended as they are met. */
struct header {
    const struct bytes *file;
    struct {
        uint64_t first, end;
    } blocks[BLOCKS_MAX];
    int block_count, block;
    uint64_t position;
    unsigned message_header; /* 4, or 6 with creation order */
};

struct message {
    int type;
    const uint8_t *data;
    uint32_t bytes;
};

static const char *open_header(struct header *header, const struct bytes *file, uint64_t address)
{
    const uint8_t *p = at(file, address, 6);
    if (p == NULL || memcmp(p, "OHDR\x02", 5) != 0) {
        return "no version-2 object header where one should be";
    }
    unsigned flags = p[5], size_bytes = 1u << (flags & 3u);
    uint64_t start = address + 6 + (flags & 0x20u ? 16 : 0) + (flags & 0x10u ? 4 : 0);
    const uint8_t *size_at = at(file, start, size_bytes);
    if (size_at == NULL) {
        return "object header is cut short";
    }
    uint64_t size = 0;
    for (unsigned i = 0; i < size_bytes; i++) {
        size |= (uint64_t)size_at[i] << (8 * i);
    }
    start += size_bytes;
    if (at(file, start, size) == NULL) {
        return "object header is longer than the file";
    }
    memset(header, 0, sizeof *header);
    header->file = file;
    header->blocks[0].first = start;
    header->blocks[0].end = start + size;
    header->block_count = 1;
    header->position = start;
    header->message_header = flags & 4u ? 6 : 4;
    return NULL;
}

static const char *add_continuation(struct header *header, const struct message *message)
{
    if (message->bytes < 16 || header->block_count == BLOCKS_MAX) {
        return "object header continuation is damaged";
    }
    uint64_t address = cask_get_le64(message->data), size = cask_get_le64(message->data + 8);
    const uint8_t *p = at(header->file, address, size);
    if (p == NULL || size < 4 + CHECKSUM || memcmp(p, "OCHK", 4) != 0) {
        return "object header continuation lies outside the file";
    }
    header->blocks[header->block_count].first = address + 4;
    header->blocks[header->block_count].end = address + size - CHECKSUM;
    header->block_count++;
    return NULL;
}

/* message->type is -1 after the last one. */
static const char *next_message(struct header *header, struct message *message)
{
    for (;;) {
        uint64_t end = header->blocks[header->block].end;
        if (end - header->position < header->message_header) {
            header->block++; /* a gap too small for a message may close a block */
            if (header->block == header->block_count) {
                message->type = -1;
                return NULL;
            }
            header->position = header->blocks[header->block].first;
            continue;
        }
        const uint8_t *p = header->file->data + header->position;
        message->type = p[0];
        message->bytes = cask_get_le16(p + 1);
        message->data = p + header->message_header;
        header->position += header->message_header;
        if (message->bytes > end - header->position) {
            return "object header message is longer than its block";
        }
        header->position += message->bytes;
        if (message->type != MESSAGE_CONTINUATION) {
            return NULL;
        }
        const char *wrong = add_continuation(header, message);
        if (wrong != NULL) {
            return wrong;
        }
    }
}

/* ------------------------------------------------- links (IV.A.2.g) */

/* True if the message is a hard link called `name`; then *child is its object header. */
static bool link_matches(const struct message *message, const char *name, size_t name_bytes,
                         uint64_t *child)
{
    const uint8_t *p = message->data, *end = p + message->bytes;
    if (end - p < 2 || p[0] != 1) {
        return false;
    }
    unsigned flags = p[1], size_bytes = 1u << (flags & 3u);
    size_t skip = 2 + (flags & 8u ? 1 : 0) + (flags & 4u ? 8 : 0) + (flags & 0x10u ? 1 : 0);
    if ((size_t)(end - p) < skip + size_bytes || (flags & 8u && p[2] != 0)) {
        return false;
    }
    p += skip;
    uint64_t length = 0;
    for (unsigned i = 0; i < size_bytes; i++) {
        length |= (uint64_t)p[i] << (8 * i);
    }
    p += size_bytes;
    if (length != name_bytes || (uint64_t)(end - p) < length + 8 ||
        memcmp(p, name, name_bytes) != 0) {
        return false;
    }
    *child = cask_get_le64(p + length);
    return true;
}

static const char *follow_link(const struct bytes *file, uint64_t group, const char *name,
                               size_t name_bytes, uint64_t *child)
{
    struct header header;
    struct message message = {0};
    const char *wrong = open_header(&header, file, group);
    while (wrong == NULL && (wrong = next_message(&header, &message)) == NULL &&
           message.type >= 0) {
        if (message.type == MESSAGE_LINK && link_matches(&message, name, name_bytes, child)) {
            return NULL;
        }
    }
    return wrong != NULL ? wrong : "no such dataset";
}

static const char *find_object(const struct bytes *file, uint64_t root, const char *path,
                               uint64_t *object)
{
    const char *wrong = NULL;
    *object = root;
    while (wrong == NULL && *path != '\0') {
        size_t bytes = strcspn(path, "/");
        wrong = follow_link(file, *object, path, bytes, object);
        path += bytes + (path[bytes] == '/');
    }
    return wrong;
}

/* ------------------------------------------------- chunk indexes */

static const char *put_chunk(const struct bytes *file, uint64_t address, uint64_t size,
                             uint32_t filter_mask, struct cask_chunk *chunk)
{
    if (filter_mask != 0) {
        return "a chunk skips its filters";
    }
    if (at(file, address, size) == NULL) {
        return "a chunk lies outside the file or was never written";
    }
    *chunk = (struct cask_chunk){address, (uint32_t)size, (uint32_t)(size >> 32)};
    return NULL;
}

/* `count` elements of {address 8, size n, filter mask 4}, n = element_bytes - 12. */
static const char *read_elements(const struct bytes *file, const uint8_t *p, uint64_t count,
                                 unsigned element_bytes, struct cask_chunk *chunks)
{
    for (uint64_t i = 0; i < count; i++, p += element_bytes) {
        uint64_t size = 0;
        for (unsigned b = 0; b < element_bytes - 12; b++) {
            size |= (uint64_t)p[8 + b] << (8 * b);
        }
        const char *wrong = put_chunk(file, cask_get_le64(p), size,
                                      cask_get_le32(p + element_bytes - 4), &chunks[i]);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

/* Fixed array (VII.C): header, then a data block that is one run of elements, or pages of 2^bits.
 */
static const char *read_fixed_array(const struct bytes *file, uint64_t address, uint64_t count,
                                    struct cask_chunk *chunks)
{
    const uint8_t *p = at(file, address, 28);
    if (p == NULL || memcmp(p, "FAHD\0\x01", 6) != 0) {
        return "chunk index is not a fixed array of filtered chunks";
    }
    unsigned element_bytes = p[6], page_bits = p[7];
    uint64_t elements = cask_get_le64(p + 8), block = cask_get_le64(p + 16);
    if (element_bytes < 13 || element_bytes > 20 || page_bits > 32 || elements != count) {
        return "fixed array does not have the expected number of chunks";
    }
    uint64_t page = (uint64_t)1 << page_bits, pages = (count + page - 1) / page;
    bool paged = count > page;
    uint64_t prefix = 14 + (paged ? (pages + 7) / 8 + CHECKSUM : 0);
    uint64_t body = count * element_bytes + (paged ? pages * CHECKSUM : 0);
    const uint8_t *q = at(file, block, prefix + body);
    if (q == NULL || memcmp(q, "FADB\0\x01", 6) != 0) {
        return "fixed array data block lies outside the file";
    }
    q += prefix;
    for (uint64_t done = 0; done < count;) {
        uint64_t run = count - done < page ? count - done : page;
        const char *wrong = read_elements(file, q, run, element_bytes, chunks + done);
        if (wrong != NULL) {
            return wrong;
        }
        q += run * element_bytes + CHECKSUM;
        done += run;
    }
    return NULL;
}

/* Data layout message, version 4 (IV.A.2.i). */
static const char *read_chunked(const struct bytes *file, const struct message *message,
                                const struct cask_array *array, struct cask_chunk *chunks)
{
    const uint8_t *p = message->data, *end = p + message->bytes;
    if (end - p < 5 || p[0] != 4) {
        return "chunked layout is not version 4";
    }
    unsigned flags = p[2];
    size_t skip = 5 + (size_t)p[3] * p[4]; /* dimensions, each in p[4] bytes */
    if ((size_t)(end - p) < skip + 1) {
        return "chunked layout is cut short";
    }
    p += skip;
    if (p[0] == INDEX_SINGLE && (flags & 2u) && end - p >= 21 && array->chunks == 1) {
        return put_chunk(file, cask_get_le64(p + 13), cask_get_le64(p + 1), cask_get_le32(p + 9),
                         chunks);
    }
    if (p[0] == INDEX_FIXED_ARRAY && end - p >= 10) {
        return read_fixed_array(file, cask_get_le64(p + 2), array->chunks, chunks);
    }
    return "chunk index is of another kind";
}

static const char *locate_array(const struct bytes *file, uint64_t root,
                                const struct cask_array *array, struct cask_chunk *chunks)
{
    struct header header;
    struct message message = {0};
    uint64_t object = 0;
    const char *wrong = find_object(file, root, array->name, &object);
    wrong = wrong != NULL ? wrong : open_header(&header, file, object);
    while (wrong == NULL && (wrong = next_message(&header, &message)) == NULL &&
           message.type >= 0) {
        if (message.type != MESSAGE_LAYOUT || message.bytes < 18) {
            continue;
        }
        int class = message.data[1];
        if (class == LAYOUT_CONTIGUOUS && array->storage == CASK_STORAGE_CONTIGUOUS) {
            return put_chunk(file, cask_get_le64(message.data + 2),
                             cask_get_le64(message.data + 10), 0, chunks);
        }
        if (class == LAYOUT_CHUNKED && array->storage != CASK_STORAGE_CONTIGUOUS) {
            return read_chunked(file, &message, array, chunks);
        }
        return "dataset is stored in another way";
    }
    return wrong != NULL ? wrong : "dataset has no layout message";
}

enum cask_status cask_h5_locate(const uint8_t *file, uint64_t file_bytes,
                                const struct cask_layout *layout, struct cask_chunk *chunks,
                                struct cask_error *err)
{
    struct bytes bytes = {file, file_bytes};
    /* Superblock, version 3 (II.A): signature, version, sizes of offsets and lengths, flags, base
     * address, extension, end of file, root group, checksum. */
    const uint8_t *p = at(&bytes, 0, 48);
    if (p == NULL || memcmp(p, "\x89HDF\r\n\x1a\n\x03\x08\x08", 11) != 0 ||
        cask_get_le64(p + 12) != 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "not an HDF5 file with superblock version 3 at its start (%" PRIu64
                              " bytes)",
                              file_bytes);
    }
    if (cask_get_le64(p + 28) != file_bytes) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "HDF5 file of %" PRIu64 " bytes, its superblock says %" PRIu64,
                              file_bytes, cask_get_le64(p + 28));
    }
    for (int i = 0; i < layout->array_count; i++) {
        const struct cask_array *array = &layout->arrays[i];
        if (array->row_elements == 0) {
            continue;
        }
        const char *wrong =
            locate_array(&bytes, cask_get_le64(p + 36), array, chunks + array->first_chunk);
        if (wrong != NULL) {
            return cask_error_set(err, CASK_ERR_FORMAT, "%s: %s", array->name, wrong);
        }
    }
    return CASK_OK;
}
