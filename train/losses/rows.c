/* train/losses/rows.c - see rows.h. */
#include "train/losses/rows.h"

#include "train/losses/lanes.h"

INLINE void widen(const real *x, int count, real *least, real *largest)
{
    SIMD()
    for (int l = 0; l < count; l++) {
        least[l] = x[l] < least[l] ? x[l] : least[l];
        largest[l] = x[l] > largest[l] ? x[l] : largest[l];
    }
}

void rows_range(const real *x, int64_t count, real *low, real *high)
{
    real least[LANES], largest[LANES];
    int64_t j = 0;
    for (int l = 0; l < LANES; l++) {
        least[l] = *low;
        largest[l] = *high;
    }
    for (; j + LANES <= count; j += LANES) {
        widen(x + j, LANES, least, largest);
    }
    widen(x + j, (int)(count - j), least, largest);
    for (int width = LANES / 2; width > 0; width /= 2) {
        widen(least + width, width, least, largest);
        widen(largest + width, width, least, largest);
    }
    *low = least[0];
    *high = largest[0];
}

/* What is below -125 is less than the rounding of what counts. */
INLINE real power(real t)
{
    return t < -125 ? 0 : real_exp2(t);
}

INLINE void sum_lanes(const real *x, int count, real high, real factor, real *sum)
{
    SIMD()
    for (int l = 0; l < count; l++) {
        sum[l] += power((x[l] - high) * factor);
    }
}

static double tile_sum(const real *x, int64_t count, real high, real factor)
{
    real sum[LANES] = {0};
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES) {
        sum_lanes(x + j, LANES, high, factor, sum);
    }
    sum_lanes(x + j, (int)(count - j), high, factor, sum);
    return (double)lanes_sum(sum);
}

double rows_sum_exp(const real *x, int64_t count, double high, double factor)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += TILE) {
        sum += tile_sum(x + first, count - first < TILE ? count - first : TILE, (real)high,
                        (real)(factor * LOG2_E));
    }
    return sum;
}

void rows_add_exp(const real *x, int64_t count, double factor, double high, double log_sum,
                  double by, real *sum)
{
    const real top = (real)high, f = (real)(factor * LOG2_E), shift = (real)(log_sum * LOG2_E);
    const real share = (real)by;
    SIMD()
    for (int64_t j = 0; j < count; j++) {
        sum[j] += share * power((x[j] - top) * f - shift);
    }
}

void rows_scale_clip(real *x, const real *scale, int64_t count)
{
    SIMD()
    for (int64_t j = 0; j < count; j++) {
        real c = x[j] * scale[j];
        c = c > 1 ? 1 : c;
        x[j] = c < -1 ? -1 : c;
    }
}

/* Four sums at once: a sum alone waits for its own last addition. */
static real tile_dot(const real *a, const real *b, int64_t count)
{
    const int64_t part = count / 4;
    const real *a1 = a + part, *a2 = a1 + part, *a3 = a2 + part;
    const real *b1 = b + part, *b2 = b1 + part, *b3 = b2 + part;
    real s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    SIMD(reduction(+ : s0, s1, s2, s3))
    for (int64_t j = 0; j < part; j++) {
        s0 += a[j] * b[j];
        s1 += a1[j] * b1[j];
        s2 += a2[j] * b2[j];
        s3 += a3[j] * b3[j];
    }
    for (int64_t j = 4 * part; j < count; j++) {
        s0 += a[j] * b[j];
    }
    return (s0 + s1) + (s2 + s3);
}

double rows_dot(const real *a, const real *b, int64_t count)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += TILE) {
        const int64_t left = count - first;
        sum += (double)tile_dot(a + first, b + first, left < TILE ? left : TILE);
    }
    return sum;
}

double rows_dot_double(const real *a, const real *b, int64_t count)
{
    double sum = 0;
    SIMD(reduction(+ : sum))
    for (int64_t j = 0; j < count; j++) {
        sum += (double)a[j] * (double)b[j];
    }
    return sum;
}

void rows_unit(const real *raw, int batch, int dim, real *unit, real *norm)
{
    for (int64_t i = 0; i < batch; i++) {
        const real *f = raw + i * dim;
        double length = sqrt(rows_dot(f, f, dim));
        real inverse = (real)(1 / fmax(length, 1e-12));
        norm[i] = (real)length;
        for (int j = 0; j < dim; j++) {
            unit[i * dim + j] = f[j] * inverse;
        }
    }
}

void rows_unit_backward(const real *unit, const real *norm, const real *d_unit, int batch, int dim,
                        real *d_raw)
{
    for (int64_t i = 0; i < batch; i++) {
        const real *e = unit + i * dim, *g = d_unit + i * dim;
        real *d = d_raw + i * dim;
        if (norm[i] < (real)1e-12) {
            continue;
        }
        real radial = (real)rows_dot(g, e, dim), inverse = 1 / norm[i];
        for (int j = 0; j < dim; j++) {
            d[j] += (g[j] - radial * e[j]) * inverse;
        }
    }
}
