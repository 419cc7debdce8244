/* eval/image_names.h - the images of a pairs set by their names. Private to eval/. */
#ifndef CASK_EVAL_IMAGE_NAMES_H
#define CASK_EVAL_IMAGE_NAMES_H

#include "data/data.h"

enum { IMAGE_NAME_LONGEST = 4096 };

struct image_names {
    const struct cask_pairs *pairs; /* borrowed */
    uint64_t *buckets;              /* hash table of image + 1; names are asked of the pairs */
    uint64_t size;
};
enum cask_status image_names_open(const struct cask_pairs *pairs, struct image_names *names,
                                  struct cask_error *err);
void image_names_close(struct image_names *names); /* accepts a zeroed one */
/* -1: no image has this name. */
int64_t image_names_find(const struct image_names *names, const char *name, size_t length);

#endif
