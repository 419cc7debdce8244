/* data/warp.c - an affine warp whose every byte is that of OpenCV's warpAffine (bilinear, constant
 * border 0): embeddings of warped faces are then those of the field's Python scripts.
 *
 * OpenCV works in fixed point. A source coordinate is the sum of a column's and a row's part, each
 * rounded to 1/1024 pixel; of the sum 5 bits of fraction are kept. The four weights are products of
 * those fractions, in units of 1/32768.
 */
#include <math.h>

#include "data/data.h"

enum { STEP_BITS = 10, FRACTION_BITS = 5, WEIGHT_BITS = 15 };
enum { FRACTIONS = 1 << FRACTION_BITS, HALF = 1 << (STEP_BITS - FRACTION_BITS - 1) };

/* The inverse in the order of operations of OpenCV, so that no rounding differs. */
static void invert(const double m[6], double out[6])
{
    double det = m[0] * m[4] - m[1] * m[3];
    det = det != 0 ? 1 / det : 0;
    out[0] = m[4] * det;
    out[1] = m[1] * -det;
    out[3] = m[3] * -det;
    out[4] = m[0] * det;
    out[2] = -out[0] * m[2] - out[1] * m[5];
    out[5] = -out[3] * m[2] - out[4] * m[5];
}

/* Coordinates beyond every picture are cut to one that lies outside too and cannot overflow. */
static int64_t fixed(double value)
{
    const double most = 1099511627776.0; /* 2^40 */
    double scaled = value * (1 << STEP_BITS);
    return scaled > -most && scaled < most ? (int64_t)llrint(scaled)
           : scaled > 0                    ? (int64_t)most
                                           : -(int64_t)most;
}

struct picture {
    const uint8_t *rgb;
    int width, height;
};

static void sample(const struct picture *picture, int64_t x, int64_t y, uint8_t *out)
{
    static const uint8_t outside[3] = {0};
    int64_t left = x >> FRACTION_BITS, top = y >> FRACTION_BITS;
    int fx = (int)(x & (FRACTIONS - 1)), fy = (int)(y & (FRACTIONS - 1));
    int weights[2][2] = {
        {(FRACTIONS - fx) * (FRACTIONS - fy), fx * (FRACTIONS - fy)},
        {(FRACTIONS - fx) * fy, fx * fy},
    };
    const uint8_t *at[2][2];
    for (int r = 0; r < 2; r++) {
        for (int c = 0; c < 2; c++) {
            bool inside = left + c >= 0 && left + c < picture->width && top + r >= 0 &&
                          top + r < picture->height;
            at[r][c] =
                inside ? picture->rgb + ((top + r) * picture->width + left + c) * 3 : outside;
        }
    }
    int unit = 1 << (WEIGHT_BITS - 2 * FRACTION_BITS); /* of the weights: 1/1024 to 1/32768 */
    for (int c = 0; c < 3; c++) {
        int sum = weights[0][0] * at[0][0][c] + weights[0][1] * at[0][1][c] +
                  weights[1][0] * at[1][0][c] + weights[1][1] * at[1][1][c];
        out[c] = (uint8_t)((sum * unit + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS);
    }
}

void cask_warp_affine(const uint8_t *rgb, int width, int height, const double m[6], int out_width,
                      int out_height, uint8_t *out)
{
    struct picture picture = {rgb, width, height};
    double inverse[6];
    invert(m, inverse);
    for (int y = 0; y < out_height; y++) {
        int64_t row_x = fixed(inverse[1] * y + inverse[2]) + HALF;
        int64_t row_y = fixed(inverse[4] * y + inverse[5]) + HALF;
        for (int x = 0; x < out_width; x++, out += 3) {
            /* OpenCV rounds m * x * 1024 from left to right: the product with 1024 is exact. */
            int64_t at_x = (row_x + fixed(inverse[0] * x)) >> (STEP_BITS - FRACTION_BITS);
            int64_t at_y = (row_y + fixed(inverse[3] * x)) >> (STEP_BITS - FRACTION_BITS);
            sample(&picture, at_x, at_y, out);
        }
    }
}
