#include "eval/names.h"

#include <string.h>
#include <strings.h>

#include "common/mem.h"

/* Images by name: a hash table of image + 1. */
struct table {
    const struct cask_pairs *pairs;
    uint64_t *buckets;
    uint64_t size;
};

static uint64_t *find(const struct table *table, const char *name, size_t length)
{
    char other[ROW_NAME_LONGEST];
    uint64_t at = cask_xxh3(name, length) & (table->size - 1);
    for (; table->buckets[at] != 0; at = (at + 1) & (table->size - 1)) {
        cask_pairs_image_name(table->pairs, (int64_t)table->buckets[at] - 1, other, sizeof other);
        if (strlen(other) == length && memcmp(other, name, length) == 0) {
            break;
        }
    }
    return &table->buckets[at];
}

static enum cask_status fill(struct table *table, struct cask_error *err)
{
    int64_t images = cask_pairs_image_count(table->pairs);
    char name[ROW_NAME_LONGEST];
    table->size = 16;
    while (table->size < 2 * (uint64_t)images) {
        table->size *= 2;
    }
    table->buckets = cask_alloc(table->size, sizeof *table->buckets);
    if (table->buckets == NULL) {
        return cask_error_memory(err, table->size * sizeof *table->buckets, "image names");
    }
    for (int64_t i = 0; i < images; i++) {
        cask_pairs_image_name(table->pairs, i, name, sizeof name);
        *find(table, name, strlen(name)) = (uint64_t)i + 1;
    }
    return CASK_OK;
}

/* Length of the name without .jpg, .jpeg or .png; its own length if it has none of them. */
static size_t stem(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t length = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t bytes = strlen(endings[i]);
        if (length > bytes && strcasecmp(name + length - bytes, endings[i]) == 0) {
            return length - bytes;
        }
    }
    return length;
}

enum cask_status row_names_resolve(const struct cask_pairs *pairs, const struct row_names *names,
                                   int64_t *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct table table = {.pairs = pairs};
    char name[ROW_NAME_LONGEST];
    for (int64_t i = 0; i < cask_pairs_image_count(pairs); i++) {
        rows[i] = -1;
    }
    CASK_TRY(fill(&table, err));
    for (int64_t row = 0; row < names->count; row++) {
        CASK_TRY(names->name(names->user, row, name, sizeof name, err));
        uint64_t bucket = *find(&table, name, strlen(name));
        if (bucket == 0 && stem(name) < strlen(name)) {
            bucket = *find(&table, name, stem(name));
        }
        if (bucket == 0) {
            continue;
        }
        if (rows[bucket - 1] >= 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: expected one row for each name, found rows %lld and %lld "
                                    "both for '%.200s'",
                                    names->what, (long long)rows[bucket - 1], (long long)row,
                                    name));
        }
        rows[bucket - 1] = row;
    }
done:
    cask_free(table.buckets);
    return st;
}
