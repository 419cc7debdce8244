#include "eval/ijb_draws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/groups.h"
#include "eval/ijb_curve.h"
#include "eval/resample.h"

enum { BATCH = 128, FLUSH = 1 << 16, BINS = 1 << 16, FEW = 1 << 16 };

struct entry {
    double score;
    struct curve_step step;
};

struct worker {
    uint8_t *rows;  /* [persons][BATCH]: how often, in each draw. Above 255 is out of reach: how
                       often one of n is drawn in n draws exceeds k with chance below 1 / k! */
    int32_t *times; /* [persons], of one draw */
};

struct verify {
    const struct cask_scores *scores;
    const struct cask_ijb_sides *sides; /* persons */
    struct ijb_draws *draws;
    int64_t persons, *held; /* held: those in pairs [draws->persons] */
    struct curve_walk walk;
    struct curve_step *steps;
    struct worker *workers; /* [threads] */
    bool *short_of;         /* [batches] */
};

void ijb_draws_release(struct ijb_draws *draws)
{
    cask_free(draws->values);
    draws->values = NULL;
}

/* ----------------------------------------------------------------- persons */

/* Template indices become persons, numbered by their first template. */
static enum cask_status find_persons(struct verify *v, struct cask_ijb_sides *sides,
                                     int64_t templates, struct cask_error *err)
{
    int64_t genuine = v->scores->genuine_count, impostors = v->scores->impostor_count;
    int64_t *parent = cask_alloc((size_t)templates, sizeof *parent);
    bool *seen = cask_alloc((size_t)templates, sizeof *seen);
    v->held = cask_alloc((size_t)templates, sizeof *v->held);
    v->persons = templates;
    if (parent == NULL || seen == NULL || v->held == NULL) {
        cask_free(parent);
        cask_free(seen);
        return cask_error_memory(err, (size_t)templates * 17, "persons");
    }
    for (int64_t t = 0; t < templates; t++) {
        parent[t] = t;
    }
    for (int64_t i = 0; i < genuine; i++) {
        group_join(parent, sides->genuine[i][0], sides->genuine[i][1]);
    }
    for (int64_t i = 0; i < 2 * (genuine + impostors); i++) {
        uint32_t *side = i < 2 * genuine ? &sides->genuine[i / 2][i % 2]
                                         : &sides->impostor[i / 2 - genuine][i % 2];
        *side = (uint32_t)group_root(parent, *side);
        seen[*side] = true;
    }
    v->draws->persons = 0;
    for (int64_t t = 0; t < templates; t++) {
        if (seen[t]) {
            v->held[v->draws->persons++] = t;
        }
    }
    cask_free(parent);
    cask_free(seen);
    return CASK_OK;
}

/* ------------------------------------------------------- the highest pairs */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static int bin_of(double score)
{
    double at = (score + 1) / 2 * BINS;
    return at < 0 ? 0 : at < BINS ? (int)at : BINS - 1;
}

/* The lowest bin that is needed for so many impostors. */
static enum cask_status find_cut(const struct cask_scores *scores, int64_t wanted, int *cut,
                                 struct cask_error *err)
{
    int64_t *bins = cask_alloc(BINS, sizeof *bins), above = 0;
    if (bins == NULL) {
        return cask_error_memory(err, BINS * sizeof *bins, "a histogram");
    }
    for (int64_t i = 0; i < scores->impostor_count; i++) {
        bins[bin_of(scores->impostor[i])]++;
    }
    for (*cut = BINS; *cut > 0 && above < wanted;) {
        above += bins[--*cut];
    }
    cask_free(bins);
    return CASK_OK;
}

static int64_t collect(const struct verify *v, int cut, struct entry *entries)
{
    const struct cask_scores *s = v->scores;
    int64_t count = 0;
    for (int64_t i = 0; i < s->genuine_count + s->impostor_count; i++) {
        bool genuine = i < s->genuine_count;
        int64_t at = genuine ? i : i - s->genuine_count;
        double score = genuine ? s->genuine[at] : s->impostor[at];
        if (bin_of(score) >= cut) {
            if (entries != NULL) {
                const uint32_t *side = genuine ? v->sides->genuine[at] : v->sides->impostor[at];
                entries[count].score = score;
                entries[count].step =
                    (struct curve_step){.a = side[0], .b = side[1], .genuine = genuine};
            }
            count++;
        }
    }
    return count;
}

static enum cask_status make_steps(struct verify *v, int64_t wanted, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct entry *entries = NULL;
    int cut = 0;
    CASK_TRY(find_cut(v->scores, wanted, &cut, err));
    int64_t count = collect(v, cut, NULL);
    cask_free(v->steps);
    entries = cask_alloc((size_t)count, sizeof *entries);
    v->steps = cask_alloc((size_t)count, sizeof *v->steps);
    if (entries == NULL || v->steps == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *entries, "the highest pairs"));
    }
    collect(v, cut, entries);
    qsort(entries, (size_t)count, sizeof *entries, compare_entries);
    for (int64_t i = 0; i < count; i++) {
        v->steps[i] = entries[i].step;
        v->steps[i].last = i + 1 == count || entries[i].score != entries[i + 1].score;
    }
    v->walk.steps = v->steps;
    v->walk.count = count;
    v->walk.complete = cut == 0;
done:
    cask_free(entries);
    return st;
}

/* ------------------------------------------------------------------- draws */

