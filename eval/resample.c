#include "eval/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/rng.h"

#define STREAM_DRAW ((uint64_t)0x626f6f74 << 32) /* "boot" */

static void hold(struct resampler *r, int64_t person)
{
    if (r->times[person] == 0) {
        r->times[person] = 1;
        r->drawn[r->held++] = person;
    }
}

enum cask_status resampler_create(struct resampler *r, struct cask_error *err)
{
    const struct trial_pairs *set = r->set;
    if (r->kind == CASK_RESAMPLE_PAIRS) {
        r->in_fold = cask_alloc((size_t)set->count, sizeof *r->in_fold);
        return r->in_fold != NULL ? CASK_OK
                                  : cask_error_memory(err, (size_t)set->count * 8, "draws");
    }
    r->drawn = cask_alloc((size_t)r->persons, sizeof *r->drawn);
    r->times = cask_alloc((size_t)r->persons, sizeof *r->times);
    if (r->drawn == NULL || r->times == NULL) {
        return cask_error_memory(err, (size_t)r->persons * 12, "draws");
    }
    for (int64_t i = 0; i < set->count; i++) {
        if (set->weights[i] > 0) {
            hold(r, r->person_of[set->pairs[i].a]);
            hold(r, r->person_of[set->pairs[i].b]);
        }
    }
    return CASK_OK;
}

void resampler_release(struct resampler *r)
{
    cask_free(r->drawn);
    cask_free(r->times);
    cask_free(r->in_fold);
}

void resample_units(uint64_t seed, int64_t draw, const int64_t *units, int64_t held, int32_t *times)
{
    uint64_t stream = STREAM_DRAW + (uint64_t)draw;
    for (int64_t i = 0; i < held; i++) {
        times[units[cask_rng_below(seed, stream, (uint64_t)i, (uint64_t)held)]]++;
    }
}

static void draw_persons(struct resampler *r, int64_t draw, int32_t *weights)
{
    const struct trial_pairs *set = r->set;
    memset(r->times, 0, (size_t)r->persons * sizeof *r->times);
    resample_units(r->seed, draw, r->drawn, r->held, r->times);
    for (int64_t i = 0; i < set->count; i++) {
        int64_t a = r->person_of[set->pairs[i].a], b = r->person_of[set->pairs[i].b];
        weights[i] = set->weights[i] * (a == b ? r->times[a] : r->times[a] * r->times[b]);
    }
}

static void draw_pairs(struct resampler *r, int64_t draw, int32_t *weights)
{
    const struct trial_pairs *set = r->set;
    uint64_t stream = STREAM_DRAW + (uint64_t)draw;
    memset(weights, 0, (size_t)set->count * sizeof *weights);
    for (int f = 0; f < set->folds; f++) {
        int64_t end = fold_begin(set->count, set->folds, f + 1), held = 0;
        int64_t begin = fold_begin(set->count, set->folds, f);
        for (int64_t i = begin; i < end; i++) {
            if (set->weights[i] > 0) {
                r->in_fold[held++] = i;
            }
        }
        for (int64_t i = 0; i < held; i++) {
            uint64_t counter = (uint64_t)(begin + i);
            weights[r->in_fold[cask_rng_below(r->seed, stream, counter, (uint64_t)held)]]++;
        }
    }
}

void resampler_draw(struct resampler *r, int64_t draw, int32_t *weights)
{
    if (r->kind == CASK_RESAMPLE_PERSONS) {
        draw_persons(r, draw, weights);
    } else {
        draw_pairs(r, draw, weights);
    }
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double quantile(const double *sorted, int count, double share)
{
    double at = share * (count - 1);
    int below = (int)at;
    double next = sorted[below + 1 < count ? below + 1 : below];
    return sorted[below] + (at - below) * (next - sorted[below]);
}

struct cask_interval percentiles(double *values, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (!isnan(values[i])) {
            values[kept++] = values[i];
        }
    }
    if (kept == 0) {
        return (struct cask_interval){NAN, NAN};
    }
    qsort(values, (size_t)kept, sizeof *values, compare);
    return (struct cask_interval){quantile(values, kept, 0.025), quantile(values, kept, 0.975)};
}

struct cask_interval exact_bound(double rate, int64_t count)
{
    double edge = pow(0.025, 1 / (double)count);
    return rate >= 0.5 ? (struct cask_interval){edge, 1} : (struct cask_interval){0, 1 - edge};
}

struct cask_interval interval_of_draws(double *values, int count, int64_t units)
{
    struct cask_interval i = percentiles(values, count);
    if (i.low == i.high && (i.low == 0 || i.low == 100)) {
        i = exact_bound(i.low / 100, units);
        i = (struct cask_interval){100 * i.low, 100 * i.high};
    }
    return i;
}
