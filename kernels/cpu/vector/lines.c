/* kernels/cpu/vector/lines.c - rows of pixels become lines of floats, behind their norm (lines.h).
 *
 * Channels are the outer loop, so that a norm's parameters stay in registers for a whole row. Such
 * a walk is nothing that hardware would prefetch; so each access asks for the one that it stands
 * for in the next row, which then comes while this row is worked on. It comes as far as the second
 * cache: the first is full of lines, and has few places for what is on its way.
 */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/halves.h"

#include CASK_PAIR_SUMS_HEADER

INLINE void prefetch(const element *at, int64_t bytes)
{
    __builtin_prefetch((const char *)at + bytes, 0, 2);
}

/* Runs `body` for every vector of channels from `first` on, `left` channels before the end; the
 * compiler sees which of them are whole. */
#define EACH_VECTOR(first, c, body)                                                                \
    {                                                                                              \
        int j = first;                                                                             \
        for (; j + LANES <= (c); j += LANES) {                                                     \
            const int left = LANES;                                                                \
            body                                                                                   \
        }                                                                                          \
        if (j < (c)) {                                                                             \
            const int left = (c)-j;                                                                \
            body                                                                                   \
        }                                                                                          \
    }

static void widen(const void *source, const struct cask_line *line)
{
    const element *x = source;
    const struct cask_line l = *line;
    EACH_VECTOR(0, l.c, {
        float *to = l.to + j / LANES * l.vector;
        for (int i = 0; i < l.pixels; i++) {
            const element *from = x + i * l.step + j;
            vec_store_f32(to + (int64_t)i * LANES, load_some(from, left));
            prefetch(from, l.ahead);
        }
    })
}

INLINE void apply_as(enum cask_activation activation, const struct cask_bn_block *bn,
                     const element *x, const struct cask_line *line)
{
    const struct cask_line l = *line;
    EACH_VECTOR(0, l.c, {
        float *to = l.to + j / LANES * l.vector;
        const struct affine p = load_affine(activation, bn, j, left);
        for (int i = 0; i < l.pixels; i++) {
            const element *from = x + i * l.step + j;
            vec_store_f32(to + (int64_t)i * LANES,
                          affine_vec(activation, &p, load_some(from, left)));
            prefetch(from, l.ahead);
        }
    })
}

static void apply(const struct cask_bn_block *bn, const void *x, const struct cask_line *line)
{
    switch (bn->activation) {
    case CASK_ACT_RELU:
        apply_as(CASK_ACT_RELU, bn, x, line);
        return;
    case CASK_ACT_PRELU:
        apply_as(CASK_ACT_PRELU, bn, x, line);
        return;
    default:
        apply_as(CASK_ACT_NONE, bn, x, line);
    }
}

INLINE void gradient_as(enum cask_activation activation, const struct cask_bn_block *bn,
                        const element *x, const element *dy, const struct cask_line *line)
{
    const struct cask_line l = *line;
    EACH_VECTOR(0, l.c, {
        float *to = l.to + j / LANES * l.vector;
        const struct affine p = load_affine(activation, bn, j, left);
        const vec mean_dz = load_some_f32(bn->mean_dz + j, left);
        const vec pull = load_some_f32(bn->pull + j, left);
        for (int i = 0; i < l.pixels; i++) {
            const int64_t at = i * l.step + j;
            vec_store_f32(to + (int64_t)i * LANES,
                          affine_back_vec(activation, &p, mean_dz, pull, load_some(x + at, left),
                                          load_some(dy + at, left)));
            prefetch(x + at, l.ahead);
            prefetch(dy + at, l.ahead);
        }
    })
}

static void gradient(const struct cask_bn_block *bn, const void *x, const void *dy,
                     const struct cask_line *line)
{
    switch (bn->activation) {
    case CASK_ACT_RELU:
        gradient_as(CASK_ACT_RELU, bn, x, dy, line);
        return;
    case CASK_ACT_PRELU:
        gradient_as(CASK_ACT_PRELU, bn, x, dy, line);
        return;
    default:
        gradient_as(CASK_ACT_NONE, bn, x, dy, line);
    }
}

static void reorder(const float *from, const int *order, const struct cask_line *line)
{
    for (int j = 0; j < line->c; j += LANES) {
        const int count = line->c - j < LANES ? line->c - j : LANES;
        float *restrict to = line->to + j / LANES * line->vector;
        for (int64_t i = 0; i < (int64_t)line->pixels * LANES; i += LANES) {
#pragma omp simd
            for (int k = 0; k < count; k++) {
                to[i + k] = from[i + order[j + k]];
            }
        }
    }
}

