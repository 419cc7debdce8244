/* eval/largest.h - the k largest of a long stream of numbers, in a heap of k. */
#ifndef CASK_EVAL_LARGEST_H
#define CASK_EVAL_LARGEST_H

#include <math.h>
#include <stdint.h>

#include "common/status.h"

struct cask_largest {
    struct cask_kept {
        float value;
        uint32_t tag;        /* whose it is */
    } * kept;                /* [capacity]; a heap, its smallest first */
    int64_t count, capacity; /* capacity >= 1 */
    float least;             /* what does not exceed it is not kept; -inf until the heap is full */
};
enum cask_status cask_largest_open(struct cask_largest *largest, int64_t capacity,
                                   struct cask_error *err);
void cask_largest_close(struct cask_largest *largest); /* accepts a zeroed struct */
void cask_largest_insert(struct cask_largest *largest, float value, uint32_t tag);
/* The smallest of those kept; there must be one. */
float cask_largest_smallest(const struct cask_largest *largest);

static inline void cask_largest_offer(struct cask_largest *largest, float value, uint32_t tag)
{
    if (value > largest->least) {
        cask_largest_insert(largest, value, tag);
    }
}

#endif
