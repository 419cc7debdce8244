/* train/losses/two_group.c - what follows from the sums of one row: its value, and the gradient. */
#include "train/losses/two_group_sides.h"

/* ------------------------------------------------------------------- value */

static bool label_in(const struct row_state *state, const struct sides *s)
{
    return state->cut.label && (!isnan(state->label_b) || s->floor < REAL_FLOOR);
}

static void add_label(struct row_state *state, const struct sides *s)
{
    struct group *group = label_in(state, s) ? &state->sums.in : &state->sums.out;
    double b = isnan(state->label_b) ? (double)s->tail : state->label_b;
    raise_maxima(group, (real)state->label_a, (real)b, s);
    const double fa = (double)s->fa, fb = (double)s->fb;
    double eb = b > (double)REAL_FLOOR ? exp((b - (double)group->max_b) * fb) : 0;
    group->sum_a += exp((state->label_a - (double)group->max_a) * fa);
    group->sum_b += eb;
    group->cross += eb > 0 ? eb * (b * fb - state->label_a * fa) : 0;
}

static double resolve(const struct lambda *lambda, double p)
{
    return lambda->kind == LAMBDA_P             ? p
           : lambda->kind == LAMBDA_ONE_MINUS_P ? 1 - p
                                                : lambda->value;
}

static double log_sum(double sum, real max, double factor)
{
    return sum > 0 ? (double)max * factor + log(sum) : -INFINITY;
}

/* KL inside a group from its log-sum-exps; 0 where the teacher says nothing about it. */
static double inner_kl(const struct group *group, double a, double b)
{
    return group->sum_b > 0 ? group->cross / group->sum_b - b + a : 0;
}

/* log of the share that `own` has of own + other, both logarithms: near 0 it keeps its digits */
static double log_share(double own, double other)
{
    return other == -INFINITY ? 0 : -log1p(exp(other - own));
}

static double x_log_x_over(double p, double log_p, double log_q)
{
    return p > 0 ? p * (log_p - log_q) : 0;
}

double two_group_finish(struct two_group *rule, const struct classes *classes, int row)
{
    struct row_state *state = &rule->rows[row];
    const struct group *in = &state->sums.in, *out = &state->sums.out;
    const struct sides sides = sides_of(rule, classes, row);
    state->inner_in = state->inner_out = state->between = 0;
    state->label_gradient = 0;
    if (rule->set == SET_LABEL && !classes->labels[row].known) {
        return 0;
    }
    if (classes->labels[row].known) {
        add_label(state, &sides);
    }
    double fa = (double)sides.fa, fb = (double)sides.fb, t = rule->temperature;
    double a_in = log_sum(in->sum_a, in->max_a, fa), a_out = log_sum(out->sum_a, out->max_a, fa);
    double b_in = log_sum(in->sum_b, in->max_b, fb), b_out = log_sum(out->sum_b, out->max_b, fb);
    bool partial = !isnan(state->log_total); /* the teacher's total is more than what is seen */
    double log_q = log_share(a_in, a_out), log_q_rest = log_share(a_out, a_in);
    double log_p = partial ? fmin(b_in - state->log_total, 0) : log_share(b_in, b_out);
    double p = exp(log_p), q = exp(log_q), q_rest = exp(log_q_rest);
    double p_rest = partial ? 1 - p : exp(log_share(b_out, b_in));
    double gap = p > 0.5 ? p_rest - q_rest : q - p; /* Q - P from its smaller terms */
    double l1 = in->sum_b > 0 ? resolve(&rule->primary, p) : 0;
    bool inside_out = out->sum_b > 0 && !(partial && rule->tail == TAIL_ONE_BIN);
    double l2 = resolve(&rule->binary, p), l3 = inside_out ? resolve(&rule->secondary, p) : 0;
    double binary = 0;
    if (in->sum_a > 0 && out->sum_a > 0) {
        binary = x_log_x_over(p, log_p, log_q) + x_log_x_over(p_rest, log(p_rest), log_q_rest);
    } else {
        /* One group is empty: both masses are 1, unless the teacher's is cut off (TAIL_ZERO). */
        binary = partial ? x_log_x_over(p, log_p, 0) : 0;
        gap = 0;
    }
    double primary = l1 == 0 ? 0 : inner_kl(in, a_in, b_in);
    double secondary = l3 == 0 ? 0 : inner_kl(out, a_out, b_out);
    double value = l1 * primary + l2 * binary + l3 * secondary;
    double factor = rule->t_squared ? t * t : 1;
    double slope = rule->weight * factor * fa / classes->batch;
    state->inner_in = slope * l1;
    state->inner_out = slope * l3;
    state->between = slope * l2 * gap;
    if (classes->labels[row].known) {
        bool inside = label_in(state, &sides);
        const struct group *group = inside ? in : out;
        double b = isnan(state->label_b) ? (double)sides.tail : state->label_b;
        double v = inside ? state->inner_in : state->inner_out;
        double ea = exp((state->label_a - (double)group->max_a) * fa) / group->sum_a;
        double eb = v != 0 && b > (double)REAL_FLOOR
                        ? exp((b - (double)group->max_b) * fb) / group->sum_b
                        : 0;
        two_group_label(rule, &classes->labels[row], &slope);
        state->label_gradient =
            slope * (v * (ea - eb) + (inside ? state->between : -state->between) * ea);
    }
    return factor * value;
}