/* --------------------------------------------------------------------- sums */

/* So many chains of additions, or they would wait for themselves. */
enum { CHAINS = 4 };

INLINE void sums_of(const element *y, const struct cask_line *l, const float *origin, int left,
                    float *sum, float *square)
{
    const vec o = load_some_f32(origin, left);
    vec s[CHAINS] = {{0}}, q[CHAINS] = {{0}};
    int i = 0;
    for (; i + CHAINS <= l->pixels; i += CHAINS) {
#pragma GCC unroll 4
        for (int k = 0; k < CHAINS; k++, y += l->step) {
            const vec d = load_some(y, left) - o;
            s[k] += d;
            q[k] += d * d;
        }
    }
    for (; i < l->pixels; i++, y += l->step) {
        const vec d = load_some(y, left) - o;
        s[0] += d;
        q[0] += d * d;
    }
    store_some_f32(sum, load_some_f32(sum, left) + ((s[0] + s[1]) + (s[2] + s[3])), left);
    store_some_f32(square, load_some_f32(square, left) + ((q[0] + q[1]) + (q[2] + q[3])), left);
}

static void sums(const void *source, const struct cask_line *line, const float *origin, float *sum,
                 float *square)
{
    const element *y = source;
    const struct cask_line l = *line;
    EACH_VECTOR(0, l.c, { sums_of(y + j, &l, origin + j, left, sum + j, square + j); })
}

INLINE void add_halves(enum cask_activation activation, const struct affine *p, vec x, vec g,
                       struct halves *to)
{
    const vec d = x - p->mean, z = d * p->scale + p->shift;
    if (activation == CASK_ACT_PRELU) {
        const vec low = vec_if_positive(z, (vec){0}, g);
        to->all += g;
        to->all_d += g * d;
        to->low += low;
        to->low_d += low * d;
    } else {
        const vec dz = through_vec(activation, z, g, p->slope);
        to->all += dz;
        to->all_d += dz * d;
    }
}

INLINE void gradient_sums_of(enum cask_activation activation, const struct affine *p,
                             const element *x, const element *dy, const struct cask_line *l,
                             int left, const struct sums *to, int j)
{
    const vec zero = {0};
    struct halves a = {zero, zero, zero, zero}, b = a;
    int i = 0;
    for (; i + 2 <= l->pixels; i += 2, x += 2 * l->step, dy += 2 * l->step) {
        add_halves(activation, p, load_some(x, left), load_some(dy, left), &a);
        add_halves(activation, p, load_some(x + l->step, left), load_some(dy + l->step, left), &b);
    }
    if (i < l->pixels) {
        add_halves(activation, p, load_some(x, left), load_some(dy, left), &a);
    }
    put_halves(activation, p,
               (struct halves){a.all + b.all, a.all_d + b.all_d, a.low + b.low, a.low_d + b.low_d},
               to, j, left);
}

INLINE void gradient_sums_as(enum cask_activation activation, const struct cask_bn_block *bn,
                             const element *x, const element *dy, const struct cask_line *line,
                             const struct sums *to)
{
    const struct cask_line l = *line;
    const int first = pair_gradient_sums(activation, bn, x, dy, line, to);
    EACH_VECTOR(first, l.c, {
        const struct affine p = load_affine(activation, bn, j, left);
        gradient_sums_of(activation, &p, x + j, dy + j, &l, left, to, j);
    })
}

static void gradient_sums(const struct cask_bn_block *bn, const void *x, const void *dy,
                          const struct cask_line *line, float *sum_dz, float *sum_dz_d,
                          float *sum_dslope)
{
    const struct sums to = {sum_dz, sum_dz_d, sum_dslope};
    switch (bn->activation) {
    case CASK_ACT_RELU:
        gradient_sums_as(CASK_ACT_RELU, bn, x, dy, line, &to);
        return;
    case CASK_ACT_PRELU:
        gradient_sums_as(CASK_ACT_PRELU, bn, x, dy, line, &to);
        return;
    default:
        gradient_sums_as(CASK_ACT_NONE, bn, x, dy, line, &to);
    }
}

const struct cask_line_kernels KERNEL(lines) = {.widen = widen,
                                                .apply = apply,
                                                .gradient = gradient,
                                                .reorder = reorder,
                                                .sums = sums,
                                                .gradient_sums = gradient_sums};
