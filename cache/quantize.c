/* cache/quantize.c - half floats, int8 rows and fixed-point cosines. */
#include "cache/quantize.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cache/bytes.h"

/* Sums run in eight lanes, folded in one fixed order, so that SSE2 and AVX2 code give the same
 * bits. */
enum { LANES = 8 };

static void halves_to_floats(const uint8_t *in, size_t count, float *x)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = cask_float_from_half(cask_get_le16(in + 2 * i));
    }
}

__attribute__((target("avx,f16c"))) static void halves_to_floats_f16c(const uint8_t *in,
                                                                      size_t count, float *x)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        _mm256_storeu_ps(
            x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(in + 2 * i))));
    }
    halves_to_floats(in + 2 * i, count - i, x + i);
}

static void floats_to_halves(const float *x, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        cask_put_le16(out + 2 * i, cask_half_from_float(x[i]));
    }
}

__attribute__((target("avx,f16c"))) static void floats_to_halves_f16c(const float *x, size_t count,
                                                                      uint8_t *out)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m128i halves =
            _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * i), halves);
    }
    floats_to_halves(x + i, count - i, out + 2 * i);
}

/* Every CPU with AVX2 has F16C; clang 14 cannot be asked for the latter by name. */
static int has_f16c(void)
{
    return __builtin_cpu_supports("avx2");
}

void cask_quantize_f16(const float *x, size_t count, uint8_t *out)
{
    if (has_f16c()) {
        floats_to_halves_f16c(x, count, out);
    } else {
        floats_to_halves(x, count, out);
    }
}

float cask_quantize_i8(const float *x, size_t count, int8_t *out)
{
    float largest = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(x[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    float inverse = largest > 0 ? 127.0f / largest : 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = (int8_t)lrintf(x[i] * inverse);
    }
    return largest / 127.0f;
}

static void to_unit(float *x, size_t count)
{
    float lanes[LANES] = {0};
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lanes[j] += x[i + j] * x[i + j];
        }
    }
    for (size_t i = whole; i < count; i++) {
        lanes[i - whole] += x[i] * x[i];
    }
    float sum = ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
                ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
    float inverse = sum > 0 ? 1.0f / sqrtf(sum) : 0;
    for (size_t i = 0; i < count; i++) {
        x[i] *= inverse;
    }
}

void cask_unit_from_f16(const uint8_t *in, size_t count, float *x)
{
    if (has_f16c()) {
        halves_to_floats_f16c(in, count, x);
    } else {
        halves_to_floats(in, count, x);
    }
    to_unit(x, count);
}

void cask_unit_from_i8(const int8_t *in, size_t count, float *x)
{
    int32_t sum = 0; /* integers: exact in any order; 65536 elements of 127^2 fit */
    for (size_t i = 0; i < count; i++) {
        sum += in[i] * in[i];
    }
    float inverse = sum > 0 ? 1.0f / sqrtf((float)sum) : 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)in[i] * inverse;
    }
}

int16_t cask_quantize_cosine(float cosine)
{
    float clamped = cosine > 1.0f ? 1.0f : cosine < -1.0f ? -1.0f : cosine;
    return (int16_t)lrintf(clamped * 32767.0f);
}

double cask_cosine_distance(const float *x, const float *y, size_t count)
{
    double xy[LANES] = {0}, xx[LANES] = {0}, yy[LANES] = {0};
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            double a = (double)x[i + j], b = (double)y[i + j];
            xy[j] += a * b;
            xx[j] += a * a;
            yy[j] += b * b;
        }
    }
    for (size_t i = whole; i < count; i++) {
        xy[0] += (double)x[i] * (double)y[i];
        xx[0] += (double)x[i] * (double)x[i];
        yy[0] += (double)y[i] * (double)y[i];
    }
    for (size_t j = 1; j < LANES; j++) {
        xy[0] += xy[j];
        xx[0] += xx[j];
        yy[0] += yy[j];
    }
    return xx[0] > 0 && yy[0] > 0 ? 1.0 - xy[0] / sqrt(xx[0] * yy[0]) : 0.0;
}
