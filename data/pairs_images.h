/* data/pairs_images.h - the images that a text of pairs names, each listed once. Private to data/.
 */
#ifndef CASK_DATA_PAIRS_IMAGES_H
#define CASK_DATA_PAIRS_IMAGES_H

#include "data/pairs_impl.h"

struct pairs_images {
    struct cask_pairs base;
    char *folder;      /* owned; NULL: names stand for something that is not a file */
    char **names;      /* [base.image_count] paths under folder, owned */
    uint64_t *buckets; /* hash table of image + 1; 0: empty */
    uint64_t bucket_count;
};

/* Room for `pairs` pairs and twice as many images; base.count is set. folder may be NULL. */
enum cask_status pairs_images_create(const char *path, const char *folder, int64_t pairs,
                                     struct pairs_images **images, struct cask_error *err);
/* The image of this name; a new one is added if it exists (or there is no folder). *image is -1 if
 * it does not exist. */
enum cask_status pairs_images_find(struct pairs_images *images, const char *name, int64_t *image,
                                   struct cask_error *err);

#endif
