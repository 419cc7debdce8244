/* data/sampler_impl.h - what the files of the sampler share. Private to data/. */
#ifndef CASK_DATA_SAMPLER_IMPL_H
#define CASK_DATA_SAMPLER_IMPL_H

#include "data/data.h"

struct cask_identities {
    int64_t count;     /* identities, numbered by ascending label */
    int64_t images;    /* of all of them */
    int64_t limit;     /* every image index is below it */
    int64_t fewest;    /* every identity has so many images */
    int64_t *offsets;  /* [count + 1] into members */
    uint32_t *members; /* [images] dataset indices, ascending within an identity */
};

/* Streams of the run's seed: the text in ASCII, room for the epoch or the round below. */
#define STREAM_ORDER ((uint64_t)0x6f726472 << 32)    /* "ordr" */
#define STREAM_FLIP ((uint64_t)0x666c6970 << 32)     /* "flip" */
#define STREAM_IDENTITY ((uint64_t)0x6964656e << 32) /* "iden" */
#define STREAM_IMAGE ((uint64_t)0x696d6167 << 32)    /* "imag" */
#define STREAM_TURN ((uint64_t)0x7475726e << 32)     /* "turn" */

/* The coin of an image in an epoch. */
bool cask_sampler_coin(const struct cask_sampler *sampler, uint64_t epoch, int64_t index);
/* Place [0, people x shots) of the balanced part of a step, counted over the run. */
struct cask_sample cask_sampler_balanced_at(const struct cask_sampler *sampler, uint64_t step,
                                            uint64_t epoch, uint64_t place);

#endif
