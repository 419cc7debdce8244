/* Ranking without sorting, against sorting: rows with more equal or nearly equal values than may be
 * gathered. */
#include "tests/support/test.h"

#define CASK_REAL double
#define CASK_REAL_EXP exp
#define CASK_REAL_EXP2 exp2
#define CASK_VARIANT f64
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/window.h"

enum { C = 150000, THREADS = 3, TILES = 1000 };

/* One in four of the runs that a row is handed in. */
static bool in_sample(int64_t j)
{
    return j / TILES % 4 == 0;
}

struct entry {
    double value;
    uint32_t index;
};

static bool rank_before(struct entry a, struct entry b)
{
    return a.value > b.value || (a.value == b.value && a.index < b.index);
}

static int by_rank(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return rank_before(*x, *y) ? -1 : rank_before(*y, *x);
}

/* kind 0: uniform; 1: one outlier over a narrow cluster; 2: two values; 3: all the same; 4: close
 * to 0, where values are close together, too; 5: many equal ones in the middle; 6: rising with the
 * index; 7: high where the sample is, so that its quantiles are wrong */
enum { KINDS = 8 };
static double draw(int kind, int64_t j)
{
    double u = cask_rng_uniform(5, (uint64_t)kind, (uint64_t)j);
    return kind == 0   ? u
           : kind == 1 ? (j == 77 ? 1 : 0.25 + 1e-9 * u)
           : kind == 2 ? u < 0.5
           : kind == 3 ? 0.5
           : kind == 4 ? exp(-200 * u)
           : kind == 5 ? fmin(fmax(u, 0.3), 0.6)
           : kind == 6 ? (double)j / C
                       : u - 0.5 + 0.3 * in_sample(j);
}

struct row {
    double *x;
    struct entry *sorted; /* all, with the label as it counts */
    struct entry label;
    struct gathered inside;
    bool has_label;
};

static void row_open(struct row *row, int kind, int64_t label)
{
    row->x = cask_alloc(C, sizeof *row->x);
    row->sorted = cask_alloc(C, sizeof *row->sorted);
    row->inside.value = cask_alloc(C + 1, sizeof *row->inside.value);
    row->inside.mass = cask_alloc(C + 1, sizeof *row->inside.mass);
    row->inside.index = cask_alloc(C, sizeof *row->inside.index);
    assert_true(row->x != NULL && row->sorted != NULL && row->inside.value != NULL &&
                row->inside.mass != NULL && row->inside.index != NULL);
    row->has_label = label >= 0;
    row->label = (struct entry){0.3, (uint32_t)label};
    for (int64_t j = 0; j < C; j++) {
        row->x[j] = draw(kind, j);
        row->sorted[j] = (struct entry){j == label ? 0.3 : row->x[j], (uint32_t)j};
    }
    qsort(row->sorted, C, sizeof *row->sorted, by_rank);
}

static void row_close(struct row *row)
{
    cask_free(row->x);
    cask_free(row->sorted);
    cask_free(row->inside.value);
    cask_free(row->inside.mass);
    cask_free(row->inside.index);
}

/* Runs of the row without the label, as a pass over chunks hands them in. */
static int64_t runs_of(const struct row *row, int64_t (*runs)[2])
{
    int64_t n = 0;
    for (int64_t from = 0; from < C; from += TILES) {
        const int64_t end = from + TILES, at = row->has_label ? (int64_t)row->label.index : -1;
        if (at >= from && at < end) {
            runs[n][0] = from;
            runs[n++][1] = at;
            runs[n][0] = at + 1;
            runs[n++][1] = end;
            from = end - TILES;
            continue;
        }
        runs[n][0] = from;
        runs[n++][1] = end;
    }
    return n;
}

static int32_t counts[THREADS][TALLY];
static int64_t masses[THREADS][TALLY];

