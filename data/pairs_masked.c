/* data/pairs_masked.c - the pairs of another set with masks on some of the faces. An image that is
 * needed with and without a mask is two images here. */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "data/pairs_impl.h"

struct masked_pairs {
    struct cask_pairs base;
    const struct cask_pairs *plain; /* borrowed */
    int64_t *unit;                  /* [image_count]: 2 * image of `plain` + masked */
};

const char *const cask_mask_rule_names[] = {"n-n", "m-n", "m-m", "fdbtrs-m-n", NULL};

static bool wears(enum cask_mask_rule rule, int64_t pair, int side, int64_t count)
{
    switch (rule) {
    case CASK_MASK_NN:
        return false;
    case CASK_MASK_MN:
        return side == 1;
    case CASK_MASK_MM:
        return true;
    case CASK_MASK_FDBTRS_MN:
        return 2 * pair + side >= count;
    }
    return false;
}

static void close_masked(struct cask_pairs *base)
{
    struct masked_pairs *pairs = (struct masked_pairs *)base;
    cask_free(pairs->unit);
    cask_free(pairs);
}

static const struct masked_pairs *masked(const struct cask_pairs *base)
{
    return (const struct masked_pairs *)base;
}

static void image_name(const struct cask_pairs *base, int64_t image, char *buffer, size_t bytes)
{
    int64_t unit = masked(base)->unit[image];
    cask_pairs_image_name(masked(base)->plain, unit / 2, buffer, bytes);
    size_t used = strlen(buffer);
    snprintf(buffer + used, bytes - used, "%s", unit % 2 == 1 ? " (masked)" : "");
}

static enum cask_status read_image(const struct cask_pairs *base, int64_t image,
                                   struct cask_encoded *encoded, struct cask_error *err)
{
    return cask_pairs_read(masked(base)->plain, masked(base)->unit[image] / 2, encoded, err);
}

static uint64_t image_key(const struct cask_pairs *base, int64_t image)
{
    int64_t unit = masked(base)->unit[image];
    uint64_t key[2] = {cask_pairs_image_key(masked(base)->plain, unit / 2), (uint64_t)unit % 2};
    return cask_xxh3(key, sizeof key);
}

int64_t cask_pairs_plain_image(const struct cask_pairs *pairs, int64_t image, bool *wears_mask)
{
    int64_t unit = masked(pairs)->unit[image];
    *wears_mask = unit % 2 == 1;
    return unit / 2;
}

/* Numbers the images that pairs need in the order in which the pairs need them. */
static enum cask_status number_images(struct masked_pairs *pairs, enum cask_mask_rule rule,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_pairs *plain = pairs->plain;
    struct cask_pairs *base = &pairs->base;
    size_t units = (size_t)plain->image_count * 2;
    int64_t *place = cask_alloc(units, sizeof *place); /* of a unit, + 1; 0: none yet */
    base->pairs = cask_alloc((size_t)plain->count, sizeof *base->pairs);
    pairs->unit = cask_alloc(units, sizeof *pairs->unit);
    if (place == NULL || base->pairs == NULL || pairs->unit == NULL) {
        CASK_TRY(cask_error_memory(err, units * 2 * sizeof *place, "masked pairs"));
    }
    for (int64_t i = 0; i < plain->count; i++) {
        int64_t images[2] = {plain->pairs[i].a, plain->pairs[i].b};
        for (int side = 0; side < 2; side++) {
            int64_t unit = 2 * images[side] + wears(rule, i, side, plain->count);
            if (place[unit] == 0) {
                pairs->unit[base->image_count] = unit;
                place[unit] = ++base->image_count;
            }
            images[side] = place[unit] - 1;
        }
        base->pairs[i] = (struct cask_pair){images[0], images[1], plain->pairs[i].same};
    }
done:
    cask_free(place);
    return st;
}

enum cask_status cask_pairs_open_masked(const struct cask_pairs *plain, enum cask_mask_rule rule,
                                        struct cask_pairs **out, struct cask_error *err)
{
    static const struct cask_pairs_ops ops = {close_masked, image_name, read_image, image_key};
    enum cask_status st = CASK_OK;
    *out = NULL;
    struct masked_pairs *pairs = cask_alloc(1, sizeof *pairs);
    if (pairs == NULL) {
        return cask_error_memory(err, sizeof *pairs, "masked pairs");
    }
    pairs->base.ops = &ops;
    pairs->base.folds = plain->folds;
    pairs->base.count = plain->count;
    pairs->plain = plain;
    pairs->base.name = cask_format("%s %s", plain->name, cask_mask_rule_names[rule]);
    if (pairs->base.name == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(plain->name) + 16, "a name"));
    }
    CASK_TRY(number_images(pairs, rule, err));
    *out = &pairs->base;
    pairs = NULL;
done:
    if (pairs != NULL) {
        cask_pairs_close(&pairs->base);
    }
    return st;
}
