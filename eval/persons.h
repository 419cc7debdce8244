/* eval/persons.h - who is in the pairs, and which pairs are odd. Private to eval/. */
#ifndef CASK_EVAL_PERSONS_H
#define CASK_EVAL_PERSONS_H

#include "data/data.h"

struct persons {
    int64_t *of_image; /* [images] person, from 0 */
    int64_t count;
    bool *repeats; /* [pairs]: the same two images stand in an earlier pair */
    int64_t duplicates, conflicts, selves;
    int64_t first_duplicate; /* a pair, or -1 */
};

/* Two images are of one person if a genuine pair says so (also through others), if they are the
 * same image (cask_pairs_image_key), or if they lie in one folder - the last only where folders
 * agree with every pair: genuine pairs within one, impostor pairs across two. */
enum cask_status persons_find(const struct cask_pairs *pairs, struct persons *persons,
                              struct cask_error *err);
void persons_release(struct persons *persons);

#endif
