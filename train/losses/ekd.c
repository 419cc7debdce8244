/* train/losses/ekd.c - evaluation-oriented KD (Huang et al. 2022; TFace recognition/tasks/ekd).
 *
 * Pairs i < j. For each net thresholds t_k at false positive rates 1/inv_fpr_k are taken from the
 * negative pairs of the batch and averaged: t_k <- alpha t_k + (1 - alpha) e_k, then used.
 *     rank R = sum_k sigmoid((s - t_k) / tau)
 *     eq11_sq   mean (R^S - R^T)^2              (code)
 *     eq11_abs  mean |R^S - R^T|                (paper, eq. 11)
 *     eq7_abs   mean sum_k |(s^S - t^S_k) - (s^T - t^T_k)|   (paper, eq. 7)
 * L = lambda_pos L(positives) + lambda_neg L(negatives). Negatives: the n of largest student
 * cosine, or drawn. The paper keeps critical pairs only (the nets disagree on which side of some
 * t_k); the code keeps all. `variant` sets form and filter; the default is the code, which is known
 * to have run.
 */
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/pairs.h"
#include "train/losses/select.h"

enum { MAX_LEVELS = 16, STUDENT = 0, TEACHER = 1 };
enum variant { CODE, PAPER };
enum form { FORM_BY_VARIANT, EQ11_SQ, EQ11_ABS, EQ7_ABS };
enum critical { CRITICAL_BY_VARIANT, CRITICAL_OFF, CRITICAL_ON };

struct options {
    int variant, form, critical;
    bool random;
    double tau, alpha, lambda_pos, lambda_neg;
    int64_t negatives;
    struct cask_config_reals inv_fpr;
};

static const char *const variants[] = {"code", "paper", NULL};
static const char *const forms[] = {"by_variant", "eq11_sq", "eq11_abs", "eq7_abs", NULL};
static const char *const choices[] = {"by_variant", "false", "true", NULL};

#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {.key = "variant",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(variant),
     .value = "code",
     .names = variants,
     .help = "code: eq11_sq, all pairs; paper: eq11_abs, critical pairs"},
    {.key = "form",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(form),
     .value = "by_variant",
     .names = forms,
     .help = "gap between the ranks of a pair"},
    {.key = "critical_only",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(critical),
     .value = "by_variant",
     .names = choices,
     .help = "only pairs that student and teacher see on different sides of a threshold"},
    {.key = "tau",
     .type = CASK_CONFIG_REAL,
     .offset = AT(tau),
     .value = "0.01",
     .min = 1e-6,
     .max = 100,
     .help = "temperature of the soft rank"},
    {.key = "ema",
     .type = CASK_CONFIG_REAL,
     .offset = AT(alpha),
     .value = "0.99",
     .min = 0,
     .max = 1,
     .help = "how much of a threshold stays in a step"},
    {.key = "inv_fpr",
     .type = CASK_CONFIG_REALS,
     .offset = AT(inv_fpr),
     .value = "[1e1, 1e2, 1e3, 1e4, 1e5, 1e6]",
     .min = 1,
     .max = 1e12,
     .help = "one over the false positive rates of the thresholds"},
    {.key = "negatives",
     .type = CASK_CONFIG_INT,
     .offset = AT(negatives),
     .value = "2000",
     .min = 1,
     .max = 1e9,
     .help = "negative pairs that count"},
    {.key = "random_negatives",
     .type = CASK_CONFIG_BOOL,
     .offset = AT(random),
     .value = "false",
     .help = "draw them instead of taking the hardest"},
    {.key = "lambda_pos",
     .type = CASK_CONFIG_REAL,
     .offset = AT(lambda_pos),
     .value = "0.02",
     .min = 0,
     .max = 1e6,
     .help = "factor of positive pairs (0.32 is its effect on TFace's 16 GPUs)"},
    {.key = "lambda_neg",
     .type = CASK_CONFIG_REAL,
     .offset = AT(lambda_neg),
     .value = "0.01",
     .min = 0,
     .max = 1e6,
     .help = "factor of negative pairs (0.16 there)"},
};

