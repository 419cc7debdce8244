#include "eval/rates.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

/* -------------------------------------------------------------------- sort */

enum { DIGIT_BITS = 11, DIGITS = 6, BUCKETS = 1 << DIGIT_BITS };

/* Larger doubles get smaller keys. */
static uint64_t falling_key(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = bits >> 63 ? bits : bits ^ INT64_MAX;
    return bits;
}

static double key_value(uint64_t key)
{
    uint64_t bits = key >> 63 ? key : key ^ INT64_MAX;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A radix sort, as comparison sorts take ten times as long for IJB-C's 15.6 million impostors. */
void cask_sort_falling(double *values, int64_t count, double *scratch)
{
    uint64_t *from = (uint64_t *)(void *)values, *to = (uint64_t *)(void *)scratch;
    for (int64_t i = 0; i < count; i++) {
        from[i] = falling_key(values[i]);
    }
    for (int digit = 0; digit < DIGITS; digit++) {
        int64_t starts[BUCKETS + 1] = {0};
        int shift = digit * DIGIT_BITS;
        for (int64_t i = 0; i < count; i++) {
            starts[(from[i] >> shift & (BUCKETS - 1)) + 1]++;
        }
        for (int b = 0; b < BUCKETS; b++) {
            starts[b + 1] += starts[b];
        }
        for (int64_t i = 0; i < count; i++) {
            to[starts[from[i] >> shift & (BUCKETS - 1)]++] = from[i];
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    for (int64_t i = 0; i < count; i++) {
        values[i] = key_value(((uint64_t *)(void *)values)[i]);
    }
}

static bool all_finite(const double *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

enum cask_status cask_scores_sort(struct cask_scores *scores, struct cask_error *err)
{
    int64_t longest = scores->impostor_count > scores->genuine_count ? scores->impostor_count
                                                                     : scores->genuine_count;
    if (scores->genuine_count < 1 || scores->impostor_count < 1) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "rates: expected at least one genuine and one impostor pair, found "
                              "%lld and %lld",
                              (long long)scores->genuine_count, (long long)scores->impostor_count);
    }
    if (!all_finite(scores->genuine, scores->genuine_count) ||
        !all_finite(scores->impostor, scores->impostor_count)) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "rates: expected finite scores, found one that is not a number");
    }
    double *scratch = cask_alloc((size_t)longest, sizeof *scratch);
    if (scratch == NULL) {
        return cask_error_memory(err, (size_t)longest * sizeof *scratch, "sorting scores");
    }
    cask_sort_falling(scores->genuine, scores->genuine_count, scratch);
    cask_sort_falling(scores->impostor, scores->impostor_count, scratch);
    cask_free(scratch);
    return CASK_OK;
}

void cask_scores_release(struct cask_scores *scores)
{
    cask_free(scores->genuine);
    cask_free(scores->impostor);
    *scores = (struct cask_scores){0};
}

/* ------------------------------------------------------------------- curve */

/* A walk over the ROC curve from the highest score down. */
struct point {
    int64_t genuine, impostors; /* accepted */
    double threshold;
};

static bool next_point(const struct cask_scores *s, struct point *at)
{
    int64_t g = at->genuine, i = at->impostors;
    if (g >= s->genuine_count && i >= s->impostor_count) {
        return false;
    }
    double score = g >= s->genuine_count    ? s->impostor[i]
                   : i >= s->impostor_count ? s->genuine[g]
                                            : fmax(s->genuine[g], s->impostor[i]);
    while (g < s->genuine_count && s->genuine[g] == score) {
        g++;
    }
    while (i < s->impostor_count && s->impostor[i] == score) {
        i++;
    }
    *at = (struct point){g, i, score};
    return true;
}

static struct cask_rate rate_at(const struct cask_scores *s, const struct point *p, double target)
{
    return (struct cask_rate){target,
                              (double)p->genuine / (double)s->genuine_count,
                              (double)p->impostors / (double)s->impostor_count,
                              p->threshold,
                              p->genuine,
                              p->impostors};
}

/* Later points have larger FPR and TPR, so "not farther" prefers the highest of equals. */
static void offer(const struct cask_scores *s, const struct point *p, int count,
                  struct cask_rate *out)
{
    double fpr = (double)p->impostors / (double)s->impostor_count;
    for (int i = 0; i < count; i++) {
        if (fabs(fpr - out[i].target) <= fabs(out[i].fpr - out[i].target)) {
            out[i] = rate_at(s, p, out[i].target);
        }
    }
}

