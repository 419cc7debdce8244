/* train/losses/pwr.c - pairwise ranking distillation (mnikitin/KD-PWR).
 *
 * Scores psi are cosines of the M = B(B-1)/2 pairs. For every ordered pair of pairs (a,b) with
 * psi^T_a > psi^T_b and x = psi^S_b - psi^S_a (above 0: the student has the order wrong):
 *     power    max(x + mu, 0)^p          (p = 1: Diff)
 *     exp      max(exp(beta (x + mu)) - 1, 0)
 *     ranknet  log(1 + exp(beta x))
 * L is the mean over the ordered pairs (the paper's eq. 3 sums). mu: a constant, the deviation of
 * the teacher's scores, or psi^T_a - psi^T_b; constants all.
 *
 * Diff and exp take O(M log M) (pwr_sorted.h). RankNet and other powers take M^2 evaluations,
 * spread over threads; every a sums its own derivative in a fixed order.
 */
#include "common/mem.h"
#include "train/losses/losses.h"
#include "train/losses/pwr_sorted.h"

enum kind { POWER, EXP, RANKNET };
enum margin { CONST, TEACHER_STD, TEACHER_DIFF };
enum { PRODUCT = 32 }; /* log(1+y) as log of products of so many factors in (1, 2] */

struct options {
    int kind, margin;
    double power, beta, margin_value;
};

static const char *const kinds[] = {"power", "exp", "ranknet", NULL};
static const char *const margins[] = {"const", "teacher_std", "teacher_diff", NULL};
#define AT(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
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
    real *student, *teacher, *d_student; /* [M] */
    double *value;                       /* [M] */
    int64_t *ordered;                    /* [M]: b with psi^T_b < psi^T_a */
    struct pwr_sorted sorted;            /* for power 1 and exp */
    double *length[2];                   /* [B] of student and teacher rows, with `sorted` */
    bool sorts;
};

struct job {
    const struct state *state;
    const struct options *options;
    int64_t count;
    real mu, by_gap; /* margin = mu + by_gap |psi^T_a - psi^T_b| */
};

/* What one `a` adds up over all b: its losses as the better one, and its derivative both ways. */
struct sums {
    double value, slope;
    int64_t ordered;
};

static inline real hinge(real x)
{
    return x > 0 ? x : 0;
}

/* sign: +1 where a is the better one, -1 where b is, 0 where the teacher sees no order. */
static void sum_power(const struct job *job, real t, real s, int64_t from, int64_t to,
                      struct sums *sums)
{
    const real *tb = job->state->teacher, *sb = job->state->student;
    const double p = job->options->power;
    for (int64_t b = from; b < to; b++) {
        real gap = t - tb[b];
        real sign = gap > 0 ? 1 : (gap < 0 ? -1 : 0);
        real x = sign * (sb[b] - s + job->by_gap * gap) + job->mu;
        if (sign != 0 && x > 0) {
            sums->value += gap > 0 ? pow((double)x, p) : 0;
            sums->slope -= (double)sign * p * pow((double)x, p - 1);
        }
        sums->ordered += gap > 0;
    }
}

static void sum_ranknet(const struct job *job, real t, real s, int64_t from, int64_t to,
                        struct sums *sums)
{
    const real *tb = job->state->teacher, *sb = job->state->student;
    const real beta = (real)job->options->beta;
    for (int64_t first = from; first < to; first += PRODUCT) {
        const int64_t end = first + PRODUCT < to ? first + PRODUCT : to;
        real linear = 0, product = 1, slope = 0;
        int ordered = 0;
        SIMD(reduction(+ : linear, slope, ordered) reduction(* : product))
        for (int64_t b = first; b < end; b++) {
            real gap = t - tb[b];
            real sign = gap > 0 ? 1 : (gap < 0 ? -1 : 0);
            real x = beta * sign * (sb[b] - s);
            real y = real_exp(x > 0 ? -x : x); /* exp(-|x|) */
            linear += gap > 0 ? hinge(x) : 0;
            product *= gap > 0 ? 1 + y : 1;
            slope -= sign * beta * (x > 0 ? 1 : y) / (1 + y);
            ordered += gap > 0;
        }
        sums->value += (double)linear + log((double)product);
        sums->slope += (double)slope;
        sums->ordered += ordered;
    }
}

static void score_task(void *user, int64_t a, int worker)
{
    const struct job *job = user;
    const struct state *state = job->state;
    struct sums sums = {0};
    (void)worker;
    for (int64_t from = 0; from < job->count; from += TILE) {
        const int64_t to = from + TILE < job->count ? from + TILE : job->count;
        const real t = state->teacher[a], s = state->student[a];
        if (job->options->kind == RANKNET) {
            sum_ranknet(job, t, s, from, to, &sums);
        } else {
            sum_power(job, t, s, from, to, &sums);
        }
    }
    state->value[a] = sums.value;
    state->d_student[a] = (real)sums.slope;
    state->ordered[a] = sums.ordered;
}

static double deviation(const real *x, int64_t count)
{
    double mean = 0, square = 0;
    for (int64_t a = 0; a < count; a++) {
        mean += (double)x[a] / (double)count;
    }
    for (int64_t a = 0; a < count; a++) {
        square += ((double)x[a] - mean) * ((double)x[a] - mean);
    }
    return count > 0 ? sqrt(square / (double)count) : 0;
}

/* Sum over the ordered pairs by evaluating them all; d_student is filled. */
static double run_all(const struct state *state, const struct options *o,
                      const struct loss_step *step, int64_t count, double mu, double by_gap,
                      double *ordered)
{
    struct job job = {
        .state = state, .options = o, .count = count, .mu = (real)mu, .by_gap = (real)by_gap};
    double value = 0;
    loss_parallel(step->device, count, score_task, &job);
    *ordered = 0;
    for (int64_t a = 0; a < count; a++) {
        value += state->value[a];
        *ordered += (double)state->ordered[a];
    }
    return value;
}

