/* data/dataset_list.c - a text file that names one image a line. Four layouts are known:
 *
 *   path label                      FaceX-Zoo, cavaface (last blank divides)
 *   path TAB label                  TFace
 *   index TAB label TAB path        MXNet im2rec .lst
 *   aligned TAB path TAB label ...  insightface face2rec .lst
 *
 * The first line decides. A label of -1: the image has none. Relative paths start at the list's
 * folder. Empty lines and lines that begin with '#' are skipped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/dataset_impl.h"

enum { LONGEST_LINE = 8192 };
#define LARGEST_LIST ((size_t)1 << 33)

enum layout { PATH_LABEL, INDEX_LABEL_PATH, ALIGNED_PATH_LABEL };

struct list {
    struct cask_dataset base;
    char *folder;      /* of the list */
    char *text;        /* the list itself; paths in it are cut off with NUL */
    uint64_t *path_at; /* [count] place in text */
    int64_t capacity;
};

struct cursor {
    const char *file;
    char *line;
    int64_t number;
    enum layout layout;
};

static bool read_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0;
}

static enum layout guess_layout(const char *line)
{
    const char *first = strchr(line, '\t');
    const char *last = strrchr(line, '\t');
    double value;
    if (first == last) {
        return PATH_LABEL;
    }
    return read_number(last + 1, &value) ? ALIGNED_PATH_LABEL : INDEX_LABEL_PATH;
}

/* Cuts the line at blanks; NULL where there is no such column. */
static void split(const struct cursor *at, char **path, char **label)
{
    *path = at->line;
    *label = NULL;
    if (at->layout == PATH_LABEL) {
        char *blank = strrchr(at->line, '\t');
        blank = blank != NULL ? blank : strrchr(at->line, ' ');
        if (blank != NULL) {
            *label = blank + 1;
            while (blank > at->line && (blank[-1] == ' ' || blank[-1] == '\t')) {
                blank--;
            }
            *blank = 0;
        }
        return;
    }
    char *rest = at->line;
    strsep(&rest, "\t");
    char *second = strsep(&rest, "\t");
    if (rest == NULL) {
        return;
    }
    if (at->layout == ALIGNED_PATH_LABEL) {
        *path = second;
        *label = strsep(&rest, "\t");
    } else {
        char *tab = strrchr(rest, '\t');
        *label = second;
        *path = tab != NULL ? tab + 1 : rest;
    }
}

static enum cask_status add_line(struct list *list, const struct cursor *at, struct cask_error *err)
{
    static const char *const expected[] = {
        [PATH_LABEL] = "\"path label\"",
        [INDEX_LABEL_PATH] = "\"index TAB label TAB path\" as in the first line",
        [ALIGNED_PATH_LABEL] = "\"aligned TAB path TAB label\" as in the first line",
    };
    struct cask_dataset *base = &list->base;
    char *path, *label;
    double value;
    split(at, &path, &label);
    if (label == NULL || *path == 0) {
        return cask_error_set(err, CASK_ERR_FORMAT, "%s:%lld: expected %s, found \"%.80s\"",
                              at->file, (long long)at->number, expected[at->layout], at->line);
    }
    if (at->layout == ALIGNED_PATH_LABEL && read_number(path, &value)) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "%s:%lld: expected a path in the second column, found \"%.80s\"; "
                              "lists over TFRecord files (TFace) are not read: list the images, or "
                              "pack them into RecordIO",
                              at->file, (long long)at->number, path);
    }
    if (strcmp(label, "-1") == 0) {
        base->labels[base->count] = CASK_NO_LABEL;
    } else if (!read_number(label, &value) ||
               !cask_label_from_real(value, &base->labels[base->count])) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s:%lld: label: expected an integer from 0 to 2147483647 or, for "
                              "none, -1, found \"%.80s\"",
                              at->file, (long long)at->number, label);
    }
    list->path_at[base->count++] = (uint64_t)(path - list->text);
    return CASK_OK;
}

