/* train/losses/cosines.h - a B x C matrix that is made and used a chunk of classes at a time.
 *
 * Every pass over the classes wants the cosines again. The first `kept` chunks stay in memory, one
 * behind the other, as far as the budget goes; the others are computed anew in each pass, in a slot
 * of the thread that asks. The bits are the same either way.
 */
#ifndef CASK_TRAIN_LOSSES_COSINES_H
#define CASK_TRAIN_LOSSES_COSINES_H

#include <stdbool.h>
#include <stdint.h>

#include "train/losses/real.h"

/* Most classes of a chunk: a row of student, teacher and gradient stays in L1. */
enum { TILE = 1024 };

struct cosines {
    int batch; /* rows there is room for */
    int64_t classes;
    int64_t width; /* classes in a chunk; rows lie so far apart in the last one, too */
    int64_t chunks, kept;
    real *memory; /* [kept][batch][width] */
    bool known;   /* what is kept was computed in this step ... */
    bool sampled; /* ... or of it the chunks of the sample */
};

static inline real *cosines_row(const struct cosines *cosines, int64_t chunk, int64_t row)
{
    return cosines->memory + (chunk * cosines->batch + row) * cosines->width;
}

static inline int chunk_width(const struct cosines *cosines, int64_t chunk)
{
    const int64_t left = cosines->classes - chunk * cosines->width;
    return (int)(left < cosines->width ? left : cosines->width);
}

#endif