static double dot(const real *a, const real *b, int count)
{
    double sum = 0;
    SIMD(reduction(+ : sum))
    for (int j = 0; j < count; j++) {
        sum += (double)a[j] * (double)b[j];
    }
    return sum;
}

struct keys {
    const struct state *state;
    const struct loss_step *step;
    double by_gap;
};

/* Keys of the pairs (i, j > i), in double whatever `real` is: a pair on the other side of the hinge
 * is a whole term of the gradient, and among M^2 / 2 of them some lie within a float's rounding. */
static void key_row(void *user, int64_t i, int worker)
{
    const struct keys *keys = user;
    const struct loss_step *step = keys->step;
    const double *length = keys->state->length[0], *teacher_length = keys->state->length[1];
    const int64_t first = i * step->batch - i * (i + 1) / 2 - i - 1;
    (void)worker;
    for (int64_t j = i + 1; j < step->batch; j++) {
        const double student =
            dot(step->raw + i * step->dim, step->raw + j * step->dim, step->dim) /
            (length[i] * length[j]);
        const double teacher =
            keys->by_gap == 0 ? 0
                              : dot(step->teacher_unit + i * step->teacher_dim,
                                    step->teacher_unit + j * step->teacher_dim, step->teacher_dim) /
                                    (teacher_length[i] * teacher_length[j]);
        keys->state->sorted.key[first + j] = student - keys->by_gap * teacher;
    }
}

static void lengths(const real *x, int batch, int dim, double *length)
{
    for (int64_t i = 0; i < batch; i++) {
        length[i] = fmax(sqrt(dot(x + i * dim, x + i * dim, dim)), 1e-12);
    }
}

static double run_sorted(struct state *state, const struct options *o, const struct loss_step *step,
                         int64_t count, double mu, double by_gap, double *ordered)
{
    struct keys keys = {state, step, by_gap};
    lengths(step->raw, step->batch, step->dim, state->length[0]);
    lengths(step->teacher_unit, step->batch, step->teacher_dim, state->length[1]);
    loss_parallel(step->device, step->batch, key_row, &keys);
    double value = pwr_sorted_run(&state->sorted, state->teacher, count, mu,
                                  o->kind == EXP ? o->beta : 0, ordered);
    for (int64_t a = 0; a < count; a++) {
        state->d_student[a] = (real)state->sorted.slope[a];
    }
    return value;
}

static double step_pwr(void *state_, const void *options, const struct loss_step *step)
{
    struct state *state = state_;
    const struct options *o = options;
    int64_t count = 0;
    double ordered;
    for (int64_t i = 0; i < step->batch; i++) {
        for (int64_t j = i + 1; j < step->batch; j++) {
            state->student[count] = step->gram[i * step->batch + j];
            state->teacher[count++] = step->teacher_gram[i * step->batch + j];
        }
    }
    const double by_gap = o->margin == TEACHER_DIFF ? 1 : 0;
    const double mu = o->margin == TEACHER_DIFF  ? 0
                      : o->margin == TEACHER_STD ? deviation(state->teacher, count)
                                                 : o->margin_value;
    const double value = state->sorts ? run_sorted(state, o, step, count, mu, by_gap, &ordered)
                                      : run_all(state, o, step, count, mu, by_gap, &ordered);
    if (ordered == 0) {
        return 0; /* the teacher sees all pairs alike */
    }
    count = 0;
    for (int64_t i = 0; i < step->batch; i++) {
        for (int64_t j = i + 1; j < step->batch; j++) {
            step->d_gram[i * step->batch + j] +=
                (real)(step->weight * (double)state->d_student[count++] / ordered);
        }
    }
    return value / ordered;
}

static void pwr_free(void *state_)
{
    struct state *state = state_;
    if (state != NULL) {
        cask_free(state->student);
        cask_free(state->teacher);
        cask_free(state->d_student);
        cask_free(state->value);
        cask_free(state->ordered);
        pwr_sorted_release(&state->sorted);
        cask_free(state->length[0]);
        cask_free(state->length[1]);
        cask_free(state);
    }
}

static enum cask_status create(const void *options, const struct cask_engine_facts *facts,
                               void **out, struct cask_error *err)
{
    const struct options *o = options;
    const size_t pairs = (size_t)facts->batch * (size_t)facts->batch / 2 + 1;
    enum cask_status st = CASK_OK;
    struct state *state = cask_alloc(1, sizeof *state);
    if (state != NULL) {
        state->student = cask_alloc(pairs, sizeof(real));
        state->teacher = cask_alloc(pairs, sizeof(real));
        state->d_student = cask_alloc(pairs, sizeof(real));
        state->value = cask_alloc(pairs, sizeof *state->value);
        state->ordered = cask_alloc(pairs, sizeof *state->ordered);
    }
    if (state == NULL || state->student == NULL || state->teacher == NULL ||
        state->d_student == NULL || state->value == NULL || state->ordered == NULL) {
        CASK_TRY(cask_error_memory(err, pairs * sizeof(real), "pairs of PWR"));
    }
    state->sorts = o->kind == EXP || (o->kind == POWER && o->power == 1);
    if (state->sorts) {
        state->length[0] = cask_alloc((size_t)facts->batch, sizeof(double));
        state->length[1] = cask_alloc((size_t)facts->batch, sizeof(double));
        if (state->length[0] == NULL || state->length[1] == NULL) {
            CASK_TRY(cask_error_memory(err, (size_t)facts->batch * sizeof(double), "lengths"));
        }
        CASK_TRY(pwr_sorted_create(&state->sorted, (int64_t)pairs, err));
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
