/* data/record_index.c - the .idx file: lines "key TAB byte offset", in any order. */
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/record_impl.h"

static int compare_keys(const void *left, const void *right)
{
    const struct cask_record_entry *a = left, *b = right;
    return a->key < b->key ? -1 : a->key > b->key;
}

/* Decimal digits to a number; NULL where there are none or too many. */
static const char *parse_number(const char *at, const char *end, uint64_t *value)
{
    const char *begin = at;
    *value = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - begin < 19) {
        *value = *value * 10 + (uint64_t)(*at++ - '0');
    }
    return at > begin && (at == end || *at < '0' || *at > '9') ? at : NULL;
}

static bool parse_line(const char *line, const char *end, struct cask_record_entry *entry)
{
    const char *at = parse_number(line, end, &entry->key);
    if (at == NULL || at == end || (*at != '\t' && *at != ' ')) {
        return false;
    }
    at = parse_number(at + 1, end, &entry->offset);
    return at != NULL && (at == end || (*at == '\r' && at + 1 == end));
}

static enum cask_status parse(const char *path, const struct cask_map *map, uint64_t file_bytes,
                              struct cask_record_entry *entries, int64_t *count,
                              struct cask_error *err)
{
    const char *line = (const char *)map->data, *end = line + map->bytes;
    for (int64_t number = 1; line < end; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;
        struct cask_record_entry *entry = &entries[*count];
        if (stop > line && !parse_line(line, stop, entry)) {
            int shown = stop - line < 80 ? (int)(stop - line) : 80;
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s:%lld: expected \"key TAB offset\", found \"%.*s\"", path,
                                  (long long)number, shown, line);
        }
        if (stop > line && (entry->offset % 4 != 0 || entry->offset >= file_bytes)) {
            return cask_error_set(err, CASK_ERR_FORMAT,
                                  "%s:%lld: offset of key %llu: expected a multiple of 4 below "
                                  "%llu (the size of the .rec), found %llu; the .rec is truncated "
                                  "or belongs to another .idx",
                                  path, (long long)number, (unsigned long long)entry->key,
                                  (unsigned long long)file_bytes,
                                  (unsigned long long)entry->offset);
        }
        *count += stop > line;
        line = stop + 1;
    }
    return CASK_OK;
}

static enum cask_status sort_by_key(const char *path, struct cask_record_entry *entries,
                                    int64_t count, struct cask_error *err)
{
    bool sorted = true;
    if (count > 1 && entries[count - 1].key < entries[0].key) {
        /* insightface writes key 0 last: put that one line first before sorting millions */
        struct cask_record_entry last = entries[count - 1];
        memmove(entries + 1, entries, (size_t)(count - 1) * sizeof *entries);
        entries[0] = last;
    }
    for (int64_t i = 1; i < count && sorted; i++) {
        sorted = entries[i - 1].key < entries[i].key;
    }
    if (!sorted) {
        qsort(entries, (size_t)count, sizeof *entries, compare_keys);
    }
    for (int64_t i = 1; i < count; i++) {
        if (entries[i - 1].key == entries[i].key) {
            return cask_error_set(err, CASK_ERR_FORMAT, "%s: key %llu occurs twice", path,
                                  (unsigned long long)entries[i].key);
        }
    }
    return CASK_OK;
}

enum cask_status cask_record_read_index(const char *path, uint64_t file_bytes,
                                        struct cask_record_entry **entries, int64_t *count,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    struct cask_record_entry *made = NULL;
    size_t lines = 1;
    *entries = NULL;
    *count = 0;
    CASK_TRY(cask_map_open(&map, path, err));
    for (size_t i = 0; i < map.bytes; i++) {
        lines += map.data[i] == '\n';
    }
    made = cask_alloc(lines, sizeof *made);
    if (made == NULL) {
        CASK_TRY(cask_error_memory(err, lines * sizeof *made, "the .idx table"));
    }
    CASK_TRY(parse(path, &map, file_bytes, made, count, err));
    CASK_TRY(sort_by_key(path, made, *count, err));
    *entries = made;
    made = NULL;
done:
    cask_map_close(&map);
    cask_free(made);
    return st;
}
