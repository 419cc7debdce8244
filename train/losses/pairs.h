/* train/losses/pairs.h - the pairs i < j of a batch, in order of i, then j. */
#ifndef CASK_TRAIN_LOSSES_PAIRS_H
#define CASK_TRAIN_LOSSES_PAIRS_H

#include "train/losses/losses.h"

/* Images without a label are in no positive and in no negative pair. */
enum pair_kind { PAIRS_ALL, PAIRS_POSITIVE, PAIRS_NEGATIVE };

/* Most pairs of a batch; one at least, so that no array of them is empty. */
static inline size_t pairs_most(int batch)
{
    return (size_t)batch * (size_t)batch / 2 + 1;
}

/* Fills list with i * batch + j, the pair's place in a Gram matrix; returns how many there are. */
static inline int64_t pairs_list(const struct loss_step *step, enum pair_kind kind, uint32_t *list)
{
    int64_t count = 0;
    for (int i = 0; i < step->batch; i++) {
        const uint32_t own = kind == PAIRS_ALL ? 0 : step->labels[i];
        for (int j = i + 1; j < step->batch; j++) {
            const uint32_t other = kind == PAIRS_ALL ? 0 : step->labels[j];
            const bool labelled = own != UINT32_MAX && other != UINT32_MAX;
            if (labelled && (own == other) == (kind != PAIRS_NEGATIVE)) {
                list[count++] = (uint32_t)(i * step->batch + j);
            }
        }
    }
    return count;
}

#endif
