/* train/losses/two_group_sums.c - the streaming sums of one row, on both sides of its cut. */
#include "train/losses/cosines.h"
#include "train/losses/lanes.h"
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

struct side_lanes {
    real a[LANES], b[LANES], cross[LANES];
};

INLINE void side_lanes(const struct sides *s, const struct group *group, const real *x,
                       const real *y, int count, const bool known, struct side_lanes *sum)
{
    const real tail = s->tail, fa = s->fa, fb = s->fb, ga = s->ga, gb = s->gb;
    const real max_a = group->max_a, max_b = group->max_b;
    SIMD()
    for (int l = 0; l < count; l++) {
        const real b = known || y[l] > REAL_FLOOR ? y[l] : tail;
        const real ea = known ? real_exp2(x[l] * ga - max_a * ga) : real_exp((x[l] - max_a) * fa);
        real eb = known ? real_exp2(b * gb - max_b * gb) : real_exp((b - max_b) * fb);
        eb = known || b > REAL_FLOOR ? eb : 0;
        sum->a[l] += ea;
        sum->b[l] += eb;
        sum->cross[l] += eb * (b * fb - x[l] * fa);
    }
}

INLINE void add_run(const struct sides *s, const real *x, const real *y, int count,
                    const bool known, struct group *group)
{
    struct side_lanes sum;
    int j = 0;
    SIMD()
    for (int l = 0; l < LANES; l++) {
        sum.a[l] = sum.b[l] = sum.cross[l] = 0;
    }
    for (; j + LANES <= count; j += LANES) {
        side_lanes(s, group, x + j, y + j, LANES, known, &sum);
    }
    side_lanes(s, group, x + j, y + j, count - j, known, &sum);
    group->sum_a += (double)lanes_sum(sum.a);
    group->sum_b += (double)lanes_sum(sum.b);
    group->cross += (double)lanes_sum(sum.cross);
}

static void add_side(const struct sides *s, const real *x, const real *y, int count,
                     struct group *group)
{
    if (s->search) {
        find_maxima_of_side(s, x, y, count, group);
        add_run(s, x, y, count, false, group);
    } else {
        add_run(s, x, y, count, true, group);
    }
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

struct both_lanes {
    real in_a[LANES], in_b[LANES], cross_in[LANES];
    real out_a[LANES], out_b[LANES], cross_out[LANES];
    real above[LANES];
};

INLINE void both_lanes(const struct sides *s, const struct group_sums *sums, const real *key,
                       const real *x, const real *y, int count, const bool known,
                       struct both_lanes *sum)
{
    const real threshold = s->threshold, below = s->below, floor = s->floor;
    const real tail = s->tail, fa = s->fa, fb = s->fb, ga = s->ga, gb = s->gb;
    const real in_a = sums->in.max_a, in_b = sums->in.max_b;
    const real out_a = sums->out.max_a, out_b = sums->out.max_b;
    SIMD()
    for (int l = 0; l < count; l++) {
        const real high = key[l] >= threshold ? 1 : 0, low = key[l] >= below ? 0 : 1;
        const real in = known ? high : high * (y[l] > floor ? (real)1 : (real)0);
        const real out = known ? low : low + (high - in);
        const real b = known || y[l] > REAL_FLOOR ? y[l] : tail;
        const real ea = known ? real_exp2(x[l] * ga - out_a * ga)
                              : real_exp((x[l] - (in == 0 ? out_a : in_a)) * fa);
        real eb =
            known ? real_exp2(b * gb - out_b * gb) : real_exp((b - (in == 0 ? out_b : in_b)) * fb);
        eb = known || b > REAL_FLOOR ? eb : 0;
        const real cross = eb * (b * fb - x[l] * fa);
        sum->in_a[l] += part(in, ea, known);
        sum->out_a[l] += part(out, ea, known);
        sum->in_b[l] += part(in, eb, known);
        sum->out_b[l] += part(out, eb, known);
        sum->cross_in[l] += part(in, cross, known);
        sum->cross_out[l] += part(out, cross, known);
        sum->above[l] += high;
    }
}

/* Returns the number of entries at the threshold or above. `known`: maxima are, see sides. */
INLINE int add_both(const struct sides *s, const real *x, const real *y, int count,
                    struct group_sums *sums, const bool known)
{
    struct both_lanes sum;
    const real *key = s->by_teacher ? y : x;
    int j = 0;
    SIMD()
    for (int l = 0; l < LANES; l++) {
        sum.in_a[l] = sum.in_b[l] = sum.cross_in[l] = 0;
        sum.out_a[l] = sum.out_b[l] = sum.cross_out[l] = 0;
        sum.above[l] = 0;
    }
    for (; j + LANES <= count; j += LANES) {
        both_lanes(s, sums, key + j, x + j, y + j, LANES, known, &sum);
    }
    both_lanes(s, sums, key + j, x + j, y + j, count - j, known, &sum);
    sums->in.sum_a += (double)lanes_sum(sum.in_a);
    sums->in.sum_b += (double)lanes_sum(sum.in_b);
    sums->in.cross += (double)lanes_sum(sum.cross_in);
    sums->out.sum_a += (double)lanes_sum(sum.out_a);
    sums->out.sum_b += (double)lanes_sum(sum.out_b);
    sums->out.cross += (double)lanes_sum(sum.cross_out);
    return (int)lanes_sum(sum.above);
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
