/* train/losses/real.h - one source, several number types.
 *
 * Everything in train/losses that touches numbers is compiled more than once: as double (what the
 * gradient checks and golden files run), as plain float, and as float for each vector extension.
 * CMakeLists.txt sets four macros for a variant: CASK_REAL (the type), CASK_REAL_EXP and
 * CASK_REAL_EXP2 (its exp and exp2), CASK_VARIANT (a suffix that keeps the symbols of variants
 * apart).
 *
 * Loops that may be vectorised say so with SIMD(...): without it the compiler keeps the order of
 * a floating sum. The order is then fixed by the vector width alone, never by the thread count.
 */
#ifndef CASK_TRAIN_LOSSES_REAL_H
#define CASK_TRAIN_LOSSES_REAL_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef CASK_REAL real;

#define CASK_JOIN_(a, b) a##_##b
#define CASK_JOIN(a, b) CASK_JOIN_(a, b)
#define NAME(name) CASK_JOIN(name, CASK_VARIANT)

#define PRAGMA_(text) _Pragma(#text)
#define SIMD(...) PRAGMA_(omp simd __VA_ARGS__)

/* For loops with a parameter that each call knows: without it the compiler may leave one loop for
 * all of them, and not vectorise that. */
#define INLINE static inline __attribute__((always_inline))

/* "Nothing is known here": far below any logit, and finite, so that 0 * REAL_NONE is 0. */
#define REAL_NONE ((real)-1e30)
#define REAL_FLOOR ((real)-1e29)
#define REAL_EPSILON (sizeof(real) == sizeof(float) ? (double)FLT_EPSILON : DBL_EPSILON)

/* exp in float without a branch, so that loops over it vectorise: x = n ln2 + r with |r| <= ln2/2,
 * degree-6 polynomial, 2^n by the exponent bits. For x up to 88, and a softmax's are not above 0.
 * Under 3 ulp; 0 below -87.3, where all the rest is thrown away; NaN stays NaN. */
static inline float cask_expf_branchless(float x)
{
    const float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: n in the last bits */
    const float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + (r + 1.0f);
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + (UINT32_C(127) << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.3f ? 0.0f : p * power;
}

/* 2^t for t in [-126, 127], 1 at 0: t = n + r with |r| <= 1/2, a degree-5 polynomial with the least
 * relative error (9e-8) of those that are 1 at 0, n added to its exponent. Under 2 ulp; NaN stays
 * NaN. */
static inline float cask_exp2f_branchless(float t)
{
    const float shifted = t + 12582912.0f; /* as above */
    const float r = t - (shifted - 12582912.0f);
    float p = 1.32647273e-3f;
    p = p * r + 9.67151299e-3f;
    p = p * r + 5.55073358e-2f;
    p = p * r + 2.40222424e-1f;
    p = p * r + 6.93147004e-1f;
    p = p * r + 1.0f;
    uint32_t n, bits;
    memcpy(&n, &shifted, sizeof n);
    memcpy(&bits, &p, sizeof bits);
    bits += n << 23;
    memcpy(&p, &bits, sizeof p);
    return p;
}

static inline real real_exp(real x)
{
    return CASK_REAL_EXP(x);
}

/* exp(x) = 2^(x LOG2_E): where x is a product, its factor takes LOG2_E beforehand. */
#define LOG2_E 1.44269504088896340736
static inline real real_exp2(real t)
{
    return CASK_REAL_EXP2(t);
}

/* log(exp(a) + exp(b)); -INFINITY stands for an empty sum. */
static inline double log_add(double a, double b)
{
    double high = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? high : high + log1p(exp(low - high));
}

#endif
