/* train/losses/two_group.c - the streaming sums of one row and what follows from them. */
#include "train/losses/two_group.h"

/* Membership of a run of classes on one side of the cut's index, as tests that need no index. */
struct sides {
    bool by_teacher;
    real threshold; /* x, or the teacher's y, >= threshold is in Phi ... */
    real floor;     /* ... if the teacher's value is above this */
    real below;     /* and < below is not; between the two it is undecided */
    real tail;      /* stands for unknown teacher values */
    real fa, fb;    /* scale / T of student and teacher */
    bool search;    /* maxima are not known beforehand */
};

static double student_factor(const struct two_group *rule, const struct classes *classes)
{
    return classes->scale / rule->temperature;
}

static double teacher_factor(const struct two_group *rule, const struct classes *classes)
{
    return classes->teacher->scale / rule->temperature;
}

/* --------------------------------------------------------------- streaming */

static void raise_maxima(struct group *group, real max_a, real max_b, const struct sides *s)
{
    if (max_a <= group->max_a && max_b <= group->max_b) {
        return;
    }
    max_a = max_a > group->max_a ? max_a : group->max_a;
    max_b = max_b > group->max_b ? max_b : group->max_b;
    double down_a = group->sum_a > 0 ? ((double)group->max_a - (double)max_a) * (double)s->fa : 0;
    double down_b = group->sum_b > 0 ? ((double)group->max_b - (double)max_b) * (double)s->fb : 0;
    group->sum_a *= exp(down_a);
    group->sum_b *= exp(down_b);
    group->cross *= exp(down_b);
    group->max_a = max_a;
    group->max_b = max_b;
}

/* Runs whose side is known take the short loops: all of KD and DKD, most of GKD. */
enum side { OUTSIDE, INSIDE, MIXED };

static void find_maxima_of_side(const struct sides *s, const real *x, const real *y, int count,
                                struct group *group)
{
    real max_a = REAL_NONE, max_b = REAL_NONE;
    const real tail = s->tail;
    SIMD(reduction(max : max_a) reduction(max : max_b))
    for (int j = 0; j < count; j++) {
        real b = y[j] > REAL_FLOOR ? y[j] : tail;
        max_a = x[j] > max_a ? x[j] : max_a;
        max_b = b > max_b ? b : max_b;
    }
    raise_maxima(group, max_a, max_b, s);
}

static void add_side(const struct sides *s, const real *x, const real *y, int count,
                     struct group *group)
{
    if (s->search) {
        find_maxima_of_side(s, x, y, count, group);
    }
    const real tail = s->tail, fa = s->fa, fb = s->fb;
    const real max_a = group->max_a, max_b = group->max_b;
    real sum_a = 0, sum_b = 0, cross = 0;
    SIMD(reduction(+ : sum_a, sum_b, cross))
    for (int j = 0; j < count; j++) {
        real b = y[j] > REAL_FLOOR ? y[j] : tail;
        real eb = real_exp((b - max_b) * fb);
        eb = b > REAL_FLOOR ? eb : 0;
        sum_a += real_exp((x[j] - max_a) * fa);
        sum_b += eb;
        cross += eb * (b * fb - x[j] * fa);
    }
    group->sum_a += (double)sum_a;
    group->sum_b += (double)sum_b;
    group->cross += (double)cross;
}

static void find_maxima(const struct sides *s, const real *x, const real *y, int count,
                        struct group_sums *sums)
{
    real in_a = REAL_NONE, in_b = REAL_NONE, out_a = REAL_NONE, out_b = REAL_NONE;
    const real threshold = s->threshold, below = s->below, floor = s->floor, tail = s->tail;
    const real *key = s->by_teacher ? y : x;
    SIMD(reduction(max : in_a) reduction(max : in_b) reduction(max : out_a) reduction(max : out_b))
    for (int j = 0; j < count; j++) {
        real a = x[j], b = y[j] > REAL_FLOOR ? y[j] : tail;
        int in = (key[j] >= threshold) & (y[j] > floor);
        int out = !in & !((key[j] >= below) & (key[j] < threshold));
        real for_in_a = in ? a : REAL_NONE, for_out_a = out ? a : REAL_NONE;
        real for_in_b = in ? b : REAL_NONE, for_out_b = out ? b : REAL_NONE;
        in_a = for_in_a > in_a ? for_in_a : in_a;
        in_b = for_in_b > in_b ? for_in_b : in_b;
        out_a = for_out_a > out_a ? for_out_a : out_a;
        out_b = for_out_b > out_b ? for_out_b : out_b;
    }
    raise_maxima(&sums->in, in_a, in_b, s);
    raise_maxima(&sums->out, out_a, out_b, s);
}

