"""The counter-based random numbers of common/rng.h in numpy, written from their definition there, so
that a generator script and a test can draw the same inputs without a file between them."""
import numpy as np

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def _mix(x):
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def u64(seed, stream, counter):
    with np.errstate(over="ignore"):
        seed, stream = np.uint64(seed), np.uint64(stream)
        counter = np.asarray(counter, np.uint64)
        key = _mix(_mix(seed + GOLDEN_RATIO) ^ ((stream + np.uint64(1)) * GOLDEN_RATIO))
        return _mix(key + (counter + np.uint64(1)) * GOLDEN_RATIO)


def uniform(seed, stream, counter):
    return (u64(seed, stream, counter) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53


def below(seed, stream, counter, bound):
    product = [int(v) * bound >> 64 for v in np.atleast_1d(u64(seed, stream, counter))]
    return np.array(product, np.int64)
