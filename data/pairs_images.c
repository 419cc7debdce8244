#include "data/pairs_images.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "data/dataset_impl.h"

static void close_images(struct cask_pairs *base)
{
    struct pairs_images *images = (struct pairs_images *)base;
    for (int64_t i = 0; images->names != NULL && i < base->image_count; i++) {
        cask_free(images->names[i]);
    }
    cask_free(images->names);
    cask_free(images->buckets);
    cask_free(images->folder);
    cask_free(images);
}

static void image_name(const struct cask_pairs *base, int64_t image, char *buffer, size_t bytes)
{
    snprintf(buffer, bytes, "%s", ((const struct pairs_images *)base)->names[image]);
}

static enum cask_status read_image(const struct cask_pairs *base, int64_t image,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    const struct pairs_images *images = (const struct pairs_images *)base;
    if (images->folder == NULL) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: the pairs were opened without images",
                              images->names[image]);
    }
    char *path = cask_format("%s/%s", images->folder, images->names[image]);
    if (path == NULL) {
        return cask_error_memory(err, strlen(images->folder), "a path");
    }
    enum cask_status st = cask_encoded_read_file(encoded, path, err);
    cask_free(path);
    return st;
}

static uint64_t image_key(const struct cask_pairs *base, int64_t image)
{
    const char *name = ((const struct pairs_images *)base)->names[image];
    return cask_xxh3(name, strlen(name));
}

/* A pair has at most two images, so the tables never need to grow. */
enum cask_status pairs_images_create(const char *path, const char *folder, int64_t pairs,
                                     struct pairs_images **out, struct cask_error *err)
{
    static const struct cask_pairs_ops ops = {close_images, image_name, read_image, image_key};
    enum cask_status st = CASK_OK;
    size_t most = (size_t)pairs * 2;
    struct pairs_images *images = cask_alloc(1, sizeof *images);
    *out = NULL;
    if (images == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *images, "pairs"));
    }
    images->base.ops = &ops;
    images->base.count = pairs;
    images->bucket_count = 16;
    while (images->bucket_count < 2 * most) {
        images->bucket_count *= 2;
    }
    images->base.name = cask_pairs_name_of(path);
    images->folder = folder != NULL ? cask_strdup(folder) : NULL;
    images->base.pairs = cask_alloc((size_t)pairs, sizeof *images->base.pairs);
    images->names = cask_alloc(most, sizeof *images->names);
    images->buckets = cask_alloc(images->bucket_count, sizeof *images->buckets);
    if (images->base.name == NULL || (folder != NULL && images->folder == NULL) ||
        images->base.pairs == NULL || images->names == NULL || images->buckets == NULL) {
        CASK_TRY(cask_error_memory(err, most * 48, "pairs"));
    }
    *out = images;
    images = NULL;
done:
    cask_pairs_close(images != NULL ? &images->base : NULL);
    return st;
}

static uint64_t *bucket_of(const struct pairs_images *images, const char *name)
{
    uint64_t at = cask_xxh3(name, strlen(name)) & (images->bucket_count - 1);
    while (images->buckets[at] != 0 && strcmp(images->names[images->buckets[at] - 1], name) != 0) {
        at = (at + 1) & (images->bucket_count - 1);
    }
    return &images->buckets[at];
}

enum cask_status pairs_images_find(struct pairs_images *images, const char *name, int64_t *image,
                                   struct cask_error *err)
{
    uint64_t *bucket = bucket_of(images, name);
    *image = (int64_t)*bucket - 1;
    if (*bucket != 0) {
        return CASK_OK;
    }
    if (images->folder != NULL) {
        char *full = cask_format("%s/%s", images->folder, name);
        if (full == NULL) {
            return cask_error_memory(err, strlen(images->folder) + strlen(name), "a path");
        }
        bool exists = cask_path_exists(full);
        cask_free(full);
        if (!exists) {
            return CASK_OK;
        }
    }
    char *kept = cask_strdup(name);
    if (kept == NULL) {
        return cask_error_memory(err, strlen(name), "an image name");
    }
    *image = images->base.image_count++;
    images->names[*image] = kept;
    *bucket = (uint64_t)*image + 1;
    return CASK_OK;
}