static void add_mixed(const struct sides *s, const real *x, const real *y, int count,
                      struct group_sums *sums)
{
    if (s->search) {
        find_maxima(s, x, y, count, sums);
    }
    const real threshold = s->threshold, below = s->below, floor = s->floor;
    const real tail = s->tail, fa = s->fa, fb = s->fb;
    const real *key = s->by_teacher ? y : x;
    const real in_a = sums->in.max_a, in_b = sums->in.max_b;
    const real out_a = sums->out.max_a, out_b = sums->out.max_b;
    real sum_in_a = 0, sum_in_b = 0, cross_in = 0, sum_out_a = 0, sum_out_b = 0, cross_out = 0;
    SIMD(reduction(+ : sum_in_a, sum_in_b, cross_in, sum_out_a, sum_out_b, cross_out))
    for (int j = 0; j < count; j++) {
        real b = y[j] > REAL_FLOOR ? y[j] : tail;
        int in = (key[j] >= threshold) & (y[j] > floor);
        int out = !in & !((key[j] >= below) & (key[j] < threshold));
        real ea = real_exp((x[j] - (in ? in_a : out_a)) * fa);
        real eb = real_exp((b - (in ? in_b : out_b)) * fb);
        eb = b > REAL_FLOOR ? eb : 0;
        real cross = eb * (b * fb - x[j] * fa);
        sum_in_a += in ? ea : 0;
        sum_out_a += out ? ea : 0;
        sum_in_b += in ? eb : 0;
        sum_out_b += out ? eb : 0;
        cross_in += in ? cross : 0;
        cross_out += out ? cross : 0;
    }
    sums->in.sum_a += (double)sum_in_a;
    sums->in.sum_b += (double)sum_in_b;
    sums->in.cross += (double)cross_in;
    sums->out.sum_a += (double)sum_out_a;
    sums->out.sum_b += (double)sum_out_b;
    sums->out.cross += (double)cross_out;
}

/* Undecided classes of a run. They are few of many: the run is looked through in blocks, and only a
 * block that has one is searched. Threads share the list, whose order does not matter. */
static void put_aside(const struct undecided *undecided, const struct sides *s, int64_t row,
                      const real *x, const real *y, int64_t first, int count)
{
    enum { BLOCK = 64 };
    const real threshold = s->threshold, below = s->below;
    struct candidate *list = undecided->list + row * (undecided->room + 1);
    for (int from = 0; from < count; from += BLOCK) {
        const int end = from + BLOCK < count ? from + BLOCK : count;
        int found = 0;
        SIMD(reduction(+ : found))
        for (int j = from; j < end; j++) {
            found += (x[j] >= below) & (x[j] < threshold);
        }
        int64_t to = found > 0 ? __atomic_fetch_add(&undecided->count[row], found, __ATOMIC_RELAXED)
                               : undecided->room;
        for (int j = from; j < end && to < undecided->room; j++) {
            if ((x[j] >= below) & (x[j] < threshold)) {
                list[to++] = (struct candidate){x[j], (uint32_t)(first + j), y[j]};
            }
        }
    }
}

static real next_above(real value)
{
    return sizeof(real) == sizeof(float) ? (real)nextafterf((float)value, INFINITY)
                                         : (real)nextafter((double)value, (double)INFINITY);
}

static struct sides sides_of(const struct two_group *rule, const struct classes *classes,
                             int64_t row)
{
    bool only_known = classes->teacher->kind == TEACHER_TOPK && rule->tail == TAIL_ONE_BIN;
    return (struct sides){
        .by_teacher = rule->by_teacher,
        .floor = only_known ? REAL_FLOOR : (real)-INFINITY,
        .tail = rule->rows[row].tail,
        .fa = (real)student_factor(rule, classes),
        .fb = (real)teacher_factor(rule, classes),
        .search = rule->max_a == REAL_NONE || rule->max_b == REAL_NONE,
    };
}

/* A tile falls into at most three runs: it is cut at the label and behind the cut's index. */
struct run {
    int from, to;
    real threshold;
};

static int split(const struct two_group *rule, const struct classes *classes, int64_t row,
                 const struct chunk *chunk, struct run runs[4])
{
    const int64_t first = chunk->first;
    const int count = chunk->width;
    const struct cut *cut = &rule->rows[row].cut;
    const struct label *label = &classes->labels[row];
    int64_t bound = cut->index + 1 - first, at = label->known ? (int64_t)label->at - first : -1;
    int edge = bound < 0 ? 0 : (bound > count ? count : (int)bound);
    bool inside = at >= 0 && at < count;
    const int starts[2] = {0, edge}, ends[2] = {edge, count};
    const real thresholds[2] = {cut->value, next_above(cut->value)};
    int n = 0;
    for (int side = 0; side < 2; side++) {
        int from = starts[side], to = ends[side];
        if (inside && at >= from && at < to) {
            runs[n++] = (struct run){from, (int)at, thresholds[side]};
            from = (int)at + 1;
        }
        runs[n++] = (struct run){from, to, thresholds[side]};
    }
    return n;
}

static enum side side_of(const struct two_group *rule, const struct sides *s)
{
    if (rule->set == SET_CUT || s->floor > (real)-INFINITY) {
        return MIXED;
    }
    return rule->set == SET_ALL ? INSIDE : OUTSIDE;
}

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

