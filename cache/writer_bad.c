/* cache/writer_bad.c - bad.csv: row,name,reason for every image that could not be decoded.
 *
 * Lines are appended as images fail. A build that was killed may repeat rows and leave a torn line;
 * finishing keeps the last line of each row, in row order, so that the file too is reproducible. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/writer.h"
#include "common/file.h"
#include "common/mem.h"

enum { BAD_MAX_BYTES = 1 << 30 };
static const char HEADER[] = "row,name,reason\n";

/* `"` doubled, line ends turned into spaces; the caller frees. */
static char *quoted(const char *text)
{
    char *out = cask_alloc(2 * strlen(text) + 1, 1), *at = out;
    for (; out != NULL && *text != '\0'; text++) {
        if (*text == '"') {
            *at++ = '"';
        }
        *at++ = *text == '\n' || *text == '\r' ? ' ' : *text;
    }
    return out;
}

enum cask_status cask_cache_writer_bad(struct cask_cache_writer *writer, int64_t row,
                                       const char *name, const char *reason, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *name_text = quoted(name), *reason_text = quoted(reason), *line = NULL;
    if (name_text != NULL && reason_text != NULL) {
        line = cask_format("%s%" PRId64 ",\"%s\",\"%s\"\n",
                           cask_path_exists(writer->bad_path) ? "" : HEADER, row, name_text,
                           reason_text);
    }
    if (line == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(name) + strlen(reason), "line of bad.csv"));
    }
    CASK_TRY(cask_file_append(writer->bad_path, line, strlen(line), false, err));
done:
    cask_free(name_text);
    cask_free(reason_text);
    cask_free(line);
    return st;
}

/* Appended as it is: sorting drops a second header and whatever else is no line. */
enum cask_status cask_cache_writer_take_bad(struct cask_cache_writer *writer, const char *folder,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL, *path = cask_format("%s/bad.csv", folder);
    size_t bytes = 0;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    if (cask_path_exists(path)) {
        CASK_TRY(cask_file_read_all(path, BAD_MAX_BYTES, &text, &bytes, err));
        CASK_TRY(cask_file_append(writer->bad_path, text, bytes, false, err));
    }
done:
    cask_free(text);
    cask_free(path);
    return st;
}

struct line {
    int64_t row, place;
    const char *text;
    size_t bytes;
};

static int by_row_then_place(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->row != y->row) {
        return x->row < y->row ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Lines that begin with a row number and end as they should. */
static size_t split(const char *text, size_t bytes, struct line *lines)
{
    size_t count = 0;
    for (const char *at = text, *end = text + bytes; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) {
            break;
        }
        char *after;
        long long row = strtoll(at, &after, 10);
        if (after > at && *after == ',' && stop[-1] == '"') {
            lines[count] = (struct line){row, (int64_t)count, at, (size_t)(stop + 1 - at)};
            count++;
        }
        at = stop + 1;
    }
    return count;
}

enum cask_status cask_writer_sort_bad(const char *path, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL, *sorted = NULL;
    struct line *lines = NULL;
    size_t bytes = 0, most = 0, count, used = sizeof HEADER - 1;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, BAD_MAX_BYTES, &text, &bytes, err));
    for (size_t i = 0; i < bytes; i++) {
        most += text[i] == '\n';
    }
    lines = cask_alloc(most + 1, sizeof *lines);
    sorted = cask_alloc(bytes + sizeof HEADER, 1);
    if (lines == NULL || sorted == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "bad.csv"));
    }
    count = split(text, bytes, lines);
    qsort(lines, count, sizeof *lines, by_row_then_place);
    memcpy(sorted, HEADER, used);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || lines[i].row != lines[i + 1].row) {
            memcpy(sorted + used, lines[i].text, lines[i].bytes);
            used += lines[i].bytes;
        }
    }
    CASK_TRY(cask_file_write_all(path, sorted, used, err));
done:
    cask_free(text);
    cask_free(lines);
    cask_free(sorted);
    return st;
}
