/* cache/quantize.h - private: how real numbers become stored ones and back.
 *
 * Embeddings: x in R^D with |x| = 1, as IEEE half floats, or as int8 with one scale per row
 * (largest element = 127). Cosines: v / 32767 with v int16. Always rounded to nearest, ties to
 * even. Pure functions; the same bits whatever the instruction set.
 */
#ifndef CASK_CACHE_QUANTIZE_H
#define CASK_CACHE_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>

#include "common/half.h"

void cask_quantize_f16(const float *x, size_t count,
                       uint8_t *out); /* out: 2 bytes each, little endian */
/* Returns the scale: x is about q * scale. A row of zeros has scale 0. */
float cask_quantize_i8(const float *x, size_t count, int8_t *out);

/* Back to float, scaled to unit length (a row of zeros stays zeros). The scale of int8 rows is not
 * needed: length is what renormalising takes away. */
void cask_unit_from_f16(const uint8_t *in, size_t count, float *x);
void cask_unit_from_i8(const int8_t *in, size_t count, float *x);

/* cosine -> nearest v, clamped to [-1, 1]. */
int16_t cask_quantize_cosine(float cosine);
static inline float cask_cosine_from_i16(int16_t v)
{
    return (float)v * (1.0f / 32767.0f);
}

/* 1 - cos(x, y), in double: what storing x as y cost. */
double cask_cosine_distance(const float *x, const float *y, size_t count);

#endif
