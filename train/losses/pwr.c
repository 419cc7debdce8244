/* train/losses/pwr.c - pairwise ranking distillation (mnikitin/KD-PWR).
 *
 * Scores psi are cosines of the M = B(B-1)/2 pairs. For every ordered pair of pairs (a,b) with
 * psi^T_a > psi^T_b and x = psi^S_b - psi^S_a (above 0: the student has the order wrong):
 *     power    max(x + mu, 0)^p          (p = 1: Diff)
 *     exp      max(exp(beta (x + mu)) - 1, 0)
 *     ranknet  log(1 + exp(beta x))
 * variant code: L is the mean over the ordered pairs; paper (eq. 3): their sum. mu: a constant, the
 * deviation of the teacher's scores, or psi^T_a - psi^T_b; constants all.
 *
 * Diff and exp take O(M log M) (pwr_sorted.h). RankNet (pwr_ranknet.h) and other powers take M^2
 * evaluations, spread over threads. Scores are compared in double: a pair on the other side of the
 * hinge, or in the other order, is a whole term, and among M^2 / 2 of them some lie within a
 * float's rounding.
 */
#include "common/mem.h"
#include "train/losses/pairs.h"
#include "train/losses/pwr_ranknet.h"
#include "train/losses/pwr_sorted.h"

enum variant { CODE, PAPER };
enum kind { POWER, EXP, RANKNET };
enum margin { CONST, TEACHER_STD, TEACHER_DIFF };

struct options {
    int variant, kind, margin;
    double power, beta, margin_value;
};

static const char *const variants[] = {"code", "paper", NULL};
static const char *const kinds[] = {"power", "exp", "ranknet", NULL};
static const char *const margins[] = {"const", "teacher_std", "teacher_diff", NULL};
#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {.key = "variant",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(variant),
     .value = "code",
     .names = variants,
     .help = "code: mean over the ordered pairs; paper: their sum, M^2 / 2 times as much"},
    {.key = "kind",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(kind),
     .value = "power",
     .names = kinds,
     .help = "penalty of a wrong order"},
    {.key = "power",
     .type = CASK_CONFIG_REAL,
     .offset = AT(power),
     .value = "1",
     .min = 1,
     .max = 16,
     .help = "power: exponent; 1 is PWR-Diff"},
    {.key = "beta",
     .type = CASK_CONFIG_REAL,
     .offset = AT(beta),
     .value = "1",
     .min = 1e-6,
     .max = 1000,
     .help = "exp, ranknet: steepness"},
    {.key = "margin",
     .type = CASK_CONFIG_ENUM,
     .offset = AT(margin),
     .value = "teacher_diff",
     .names = margins,
     .help = "power, exp: mu"},
    {.key = "margin_value",
     .type = CASK_CONFIG_REAL,
     .offset = AT(margin_value),
     .value = "0.1",
     .min = 0,
     .max = 10,
     .help = "mu of margin const (paper 0.1)"},
};

struct state {
    double *student, *teacher, *d_student; /* [M] */
    uint32_t *pair;                        /* [M]: place in a Gram matrix */
    double *value;                         /* [M], for powers: what each a adds up */
    int64_t *ordered;                      /* [M], likewise: b with psi^T_b < psi^T_a */
    struct pwr_sorted sorted;              /* for Diff, exp and RankNet's order */
    struct pwr_ranknet ranknet;
    bool sorts;
};

struct job {
    const struct state *state;
    int64_t count;
    double power, mu, by_gap; /* margin = mu + by_gap |psi^T_a - psi^T_b| */
};

/* What one `a` adds up over all b: its losses as the better one, its derivative both ways. */
static void power_task(void *user, int64_t a, int thread)
{
    const struct job *job = user;
    const struct state *state = job->state;
    const double *tb = state->teacher, *sb = state->student, t = tb[a], s = sb[a], p = job->power;
    double value = 0, slope = 0;
    int64_t ordered = 0;
    (void)thread;
    for (int64_t b = 0; b < job->count; b++) {
        const double gap = t - tb[b], sign = gap > 0 ? 1 : (gap < 0 ? -1 : 0);
        const double x = sign * (sb[b] - s + job->by_gap * gap) + job->mu;
        if (sign != 0 && !(x <= 0)) {
            value += gap > 0 ? pow(x, p) : 0;
            slope -= sign * p * pow(x, p - 1);
        }
        ordered += gap > 0;
    }
    state->value[a] = value;
    state->d_student[a] = slope;
    state->ordered[a] = ordered;
}

static double run_power(const struct state *state, const struct options *o,
                        const struct loss_step *step, int64_t count, double mu, double by_gap,
                        double *ordered)
{
    struct job job = {state, count, o->power, mu, by_gap};
    double value = 0;
    loss_parallel(step->device, count, power_task, &job);
    *ordered = 0;
    for (int64_t a = 0; a < count; a++) {
        value += state->value[a];
        *ordered += (double)state->ordered[a];
    }
    return value;
}

static double deviation(const double *x, int64_t count)
{
    double mean = 0, square = 0;
    for (int64_t a = 0; a < count; a++) {
        mean += x[a] / (double)count;
    }
    for (int64_t a = 0; a < count; a++) {
        square += (x[a] - mean) * (x[a] - mean);
    }
    return count > 0 ? sqrt(square / (double)count) : 0;
}

