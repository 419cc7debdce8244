/* eval/histogram.h - the bins of cosines in every picture: equal, from -1 to 1. Private to eval/.
 */
#ifndef CASK_EVAL_HISTOGRAM_H
#define CASK_EVAL_HISTOGRAM_H

#include "eval/eval.h"

static inline void histogram_edges(double edges[CASK_HISTOGRAM_BINS + 1])
{
    for (int i = 0; i <= CASK_HISTOGRAM_BINS; i++) {
        edges[i] = -1 + 2.0 * i / CASK_HISTOGRAM_BINS;
    }
}

/* What rounding puts beyond either end belongs to the bin there. */
static inline int histogram_bin(double cosine)
{
    double at = (cosine + 1) / 2 * CASK_HISTOGRAM_BINS;
    return !(at > 0) ? 0 : at < CASK_HISTOGRAM_BINS ? (int)at : CASK_HISTOGRAM_BINS - 1;
}

#endif
