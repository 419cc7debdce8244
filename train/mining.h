/* train/mining.h - triplets (anchor, positive, negative) out of a bag of embeddings.
 *
 * david-svitov/margindistillation, after FaceNet's semi-hard rule. With d = squared distance of
 * unit rows, for every pair (a, p) of an identity, a before p in the bag, one of the images n of
 * other identities with
 *
 *     d(a,p) < d(a,n) < d(a,p) + window
 *
 * is drawn, each with the same chance; a pair without such an image gives no triplet. Two views of
 * one image are no pair, and an image that is not usable takes no part.
 */
#ifndef CASK_TRAIN_MINING_H
#define CASK_TRAIN_MINING_H

#include "data/data.h"
#include "kernels/kernels.h"

struct cask_mining {
    int64_t people, shots; /* the bag: `shots` images of each identity, one identity behind the
                              other; people x shots at most INT32_MAX */
    int64_t dim;
    const float *unit;                 /* [people x shots][dim] rows of length 1 */
    const struct cask_sample *samples; /* [people x shots] */
    const bool *usable;                /* [people x shots] */
    double window;
    uint64_t seed, bag; /* draws are functions of both and of the pair */
    float *cosines;     /* work: [shots][people x shots] */
};

/* Pairs of a bag: the most triplets it can give. */
int64_t cask_mining_pairs(int64_t people, int64_t shots);

/* Fills at most cask_mining_pairs() triplets of places in the bag, in the order of their pairs. The
 * same for any number of the device's threads. */
enum cask_status cask_mining_run(const struct cask_mining *mining, struct cask_device *device,
                                 int32_t (*triplets)[3], int64_t *count, struct cask_error *err);

#endif