void two_group_add(const struct two_group *rule, const struct classes *classes, int64_t row,
                   const struct chunk *chunk, struct group_sums *sums)
{
    const real *x = chunk->x + row * chunk->stride, *y = chunk->y + row * chunk->stride;
    struct sides sides = sides_of(rule, classes, row);
    const enum side side = side_of(rule, &sides);
    struct run runs[4];
    int n = split(rule, classes, row, chunk, runs);
    const struct undecided *undecided = rule->undecided;
    const bool open = undecided != NULL && !undecided->windows[row].exact;
    for (int r = 0; r < n; r++) {
        const int from = runs[r].from, count = runs[r].to - from;
        sides.threshold = runs[r].threshold;
        sides.below = open ? undecided->windows[row].first : sides.threshold;
        if (side == MIXED) {
            add_mixed(&sides, x + from, y + from, count, sums);
        } else {
            add_side(&sides, x + from, y + from, count, side == INSIDE ? &sums->in : &sums->out);
        }
        if (open) {
            put_aside(undecided, &sides, row, x + from, y + from, chunk->first + from, count);
        }
    }
}

void two_group_decide(struct two_group *rule, const struct classes *classes, int64_t row)
{
    struct row_state *state = &rule->rows[row];
    struct sides sides = sides_of(rule, classes, row);
    const int64_t count = rule->undecided->count[row];
    const struct candidate *list = rule->undecided->list + row * (rule->undecided->room + 1);
    real x[TILE], y[TILE];
    for (int64_t first = 0; first < count; first += TILE) {
        const int n = (int)(count - first < TILE ? count - first : TILE);
        int in = 0; /* the list is sorted */
        for (int j = 0; j < n; j++) {
            const struct candidate *c = &list[first + j];
            x[j] = c->value;
            y[j] = c->other;
            in += c->value > state->cut.value ||
                  (c->value == state->cut.value && (int64_t)c->index <= state->cut.index);
        }
        sides.threshold = sides.below = -REAL_NONE;
        add_mixed(&sides, x + in, y + in, n - in, &state->sums);
        sides.threshold = sides.below = REAL_NONE;
        add_mixed(&sides, x, y, in, &state->sums);
    }
}

static void merge_group(struct group *into, struct group from, const struct sides *s)
{
    raise_maxima(into, from.max_a, from.max_b, s);
    raise_maxima(&from, into->max_a, into->max_b, s);
    into->sum_a += from.sum_a;
    into->sum_b += from.sum_b;
    into->cross += from.cross;
}

void two_group_merge(struct two_group *rule, const struct classes *classes, int64_t row,
                     const struct group_sums *from)
{
    const struct sides sides = sides_of(rule, classes, row);
    merge_group(&rule->rows[row].sums.in, from->in, &sides);
    merge_group(&rule->rows[row].sums.out, from->out, &sides);
}

/* ------------------------------------------------------------------- after */

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

/* g += v (q - p) + between q on one side, grouped so that equal students and teachers cancel
 * before they are weighted. */
static void gradient_side(const struct sides *s, const struct group *group, double inner,
                          double between_, const real *x, const real *y, int count, real *g)
{
    const real tail = s->tail, fa = s->fa, fb = s->fb, max_a = group->max_a, max_b = group->max_b;
    const real inverse_a = inverse(group->sum_a), inverse_b = inverse(group->sum_b);
    const real v = (real)inner, between = (real)between_;
    SIMD()
    for (int j = 0; j < count; j++) {
        real b = y[j] > REAL_FLOOR ? y[j] : tail;
        real q = real_exp((x[j] - max_a) * fa) * inverse_a;
        real eb = real_exp((b - max_b) * fb);
        real p = b > REAL_FLOOR ? eb * inverse_b : 0;
        g[j] += v * (q - p) + between * q;
    }
}

static void gradient_mixed(const struct sides *s, const struct row_state *state, const real *x,
                           const real *y, int count, real *g)
{
    const real threshold = s->threshold, floor = s->floor, tail = s->tail, fa = s->fa, fb = s->fb;
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
        real b = y[j] > REAL_FLOOR ? y[j] : tail;
        int in = (key[j] >= threshold) & (y[j] > floor);
        real ea = real_exp((x[j] - (in ? in_a : out_a)) * fa);
        real eb = real_exp((b - (in ? in_b : out_b)) * fb);
        eb = b > REAL_FLOOR ? eb : 0;
        real q = ea * (in ? inverse_in_a : inverse_out_a),
             p = eb * (in ? inverse_in_b : inverse_out_b);
        /* grouped so that equal students and teachers cancel before they are weighted */
        g[j] += (in ? inner_in : inner_out) * (q - p) + (in ? between : -between) * q;
    }
}

void two_group_gradient(const struct two_group *rule, const struct classes *classes, int64_t row,
                        const struct chunk *chunk, real *g)
{
    const struct row_state *state = &rule->rows[row];
    const real *x = chunk->x + row * chunk->stride, *y = chunk->y + row * chunk->stride;
    struct sides sides = sides_of(rule, classes, row);
    const enum side side = side_of(rule, &sides);
    struct run runs[4];
    int n = split(rule, classes, row, chunk, runs);
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
