/* data/sampler.c - order and flips as pure functions of (seed, epoch, position). Nothing to save,
 * so a resumed run sees exactly what an uninterrupted one would have seen. */
#include "common/rng.h"
#include "data/data.h"

/* Streams of the run's seed: the text in ASCII, room for the epoch below. */
#define STREAM_ORDER ((uint64_t)0x6f726472 << 32) /* "ordr" */
#define STREAM_FLIP ((uint64_t)0x666c6970 << 32)  /* "flip" */

struct cask_sample cask_sampler_at(const struct cask_sampler *sampler, int64_t position)
{
    uint64_t count = (uint64_t)sampler->count;
    uint64_t epoch = (uint64_t)position / count;
    uint64_t place = (uint64_t)position % count;
    struct cask_sample sample = {0};
    if (sampler->kind == CASK_SAMPLER_SHUFFLED) {
        place = cask_rng_permute(sampler->seed, STREAM_ORDER + epoch, count, place);
    }
    sample.index = sampler->subset != NULL ? sampler->subset[place] : (int64_t)place;
    if (sampler->kind == CASK_SAMPLER_SHUFFLED && sampler->mirror) {
        uint64_t coin = cask_rng_u64(sampler->seed, STREAM_FLIP + epoch, (uint64_t)sample.index);
        sample.mirror = (coin >> 63) != 0;
    }
    return sample;
}
