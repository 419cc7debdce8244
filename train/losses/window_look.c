/* train/losses/window_look.c - see window.h: a run of entries of some rows, counted. */
#include "train/losses/cosines.h"
#include "train/losses/window.h"

static void look_by_index(const struct look *row, int count, int64_t index)
{
    const struct window *w = row->window;
    for (int j = 0; j < count; j++) {
        const int64_t at = index + j;
        if (row->x[j] == w->first && j != row->skip && at >= w->from && at < w->to) {
            row->tally.count[(at - w->from) >> w->shift]++;
        }
    }
}

/* Bins of a run, BINS for what is not inside, and where they lie among the bins. */
static void find_bins(const struct look *row, int count, int32_t *bins, real *place)
{
    const struct window *w = row->window;
    const real *x = row->x;
    const real low = w->low, inverse = w->inverse, first = w->first, last = w->last;
    SIMD()
    for (int j = 0; j < count; j++) {
        real at = (x[j] - low) * inverse;
        at = at > 0 ? at : 0;
        at = at < BIN_LIMIT ? at : BIN_LIMIT;
        place[j] = at;
        const int32_t bin = (int32_t)at;
        bins[j] = (x[j] < first) | (x[j] > last) ? BINS : bin;
    }
    if (row->skip >= 0) {
        bins[row->skip] = BINS;
    }
}

/* Range of what is inside; an entry that is skipped may widen it, which does no harm. */
static void find_range(const struct look *row, int count)
{
    const real *x = row->x;
    const real first = row->window->first, last = row->window->last;
    real least = row->tally.range[0], largest = row->tally.range[1];
    SIMD(reduction(min : least) reduction(max : largest))
    for (int j = 0; j < count; j++) {
        const real low = x[j] >= first ? x[j] : last, high = x[j] <= last ? x[j] : first;
        least = low < least ? low : least;
        largest = high > largest ? high : largest;
    }
    row->tally.range[0] = least;
    row->tally.range[1] = largest;
}

/* Masses beyond those of the bins' lower ends, in place of the places. */
static void find_masses(const struct window *w, const real *place, int count, int32_t *part)
{
    const real growth = w->growth, unit = w->unit;
    SIMD()
    for (int j = 0; j < count; j++) {
        const real within = place[j] - (real)(int32_t)place[j];
        part[j] = (int32_t)((real_exp(within * growth) - 1) * unit);
    }
}

static void count_four(const struct look *rows, int32_t (*bins)[TILE], int count)
{
    int32_t *c0 = rows[0].tally.count, *c1 = rows[1].tally.count;
    int32_t *c2 = rows[2].tally.count, *c3 = rows[3].tally.count;
    for (int j = 0; j < count; j++) {
        c0[bins[0][j]]++;
        c1[bins[1][j]]++;
        c2[bins[2][j]]++;
        c3[bins[3][j]]++;
    }
}

static void weigh_four(const struct look *rows, int32_t (*bins)[TILE], int32_t (*part)[TILE],
                       int count)
{
    int64_t *m0 = rows[0].tally.mass, *m1 = rows[1].tally.mass;
    int64_t *m2 = rows[2].tally.mass, *m3 = rows[3].tally.mass;
    for (int j = 0; j < count; j++) {
        m0[bins[0][j]] += part[0][j];
        m1[bins[1][j]] += part[1][j];
        m2[bins[2][j]] += part[2][j];
        m3[bins[3][j]] += part[3][j];
    }
}

void window_look(const struct look *rows, int row_count, int count, int64_t index)
{
    int32_t bins[LOOK_ROWS][TILE], part[LOOK_ROWS][TILE];
    struct look by_value[LOOK_ROWS];
    int n = 0;
    for (int r = 0; r < row_count; r++) {
        if (rows[r].window->shift >= 0 && !rows[r].window->done) {
            look_by_index(&rows[r], count, index);
        } else if (!rows[r].window->done) {
            by_value[n++] = rows[r];
        }
    }
    for (int r = 0; r < n; r++) {
        real place[TILE];
        find_bins(&by_value[r], count, bins[r], place);
        find_range(&by_value[r], count);
        if (by_value[r].tally.mass != NULL) {
            find_masses(by_value[r].window, place, count, part[r]);
        }
    }
    if (n == LOOK_ROWS) {
        count_four(by_value, bins, count);
        if (by_value[0].tally.mass != NULL) {
            weigh_four(by_value, bins, part, count);
        }
        return;
    }
    for (int r = 0; r < n; r++) {
        const struct tally *tally = &by_value[r].tally;
        for (int j = 0; j < count; j++) {
            tally->count[bins[r][j]]++;
        }
        for (int j = 0; j < count && tally->mass != NULL; j++) {
            tally->mass[bins[r][j]] += part[r][j];
        }
    }
}
