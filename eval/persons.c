#include "eval/persons.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "eval/groups.h"

struct keyed {
    uint64_t key, second;
    int64_t index;
};

static int compare(const void *left, const void *right)
{
    const struct keyed *a = left, *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    if (a->second != b->second) {
        return a->second < b->second ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Folder of an image's name, 0 if it has none. */
static uint64_t folder_key(const struct cask_pairs *pairs, int64_t image)
{
    char name[4096];
    cask_pairs_image_name(pairs, image, name, sizeof name);
    const char *slash = strrchr(name, '/');
    return slash != NULL ? cask_xxh3(name, (size_t)(slash - name)) | 1 : 0;
}

static bool folders_agree(const struct cask_pairs *pairs, const uint64_t *folder)
{
    for (int64_t i = 0; i < cask_pairs_count(pairs); i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        if (folder[pair->a] == 0 || folder[pair->b] == 0 ||
            (folder[pair->a] == folder[pair->b]) != pair->same) {
            return false;
        }
    }
    return true;
}

/* Joins neighbours with one key after sorting. */
static void join_equal(struct keyed *keys, int64_t count, int64_t *parent)
{
    qsort(keys, (size_t)count, sizeof *keys, compare);
    for (int64_t i = 1; i < count; i++) {
        if (keys[i].key == keys[i - 1].key) {
            group_join(parent, keys[i].index, keys[i - 1].index);
        }
    }
}

static void mark_odd(const struct cask_pairs *pairs, const int64_t *image, struct keyed *keys,
                     struct persons *persons)
{
    int64_t count = cask_pairs_count(pairs);
    for (int64_t i = 0; i < count; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        int64_t a = image[pair->a], b = image[pair->b];
        keys[i] = (struct keyed){(uint64_t)(a < b ? a : b), (uint64_t)(a < b ? b : a), i};
        persons->selves += a == b;
    }
    qsort(keys, (size_t)count, sizeof *keys, compare);
    for (int64_t i = 1, first = 0; i < count; i++) {
        if (keys[i].key != keys[first].key || keys[i].second != keys[first].second) {
            first = i;
            continue;
        }
        int64_t pair = keys[i].index;
        persons->repeats[pair] = true;
        persons->duplicates++;
        persons->conflicts +=
            cask_pairs_at(pairs, pair)->same != cask_pairs_at(pairs, keys[first].index)->same;
        if (persons->first_duplicate < 0 || pair < persons->first_duplicate) {
            persons->first_duplicate = pair;
        }
    }
}

static void number_persons(int64_t *parent, int64_t images, struct persons *persons)
{
    for (int64_t i = 0; i < images; i++) {
        int64_t first = group_root(parent, i); /* <= i, so it has its number */
        persons->of_image[i] = first == i ? persons->count++ : persons->of_image[first];
    }
}

enum cask_status persons_find(const struct cask_pairs *pairs, struct persons *persons,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t images = cask_pairs_image_count(pairs), count = cask_pairs_count(pairs);
    size_t most = (size_t)(images > count ? images : count);
    struct keyed *keys = cask_alloc(most, sizeof *keys);
    int64_t *parent = cask_alloc((size_t)images, sizeof *parent);
    uint64_t *folder = cask_alloc((size_t)images, sizeof *folder);
    *persons = (struct persons){.first_duplicate = -1};
    persons->of_image = cask_alloc((size_t)images, sizeof *persons->of_image);
    persons->repeats = cask_alloc((size_t)count, sizeof *persons->repeats);
    if (keys == NULL || parent == NULL || folder == NULL || persons->of_image == NULL ||
        persons->repeats == NULL) {
        CASK_TRY(cask_error_memory(err, most * sizeof *keys, "the persons of the pairs"));
    }
    for (int64_t i = 0; i < images; i++) {
        parent[i] = i;
        keys[i] = (struct keyed){cask_pairs_image_key(pairs, i), 0, i};
        folder[i] = folder_key(pairs, i);
    }
    join_equal(keys, images, parent);
    for (int64_t i = 0; i < images; i++) { /* so far the sets are equal images */
        persons->of_image[i] = group_root(parent, i);
    }
    mark_odd(pairs, persons->of_image, keys, persons);
    if (folders_agree(pairs, folder)) {
        for (int64_t i = 0; i < images; i++) {
            keys[i] = (struct keyed){folder[i], 0, i};
        }
        join_equal(keys, images, parent);
    }
    for (int64_t i = 0; i < count; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        if (pair->same) {
            group_join(parent, pair->a, pair->b);
        }
    }
    number_persons(parent, images, persons);
done:
    cask_free(keys);
    cask_free(parent);
    cask_free(folder);
    return st;
}

void persons_release(struct persons *persons)
{
    cask_free(persons->of_image);
    cask_free(persons->repeats);
}
