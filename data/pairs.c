/* data/pairs.c - what all kinds of verification set have in common. */
#include <string.h>

#include "common/mem.h"
#include "data/pairs_impl.h"

char *cask_pairs_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t length = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
    return cask_format("%.*s", (int)length, base);
}

void cask_pairs_close(struct cask_pairs *pairs)
{
    if (pairs != NULL) {
        cask_free(pairs->name);
        cask_free(pairs->pairs);
        pairs->ops->close(pairs);
    }
}

const char *cask_pairs_name(const struct cask_pairs *pairs)
{
    return pairs->name;
}

int cask_pairs_folds(const struct cask_pairs *pairs)
{
    return pairs->folds;
}

int64_t cask_pairs_count(const struct cask_pairs *pairs)
{
    return pairs->count;
}

const struct cask_pair *cask_pairs_at(const struct cask_pairs *pairs, int64_t index)
{
    return &pairs->pairs[index];
}

int64_t cask_pairs_image_count(const struct cask_pairs *pairs)
{
    return pairs->image_count;
}

void cask_pairs_image_name(const struct cask_pairs *pairs, int64_t image, char *buffer,
                           size_t bytes)
{
    pairs->ops->image_name(pairs, image, buffer, bytes);
}

enum cask_status cask_pairs_read(const struct cask_pairs *pairs, int64_t image,
                                 struct cask_encoded *encoded, struct cask_error *err)
{
    if (image < 0 || image >= pairs->image_count) {
        return cask_error_set(err, CASK_ERR_RANGE, "%s: image %lld of %lld", pairs->name,
                              (long long)image, (long long)pairs->image_count);
    }
    return pairs->ops->read(pairs, image, encoded, err);
}

uint64_t cask_pairs_image_key(const struct cask_pairs *pairs, int64_t image)
{
    return pairs->ops->key(pairs, image);
}