struct state {
    enum form form;
    bool critical;
    int levels;
    real *thresholds;              /* [2][levels], student's then teacher's */
    double current[2][MAX_LEVELS]; /* of this step, before they are rounded to `real` */
    real *scores[2];               /* [pairs]: cosines of the negatives */
    uint32_t *pair;                /* [pairs]: i * batch + j */
    uint32_t *drawn;               /* [pairs] */
};

static int64_t collect_negatives(struct state *state, const struct loss_step *step)
{
    const int64_t count = pairs_list(step, PAIRS_NEGATIVE, state->pair);
    for (int64_t n = 0; n < count; n++) {
        state->scores[STUDENT][n] = (real)step->gram[state->pair[n]];
        state->scores[TEACHER][n] = (real)step->teacher_gram[state->pair[n]];
    }
    return count;
}

/* The negative at this place of the descending order; past the end the smallest of all. Ranked by
 * the rounded scores, but its own is not rounded: pairs are compared with it. */
static double ranked_score(const struct state *state, int net, const double *gram, int64_t count,
                           int64_t place)
{
    if (place + 1 < count) {
        const struct cut cut = rank_top(state->scores[net], count, place + 1);
        return gram[state->pair[cut.index]];
    }
    double least = gram[state->pair[0]];
    for (int64_t n = 1; n < count; n++) {
        least = fmin(least, gram[state->pair[n]]);
    }
    return least;
}

static void update_thresholds(struct state *state, const struct options *o,
                              const struct loss_step *step, int64_t count)
{
    for (int net = 0; net < 2; net++) {
        const double *gram = net == STUDENT ? step->gram : step->teacher_gram;
        for (int k = 0; k < state->levels; k++) {
            real *kept = &state->thresholds[net * state->levels + k];
            double t = (double)*kept;
            if (count > 0) {
                const int64_t place = (int64_t)((double)count / o->inv_fpr.values[k]);
                t = o->alpha * t + (1 - o->alpha) * ranked_score(state, net, gram, count, place);
            }
            state->current[net][k] = t;
            *kept = (real)t;
        }
    }
}

/* Sum of sigmoids and its derivative; beyond +-50 the code's clamp stops the gradient. */
static double soft_rank(const struct state *state, int net, double score, double tau, double *slope)
{
    double rank = 0;
    *slope = 0;
    for (int k = 0; k < state->levels; k++) {
        double x = (score - state->current[net][k]) / tau;
        double g = 1 / (1 + exp(-fmax(fmin(x, 50), -50)));
        rank += g;
        *slope += fabs(x) < 50 ? g * (1 - g) / tau : 0;
    }
    return rank;
}

static bool is_critical(const struct state *state, double student, double teacher)
{
    bool critical = false;
    for (int k = 0; k < state->levels; k++) {
        critical |=
            (student > state->current[STUDENT][k]) != (teacher > state->current[TEACHER][k]);
    }
    return critical;
}

/* Loss of one pair and its derivative by the student's cosine. */
static double pair_loss(const struct state *state, double tau, double student, double teacher,
                        double *slope)
{
    double value = 0, rank_slope, unused;
    *slope = 0;
    if (state->form == EQ7_ABS) {
        for (int k = 0; k < state->levels; k++) {
            double gap =
                (student - state->current[STUDENT][k]) - (teacher - state->current[TEACHER][k]);
            value += fabs(gap);
            *slope += (gap > 0) - (gap < 0);
        }
        return value;
    }
    double gap = soft_rank(state, STUDENT, student, tau, &rank_slope) -
                 soft_rank(state, TEACHER, teacher, tau, &unused);
    *slope = rank_slope * (state->form == EQ11_SQ ? 2 * gap : (gap > 0) - (gap < 0));
    return state->form == EQ11_SQ ? gap * gap : fabs(gap);
}

/* Mean over the listed pairs that count; 0 if there are none. */
static double mean_loss(struct state *state, const struct loss_step *step, double tau,
                        const uint32_t *pairs, int64_t count, double lambda)
{
    int64_t taking_part = 0;
    double sum = 0, slope;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t n = 0; n < count; n++) {
            const double student = step->gram[pairs[n]], teacher = step->teacher_gram[pairs[n]];
            if (state->critical && !is_critical(state, student, teacher)) {
                continue;
            }
            if (pass == 0) {
                taking_part++;
                continue;
            }
            sum += pair_loss(state, tau, student, teacher, &slope);
            step->d_gram[pairs[n]] += step->weight * lambda * slope / (double)taking_part;
        }
    }
    return taking_part > 0 ? lambda * sum / (double)taking_part : 0;
}

