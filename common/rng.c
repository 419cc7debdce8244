#include "common/rng.h"

#include <math.h>

/* The finaliser of SplitMix64: a bijection of 64-bit words that passes the usual batteries when fed
 * with a counter (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x;
}

__extension__ typedef unsigned __int128 wide;

static const uint64_t golden_ratio = 0x9e3779b97f4a7c15u;

uint64_t cask_rng_u64(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint64_t key = mix(mix(seed + golden_ratio) ^ (stream + 1) * golden_ratio);
    return mix(key + (counter + 1) * golden_ratio);
}

double cask_rng_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(cask_rng_u64(seed, stream, counter) >> 11) * 0x1p-53;
}

double cask_rng_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    /* Box-Muller from two draws of their own sub-streams; 1 - u keeps the logarithm finite. */
    double radius = sqrt(-2.0 * log(1.0 - cask_rng_uniform(seed, stream, 2 * counter)));
    return radius * cos(6.283185307179586 * cask_rng_uniform(seed, stream, 2 * counter + 1));
}

uint64_t cask_rng_below(uint64_t seed, uint64_t stream, uint64_t counter, uint64_t bound)
{
    /* High half of a 64x64 product: bias below bound / 2^64. */
    return (uint64_t)(((wide)cask_rng_u64(seed, stream, counter) * bound) >> 64);
}

uint64_t cask_rng_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t position)
{
    /* A balanced Feistel network permutes [0, 4^half); walking the cycle until the value falls
     * below n restricts it to [0, n), in fewer than 4 steps on average. */
    int half = 1;
    while (half < 32 && (1ull << (2 * half)) < n) {
        half++;
    }
    uint64_t mask = (1ull << half) - 1;
    uint64_t value = position;
    do {
        uint64_t left = value >> half, right = value & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint64_t next =
                left ^ (cask_rng_u64(seed, stream + round * golden_ratio, right) & mask);
            left = right;
            right = next;
        }
        value = left << half | right;
    } while (value >= n);
    return value;
}
