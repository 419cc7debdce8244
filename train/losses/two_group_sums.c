/* train/losses/two_group_sums.c - the streaming sums of one row, on both sides of its cut. */
#include "train/losses/cosines.h"
#include "train/losses/two_group_sides.h"

/* ---------------------------------------------------------------- one side */

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

/* -------------------------------------------------------------- both sides */

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

/* What a side that takes `share` of an entry, 0 or 1, gets of it. A product is cheaper, but what is
 * left out may be infinite where maxima are not known. */
static inline real part(real share, real value, bool known)
{
    return known ? share * value : (share > 0 ? value : 0);
}

/* Returns the number of entries at the threshold or above. `known`: maxima are, and both sides have
 * the same. */
INLINE int add_both(const struct sides *s, const real *x, const real *y, int count,
                    struct group_sums *sums, const bool known)
{
    const real threshold = s->threshold, below = s->below, floor = s->floor;
    const real tail = s->tail, fa = s->fa, fb = s->fb;
    const real *key = s->by_teacher ? y : x;
    const real in_a = sums->in.max_a, in_b = sums->in.max_b;
    const real out_a = sums->out.max_a, out_b = sums->out.max_b;
    real sum_in_a = 0, sum_in_b = 0, cross_in = 0, sum_out_a = 0, sum_out_b = 0, cross_out = 0;
    real above = 0;
    SIMD(reduction(+ : sum_in_a, sum_in_b, cross_in, sum_out_a, sum_out_b, cross_out, above))
    for (int j = 0; j < count; j++) {
        const real high = key[j] >= threshold ? 1 : 0, low = key[j] >= below ? 0 : 1;
        const real in = high * (y[j] > floor ? (real)1 : (real)0), out = low + (high - in);
        const real b = y[j] > REAL_FLOOR ? y[j] : tail;
        const real ea = real_exp((x[j] - (known || in == 0 ? out_a : in_a)) * fa);
        real eb = real_exp((b - (known || in == 0 ? out_b : in_b)) * fb);
        eb = b > REAL_FLOOR ? eb : 0;
        const real cross = eb * (b * fb - x[j] * fa);
        sum_in_a += part(in, ea, known);
        sum_out_a += part(out, ea, known);
        sum_in_b += part(in, eb, known);
        sum_out_b += part(out, eb, known);
        cross_in += part(in, cross, known);
        cross_out += part(out, cross, known);
        above += high;
    }
    sums->in.sum_a += (double)sum_in_a;
    sums->in.sum_b += (double)sum_in_b;
    sums->in.cross += (double)cross_in;
    sums->out.sum_a += (double)sum_out_a;
    sums->out.sum_b += (double)sum_out_b;
    sums->out.cross += (double)cross_out;
    return (int)above;
}

static int add_mixed(const struct sides *s, const real *x, const real *y, int count,
                     struct group_sums *sums)
{
    if (s->search) {
        find_maxima(s, x, y, count, sums);
        return add_both(s, x, y, count, sums, false);
    }
    return add_both(s, x, y, count, sums, true);
}

/* -------------------------------------------------------------------- rows */

void two_group_add(const struct two_group *rule, const struct classes *classes, int64_t row,
                   const struct chunk *chunk, int thread, struct group_sums *sums)
{
    const real *x = chunk->x + row * chunk->stride, *y = chunk->y + row * chunk->stride;
    struct undecided *undecided = rule->undecided;
    const bool open = undecided != NULL && !undecided->windows[row].exact;
    struct run runs[RUNS];
    if (undecided != NULL) {
        undecided_row(undecided, chunk->number, row);
    }
    if (rule->rows[row].summed) {
        return;
    }
    struct sides sides = sides_of(rule, classes, row);
    const enum side side = side_of(rule, &sides);
    const int n = sides_split(rule, classes, row, chunk, runs);
    for (int r = 0; r < n; r++) {
        const int from = runs[r].from, count = runs[r].to - from;
        sides.threshold = runs[r].threshold;
        sides.below = open ? undecided->windows[row].first : sides.threshold;
        if (side != MIXED) {
            add_side(&sides, x + from, y + from, count, side == INSIDE ? &sums->in : &sums->out);
            continue;
        }
        sums->above += add_mixed(&sides, x + from, y + from, count, sums);
        if (open) {
            const struct run_of_keys keys = {.key = (rule->by_teacher ? y : x) + from,
                                             .x = x + from,
                                             .y = y + from,
                                             .first = chunk->first + from,
                                             .count = count,
                                             .threshold = sides.threshold,
                                             .below = sides.below};
            undecided_find(undecided, chunk->number, row, thread, &keys);
        }
    }
}

void two_group_put_aside(const struct two_group *rule, const struct chunk *chunk, int thread)
{
    if (rule->undecided != NULL) {
        undecided_put_aside(rule->undecided, chunk->number, thread);
    }
}

static void add_decided(struct sides *sides, real threshold, const real *x, const real *y,
                        int64_t count, struct group_sums *sums)
{
    sides->threshold = sides->below = threshold;
    for (int64_t first = 0; first < count; first += TILE) {
        const int n = (int)(count - first < TILE ? count - first : TILE);
        add_mixed(sides, x + first, y + first, n, sums);
    }
}

void two_group_decide(struct two_group *rule, const struct classes *classes, int64_t row,
                      const real *x, const real *y, const uint32_t *index, int64_t count)
{
    struct row_state *state = &rule->rows[row];
    struct sides sides = sides_of(rule, classes, row);
    int64_t edge = 0; /* behind the cut's index */
    while (edge < count && (int64_t)index[edge] <= state->cut.index) {
        edge++;
    }
    add_decided(&sides, state->cut.value, x, y, edge, &state->sums);
    add_decided(&sides, next_above(state->cut.value), x + edge, y + edge, count - edge,
                &state->sums);
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
    rule->rows[row].sums.above += from->above;
}
