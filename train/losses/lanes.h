/* train/losses/lanes.h - sums over a run that vectorise.
 *
 * A sum is kept as LANES sums, entry j in sum j % LANES, added up in the end. The loop over lanes
 * is a function that is inlined twice: with LANES entries, where the sums stay in registers, and
 * with those that are left. (A reduction clause of `omp simd` adds its vectors up number by number,
 * which takes as long as four vectors of a run.)
 */
#ifndef CASK_TRAIN_LOSSES_LANES_H
#define CASK_TRAIN_LOSSES_LANES_H

#include "train/losses/real.h"

enum { LANES = 16 };

INLINE real lanes_sum(const real *lane)
{
    real half[LANES / 2], quarter[LANES / 4];
    SIMD()
    for (int l = 0; l < LANES / 2; l++) {
        half[l] = lane[l] + lane[l + LANES / 2];
    }
    SIMD()
    for (int l = 0; l < LANES / 4; l++) {
        quarter[l] = half[l] + half[l + LANES / 4];
    }
    return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

#endif