static bool on_a_line(const struct point *a, const struct point *b, const struct point *c)
{
    return c->genuine - 2 * b->genuine + a->genuine == 0 &&
           c->impostors - 2 * b->impostors + a->impostors == 0;
}

void cask_rates_nearest(const struct cask_scores *scores, bool drop_intermediate,
                        const double *targets, int count, struct cask_rate *out)
{
    struct point before = {0, 0, INFINITY}, here = before, after;
    int64_t points = 0;
    for (int i = 0; i < count; i++) {
        out[i] = rate_at(scores, &before, targets[i]);
    }
    if (!next_point(scores, &here)) {
        return;
    }
    /* `before` is the point (0, 0), which roc_curve puts in front after it has dropped others: so
     * the first real point is always kept. */
    for (after = here; next_point(scores, &after); points++) {
        if (!drop_intermediate || points == 0 || !on_a_line(&before, &here, &after)) {
            offer(scores, &here, count, out);
        }
        before = here;
        here = after;
    }
    offer(scores, &here, count, out);
}

/* The first index whose value is not above the threshold. */
static int64_t count_above(const double *falling, int64_t count, double threshold)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (falling[middle] > threshold) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct cask_rate cask_rate_strict(const struct cask_scores *scores, double target)
{
    int64_t count = scores->impostor_count;
    int64_t allowed = (int64_t)(target * (double)count);
    while (allowed < count && (double)(allowed + 1) / (double)count <= target) {
        allowed++;
    }
    while (allowed > 0 && !((double)allowed / (double)count <= target)) {
        allowed--;
    }
    double threshold = allowed < count ? scores->impostor[allowed] : -INFINITY;
    struct point point = {count_above(scores->genuine, scores->genuine_count, threshold),
                          count_above(scores->impostor, count, threshold), threshold};
    return rate_at(scores, &point, target);
}

int cask_rates_curve(const struct cask_scores *scores, int most, double *fpr, double *tpr)
{
    int count = 0;
    double decades = log10((double)scores->impostor_count);
    for (int i = 0; i < most; i++) {
        double target = pow(10, decades * (i - most + 1) / (most - 1));
        struct cask_rate rate = cask_rate_strict(scores, i + 1 < most ? target : 1);
        if (count == 0 || rate.fpr > fpr[count - 1] || rate.tpr > tpr[count - 1]) {
            fpr[count] = rate.fpr;
            tpr[count++] = rate.tpr;
        }
    }
    return count;
}

struct cask_equal_error cask_equal_error_rate(const struct cask_scores *scores)
{
    int64_t genuine = scores->genuine_count, impostors = scores->impostor_count;
    struct point at = {0, 0, INFINITY};
    struct cask_equal_error best = {0};
    int64_t smallest = INT64_MAX;
    do { /* |FMR - FNMR| in whole numbers, so that equals are equal */
        int64_t missed = genuine - at.genuine;
        int64_t gap = at.impostors * genuine - missed * impostors;
        gap = gap < 0 ? -gap : gap;
        if (gap < smallest) {
            double fmr = (double)at.impostors / (double)impostors;
            double fnmr = (double)missed / (double)genuine;
            smallest = gap;
            best = (struct cask_equal_error){(fmr + fnmr) / 2, fmr, fnmr, at.threshold};
        }
    } while (next_point(scores, &at));
    return best;
}

static void moments(const double *values, int64_t count, double *mean, double *variance)
{
    *mean = *variance = 0;
    for (int64_t i = 0; i < count; i++) {
        *mean += values[i] / (double)count;
    }
    for (int64_t i = 0; i < count; i++) {
        *variance += (values[i] - *mean) * (values[i] - *mean) / (double)count;
    }
}

double cask_fisher_ratio(const struct cask_scores *scores)
{
    double mean_g, mean_i, var_g, var_i;
    moments(scores->genuine, scores->genuine_count, &mean_g, &var_g);
    moments(scores->impostor, scores->impostor_count, &mean_i, &var_i);
    double gap = mean_g - mean_i;
    return var_g + var_i > 0 ? gap * gap / (var_g + var_i) : INFINITY;
}