static enum cask_status grow_tables(struct list *list, struct cask_error *err)
{
    if (list->base.count < list->capacity) {
        return CASK_OK;
    }
    size_t old = (size_t)list->capacity, now = old * 2 + 1024;
    uint64_t *path_at = cask_grow(list->path_at, old, now, sizeof *path_at);
    list->path_at = path_at != NULL ? path_at : list->path_at;
    uint32_t *labels =
        path_at == NULL ? NULL : cask_grow(list->base.labels, old, now, sizeof *labels);
    if (labels == NULL) {
        return cask_error_memory(err, now * sizeof *path_at, "the image table");
    }
    list->base.labels = labels;
    list->capacity = (int64_t)now;
    return CASK_OK;
}

static enum cask_status parse(struct list *list, const char *file, size_t bytes, int64_t limit,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cursor at = {.file = file, .line = list->text};
    char *end = list->text + bytes;
    bool first = true;
    while (at.line < end && (limit == 0 || list->base.count < limit)) {
        char *newline = memchr(at.line, '\n', (size_t)(end - at.line));
        char *stop = newline != NULL ? newline : end;
        char *next = stop + 1;
        at.number++;
        if (stop - at.line > LONGEST_LINE || memchr(at.line, 0, (size_t)(stop - at.line))) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s:%lld: expected a text line of at most %d bytes, found %s",
                                    file, (long long)at.number, LONGEST_LINE,
                                    stop - at.line > LONGEST_LINE ? "a longer one" : "a NUL"));
        }
        while (stop > at.line && strchr(" \t\r", stop[-1]) != NULL) {
            stop--;
        }
        *stop = 0;
        if (*at.line != 0 && *at.line != '#') {
            at.layout = first ? guess_layout(at.line) : at.layout;
            first = false;
            CASK_TRY(grow_tables(list, err));
            CASK_TRY(add_line(list, &at, err));
        }
        at.line = next;
    }
done:
    return st;
}

static void close_list(struct cask_dataset *dataset)
{
    struct list *list = (struct list *)dataset;
    cask_free(list->base.labels);
    cask_free(list->folder);
    cask_free(list->text);
    cask_free(list->path_at);
    cask_free(list);
}

static void name_image(const struct cask_dataset *dataset, int64_t index, char *buffer,
                       size_t bytes)
{
    const struct list *list = (const struct list *)dataset;
    snprintf(buffer, bytes, "%s", list->text + list->path_at[index]);
}

static enum cask_status read_image(const struct cask_dataset *dataset, int64_t index,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    const struct list *list = (const struct list *)dataset;
    const char *name = list->text + list->path_at[index];
    if (name[0] == '/') {
        return cask_encoded_read_file(encoded, name, err);
    }
    char *path = cask_format("%s%s", list->folder, name);
    if (path == NULL) {
        return cask_error_memory(err, strlen(list->folder) + strlen(name), "a path");
    }
    enum cask_status st = cask_encoded_read_file(encoded, path, err);
    cask_free(path);
    return st;
}

enum cask_status cask_dataset_open_list(const char *path,
                                        const struct cask_dataset_options *options,
                                        struct cask_dataset **dataset, struct cask_error *err)
{
    static const struct cask_dataset_ops ops = {
        .kind = "list", .close = close_list, .name = name_image, .read = read_image};
    enum cask_status st = CASK_OK;
    size_t bytes = 0;
    const char *slash = strrchr(path, '/');
    int folder_length = slash != NULL ? (int)(slash - path) + 1 : 0;
    struct list *list = cask_alloc(1, sizeof *list);
    if (list == NULL || (list->folder = cask_format("%.*s", folder_length, path)) == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *list, "a dataset"));
    }
    list->base.ops = &ops;
    CASK_TRY(cask_file_read_all(path, LARGEST_LIST, &list->text, &bytes, err));
    CASK_TRY(parse(list, path, bytes, options->limit, err));
    if (list->base.count == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected lines \"path label\", found none", path));
    }
    *dataset = &list->base;
    list = NULL;
done:
    if (list != NULL) {
        close_list(&list->base);
    }
    return st;
}
