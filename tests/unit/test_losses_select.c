/* Ranking without sorting, against sorting: rows with more equal or nearly equal values than may be
 * gathered. */
#include "tests/support/test.h"

#define CASK_REAL double
#define CASK_REAL_EXP exp
#define CASK_VARIANT f64
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/window.h"

enum { C = 150000, THREADS = 3, TILES = 1000 };

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return rank_before(*x, *y) ? -1 : rank_before(*y, *x);
}

/* kind 0: uniform; 1: one outlier over a narrow cluster; 2: two values; 3: all the same; 4: close
 * to 0, where values are close together, too; 5: many equal ones in the middle */
enum { KINDS = 6 };
static double draw(int kind, int64_t j)
{
    double u = cask_rng_uniform(5, (uint64_t)kind, (uint64_t)j);
    return kind == 0   ? u
           : kind == 1 ? (j == 77 ? 1 : 0.25 + 1e-9 * u)
           : kind == 2 ? u < 0.5
           : kind == 3 ? 0.5
           : kind == 4 ? exp(-200 * u)
                       : fmin(fmax(u, 0.3), 0.6);
}

struct row {
    double *x;
    struct candidate *sorted, *list; /* sorted: all, with the label as it counts */
    struct candidate label;
    bool has_label;
};

static void row_open(struct row *row, int kind, int64_t label)
{
    row->x = cask_alloc(C, sizeof *row->x);
    row->sorted = cask_alloc(C, sizeof *row->sorted);
    row->list = cask_alloc(C + 1, sizeof *row->list);
    assert_true(row->x != NULL && row->sorted != NULL && row->list != NULL);
    row->has_label = label >= 0;
    row->label = (struct candidate){0.3, (uint32_t)label, 0};
    for (int64_t j = 0; j < C; j++) {
        row->x[j] = draw(kind, j);
        row->sorted[j] = (struct candidate){j == label ? 0.3 : row->x[j], (uint32_t)j, 0};
    }
    qsort(row->sorted, C, sizeof *row->sorted, by_rank);
}

static void row_close(struct row *row)
{
    cask_free(row->x);
    cask_free(row->sorted);
    cask_free(row->list);
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

/* Looks and settles until the cut is known; returns how often it looked. */
static int find_cut(const struct row *row, struct goal *goal, double factor, int64_t room,
                    struct window *window)
{
    static int32_t counts[THREADS][TALLY];
    static int64_t masses[THREADS][TALLY];
    int64_t runs[C / TILES + 2][2];
    const int64_t n = runs_of(row, runs);
    int looks = 0;
    const double mass = goal->mass;
    window_open(window, -1.001, 1.001, C, factor);
    do {
        while (!window->done) {
            memset(counts, 0, sizeof counts);
            memset(masses, 0, sizeof masses);
            real range[2] = {INFINITY, -INFINITY};
            for (int64_t r = 0; r < n; r++) {
                const struct tally tally = {counts[r % THREADS], range, masses[r % THREADS]};
                const struct look look = {window, row->x + runs[r][0], -1, tally};
                window_look(&look, 1, (int)(runs[r][1] - runs[r][0]), runs[r][0]);
            }
            for (int b = 0; b < BINS; b++) {
                counts[0][b] += counts[1][b] + counts[2][b];
                masses[0][b] += masses[1][b] + masses[2][b];
            }
            const struct tally all = {counts[0], range, masses[0]};
            goal->mass = looks == 0 ? mass * window_total(window, goal, &all) : goal->mass;
            window_narrow(window, goal, &all, room);
            looks++;
        }
        int64_t inside = 0;
        for (int64_t r = 0; r < n && !window->exact; r++) {
            for (int64_t j = runs[r][0]; j < runs[r][1]; j++) {
                if (row->x[j] >= window->first && row->x[j] <= window->last) {
                    row->list[inside++] = (struct candidate){row->x[j], (uint32_t)j, 0};
                }
            }
        }
        assert_true(inside <= room);
        if (window_settle(window, goal, row->list, inside)) {
            return looks;
        }
    } while (true);
}

/* Entries in front of the cut, which must be the first in rank; a label that is forced in, too. */
static int64_t in_front(const struct row *row, const struct goal *goal, const struct cut *cut)
{
    const struct candidate at = {cut->value, (uint32_t)cut->index, 0};
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

static void check_counts(const struct row *row, int kind, bool forced, int64_t room)
{
    static const int64_t ks[] = {1, 2, 7, 70000, 149998, C};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        struct goal goal = {
            .k = ks[i], .has_label = row->has_label, .label = row->label, .forced = forced};
        struct window window;
        const int looks = find_cut(row, &goal, 1, room, &window);
        assert_int_equal(in_front(row, &goal, &window.cut), ks[i]);
        assert_true(looks <= (kind == 4 ? 60 : 12));
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
static void check_masses(const struct row *row, bool forced, int64_t room)
{
    static const double shares[] = {1e-3, 0.3, 0.93}, factors[] = {4, 64};
    for (int i = 0; i < 6; i++) {
        double before = 0, after = 0;
        const double factor = factors[i / 3], share = shares[i % 3];
        struct goal goal = {.by_mass = true,
                            .closer = true,
                            .mass = share,
                            .has_label = row->has_label,
                            .label = row->label,
                            .forced = forced};
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
    struct candidate *scratch = cask_alloc(RANK_SCRATCH, sizeof *scratch);
    assert_non_null(scratch);
    for (int kind = 0; kind < KINDS; kind++) {
        struct row row;
        struct goal goal = {0};
        double sum = 0, before = 0;
        row_open(&row, kind, -1);
        const struct cut cut = rank_top(row.x, C, 70001, scratch);
        assert_int_equal(in_front(&row, &goal, &cut), 70001);
        const int64_t want = kind == 4 ? 701 : 50001;
        for (int64_t j = 0; j < want; j++) {
            before = sum;
            sum += row.sorted[j].value;
        }
        assert_int_equal(rank_mass(row.x, C, (before + sum) / 2, scratch), want);
        row_close(&row);
    }
    cask_free(scratch);
}

static void test_stream(void **state)
{
    (void)state;
    struct candidate kept[9], all[400];
    int64_t count = 0;
    for (uint32_t j = 0; j < 400; j++) {
        all[j] = (struct candidate){(double)cask_rng_below(3, 1, j, 60), j, 0};
        rank_keep(kept, &count, 9, all[j]);
    }
    qsort(all, 400, sizeof *all, by_rank);
    for (int64_t last = 8; last >= 0; last--) {
        assert_int_equal(count, last + 1);
        assert_int_equal(kept[0].index, all[last].index);
        rank_drop(kept, &count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
