/* common/rng.h - counter-based random numbers: every draw is a pure function of
 * (seed, stream, counter), so there is no generator state to save and any thread may draw.
 *
 * Streams keep uses apart: order, flips, init of parameter p, ...
 */
#ifndef CASK_COMMON_RNG_H
#define CASK_COMMON_RNG_H

#include <stdint.h>

uint64_t cask_rng_u64(uint64_t seed, uint64_t stream, uint64_t counter);
double cask_rng_uniform(uint64_t seed, uint64_t stream, uint64_t counter); /* [0, 1) */
double cask_rng_normal(uint64_t seed, uint64_t stream, uint64_t counter);  /* mean 0, variance 1 */
uint64_t cask_rng_below(uint64_t seed, uint64_t stream, uint64_t counter,
                        uint64_t bound); /* [0, bound) */

/* The position-th element of a pseudo-random permutation of [0, n): a bijection for each
 * (seed, stream), computed in O(1) expected time without a table. n >= 1, position < n. */
uint64_t cask_rng_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t position);

#endif
