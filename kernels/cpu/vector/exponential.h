/* kernels/cpu/vector/exponential.h - e^x in float, written so that the compiler can vectorise it.
 *
 * e^x = 2^n * e^r with n = round(x / ln 2) and |r| <= ln(2)/2; e^r by its Taylor polynomial of
 * degree 7, whose remainder r^8/8! is below 6e-9. ln 2 is split in two (Cody and Waite) so that
 * x - n*ln2 is exact to the last bits. Underflow gives 0, overflow infinity, NaN stays NaN.
 */
#ifndef CASK_KERNELS_CPU_EXPONENTIAL_H
#define CASK_KERNELS_CPU_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

#include "kernels/cpu/vector/vector.h"

INLINE float exponential(float x)
{
    const float high = 0x1.62e4p-1F, low = 0x1.7f7d1cp-20F; /* ln 2 = high + low to 40 bits */
    float clamped = x > 89.0F ? 89.0F : x;
    clamped = clamped < -104.0F ? -104.0F : clamped;
    const float shifter = 0x1.8p23F; /* adding it rounds to an integer held in the low bits */
    float shifted = clamped * 1.44269504F + shifter;
    float n = shifted - shifter;
    float r = clamped - n * high;
    r = r - n * low;
    float p = 1.0F / 5040;
    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r + 1;
    p = p * r + 1;
    /* 2^n in two factors: n reaches -150, below what one exponent field holds */
    int32_t whole = (int32_t)(n == n ? n : 0);
    int32_t half = whole / 2;
    uint32_t bits_a = (uint32_t)(half + 127) << 23, bits_b = (uint32_t)(whole - half + 127) << 23;
    float a, b;
    memcpy(&a, &bits_a, sizeof a);
    memcpy(&b, &bits_b, sizeof b);
    return p * a * b;
}

#endif
