/* Sums of exponentials over all classes: with C = 85,742 and two temperatures these are what a
 * cache row costs beside its matrix product, so they run in vectors. The lines below are compiled
 * once for each instruction set, and chosen as the kernels are.
 *
 * exp(x), x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor series to r^12 (error
 * 2e-16), 2^n added to the exponent. No library call and no fused
 * multiply-add, so every instruction set gives the same bits. */
#include <string.h>

#include "precompute/precompute.h"

enum { LANES = 16 };

/* Terms below e^-700 count as that: the sum holds the largest cosine's own 1. */
static const double SMALLEST = -700;

#define INLINE static inline __attribute__((always_inline))

INLINE double exponential(double x)
{
    const double log2e = 0x1.71547652b82fep+0, shift = 0x1.8p+52;
    /* n times the high part of ln 2 is exact. */
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    uint64_t whole, bits;
    x = x < SMALLEST ? SMALLEST : x;    /* NaN stays NaN */
    double shifted = x * log2e + shift; /* the low bits of `shifted` now hold n */
    double n = shifted - shift, r = (x - n * ln2_high) - n * ln2_low;
    double p = 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    memcpy(&whole, &shifted, sizeof whole);
    memcpy(&bits, &p, sizeof bits);
    bits += whole << 52;
    memcpy(&p, &bits, sizeof p);
    return p;
}

INLINE double exponentials(const float *cosines, int64_t count, double factor, double most)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            lanes[l] += exponential(factor * ((double)cosines[j + l] - most));
        }
    }
    for (int l = 0; j < count; j++, l++) {
        lanes[l] += exponential(factor * ((double)cosines[j] - most));
    }
    for (int l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

INLINE void maxima(const float *cosines, int64_t count, float *most)
{
    for (int64_t j = 0; j < count; j += CLASS_BLOCK, most++) {
        float lanes[CLASS_BLOCK];
        int64_t left = count - j < CLASS_BLOCK ? count - j : CLASS_BLOCK;
        for (int l = 0; l < CLASS_BLOCK; l++) {
            lanes[l] = cosines[j + (l < left ? l : 0)];
        }
        for (int width = CLASS_BLOCK / 2; width > 0; width /= 2) {
            for (int l = 0; l < width; l++) {
                lanes[l] = lanes[l] > lanes[l + width] ? lanes[l] : lanes[l + width];
            }
        }
        *most = lanes[0];
    }
}

/* The functions of one instruction set: a body that is inlined takes over its caller's. */
#define LEVEL(isa, target)                                                                         \
    target static double exponentials_##isa(const float *cosines, int64_t count, double factor,    \
                                            double most)                                           \
    {                                                                                              \
        return exponentials(cosines, count, factor, most);                                         \
    }                                                                                              \
    target static void maxima_##isa(const float *cosines, int64_t count, float *most)              \
    {                                                                                              \
        maxima(cosines, count, most);                                                              \
    }

LEVEL(scalar, )
LEVEL(avx2, __attribute__((target("avx2"))))
LEVEL(avx512, __attribute__((target("avx512f"))))

const struct class_scan *class_scan_at(const char *isa)
{
    static const struct class_scan scalar = {exponentials_scalar, maxima_scalar},
                                   avx2 = {exponentials_avx2, maxima_avx2},
                                   avx512 = {exponentials_avx512, maxima_avx512};
    return strcmp(isa, "avx512") == 0 ? &avx512 : strcmp(isa, "avx2") == 0 ? &avx2 : &scalar;
}
