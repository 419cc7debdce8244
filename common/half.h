/* common/half.h - IEEE binary16 (1 sign, 5 exponent, 10 mantissa bits), the "f16" of every file.
 * Rounded to nearest, ties to even; past 65504 it is infinity. Pure functions. */
#ifndef CASK_COMMON_HALF_H
#define CASK_COMMON_HALF_H

#include <stdint.h>

uint16_t cask_half_from_float(float value);
float cask_float_from_half(uint16_t half);

#endif
