#include "train/tensorboard_record.h"

#include <string.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types of protocol buffers */
enum { HEAD = 12, FOOT = 4 };                             /* of a record, around its data */

/* CRC-32C (Castagnoli), reflected polynomial 0x82F63B78, four bits at a time: these files are small
 * and no library that Cask links has it. */
static uint32_t crc32c(const uint8_t *data, size_t bytes)
{
    static const uint32_t table[16] = {0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1,
                                       0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
                                       0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
                                       0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75};
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t masked(const void *data, size_t bytes)
{
    const uint32_t crc = crc32c(data, bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/* -------------------------------------------------------------------- write */

static void put_little(struct cask_text *text, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        const char byte = (char)(uint8_t)(value >> (8 * i));
        cask_text_add(text, &byte, 1);
    }
}

static void put_varint(struct cask_text *text, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        put_little(text, (value & 0x7F) | 0x80, 1);
    }
    put_little(text, value, 1);
}

static void put_key(struct cask_text *text, int field, int wire_type)
{
    put_varint(text, (uint64_t)field << 3 | (uint64_t)wire_type);
}

static void put_bytes(struct cask_text *text, int field, const char *bytes, size_t count)
{
    put_key(text, field, BYTES);
    put_varint(text, count);
    cask_text_add(text, bytes, count);
}

static void put_head(struct cask_text *event, double wall_time, int64_t step)
{
    uint64_t bits;
    memcpy(&bits, &wall_time, sizeof bits);
    put_key(event, 1, FIXED64);
    put_little(event, bits, 8);
    if (step != 0) {
        put_key(event, 2, VARINT);
        put_varint(event, (uint64_t)step);
    }
}

void tensorboard_version(struct cask_text *event, double wall_time)
{
    static const char version[] = "brain.Event:2";
    put_head(event, wall_time, 0);
    put_bytes(event, 3, version, sizeof version - 1);
}

void tensorboard_start(struct cask_text *event, double wall_time, int64_t step)
{
    static const char log[] = {1 << 3 | VARINT, 1};
    put_head(event, wall_time, step);
    put_bytes(event, 7, log, sizeof log);
}

void tensorboard_scalars(struct cask_text *event, double wall_time, int64_t step,
                         const struct cask_text *summary)
{
    put_head(event, wall_time, step);
    put_bytes(event, 5, summary->data, summary->length);
}

void tensorboard_value(struct cask_text *summary, const char *tag, float value)
{
    uint32_t bits;
    struct cask_text message = {0};
    memcpy(&bits, &value, sizeof bits);
    put_bytes(&message, 1, tag, strlen(tag));
    put_key(&message, 2, FIXED32);
    put_little(&message, bits, 4);
    put_bytes(summary, 1, message.data, message.length);
    summary->failed |= message.failed;
    cask_text_release(&message);
}

void tensorboard_frame(struct cask_text *file, const struct cask_text *event)
{
    uint8_t length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)((uint64_t)event->length >> (8 * i));
    }
    cask_text_add(file, (const char *)length, sizeof length);
    put_little(file, masked(length, sizeof length), 4);
    cask_text_add(file, event->data, event->length);
    put_little(file, masked(event->data, event->length), 4);
    file->failed |= event->failed;
}

/* --------------------------------------------------------------------- read */

static uint64_t little(const uint8_t *data, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    return value;
}

/* False if there is no whole varint of at most 64 bits. */
static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

/* The step of an Event; its other fields are passed over. */
static bool event_step(const uint8_t *at, const uint8_t *end, int64_t *step)
{
    *step = 0;
    while (at < end) {
        uint64_t key = 0, value = 0;
        if (!take_varint(&at, end, &key)) {
            return false;
        }
        size_t skipped = 0;
        switch (key & 7) {
        case VARINT:
            if (!take_varint(&at, end, &value)) {
                return false;
            }
            *step = key >> 3 == 2 ? (int64_t)value : *step;
            break;
        case FIXED64:
            skipped = 8;
            break;
        case FIXED32:
            skipped = 4;
            break;
        case BYTES:
            if (!take_varint(&at, end, &value)) {
                return false;
            }
            skipped = value;
            break;
        default:
            return false;
        }
        if (skipped > (size_t)(end - at)) {
            return false;
        }
        at += skipped;
    }
    return true;
}

size_t tensorboard_record(const uint8_t *data, size_t bytes, int64_t *step)
{
    if (bytes < HEAD + FOOT || little(data + 8, 4) != masked(data, 8)) {
        return 0;
    }
    const uint64_t length = little(data, 8);
    if (length > bytes - HEAD - FOOT ||
        little(data + HEAD + length, 4) != masked(data + HEAD, length) ||
        !event_step(data + HEAD, data + HEAD + length, step)) {
        return 0;
    }
    return HEAD + (size_t)length + FOOT;
}