/* Moves the negatives that count to the front of state->pair. */
static int64_t choose_negatives(struct state *state, const struct options *o,
                                const struct loss_step *step, int64_t count)
{
    if (count <= o->negatives) {
        return count;
    }
    if (o->random) {
        for (int64_t n = 0; n < o->negatives; n++) {
            state->drawn[n] = state->pair[cask_rng_permute(step->seed, step->counter ^ 0x4b44,
                                                           (uint64_t)count, (uint64_t)n)];
        }
        memcpy(state->pair, state->drawn, (size_t)o->negatives * sizeof *state->drawn);
        return o->negatives;
    }
    const struct cut cut = rank_top(state->scores[STUDENT], count, o->negatives);
    int64_t kept = 0;
    for (int64_t n = 0; n < count; n++) {
        real s = state->scores[STUDENT][n];
        if (s > cut.value || (s == cut.value && n <= cut.index)) {
            state->pair[kept++] = state->pair[n];
        }
    }
    return kept;
}

static double step_ekd(void *state_, const void *options, const struct loss_step *step)
{
    struct state *state = state_;
    const struct options *o = options;
    int64_t count = collect_negatives(state, step);
    update_thresholds(state, o, step, count);
    count = choose_negatives(state, o, step, count);
    double value = mean_loss(state, step, o->tau, state->pair, count, o->lambda_neg);
    count = pairs_list(step, PAIRS_POSITIVE, state->pair);
    return value + mean_loss(state, step, o->tau, state->pair, count, o->lambda_pos);
}

static void ekd_free(void *state_)
{
    struct state *state = state_;
    if (state != NULL) {
        cask_free(state->thresholds);
        cask_free(state->scores[0]);
        cask_free(state->scores[1]);
        cask_free(state->pair);
        cask_free(state->drawn);
        cask_free(state);
    }
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    const size_t pairs = pairs_most(facts->batch);
    enum cask_status st = CASK_OK;
    struct state *state = NULL;
    if (o->inv_fpr.count < 1 || o->inv_fpr.count > MAX_LEVELS || facts->batch > 65535) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "loss.ekd: expected 1 to %d false positive rates and a batch below "
                                "65536, found %d and %d",
                                MAX_LEVELS, o->inv_fpr.count, facts->batch));
    }
    state = cask_alloc(1, sizeof *state);
    if (state == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *state, "EKD"));
    }
    bool paper = o->variant == PAPER;
    state->form = o->form != FORM_BY_VARIANT ? (enum form)o->form : paper ? EQ11_ABS : EQ11_SQ;
    state->critical = o->critical != CRITICAL_BY_VARIANT ? o->critical == CRITICAL_ON : paper;
    state->levels = o->inv_fpr.count;
    state->thresholds = cask_alloc(2 * (size_t)state->levels, sizeof(real));
    state->scores[0] = cask_alloc(pairs, sizeof(real));
    state->scores[1] = cask_alloc(pairs, sizeof(real));
    state->pair = cask_alloc(pairs, sizeof *state->pair);
    state->drawn = cask_alloc(pairs, sizeof *state->drawn);
    if (state->thresholds == NULL || state->scores[0] == NULL || state->scores[1] == NULL ||
        state->pair == NULL || state->drawn == NULL) {
        CASK_TRY(cask_error_memory(err, pairs * sizeof(real), "pairs of EKD"));
    }
    *out = state;
    state = NULL;
done:
    ekd_free(state);
    return st;
}

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)options;
    (void)facts;
    return CASK_NEED_UNIT | CASK_NEED_LABELS;
}

static int arrays(void *state_, struct cask_engine_array *arrays_, int limit)
{
    struct state *state = state_;
    if (limit < 1) {
        return 0;
    }
    arrays_[0] = (struct cask_engine_array){"loss.ekd.thresholds", state->thresholds, false, 2,
                                            state->levels};
    return 1;
}

const struct loss NAME(cask_loss_ekd) = {
    .name = "ekd",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .create = create,
    .free = ekd_free,
    .step = step_ekd,
    .arrays = arrays,
};
