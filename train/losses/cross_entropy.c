/* train/losses/cross_entropy.c - the head's cross-entropy, row by row and chunk by chunk.
 *
 * L = mean over the labelled rows of LSE(z) - z_y. The label's logit carries the margin and is
 * handled apart, in double; the sums of a pass are over all other classes.
 */
#include "train/losses/losses.h"
#include "train/losses/rows.h"

/* CurricularFace's hard negatives: x' = x (t + x), dx'/dx = t + 2x, above the row's threshold. */
static void modulate(const real *x, int64_t count, real hard, real t, real *value, real *slope)
{
    SIMD()
    for (int64_t j = 0; j < count; j++) {
        value[j] = x[j] > hard ? x[j] * (t + x[j]) : x[j];
        slope[j] = x[j] > hard ? t + 2 * x[j] : 1;
    }
}

void ce_clear(struct ce_sums *sums)
{
    *sums = (struct ce_sums){.max = (double)REAL_NONE, .largest = REAL_NONE};
}

static void raise_max(const struct classes *k, double max, struct ce_sums *sums)
{
    if (max > sums->max) {
        sums->sum *= exp((sums->max - max) * k->scale);
        sums->max = max;
    }
}

static void add_values(const struct classes *k, const real *x, int64_t count, real high,
                       struct ce_sums *sums)
{
    raise_max(k, (double)high, sums);
    sums->sum += rows_sum_exp(x, count, sums->max, k->scale);
}

static void add_run(const struct classes *k, const struct label *label, const real *x,
                    int64_t count, struct ce_sums *sums)
{
    real low = 0, high = REAL_NONE;
    rows_range(x, count, &low, &high);
    sums->largest = high > sums->largest ? high : sums->largest;
    if (label->hard < INFINITY) {
        real value[TILE] = {0}, slope[TILE];
        modulate(x, count, (real)label->hard, (real)k->curricular_t, value, slope);
        high = REAL_NONE;
        rows_range(value, count, &low, &high);
        add_values(k, value, count, high, sums);
    } else {
        add_values(k, x, count, high, sums);
    }
}

void ce_add(const struct classes *k, int64_t row, const struct chunk *chunk, struct ce_sums *sums)
{
    const struct label *label = &k->labels[row];
    const real *x = chunk->x + row * chunk->stride;
    const int64_t at = (int64_t)label->at - chunk->first;
    if (!label->head) {
        return;
    }
    if (at < 0 || at >= chunk->width) {
        add_run(k, label, x, chunk->width, sums);
        return;
    }
    add_run(k, label, x, at, sums);
    add_run(k, label, x + at + 1, chunk->width - at - 1, sums);
}

void ce_merge(const struct classes *k, struct ce_sums *into, const struct ce_sums *from)
{
    struct ce_sums other = *from;
    raise_max(k, other.max, into);
    raise_max(k, into->max, &other);
    into->sum += other.sum;
    into->largest = other.largest > into->largest ? other.largest : into->largest;
}

double ce_finish(const struct classes *k, int64_t row)
{
    const struct label *label = &k->labels[row];
    struct ce_row *ce = &k->ce[row];
    if (!label->head) {
        return 0;
    }
    ce->max = fmax(label->margin, ce->sums.max);
    const double others = ce->sums.sum * exp((ce->sums.max - ce->max) * k->scale);
    const double own = exp((label->margin - ce->max) * k->scale);
    /* where the label leads, its logarithm is log(1 + others): no digit of a small loss is lost */
    ce->log_sum = own == 1 ? log1p(others) : log(others + own);
    ce->rest = others / (others + own);
    return (ce->max - label->margin) * k->scale + ce->log_sum;
}

void ce_gradient(const struct classes *k, int64_t row, const struct chunk *chunk, real *g)
{
    const struct label *label = &k->labels[row];
    const struct ce_row *ce = &k->ce[row];
    if (!label->head) {
        return;
    }
    const real *x = chunk->x + row * chunk->stride;
    const int64_t at = (int64_t)label->at - chunk->first, width = chunk->width;
    const double weight = k->head_options->weight * k->scale / k->labelled;
    const bool here = at >= 0 && at < width;
    const real kept = here ? g[at] : 0;
    if (label->hard < INFINITY) {
        real value[TILE] = {0}, slope[TILE], p[TILE];
        modulate(x, width, (real)label->hard, (real)k->curricular_t, value, slope);
        memset(p, 0, (size_t)width * sizeof *p);
        rows_add_exp(value, width, k->scale, ce->max, ce->log_sum, weight, p);
        SIMD()
        for (int64_t j = 0; j < width; j++) {
            g[j] += p[j] * slope[j];
        }
    } else {
        rows_add_exp(x, width, k->scale, ce->max, ce->log_sum, weight, g);
    }
    if (here) {
        g[at] = kept + (real)(-weight * ce->rest * label->slope);
    }
}
