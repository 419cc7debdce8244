#include "eval/image_names.h"

#include <string.h>

#include "common/hash.h"
#include "common/mem.h"

static uint64_t *bucket_of(const struct image_names *names, const char *name, size_t length)
{
    char other[IMAGE_NAME_LONGEST];
    uint64_t at = cask_xxh3(name, length) & (names->size - 1);
    for (; names->buckets[at] != 0; at = (at + 1) & (names->size - 1)) {
        cask_pairs_image_name(names->pairs, (int64_t)names->buckets[at] - 1, other, sizeof other);
        if (strlen(other) == length && memcmp(other, name, length) == 0) {
            break;
        }
    }
    return &names->buckets[at];
}

enum cask_status image_names_open(const struct cask_pairs *pairs, struct image_names *names,
                                  struct cask_error *err)
{
    int64_t images = cask_pairs_image_count(pairs);
    char name[IMAGE_NAME_LONGEST];
    *names = (struct image_names){.pairs = pairs, .size = 16};
    while (names->size < 2 * (uint64_t)images) {
        names->size *= 2;
    }
    names->buckets = cask_alloc(names->size, sizeof *names->buckets);
    if (names->buckets == NULL) {
        return cask_error_memory(err, names->size * sizeof *names->buckets, "image names");
    }
    for (int64_t i = 0; i < images; i++) {
        cask_pairs_image_name(pairs, i, name, sizeof name);
        *bucket_of(names, name, strlen(name)) = (uint64_t)i + 1;
    }
    return CASK_OK;
}

void image_names_close(struct image_names *names)
{
    cask_free(names->buckets);
    *names = (struct image_names){0};
}

int64_t image_names_find(const struct image_names *names, const char *name, size_t length)
{
    return (int64_t)*bucket_of(names, name, length) - 1;
}