static double run_sorted(struct state *state, const struct options *o, int64_t count, double mu,
                         double by_gap, double *ordered)
{
    for (int64_t a = 0; a < count; a++) {
        state->sorted.key[a] = state->student[a] - by_gap * state->teacher[a];
    }
    const double value = pwr_sorted_run(&state->sorted, state->teacher, count, mu,
                                        o->kind == EXP ? o->beta : 0, ordered);
    memcpy(state->d_student, state->sorted.slope, (size_t)count * sizeof *state->d_student);
    return value;
}

static double run_ranknet(struct state *state, const struct options *o,
                          const struct loss_step *step, int64_t count, double *ordered)
{
    pwr_sorted_order(state->teacher, count, state->sorted.by_teacher, state->sorted.scratch);
    state->ranknet.order = state->sorted.by_teacher;
    state->ranknet.teacher = state->teacher;
    memset(state->d_student, 0, (size_t)count * sizeof *state->d_student);
    return pwr_ranknet_run(&state->ranknet, step->device, state->student, count, o->beta,
                           state->d_student, ordered);
}

static double step_pwr(void *state_, const void *options, const struct loss_step *step)
{
    struct state *state = state_;
    const struct options *o = options;
    const int64_t count = pairs_list(step, PAIRS_ALL, state->pair);
    double ordered, value;
    for (int64_t a = 0; a < count; a++) {
        state->student[a] = step->gram[state->pair[a]];
        state->teacher[a] = step->teacher_gram[state->pair[a]];
    }
    const double by_gap = o->margin == TEACHER_DIFF ? 1 : 0;
    const double mu = o->margin == TEACHER_DIFF  ? 0
                      : o->margin == TEACHER_STD ? deviation(state->teacher, count)
                                                 : o->margin_value;
    if (o->kind == RANKNET) {
        value = run_ranknet(state, o, step, count, &ordered);
    } else {
        value = state->sorts ? run_sorted(state, o, count, mu, by_gap, &ordered)
                             : run_power(state, o, step, count, mu, by_gap, &ordered);
    }
    if (ordered == 0) {
        return 0; /* the teacher sees all pairs alike */
    }
    const double share = o->variant == PAPER ? 1 : 1 / ordered;
    for (int64_t a = 0; a < count; a++) {
        step->d_gram[state->pair[a]] += step->weight * share * state->d_student[a];
    }
    return value * share;
}

static void pwr_free(void *state_)
{
    struct state *state = state_;
    if (state != NULL) {
        void *const owned[] = {state->student,    state->teacher,      state->d_student,
                               state->pair,       state->value,        state->ordered,
                               state->ranknet.up, state->ranknet.down, state->ranknet.before};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
            cask_free(owned[i]);
        }
        for (int l = 0; l < RANKNET_LANES; l++) {
            cask_free(state->ranknet.slope[l]);
        }
        pwr_sorted_release(&state->sorted);
        cask_free(state);
    }
}

static enum cask_status create_ranknet(struct pwr_ranknet *ranknet, size_t pairs,
                                       struct cask_error *err)
{
    ranknet->up = cask_alloc(pairs, sizeof(real));
    ranknet->down = cask_alloc(pairs, sizeof(real));
    ranknet->before = cask_alloc(pairs, sizeof *ranknet->before);
    bool ok = ranknet->up != NULL && ranknet->down != NULL && ranknet->before != NULL;
    for (int l = 0; l < RANKNET_LANES; l++) {
        ranknet->slope[l] = cask_alloc(pairs, sizeof(real));
        ok = ok && ranknet->slope[l] != NULL;
    }
    return ok ? CASK_OK : cask_error_memory(err, pairs * RANKNET_LANES * sizeof(real), "RankNet");
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    const size_t pairs = pairs_most(facts->batch);
    enum cask_status st = CASK_OK;
    struct state *state = cask_alloc(1, sizeof *state);
    if (state != NULL) {
        state->student = cask_alloc(pairs, sizeof *state->student);
        state->teacher = cask_alloc(pairs, sizeof *state->teacher);
        state->d_student = cask_alloc(pairs, sizeof *state->d_student);
        state->pair = cask_alloc(pairs, sizeof *state->pair);
        state->value = cask_alloc(pairs, sizeof *state->value);
        state->ordered = cask_alloc(pairs, sizeof *state->ordered);
    }
    if (state == NULL || state->student == NULL || state->teacher == NULL ||
        state->d_student == NULL || state->pair == NULL || state->value == NULL ||
        state->ordered == NULL) {
        CASK_TRY(cask_error_memory(err, pairs * sizeof(double), "pairs of PWR"));
    }
    state->sorts = o->kind == EXP || (o->kind == POWER && o->power == 1);
    if (state->sorts || o->kind == RANKNET) {
        CASK_TRY(pwr_sorted_create(&state->sorted, (int64_t)pairs, err));
    }
    if (o->kind == RANKNET) {
        CASK_TRY(create_ranknet(&state->ranknet, pairs, err));
    }
    *out = state;
    state = NULL;
done:
    pwr_free(state);
    return st;
}

static unsigned needs(const void *options, const struct cask_engine_facts *facts)
{
    (void)options;
    (void)facts;
    return CASK_NEED_UNIT;
}

const struct loss NAME(cask_loss_pwr) = {
    .name = "pwr",
    .place = CASK_AT_PAIRS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .option_bytes = sizeof(struct options),
    .needs = needs,
    .create = create,
    .free = pwr_free,
    .step = step_pwr,
};
