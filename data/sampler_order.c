/* data/sampler_order.c - order and flips as pure functions of (seed, epoch, position). Nothing to
 * save, so a resumed run sees exactly what an uninterrupted one would have seen. */
#include "common/rng.h"
#include "data/sampler_impl.h"

static struct cask_sample shuffled_at(const struct cask_sampler *sampler, uint64_t epoch,
                                      uint64_t place)
{
    struct cask_sample sample = {0};
    place = cask_rng_permute(sampler->seed, STREAM_ORDER + epoch, (uint64_t)sampler->count, place);
    sample.index = sampler->subset != NULL ? sampler->subset[place] : (int64_t)place;
    sample.mirror = sampler->mirror && cask_sampler_coin(sampler, epoch, sample.index);
    return sample;
}

struct cask_sample cask_sampler_at(const struct cask_sampler *sampler, int64_t position)
{
    const uint64_t length = (uint64_t)cask_sampler_epoch_length(sampler);
    const uint64_t epoch = (uint64_t)position / length, place = (uint64_t)position % length;
    const uint64_t batch = (uint64_t)cask_sampler_batch(sampler);
    const uint64_t general = (uint64_t)sampler->general;
    switch (sampler->kind) {
    case CASK_SAMPLER_STORAGE:
        return (struct cask_sample){.index = sampler->subset != NULL ? sampler->subset[place]
                                                                     : (int64_t)place};
    case CASK_SAMPLER_LIST:
        return sampler->list[place];
    case CASK_SAMPLER_EKD:
        if (place % batch < general) {
            return shuffled_at(sampler, epoch, place / batch * general + place % batch);
        }
        return cask_sampler_balanced_at(sampler, (uint64_t)position / batch, epoch,
                                        place % batch - general);
    case CASK_SAMPLER_BALANCED:
    case CASK_SAMPLER_TRIPLETS:
        return cask_sampler_balanced_at(sampler, (uint64_t)position / batch, epoch, place % batch);
    case CASK_SAMPLER_SHUFFLED:
        break;
    }
    return shuffled_at(sampler, epoch, place);
}
