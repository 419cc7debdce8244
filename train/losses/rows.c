/* train/losses/rows.c - see rows.h. */
#include "train/losses/rows.h"

void rows_range(const real *x, int64_t count, real *low, real *high)
{
    real smallest = *low, largest = *high;
    SIMD(reduction(min : smallest) reduction(max : largest))
    for (int64_t j = 0; j < count; j++) {
        smallest = x[j] < smallest ? x[j] : smallest;
        largest = x[j] > largest ? x[j] : largest;
    }
    *low = smallest;
    *high = largest;
}

static double tile_sum(const real *x, int64_t count, real high, real factor)
{
    real sum = 0;
    SIMD(reduction(+ : sum))
    for (int64_t j = 0; j < count; j++) {
        sum += real_exp((x[j] - high) * factor);
    }
    return (double)sum;
}

double rows_sum_exp(const real *x, int64_t count, double high, double factor)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += TILE) {
        sum += tile_sum(x + first, count - first < TILE ? count - first : TILE, (real)high,
                        (real)factor);
    }
    return sum;
}

void rows_add_exp(const real *x, int64_t count, double factor, double high, double log_sum,
                  double by, real *sum)
{
    real top = (real)high, f = (real)factor, shift = (real)log_sum, share = (real)by;
    SIMD()
    for (int64_t j = 0; j < count; j++) {
        sum[j] += share * real_exp((x[j] - top) * f - shift);
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

double rows_dot(const real *a, const real *b, int64_t count)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += TILE) {
        int64_t end = count - first < TILE ? count : first + TILE;
        real part = 0;
        SIMD(reduction(+ : part))
        for (int64_t j = first; j < end; j++) {
            part += a[j] * b[j];
        }
        sum += (double)part;
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
