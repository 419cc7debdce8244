/* data/sampler_balanced.c - p identities with q images each, dealt like cards. */
#include "common/rng.h"
#include "data/sampler_impl.h"

struct card {
    uint64_t number; /* [0, deck) */
    uint64_t copy;   /* 0, but for a hand larger than the deck */
};

/* Card `slot` of hand `turn`. A round shuffles the deck and deals as many whole hands as it has, so
 * the cards of a hand differ; what is left over is not dealt. A hand larger than the deck is the
 * shuffled deck over and over. */
static struct card deal(uint64_t seed, uint64_t stream, uint64_t deck, uint64_t hand, uint64_t turn,
                        uint64_t slot)
{
    const uint64_t hands = deck < hand ? 1 : deck / hand;
    const uint64_t place = turn % hands * hand + slot;
    return (struct card){.number =
                             cask_rng_permute(seed, stream + turn / hands, deck, place % deck),
                         .copy = place / deck};
}

struct cask_sample cask_sampler_balanced_at(const struct cask_sampler *sampler, uint64_t step,
                                            uint64_t epoch, uint64_t place)
{
    const struct cask_identities *all = sampler->identities;
    const uint64_t people = (uint64_t)sampler->people, shots = (uint64_t)sampler->shots;
    const struct card who =
        deal(sampler->seed, STREAM_IDENTITY, (uint64_t)all->count, people, step, place / shots);
    /* an identity has at most one turn in a round, so rounds number its turns */
    const uint64_t turn = step / ((uint64_t)all->count / people);
    const int64_t first = all->offsets[who.number], end = all->offsets[who.number + 1];
    const uint64_t seed = cask_rng_u64(sampler->seed, STREAM_IMAGE, who.number);
    const struct card image =
        deal(seed, STREAM_IMAGE, (uint64_t)(end - first), shots, turn, place % shots);
    struct cask_sample sample = {.index = all->members[first + (int64_t)image.number]};
    if (sampler->mirror) {
        /* Beside a general part the complement of its coin: an image in both has two views. */
        const bool coin = sampler->kind == CASK_SAMPLER_EKD
                              ? !cask_sampler_coin(sampler, epoch, sample.index)
                              : cask_rng_u64(seed, STREAM_TURN + turn, image.number) >> 63 != 0;
        sample.mirror = coin != (image.copy % 2 == 1);
    }
    return sample;
}
