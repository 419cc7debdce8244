/* cache/lz4_frame.c - see the header. A frame comes from a file and is believed in nothing. */
#include "cache/lz4_frame.h"

#include <lz4.h>
#include <string.h>

#include "cache/bytes.h"

static size_t blocks_of(size_t raw_bytes, size_t block_bytes)
{
    return (raw_bytes + block_bytes - 1) / block_bytes;
}

size_t cask_lz4_frame_stored_bytes(size_t raw_bytes, size_t block_bytes)
{
    return CASK_LZ4_FRAME_HEADER + blocks_of(raw_bytes, block_bytes) * CASK_LZ4_BLOCK_HEADER +
           raw_bytes;
}

static void put_header(uint8_t *frame, size_t raw_bytes, size_t block_bytes)
{
    cask_put_be32(frame, (uint32_t)((uint64_t)raw_bytes >> 32));
    cask_put_be32(frame + 4, (uint32_t)raw_bytes);
    cask_put_be32(frame + 8, (uint32_t)block_bytes);
}

size_t cask_lz4_frame_store(const uint8_t *raw, size_t raw_bytes, size_t block_bytes,
                            uint8_t *frame)
{
    put_header(frame, raw_bytes, block_bytes);
    uint8_t *out = frame + CASK_LZ4_FRAME_HEADER;
    for (size_t at = 0; at < raw_bytes; at += block_bytes) {
        size_t bytes = raw_bytes - at < block_bytes ? raw_bytes - at : block_bytes;
        cask_put_be32(out, (uint32_t)bytes);
        memcpy(out + CASK_LZ4_BLOCK_HEADER, raw + at, bytes);
        out += CASK_LZ4_BLOCK_HEADER + bytes;
    }
    return (size_t)(out - frame);
}

size_t cask_lz4_frame_encode(const uint8_t *raw, size_t raw_bytes, uint8_t *frame)
{
    uint8_t *block = frame + CASK_LZ4_FRAME_HEADER + CASK_LZ4_BLOCK_HEADER;
    /* A result as long as the input would read as "stored": it must be strictly shorter. */
    int bytes =
        LZ4_compress_default((const char *)raw, (char *)block, (int)raw_bytes, (int)raw_bytes - 1);
    if (bytes <= 0) {
        return cask_lz4_frame_store(raw, raw_bytes, raw_bytes, frame);
    }
    put_header(frame, raw_bytes, raw_bytes);
    cask_put_be32(frame + CASK_LZ4_FRAME_HEADER, (uint32_t)bytes);
    return CASK_LZ4_FRAME_HEADER + CASK_LZ4_BLOCK_HEADER + (size_t)bytes;
}

static const char *check_header(const uint8_t *frame, size_t frame_bytes, size_t raw_bytes,
                                size_t *block_bytes)
{
    if (frame_bytes < CASK_LZ4_FRAME_HEADER) {
        return "shorter than an LZ4 frame header";
    }
    uint64_t raw = (uint64_t)cask_get_be32(frame) << 32 | cask_get_be32(frame + 4);
    if (raw != raw_bytes) {
        return "LZ4 frame holds another number of bytes than the chunk";
    }
    *block_bytes = cask_get_be32(frame + 8);
    return *block_bytes == 0 && raw_bytes > 0 ? "LZ4 block size is 0" : NULL;
}

const char *cask_lz4_frame_decode(const uint8_t *frame, size_t frame_bytes, uint8_t *raw,
                                  size_t raw_bytes)
{
    size_t block_bytes = 0, at = CASK_LZ4_FRAME_HEADER;
    const char *wrong = check_header(frame, frame_bytes, raw_bytes, &block_bytes);
    for (size_t done = 0; wrong == NULL && done < raw_bytes;) {
        size_t want = raw_bytes - done < block_bytes ? raw_bytes - done : block_bytes;
        if (frame_bytes - at < CASK_LZ4_BLOCK_HEADER) {
            return "LZ4 frame ends before its last block";
        }
        size_t bytes = cask_get_be32(frame + at);
        at += CASK_LZ4_BLOCK_HEADER;
        if (bytes > want || bytes > frame_bytes - at) {
            return "LZ4 block is longer than its frame allows";
        }
        if (bytes == want) {
            memcpy(raw + done, frame + at, bytes);
        } else if (LZ4_decompress_safe((const char *)frame + at, (char *)raw + done, (int)bytes,
                                       (int)want) != (int)want) {
            return "LZ4 block does not decode";
        }
        at += bytes;
        done += want;
    }
    if (wrong == NULL && at != frame_bytes) {
        return "bytes after the last LZ4 block";
    }
    return wrong;
}

const char *cask_lz4_frame_view(const uint8_t *frame, size_t frame_bytes, uint8_t *raw,
                                size_t raw_bytes, const uint8_t **view)
{
    size_t start = CASK_LZ4_FRAME_HEADER + CASK_LZ4_BLOCK_HEADER;
    size_t block_bytes = 0;
    const char *wrong = check_header(frame, frame_bytes, raw_bytes, &block_bytes);
    if (wrong != NULL) {
        return wrong;
    }
    if (frame_bytes == start + raw_bytes &&
        cask_get_be32(frame + CASK_LZ4_FRAME_HEADER) == raw_bytes && block_bytes >= raw_bytes) {
        *view = frame + start;
        return NULL;
    }
    *view = raw;
    return cask_lz4_frame_decode(frame, frame_bytes, raw, raw_bytes);
}

const char *cask_lz4_frame_row(const uint8_t *frame, size_t frame_bytes, size_t rows,
                               size_t row_bytes, size_t row, const uint8_t **data)
{
    size_t block_bytes = 0;
    const char *wrong = check_header(frame, frame_bytes, rows * row_bytes, &block_bytes);
    if (wrong != NULL) {
        return wrong;
    }
    if (block_bytes != row_bytes ||
        frame_bytes != cask_lz4_frame_stored_bytes(rows * row_bytes, row_bytes)) {
        return "LZ4 blocks are not one stored row each";
    }
    const uint8_t *block =
        frame + CASK_LZ4_FRAME_HEADER + row * (CASK_LZ4_BLOCK_HEADER + row_bytes);
    if (cask_get_be32(block) != row_bytes) {
        return "LZ4 block of the row is not stored as it is";
    }
    *data = block + CASK_LZ4_BLOCK_HEADER;
    return NULL;
}

void cask_shuffle(const uint8_t *raw, size_t bytes, size_t element_bytes, uint8_t *shuffled)
{
    size_t count = bytes / element_bytes;
    for (size_t b = 0; b < element_bytes; b++) {
        uint8_t *plane = shuffled + b * count;
        for (size_t i = 0; i < count; i++) {
            plane[i] = raw[i * element_bytes + b];
        }
    }
}

void cask_unshuffle(const uint8_t *shuffled, size_t bytes, size_t element_bytes, uint8_t *raw)
{
    size_t count = bytes / element_bytes;
    for (size_t b = 0; b < element_bytes; b++) {
        const uint8_t *plane = shuffled + b * count;
        for (size_t i = 0; i < count; i++) {
            raw[i * element_bytes + b] = plane[i];
        }
    }
}