static void sum_weights(const struct worker *w, uint32_t (*sides)[2], int64_t count, int64_t *total)
{
    uint32_t sum[BATCH];
    for (int64_t begin = 0; begin < count; begin += FLUSH) {
        int64_t end = begin + FLUSH < count ? begin + FLUSH : count;
        memset(sum, 0, sizeof sum);
        for (int64_t i = begin; i < end; i++) {
            const uint8_t *a = w->rows + (size_t)sides[i][0] * BATCH;
            const uint8_t *b = w->rows + (size_t)sides[i][1] * BATCH;
            for (int d = 0; a != b && d < BATCH; d++) {
                sum[d] += (uint32_t)a[d] * b[d];
            }
            for (int d = 0; a == b && d < BATCH; d++) {
                sum[d] += a[d];
            }
        }
        for (int d = 0; d < BATCH; d++) {
            total[d] += sum[d];
        }
    }
}

static void draw_batch(void *user, int64_t batch, int worker)
{
    struct verify *v = user;
    struct worker *w = &v->workers[worker];
    struct ijb_draws *draws = v->draws;
    int64_t genuine[BATCH] = {0}, impostors[BATCH] = {0}, first = batch * BATCH;
    int count = draws->draws - first < BATCH ? (int)(draws->draws - first) : BATCH;
    double tpr[IJB_RULES * CURVE_TARGETS];
    memset(w->rows, 0, (size_t)v->persons * BATCH);
    for (int d = 0; d < count; d++) {
        memset(w->times, 0, (size_t)v->persons * sizeof *w->times);
        resample_units(draws->seed, first + d, v->held, draws->persons, w->times);
        for (int64_t p = 0; p < v->persons; p++) {
            w->rows[p * BATCH + d] = (uint8_t)w->times[p];
        }
    }
    sum_weights(w, v->sides->genuine, v->scores->genuine_count, genuine);
    sum_weights(w, v->sides->impostor, v->scores->impostor_count, impostors);
    for (int d = 0; d < count && !v->short_of[batch]; d++) {
        bool defined = genuine[d] > 0 && impostors[d] > 0;
        for (int64_t p = 0; p < v->persons; p++) {
            w->times[p] = w->rows[p * BATCH + d];
        }
        v->short_of[batch] =
            defined && !curve_rates(&v->walk, w->times, genuine[d], impostors[d], tpr);
        for (int n = 0; n < draws->numbers; n++) {
            draws->values[(int64_t)n * draws->draws + first + d] = defined ? 100 * tpr[n] : NAN;
        }
    }
}

static enum cask_status prepare(struct verify *v, int threads, int64_t batches,
                                struct cask_error *err)
{
    struct ijb_draws *draws = v->draws;
    size_t values = (size_t)draws->numbers * (size_t)draws->draws, persons = (size_t)v->persons;
    draws->values = cask_alloc(values, sizeof *draws->values);
    v->workers = cask_alloc((size_t)threads, sizeof *v->workers);
    v->short_of = cask_alloc((size_t)batches, sizeof *v->short_of);
    bool good = draws->values != NULL && v->workers != NULL && v->short_of != NULL;
    for (int w = 0; good && w < threads; w++) {
        v->workers[w].rows = cask_alloc(persons, BATCH);
        v->workers[w].times = cask_alloc(persons, sizeof *v->workers[w].times);
        good = v->workers[w].rows != NULL && v->workers[w].times != NULL;
    }
    return good ? CASK_OK
                : cask_error_memory(err, values * 8 + (size_t)threads * persons * (BATCH + 4),
                                    "the bootstrap");
}

static enum cask_status run_batches(struct verify *v, struct cask_pool *pool, int64_t batches,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double last = v->walk.targets[v->walk.target_count - 1];
    int64_t impostors = v->scores->impostor_count;
    /* a quarter more than the last target takes of all pairs; draws scatter less in a large set */
    int64_t wanted = (int64_t)(1.25 * last * (double)impostors) + FEW;
    for (bool again = true; again; wanted *= 2) {
        CASK_TRY(make_steps(v, wanted < impostors ? wanted : INT64_MAX, err));
        memset(v->short_of, 0, (size_t)batches * sizeof *v->short_of);
        cask_pool_run(pool, batches, draw_batch, v);
        CASK_TRY(cask_interrupt_check(err));
        again = false;
        for (int64_t b = 0; b < batches; b++) {
            again |= v->short_of[b];
        }
    }
done:
    return st;
}

enum cask_status ijb_draws_verify(const struct cask_scores *scores, struct cask_ijb_sides *sides,
                                  int64_t templates, const double *targets, int count,
                                  struct ijb_draws *draws, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    struct verify v = {.scores = scores, .sides = sides, .draws = draws};
    int64_t batches = (draws->draws + BATCH - 1) / BATCH;
    int threads = draws->threads > 0 ? draws->threads : cask_cpu_count();
    threads = threads < batches ? threads : (int)batches;
    v.walk = (struct curve_walk){.targets = targets, .target_count = count};
    draws->numbers = IJB_RULES * count;
    if (scores->genuine_count < 1 || scores->impostor_count < 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "intervals: expected genuine and impostor pairs, found %lld and "
                                "%lld",
                                (long long)scores->genuine_count,
                                (long long)scores->impostor_count));
    }
    CASK_TRY(find_persons(&v, sides, templates, err));
    CASK_TRY(prepare(&v, threads, batches, err));
    CASK_TRY(cask_pool_create(threads, &pool, err));
    CASK_TRY(run_batches(&v, pool, batches, err));
done:
    cask_pool_free(pool);
    for (int w = 0; v.workers != NULL && w < threads; w++) {
        cask_free(v.workers[w].rows);
        cask_free(v.workers[w].times);
    }
    cask_free(v.workers);
    cask_free(v.short_of);
    cask_free(v.held);
    cask_free(v.steps);
    return st;
}
