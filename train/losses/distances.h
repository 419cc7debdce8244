/* train/losses/distances.h - distances of a Gram matrix, unit or raw, and the way back.
 *
 * d_ij = sqrt(max(G_ii + G_jj - 2 G_ij, 1e-12)), 0 on the diagonal. Below 1e-12, or below what
 * rounding of G can tell from 0, d_ij counts as a constant: two equal images have gradient 0, not
 * 1e9.
 */
#ifndef CASK_TRAIN_LOSSES_DISTANCES_H
#define CASK_TRAIN_LOSSES_DISTANCES_H

#include "train/losses/losses.h"

static inline double pair_distance(const double *gram, int batch, int64_t i, int64_t j,
                                   bool *constant)
{
    const double ii = gram[i * batch + i], jj = gram[j * batch + j];
    const double squared = ii + jj - 2 * gram[i * batch + j];
    *constant = i == j || !(squared > fmax(1e-12, 16 * DBL_EPSILON * (ii + jj)));
    return i == j ? 0 : sqrt(*constant ? 1e-12 : squared);
}

/* P += dL/dG from slope = dL/dd_ij of the ordered pair (i,j). For unit rows the diagonal parts move
 * nothing (they are radial), so one form serves both. */
static inline void pair_distance_backward(double *p, int batch, int64_t i, int64_t j,
                                          double distance, double slope)
{
    const double q = slope / (2 * distance);
    p[i * batch + i] += q;
    p[j * batch + j] += q;
    p[i * batch + j] -= 2 * q;
}

/* Smooth L1 with delta 1, and its derivative. */
static inline double smooth_l1(double x, double *slope)
{
    *slope = fabs(x) < 1 ? x : (x > 0 ? 1 : -1);
    return fabs(x) < 1 ? x * x / 2 : fabs(x) - 0.5;
}

#endif
