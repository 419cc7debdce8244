/* kernels/cpu/vector/ahead.h - what memory should bring while a product keeps the core busy: three
 * lines in four steps of sixteen lanes. More at once would wait for places of lines on their way.
 */
#ifndef CASK_KERNELS_CPU_VECTOR_AHEAD_H
#define CASK_KERNELS_CPU_VECTOR_AHEAD_H

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

enum { AHEAD_BYTES = 3 * LANES }; /* a step */

struct lines_ahead {
    const char *at;
    int step; /* bytes; 0: nothing is left, the same line again */
};

/* What the next steps bring of what is to come; `harmless` may be touched instead. */
INLINE struct lines_ahead lines_of(struct cask_ahead **ahead, int64_t steps, const void *harmless)
{
    while (*ahead != NULL && (*ahead)->at >= (*ahead)->end) {
        *ahead = (*ahead)->next;
    }
    if (*ahead == NULL) {
        return (struct lines_ahead){harmless, 0};
    }
    const struct lines_ahead lines = {(*ahead)->at, AHEAD_BYTES};
    (*ahead)->at += AHEAD_BYTES * steps;
    return lines;
}

INLINE void lines_fetch(struct lines_ahead *lines)
{
    __builtin_prefetch(lines->at, 0, 2);
    lines->at += lines->step;
}

#endif
