/* train/losses/triplet.c - TripletDistillation (david-svitov/margindistillation).
 *
 * For triplets (a,p,n) with teacher distances T:  gap = max(T(a,n) - T(a,p), 0),
 *     margin = m_min + (m_max - m_min) gap / max over the batch,   L = mean max(D(a,p) - D(a,n) +
 * margin, 0) D and T: squared L2 of unit rows, or the angle. Triplets are mined with the current
 * student: for every ordered pair (a,p) of one identity one random negative with D(a,p) < D(a,n) <
 * D(a,p) + window.
 */
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/pairs.h"

enum metric { L2SQ, ANGLE };

struct options {
    int metric;
    double m_min, m_max, window;
};

static const char *const metrics[] = {"l2sq", "angle", NULL};
#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {.key = "metric",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(metric),
     .value = "l2sq",
     .names = metrics,
     .help = "squared distance of unit rows, or angle"},
    {.key = "margin_min",
     .type = CASK_CONFIG_REAL,
     .offset = AT(m_min),
     .value = "0.2",
     .min = 0,
     .max = 10,
     .help = "margin where the teacher's gap is 0"},
    {.key = "margin_max",
     .type = CASK_CONFIG_REAL,
     .offset = AT(m_max),
     .value = "0.5",
     .min = 0,
     .max = 10,
     .help = "margin at the batch's largest gap"},
    {.key = "window",
     .type = CASK_CONFIG_REAL,
     .offset = AT(window),
     .value = "0.35",
     .min = 0,
     .max = 10,
     .help = "mining: how much farther than the positive a negative may be"},
};

struct state {
    int32_t (*mined)[3]; /* [batch * (batch - 1)] */
    uint32_t *pair;      /* [pairs] */
};

static double distance(enum metric metric, double cosine, double *slope)
{
    if (metric == L2SQ) {
        *slope = -2;
        return 2 - 2 * cosine;
    }
    /* the slope of arccos is infinite at +-1 */
    const double c = fmax(fmin(cosine, 1 - 1e-7), -1 + 1e-7);
    *slope = c == cosine ? -1 / sqrt(1 - c * c) : 0;
    return acos(c);
}

static int32_t mine_negative(const struct options *o, const struct loss_step *step, int64_t a,
                             int64_t p)
{
    double slope;
    const double *s = step->gram + a * step->batch;
    const double near = distance((enum metric)o->metric, s[p], &slope);
    uint64_t found = 0;
    int32_t chosen = -1;
    for (int32_t n = 0; n < step->batch; n++) {
        double d = distance((enum metric)o->metric, s[n], &slope);
        if (step->labels[n] == step->labels[a] || step->labels[n] == UINT32_MAX ||
            !(d > near && d < near + o->window)) {
            continue;
        }
        /* reservoir of one: every candidate is equally likely */
        found++;
        uint64_t draw =
            (step->counter * (uint64_t)step->batch + (uint64_t)a) * (uint64_t)step->batch +
            (uint64_t)p;
        chosen = cask_rng_below(step->seed + (uint64_t)n, 0x7219, draw, found) == 0 ? n : chosen;
    }
    return chosen;
}

static int mine(const struct options *o, const struct loss_step *step, struct state *state)
{
    const int64_t pairs = pairs_list(step, PAIRS_POSITIVE, state->pair);
    int count = 0;
    for (int64_t n = 0; n < 2 * pairs; n++) { /* either image is the anchor once */
        const int32_t i = (int32_t)(state->pair[n / 2] / (uint32_t)step->batch);
        const int32_t j = (int32_t)(state->pair[n / 2] % (uint32_t)step->batch);
        const int32_t a = n % 2 == 0 ? i : j, p = n % 2 == 0 ? j : i;
        const int32_t negative = mine_negative(o, step, a, p);
        if (negative >= 0) {
            state->mined[count][0] = a;
            state->mined[count][1] = p;
            state->mined[count++][2] = negative;
        }
    }
    return count;
}

static double teacher_gap(const struct options *o, const struct loss_step *step, const int32_t t[3])
{
    double slope;
    const double *row = step->teacher_gram + (int64_t)t[0] * step->batch;
    const enum metric metric = (enum metric)o->metric;
    return fmax(distance(metric, row[t[2]], &slope) - distance(metric, row[t[1]], &slope), 0);
}

static double step_triplet(void *state, const void *options, const struct loss_step *step)
{
    const struct options *o = options;
    struct state *own = state;
    const int32_t(*triplets)[3] = step->triplets;
    int count = step->triplet_count;
    if (triplets == NULL) {
        count = mine(o, step, own);
        triplets = (const int32_t(*)[3])own->mined;
    }
    double largest = 0, sum = 0;
    for (int i = 0; i < count; i++) {
        largest = fmax(largest, teacher_gap(o, step, triplets[i]));
    }
    for (int i = 0; i < count; i++) {
        const int64_t a = triplets[i][0], p = triplets[i][1], n = triplets[i][2];
        double slope_p, slope_n;
        double margin =
            o->m_min +
            (largest > 0 ? (o->m_max - o->m_min) * teacher_gap(o, step, triplets[i]) / largest : 0);
        double near = distance((enum metric)o->metric, step->gram[a * step->batch + p], &slope_p);
        double far = distance((enum metric)o->metric, step->gram[a * step->batch + n], &slope_n);
        double hinge = near - far + margin;
        if (hinge > 0 || isnan(hinge)) {
            sum += hinge;
            step->d_gram[a * step->batch + p] += step->weight * slope_p / count;
            step->d_gram[a * step->batch + n] -= step->weight * slope_n / count;
        }
    }
    return count > 0 ? sum / count : 0;
}

static void triplet_free(void *state)
{
    struct state *own = state;
    if (own != NULL) {
        cask_free(own->mined);
        cask_free(own->pair);
        cask_free(own);
    }
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **state, struct cask_error *err)
{
    const struct options *o = options;
    const size_t most = (size_t)facts->batch * (size_t)facts->batch;
    if (o->m_max < o->m_min) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "loss.triplet.margin_max: expected at least margin_min %g, found %g",
                              o->m_min, o->m_max);
    }
    struct state *own = cask_alloc(1, sizeof *own);
    if (own == NULL || (own->mined = cask_alloc(most, sizeof *own->mined)) == NULL ||
        (own->pair = cask_alloc(pairs_most(facts->batch), sizeof *own->pair)) == NULL) {
        triplet_free(own);
        return cask_error_memory(err, most * sizeof *own->mined, "triplets");
    }
    *state = own;
    return CASK_OK;
}

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)options;
    (void)facts;
    return CASK_NEED_UNIT | CASK_NEED_LABELS;
}

const struct loss NAME(cask_loss_triplet) = {
    .name = "triplet",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .create = create,
    .free = triplet_free,
    .step = step_triplet,
};
