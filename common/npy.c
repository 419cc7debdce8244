#include "common/npy.h"

#include <string.h>

enum { MAGIC = 6, SHORT_HEADER = 10, LONG_HEADER = 12, LONGEST_HEADER = 1 << 16 };

/* The header is one Python dict literal; this reads just what numpy writes there. */
struct cursor {
    const char *next, *end;
};

static void skip_blanks(struct cursor *at)
{
    while (at->next < at->end && strchr(" \t\r\n", *at->next) != NULL && *at->next != 0) {
        at->next++;
    }
}

static bool take(struct cursor *at, char expected)
{
    skip_blanks(at);
    if (at->next < at->end && *at->next == expected) {
        at->next++;
        return true;
    }
    return false;
}

static bool take_word(struct cursor *at, const char *word)
{
    size_t bytes = strlen(word);
    skip_blanks(at);
    if ((size_t)(at->end - at->next) >= bytes && memcmp(at->next, word, bytes) == 0) {
        at->next += bytes;
        return true;
    }
    return false;
}

/* 'text' or "text", without escapes; NUL-terminated, false if it does not fit. */
static bool take_text(struct cursor *at, char *text, size_t bytes)
{
    skip_blanks(at);
    if (at->next == at->end || (*at->next != '\'' && *at->next != '"')) {
        return false;
    }
    char quote = *at->next++;
    size_t length = 0;
    while (at->next < at->end && *at->next != quote) {
        if (length + 1 >= bytes || *at->next == '\\' || *at->next == 0) {
            return false;
        }
        text[length++] = *at->next++;
    }
    text[length] = 0;
    return take(at, quote);
}

static bool take_size(struct cursor *at, int64_t *size)
{
    int digits = 0;
    *size = 0;
    skip_blanks(at);
    while (at->next < at->end && *at->next >= '0' && *at->next <= '9') {
        if (*size > INT64_MAX / 100) {
            return false;
        }
        *size = *size * 10 + (*at->next++ - '0');
        digits++;
    }
    return digits > 0;
}

struct header {
    char type[16];
    bool fortran;
    int rank; /* 0 .. 3; 3 stands for more than two */
    int64_t shape[2];
};

static bool take_shape(struct cursor *at, struct header *header)
{
    header->rank = 0;
    if (!take(at, '(')) {
        return false;
    }
    while (!take(at, ')')) {
        int64_t size;
        if (!take_size(at, &size)) {
            return false;
        }
        if (header->rank < 2) {
            header->shape[header->rank] = size;
        }
        header->rank = header->rank < 2 ? header->rank + 1 : 3;
        if (!take(at, ',')) {
            return take(at, ')');
        }
    }
    return true;
}

/* All three keys, each once, in any order. */
static bool parse_header(struct cursor at, struct header *header)
{
    bool type = false, order = false, shape = false;
    if (!take(&at, '{')) {
        return false;
    }
    while (!take(&at, '}')) {
        char key[32];
        bool *seen, good;
        if (!take_text(&at, key, sizeof key) || !take(&at, ':')) {
            return false;
        }
        if (strcmp(key, "descr") == 0) {
            seen = &type;
            good = take_text(&at, header->type, sizeof header->type);
        } else if (strcmp(key, "fortran_order") == 0) {
            seen = &order;
            header->fortran = take_word(&at, "True");
            good = header->fortran || take_word(&at, "False");
        } else if (strcmp(key, "shape") == 0) {
            seen = &shape;
            good = take_shape(&at, header);
        } else {
            return false;
        }
        if (!good || *seen) {
            return false;
        }
        *seen = true;
        if (!take(&at, ',') && !(take(&at, '}') && (at.next--, true))) {
            return false;
        }
    }
    skip_blanks(&at);
    return type && order && shape && at.next == at.end;
}

static enum cask_status accept(const char *path, const struct header *header, struct cask_npy *npy,
                               struct cask_error *err)
{
    bool single = strcmp(header->type, "<f4") == 0, twice = strcmp(header->type, "<f8") == 0;
    if (!single && !twice) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: expected elements '<f4' or '<f8', found '%s'", path,
                              header->type);
    }
    if (header->rank < 1 || header->rank > 2 || (header->fortran && header->rank == 2)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s: expected an array of rank 1 or 2 in C order, found %s", path,
                              header->rank < 1   ? "a single number"
                              : header->rank > 2 ? "more than two dimensions"
                                                 : "Fortran order");
    }
    npy->element = single ? 4 : 8;
    npy->rows = header->shape[0];
    npy->columns = header->rank == 2 ? header->shape[1] : 1;
    uint64_t held = npy->map.bytes - (uint64_t)(npy->data - npy->map.data);
    uint64_t row = 0, wanted = 0;
    bool overflow = __builtin_mul_overflow((uint64_t)npy->columns, (uint64_t)npy->element, &row) ||
                    __builtin_mul_overflow((uint64_t)npy->rows, row, &wanted);
    if (overflow || wanted != held || npy->columns < 1 || npy->columns > INT32_MAX) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: expected %lld x %lld elements of %d bytes behind the header, "
                              "found %llu bytes",
                              path, (long long)npy->rows, (long long)npy->columns, npy->element,
                              (unsigned long long)held);
    }
    return CASK_OK;
}

enum cask_status cask_npy_open(const char *path, struct cask_npy *npy, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct header header = {0};
    *npy = (struct cask_npy){0};
    CASK_TRY(cask_map_open(&npy->map, path, err));
    const uint8_t *file = npy->map.data;
    size_t begin = npy->map.bytes >= LONG_HEADER && file[MAGIC] > 1 ? LONG_HEADER : SHORT_HEADER;
    if (npy->map.bytes < SHORT_HEADER || memcmp(file, "\x93NUMPY", MAGIC) != 0 || file[MAGIC] < 1 ||
        file[MAGIC] > 3) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected a .npy file of version 1 to 3, found other bytes",
                                path));
    }
    size_t bytes = (size_t)file[8] | (size_t)file[9] << 8;
    if (begin == LONG_HEADER) {
        bytes |= (size_t)file[10] << 16 | (size_t)file[11] << 24;
    }
    if (bytes > LONGEST_HEADER || bytes > npy->map.bytes - begin ||
        !parse_header(
            (struct cursor){(const char *)file + begin, (const char *)file + begin + bytes},
            &header)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected a header {'descr': ..., 'fortran_order': ..., "
                                "'shape': ...}, found something else",
                                path));
    }
    npy->data = file + begin + bytes;
    CASK_TRY(accept(path, &header, npy, err));
done:
    if (st != CASK_OK) {
        cask_npy_close(npy);
    }
    return st;
}

void cask_npy_close(struct cask_npy *npy)
{
    cask_map_close(&npy->map);
    *npy = (struct cask_npy){0};
}

void cask_npy_read(const struct cask_npy *npy, int64_t first, int64_t count, float *values)
{
    size_t at = (size_t)first * (size_t)npy->columns, all = (size_t)count * (size_t)npy->columns;
    if (npy->element == 4) {
        memcpy(values, npy->data + 4 * at, 4 * all);
        return;
    }
    for (size_t i = 0; i < all; i++) {
        double value;
        memcpy(&value, npy->data + 8 * (at + i), sizeof value);
        values[i] = (float)value;
    }
}
