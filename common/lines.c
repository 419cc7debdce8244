#include "common/lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LONGEST_NUMBER = 63, SHOWN = 80, LONGEST_PATH = 1024 };
enum { RELEASE = 16 << 20 }; /* a multiple of every page size */

/* Pages that were read do not count as this program's memory any more; a slice that still points
 * there brings its page back from the file. */
static const char *give_back(const char *released, const char *next)
{
    for (; next - released >= RELEASE; released += RELEASE) {
        madvise((void *)(uintptr_t)released, RELEASE, MADV_DONTNEED);
    }
    return released;
}

enum cask_status cask_lines_open(struct cask_lines *lines, const char *path, struct cask_error *err)
{
    *lines = (struct cask_lines){.path = path};
    enum cask_status st = cask_map_open(&lines->map, path, err);
    lines->next = (const char *)lines->map.data;
    lines->end = st == CASK_OK ? lines->next + lines->map.bytes : lines->next;
    lines->released = lines->next;
    return st;
}

void cask_lines_close(struct cask_lines *lines)
{
    cask_map_close(&lines->map);
    *lines = (struct cask_lines){0};
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct cask_slice trim(const char *begin, const char *end)
{
    while (begin < end && blank(*begin)) {
        begin++;
    }
    while (end > begin && blank(end[-1])) {
        end--;
    }
    return (struct cask_slice){begin, (size_t)(end - begin)};
}

enum cask_status cask_lines_next(struct cask_lines *lines, struct cask_slice *line,
                                 struct cask_error *err)
{
    lines->released = give_back(lines->released, lines->next);
    while (lines->next < lines->end) {
        size_t left = (size_t)(lines->end - lines->next);
        size_t look = left <= CASK_LINE_LONGEST ? left : CASK_LINE_LONGEST + 1;
        const char *newline = memchr(lines->next, '\n', look);
        lines->number++;
        if (newline == NULL && look > CASK_LINE_LONGEST) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s:%lld: expected a line of at most %d bytes, found a longer "
                                  "one; is this a text file?",
                                  lines->path, (long long)lines->number, CASK_LINE_LONGEST);
        }
        const char *stop = newline != NULL ? newline : lines->end;
        *line = trim(lines->next, stop);
        lines->next = newline != NULL ? newline + 1 : lines->end;
        if (line->bytes > 0 && memchr(line->data, 0, line->bytes) != NULL) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s:%lld: expected text, found a NUL byte; is this a text file?",
                                  lines->path, (long long)lines->number);
        }
        if (line->bytes > 0) {
            return CASK_OK;
        }
    }
    *line = (struct cask_slice){0};
    return CASK_OK;
}

int64_t cask_lines_left(const struct cask_lines *lines)
{
    int64_t count = 0;
    const char *at = lines->next, *released = lines->released;
    while (at < lines->end) {
        const char *newline = memchr(at, '\n', (size_t)(lines->end - at));
        count++;
        at = newline != NULL ? newline + 1 : lines->end;
        released = give_back(released, at);
    }
    return count;
}

enum cask_status cask_lines_refuse(const struct cask_lines *lines, struct cask_slice found,
                                   const char *expected, struct cask_error *err)
{
    bool cut = found.bytes > SHOWN;
    return cask_error_set(err, CASK_ERR_FORMAT, "%s:%lld: expected %s, found \"%.*s%s\"",
                          lines->path, (long long)lines->number, expected,
                          cut ? SHOWN : (int)found.bytes, found.data != NULL ? found.data : "",
                          cut ? "..." : "");
}

int cask_slice_columns(struct cask_slice line, struct cask_slice *columns, int most)
{
    int count = 0;
    const char *at = line.data, *end = line.data + line.bytes;
    while (at < end) {
        const char *begin = at;
        while (at < end && !blank(*at)) {
            at++;
        }
        if (at > begin) {
            if (count < most) {
                columns[count] = (struct cask_slice){begin, (size_t)(at - begin)};
            }
            count++;
        }
        while (at < end && blank(*at)) {
            at++;
        }
    }
    return count;
}

int cask_slice_fields(struct cask_slice line, char divider, struct cask_slice *fields, int most)
{
    int count = 0;
    const char *at = line.data, *end = line.data + line.bytes;
    for (;;) {
        const char *stop = at < end ? memchr(at, divider, (size_t)(end - at)) : NULL;
        if (count < most) {
            fields[count] = trim(at, stop != NULL ? stop : end);
        }
        count++;
        if (stop == NULL) {
            return count;
        }
        at = stop + 1;
    }
}

bool cask_slice_int(struct cask_slice text, int64_t least, int64_t most, int64_t *value)
{
    size_t at = 0;
    bool negative = text.bytes > 1 && text.data[0] == '-';
    uint64_t number = 0;
    at += negative;
    if (text.bytes == at || text.bytes - at > 18) { /* 18 digits fit in an int64_t */
        return false;
    }
    for (; at < text.bytes; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[at] - '0');
    }
    int64_t found = negative ? -(int64_t)number : (int64_t)number;
    if (found < least || found > most) {
        return false;
    }
    *value = found;
    return true;
}

bool cask_slice_real(struct cask_slice text, double *value)
{
    char copy[LONGEST_NUMBER + 1];
    char *end;
    if (text.bytes == 0 || text.bytes > LONGEST_NUMBER) {
        return false;
    }
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = 0;
    double number = strtod(copy, &end);
    if (end != copy + text.bytes || !isfinite(number)) {
        return false;
    }
    *value = number;
    return true;
}

bool cask_slice_equal(struct cask_slice a, struct cask_slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

struct cask_slice cask_slice_of(const char *text)
{
    return (struct cask_slice){text, strlen(text)};
}

bool cask_slice_is_below(struct cask_slice path)
{
    if (path.bytes == 0 || path.bytes > LONGEST_PATH || path.data[0] == '/') {
        return false;
    }
    const char *end = path.data + path.bytes;
    for (const char *part = path.data; part < end;) {
        const char *slash = memchr(part, '/', (size_t)(end - part));
        const char *stop = slash != NULL ? slash : end;
        if (stop - part == 2 && part[0] == '.' && part[1] == '.') {
            return false;
        }
        part = stop + 1;
    }
    return true;
}
