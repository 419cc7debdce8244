/* kernels/cpu/vector/pair_sums_none.h - no instruction takes pairs: lines.c does all channels. */
#ifndef CASK_KERNELS_CPU_PAIR_SUMS_H
#define CASK_KERNELS_CPU_PAIR_SUMS_H

#include "kernels/cpu/vector/halves.h"

INLINE int pair_gradient_sums(enum cask_activation activation, const struct cask_bn_block *bn,
                              const element *x, const element *dy, const struct cask_line *line,
                              const struct sums *to)
{
    (void)activation, (void)bn, (void)x, (void)dy, (void)line, (void)to;
    return 0;
}

#endif