/* A look at all of the row, or at its sample; in tally 0 what three counted. */
static struct tally look_at(const struct row *row, const struct window *window, bool sample,
                            real range[2])
{
    int64_t runs[C / TILES + 2][2];
    const int64_t n = runs_of(row, runs);
    memset(counts, 0, sizeof counts);
    memset(masses, 0, sizeof masses);
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (int64_t r = 0; r < n; r++) {
        if (!sample || in_sample(runs[r][0])) {
            const struct tally tally = {counts[r % THREADS], range, masses[r % THREADS]};
            const struct look look = {window, row->x + runs[r][0], -1, tally};
            window_look(&look, 1, (int)(runs[r][1] - runs[r][0]), runs[r][0]);
        }
    }
    for (int b = 0; b < BINS; b++) {
        counts[0][b] += counts[1][b] + counts[2][b];
        masses[0][b] += masses[1][b] + masses[2][b];
    }
    return (struct tally){counts[0], range, masses[0]};
}

/* What a pass over the sums puts aside. */
static void gather(struct row *row, const struct window *window, int64_t room)
{
    struct gathered *inside = &row->inside;
    inside->count = inside->above = 0;
    inside->room = room;
    for (int64_t j = 0; j < C && !window->exact; j++) {
        if (row->has_label && j == row->label.index) {
            continue;
        }
        inside->above += row->x[j] > window->last;
        if (row->x[j] >= window->first && row->x[j] <= window->last) {
            inside->value[inside->count] = row->x[j];
            inside->index[inside->count++] = (uint32_t)j;
        }
    }
}

/* Looks and settles until the cut is known; returns how often it looked at all of the row. */
static int find_cut(struct row *row, struct goal *goal, double factor, int64_t room,
                    struct window *window)
{
    real range[2];
    int looks = 0;
    const double mass = goal->mass;
    goal->others = C - row->has_label;
    goal->label = row->label.value;
    goal->label_at = row->label.index;
    window_open(window, -1.001, 1.001, C, factor);
    if (!goal->by_mass) {
        window_begin(window, goal, room);
        if (!window->done) {
            const struct tally sample = look_at(row, window, true, range);
            window_guess(window, goal, &sample);
        }
    }
    do {
        while (!window->done) {
            const struct tally all = look_at(row, window, false, range);
            goal->mass = looks == 0 ? mass * window_total(window, goal, &all) : goal->mass;
            window_narrow(window, goal, &all, room);
            looks++;
        }
        gather(row, window, room);
        assert_true(row->inside.count <= room || window->guessed);
    } while (!window_settle(window, goal, &row->inside));
    return looks;
}

/* Entries in front of the cut, which must be the first in rank; a label that is forced in, too. */
static int64_t in_front(const struct row *row, const struct goal *goal, const struct cut *cut)
{
    const struct entry at = {cut->value, (uint32_t)cut->index};
    int64_t inside = 0;
    bool ended = false;
    for (int64_t j = 0; j < C; j++) {
        const bool label = row->has_label && row->sorted[j].index == row->label.index;
        const bool in =
            label ? cut->label
                  : cut->value < -1e29 || (cut->index >= 0 ? !rank_before(at, row->sorted[j])
                                                           : row->sorted[j].value > cut->value);
        ended |= !in;
        inside += in;
        assert_true(in == !ended || (label && goal->forced));
    }
    return inside;
}

static void check_counts(struct row *row, int kind, bool forced, int64_t room)
{
    static const int64_t ks[] = {1, 2, 7, 20000, 70000, 149998, C};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        struct goal goal = {.k = ks[i], .has_label = row->has_label, .forced = forced};
        struct window window;
        const int looks = find_cut(row, &goal, 1, room, &window);
        assert_int_equal(in_front(row, &goal, &window.cut), ks[i]);
        assert_true(looks <= (kind == 4 ? 60 : 12));
        if (room > 4000 && (kind == 0 || kind == 6)) {
            assert_int_equal(looks, 0); /* the sample is enough */
        }
        if (kind == 7 && ks[i] > 7 && ks[i] < 140000) {
            assert_true(looks > 0); /* it misses, and the cut is exact all the same */
        }
    }
}

