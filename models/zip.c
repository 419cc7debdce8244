#include "models/zip.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum {
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    MAX_COMMENT = 65535,
    METHOD_STORED = 0,
    FLAG_ENCRYPTED = 1,
};

struct file {
    const uint8_t *data;
    size_t bytes;
};

struct directory {
    uint64_t offset, bytes, count;
};

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i > 0; i--) {
        value = value << 8 | p[i - 1];
    }
    return value;
}

static bool has_record(const struct file *f, uint64_t at, size_t bytes, const char *signature)
{
    return at <= f->bytes && f->bytes - at >= bytes && memcmp(f->data + at, signature, 4) == 0;
}

/* The end record is the last thing in the file, but for a comment of up to 64 kB. */
static enum cask_status find_end(const struct file *f, size_t *end, struct cask_error *err)
{
    size_t longest = END_BYTES + MAX_COMMENT;
    size_t first = f->bytes > longest ? f->bytes - longest : 0;
    for (size_t at = f->bytes; at-- > first;) {
        if (has_record(f, at, END_BYTES, "PK\5\6")) {
            *end = at;
            return CASK_OK;
        }
    }
    return cask_error_set(err, CASK_ERR_FORMAT,
                          "a zip of %zu bytes without its end record: a truncated download? fetch "
                          "the file again",
                          f->bytes);
}

static enum cask_status find_directory(const struct file *f, struct directory *directory,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t end = 0;
    CASK_TRY(find_end(f, &end, err));
    const uint8_t *p = f->data + end;
    *directory = (struct directory){number(p + 16, 4), number(p + 12, 4), number(p + 10, 2)};
    if (end >= LOCATOR_BYTES && has_record(f, end - LOCATOR_BYTES, LOCATOR_BYTES, "PK\6\7")) {
        uint64_t end64 = number(f->data + end - LOCATOR_BYTES + 8, 8);
        if (!has_record(f, end64, END64_BYTES, "PK\6\6")) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "zip: no ZIP64 end record at byte %" PRIu64, end64));
        }
        p = f->data + end64;
        *directory = (struct directory){number(p + 48, 8), number(p + 40, 8), number(p + 32, 8)};
    }
    if (directory->offset > end || directory->bytes > end - directory->offset ||
        directory->count > directory->bytes / CENTRAL_BYTES) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "zip: a directory of %" PRIu64 " entries at byte %" PRIu64
                                " does not fit in %zu bytes",
                                directory->count, directory->offset, f->bytes));
    }
done:
    return st;
}

/* ZIP64: 64-bit values stand in extra field 1, only those whose 32-bit field is all ones. */
static void read_zip64(const uint8_t *extra, size_t bytes, uint64_t *values[3])
{
    for (size_t at = 0; bytes - at >= 4;) {
        size_t id = number(extra + at, 2), length = number(extra + at + 2, 2);
        at += 4;
        length = length < bytes - at ? length : bytes - at;
        for (size_t i = 0, used = 0; id == 1 && i < 3; i++) {
            if (*values[i] == UINT32_MAX && length - used >= 8) {
                *values[i] = number(extra + at + used, 8);
                used += 8;
            }
        }
        at += length;
    }
}

/* One entry of the central directory, whose variable parts are known to fit. The payload starts
 * where the LOCAL header's own name and extra field end: they are padded differently. */
static enum cask_status read_member(const struct file *f, const uint8_t *p,
                                    struct cask_zip_member *member, struct cask_error *err)
{
    *member = (struct cask_zip_member){.name = (const char *)p + CENTRAL_BYTES,
                                       .name_bytes = number(p + 28, 2),
                                       .crc = (uint32_t)number(p + 16, 4)};
    int shown = member->name_bytes < 200 ? (int)member->name_bytes : 200;
    uint64_t unpacked = number(p + 24, 4), packed = number(p + 20, 4), local = number(p + 42, 4);
    read_zip64(p + CENTRAL_BYTES + member->name_bytes, number(p + 30, 2),
               (uint64_t *[3]){&unpacked, &packed, &local});
    if (!has_record(f, local, LOCAL_BYTES, "PK\3\4")) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "zip member \"%.*s\": no local header at byte %" PRIu64, shown,
                              member->name, local);
    }
    const uint8_t *header = f->data + local;
    uint64_t start = local + LOCAL_BYTES + number(header + 26, 2) + number(header + 28, 2);
    if (start > f->bytes || packed > f->bytes - start) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "zip member \"%.*s\": %" PRIu64 " bytes at byte %" PRIu64
                              " do not fit in the file's %zu",
                              shown, member->name, packed, start, f->bytes);
    }
    if (number(p + 10, 2) == METHOD_STORED && (number(p + 8, 2) & FLAG_ENCRYPTED) == 0 &&
        packed == unpacked) {
        member->data = f->data + start;
        member->bytes = (size_t)packed;
    }
    return CASK_OK;
}

static int compare_names(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int compare_members(const void *a, const void *b)
{
    const struct cask_zip_member *x = a, *y = b;
    return compare_names(x->name, x->name_bytes, y->name, y->name_bytes);
}

enum cask_status cask_zip_open(struct cask_zip *zip, const uint8_t *data, size_t bytes,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct file f = {data, bytes};
    struct directory directory = {0};
    CASK_TRY(find_directory(&f, &directory, err));
    zip->members = cask_alloc((size_t)directory.count, sizeof *zip->members);
    if (zip->members == NULL) {
        CASK_TRY(cask_error_memory(err, directory.count * sizeof *zip->members, "zip members"));
    }
    const uint8_t *p = data + directory.offset, *end = p + directory.bytes;
    for (uint64_t i = 0; i < directory.count; i++) {
        size_t left = (size_t)(end - p), variable = 0;
        if (left >= CENTRAL_BYTES) {
            variable = number(p + 28, 2) + number(p + 30, 2) + number(p + 32, 2);
        }
        if (left < CENTRAL_BYTES || left - CENTRAL_BYTES < variable ||
            memcmp(p, "PK\1\2", 4) != 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "zip: directory entry %" PRIu64 " at byte %td is damaged", i,
                                    p - data));
        }
        CASK_TRY(read_member(&f, p, &zip->members[zip->count], err));
        zip->count++;
        p += CENTRAL_BYTES + variable;
    }
    if (zip->count > 0) {
        qsort(zip->members, zip->count, sizeof *zip->members, compare_members);
    }
done:
    return st;
}

void cask_zip_close(struct cask_zip *zip)
{
    cask_free(zip->members);
    *zip = (struct cask_zip){0};
}

const struct cask_zip_member *cask_zip_find(const struct cask_zip *zip, const char *name,
                                            size_t name_bytes)
{
    const struct cask_zip_member wanted = {.name = name, .name_bytes = name_bytes};
    return zip->count == 0
               ? NULL
               : bsearch(&wanted, zip->members, zip->count, sizeof wanted, compare_members);
}