/* ---------------------------------------------------------------- gradient */

static real inverse(double sum)
{
    return sum > 0 ? (real)(1 / sum) : 0;
}

/* Maxima are still what they were known to be: a label may have raised them. */
static bool knows(const struct sides *s, const struct group *group)
{
    return !s->search && group->max_a <= 1 && group->max_b <= 1;
}

/* g += v (q - p) + between q on one side, grouped so that equal students and teachers cancel
 * before they are weighted. */
INLINE void gradient_run(const struct sides *s, const struct group *group, double inner,
                         double between_, const real *x, const real *y, int count, real *g,
                         const bool known)
{
    const real tail = s->tail, fa = s->fa, fb = s->fb, ga = s->ga, gb = s->gb;
    const real max_a = group->max_a, max_b = group->max_b;
    const real inverse_a = inverse(group->sum_a), inverse_b = inverse(group->sum_b);
    const real v = (real)inner, between = (real)between_;
    SIMD()
    for (int j = 0; j < count; j++) {
        real b = known || y[j] > REAL_FLOOR ? y[j] : tail;
        real ea = known ? real_exp2(x[j] * ga - max_a * ga) : real_exp((x[j] - max_a) * fa);
        real eb = known ? real_exp2(b * gb - max_b * gb) : real_exp((b - max_b) * fb);
        real q = ea * inverse_a;
        real p = known || b > REAL_FLOOR ? eb * inverse_b : 0;
        g[j] += v * (q - p) + between * q;
    }
}

static void gradient_side(const struct sides *s, const struct group *group, double inner,
                          double between, const real *x, const real *y, int count, real *g)
{
    if (knows(s, group)) {
        gradient_run(s, group, inner, between, x, y, count, g, true);
    } else {
        gradient_run(s, group, inner, between, x, y, count, g, false);
    }
}

INLINE void gradient_both(const struct sides *s, const struct row_state *state, const real *x,
                          const real *y, int count, real *g, const bool known)
{
    const real threshold = s->threshold, floor = s->floor, tail = s->tail;
    const real fa = s->fa, fb = s->fb, ga = s->ga, gb = s->gb;
    const real *key = s->by_teacher ? y : x;
    const struct group *group_in = &state->sums.in, *group_out = &state->sums.out;
    const real in_a = group_in->max_a, in_b = group_in->max_b;
    const real out_a = group_out->max_a, out_b = group_out->max_b;
    const real inverse_in_a = inverse(group_in->sum_a), inverse_in_b = inverse(group_in->sum_b);
    const real inverse_out_a = inverse(group_out->sum_a), inverse_out_b = inverse(group_out->sum_b);
    const real inner_in = (real)state->inner_in, inner_out = (real)state->inner_out;
    const real between = (real)state->between;
    SIMD()
    for (int j = 0; j < count; j++) {
        real b = known || y[j] > REAL_FLOOR ? y[j] : tail;
        int in = (key[j] >= threshold) & (known || y[j] > floor);
        real ea =
            known ? real_exp2(x[j] * ga - out_a * ga) : real_exp((x[j] - (in ? in_a : out_a)) * fa);
        real eb = known ? real_exp2(b * gb - out_b * gb) : real_exp((b - (in ? in_b : out_b)) * fb);
        eb = known || b > REAL_FLOOR ? eb : 0;
        real q = ea * (in ? inverse_in_a : inverse_out_a),
             p = eb * (in ? inverse_in_b : inverse_out_b);
        /* grouped so that equal students and teachers cancel before they are weighted */
        g[j] += (in ? inner_in : inner_out) * (q - p) + (in ? between : -between) * q;
    }
}

static void gradient_mixed(const struct sides *s, const struct row_state *state, const real *x,
                           const real *y, int count, real *g)
{
    if (knows(s, &state->sums.in) && knows(s, &state->sums.out)) {
        gradient_both(s, state, x, y, count, g, true);
    } else {
        gradient_both(s, state, x, y, count, g, false);
    }
}

void two_group_gradient(const struct two_group *rule, const struct classes *classes, int64_t row,
                        const struct chunk *chunk, real *g)
{
    const struct row_state *state = &rule->rows[row];
    const real *x = chunk->x + row * chunk->stride, *y = chunk->y + row * chunk->stride;
    struct sides sides = sides_of(rule, classes, row);
    const enum side side = side_of(rule, &sides);
    struct run runs[RUNS];
    int n = sides_split(rule, classes, row, chunk, runs);
    for (int r = 0; r < n; r++) {
        const int from = runs[r].from, count = runs[r].to - from;
        sides.threshold = runs[r].threshold;
        if (side == MIXED) {
            gradient_mixed(&sides, state, x + from, y + from, count, g + from);
        } else if (side == INSIDE) {
            gradient_side(&sides, &state->sums.in, state->inner_in, state->between, x + from,
                          y + from, count, g + from);
        } else {
            gradient_side(&sides, &state->sums.out, state->inner_out, -state->between, x + from,
                          y + from, count, g + from);
        }
    }
    const struct label *label = &classes->labels[row];
    const int64_t at = (int64_t)label->at - chunk->first;
    if (label->known && at >= 0 && at < chunk->width) {
        g[at] += (real)state->label_gradient;
    }
}