/* The smallest k that holds a share of the softmax's mass, and whether one less is nearer. */
static int64_t sorted_k(const struct row *row, double factor, double share, double *before,
                        double *after)
{
    double total = 0, mass = 0;
    const double top = row->sorted[0].value;
    for (int64_t j = 0; j < C; j++) {
        total += exp((row->sorted[j].value - top) * factor);
    }
    for (int64_t j = 0; j < C; j++) {
        const double next = mass + exp((row->sorted[j].value - top) * factor) / total;
        if (next >= share) {
            *before = mass;
            *after = next;
            return j + 1;
        }
        mass = next;
    }
    return C;
}

/* By mass: where the k is near to an edge, rounding may put it on its other side. */
static void check_masses(struct row *row, bool forced, int64_t room)
{
    static const double shares[] = {1e-3, 0.3, 0.93}, factors[] = {4, 64};
    for (int i = 0; i < 6; i++) {
        double before = 0, after = 0;
        const double factor = factors[i / 3], share = shares[i % 3];
        struct goal goal = {
            .by_mass = true, .mass = share, .has_label = row->has_label, .forced = forced};
        struct window window;
        int64_t want = sorted_k(row, factor, share, &before, &after);
        find_cut(row, &goal, factor, room, &window);
        want -= want > 1 && share - before <= after - share;
        const double one = after - before;
        assert_true(llabs(goal.k - want) <= 1 + (int64_t)(1e-6 * share / one));
        assert_int_equal(in_front(row, &goal, &window.cut), goal.k > 0 ? goal.k : forced);
    }
}

static void test_against_sorting(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        for (int label = 0; label < 2; label++) {
            struct row row;
            row_open(&row, kind, label ? 1234 : -1);
            for (int forced = 0; forced <= label; forced++) {
                check_counts(&row, kind, forced, 5000);
                check_counts(&row, kind, forced, 2000);
                check_counts(&row, kind, forced, 3);
                check_masses(&row, forced, 2000);
                check_masses(&row, forced, 3);
            }
            row_close(&row);
        }
    }
}

/* Of a plain array: the cut, and the k that holds a sum of its values. */
static void test_arrays(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct row row;
        struct goal goal = {0};
        double sum = 0, before = 0, own = 0, after = 0;
        row_open(&row, kind, -1);
        static const int64_t ks[] = {1, 2, 70001, C - 1, C};
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
            const struct cut cut = rank_top(row.x, C, ks[i]);
            assert_int_equal(in_front(&row, &goal, &cut), ks[i]);
        }
        const int64_t want = kind == 4 ? 701 : 50001;
        for (int64_t j = 0; j < want; j++) {
            before = sum;
            sum += row.sorted[j].value;
        }
        assert_int_equal(rank_mass(row.x, NULL, C, (before + sum) / 2, &own, &after), want);
        assert_true(fabs(own - before) <= 1e-9 * sum && fabs(after - sum) <= 1e-9 * sum);
        row_close(&row);
    }
}

/* Order as integers: signs, zeros, infinities; a NaN has no rank and breaks nothing. */
static void test_order(void **state)
{
    (void)state;
    const double rising[] = {-INFINITY, -1e300, -2, -1e-310, 0, 5e-324, 1e-3, 2, INFINITY};
    double mixed[] = {NAN, 0.5, -0.0, NAN, 0.0, -3};
    double none[] = {NAN, NAN};
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        assert_true(rank_value(rank_key(rising[i])) == rising[i]);
        assert_true(i == 0 || rank_key(rising[i - 1]) < rank_key(rising[i]));
    }
    assert_true(rank_key(-0.0) == rank_key(0.0));
    assert_int_equal(rank_top(mixed, 6, 2).index, 2);
    assert_int_equal(rank_top(mixed, 6, 3).index, 4);
    assert_int_equal(rank_top(mixed, 6, 4).index, 5);
    assert_int_equal(rank_top(mixed, 6, 6).index, 5);
    assert_in_range(rank_top(none, 2, 1).index, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
