/* train/losses/window.c - see window.h. */
#include "train/losses/window.h"

#include "train/losses/cosines.h"

/* Least above the last bin's number: what lies higher is in the last bin, too. */
#define MOST ((real)(BINS - 1.0 / 1024))

/* -------------------------------------------------------------------- bins */

/* Values in their order as integers, 0 and -0 as one. */
static int64_t key_of(real value)
{
    if (sizeof(real) == sizeof(float)) {
        const float narrow = (float)value;
        int32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        return bits >= 0 ? bits : (int64_t)INT32_MIN - bits;
    }
    const double wide = (double)value;
    int64_t bits;
    memcpy(&bits, &wide, sizeof bits);
    return bits >= 0 ? bits : INT64_MIN - bits;
}

static real value_of(int64_t key)
{
    if (sizeof(real) == sizeof(float)) {
        const int32_t bits = (int32_t)(key >= 0 ? key : INT32_MIN - key);
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        return (real)narrow;
    }
    const int64_t bits = key >= 0 ? key : INT64_MIN - key;
    double wide;
    memcpy(&wide, &bits, sizeof wide);
    return (real)wide;
}

static int bin_of(const struct window *w, real value)
{
    const real at = (value - w->low) * w->inverse;
    return at > 0 ? (int)(at < MOST ? at : MOST) : 0; /* NaN: 0 */
}

/* The least value inside whose bin is `bin` or a higher one; there is one. Rounding never swaps two
 * values' bins, so it can be searched for. */
static real least_in(const struct window *w, int bin)
{
    uint64_t low = (uint64_t)key_of(w->first), steps = (uint64_t)key_of(w->last) - low;
    while (steps > 0) {
        const uint64_t half = steps / 2;
        if (bin_of(w, value_of((int64_t)(low + half))) >= bin) {
            steps = half;
        } else {
            low += half + 1;
            steps -= half + 1;
        }
    }
    return value_of((int64_t)low);
}

static void lay_bins(struct window *w)
{
    const real width = w->last - w->first;
    w->low = w->first;
    w->inverse = width > 0 ? BINS / width : 0;
    const double growth = w->inverse > 0 ? w->factor / (double)w->inverse : 0;
    w->growth = (real)fmin(growth, 80);
    w->unit = (real)(0x1p30 / (w->factor == 0 ? 1 : fmax(expm1((double)w->growth), 0x1p-16)));
}

void window_open(struct window *w, real lowest, real highest, int64_t count, double factor)
{
    *w = (struct window){.first = lowest,
                         .last = highest,
                         .to = count,
                         .inside = count,
                         .shift = -1,
                         .factor = factor,
                         .lowest = lowest,
                         .highest = highest,
                         .count = count};
    lay_bins(w);
}

/* -------------------------------------------------------------------- look */

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
        at = at < MOST ? at : MOST;
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
    if (w->factor == 0) {
        SIMD()
        for (int j = 0; j < count; j++) {
            part[j] = (int32_t)((place[j] - (real)(int32_t)place[j]) * unit);
        }
        return;
    }
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

/* ------------------------------------------------------------------ masses */

static double mass_of(const struct window *w, const struct goal *goal, double value)
{
    return w->factor == 0 ? value : exp((value - goal->top) * w->factor);
}

static double bin_mass(const struct window *w, const struct goal *goal, const struct tally *tally,
                       int bin)
{
    const int32_t n = tally->count[bin];
    if (n == 0) {
        return 0;
    }
    const double width = w->inverse > 0 ? 1 / (double)w->inverse : 0;
    const double edge = (double)w->low + bin * width;
    const double beyond = (double)tally->mass[bin] / (double)w->unit;
    return w->factor == 0 ? n * edge + beyond * width : mass_of(w, goal, edge) * (n + beyond);
}

double window_total(const struct window *w, struct goal *goal, const struct tally *tally)
{
    int bin = BINS - 1;
    while (bin > 0 && tally->count[bin] == 0) {
        bin--;
    }
    goal->top = (double)w->low + (w->inverse > 0 ? (bin + 1) / (double)w->inverse : 0);
    goal->top = goal->has_label ? fmax(goal->top, (double)goal->label.value) : goal->top;
    double total = goal->has_label ? mass_of(w, goal, (double)goal->label.value) : 0;
    for (; bin >= 0; bin--) {
        total += bin_mass(w, goal, tally, bin);
    }
    return total;
}

/* ------------------------------------------------------------------ narrow */

static bool label_above(const struct window *w, const struct goal *goal)
{
    const struct candidate *label = &goal->label;
    return goal->has_label &&
           (label->value > w->last ||
            (w->shift >= 0 && label->value == w->last && (int64_t)label->index < w->from));
}

static bool label_inside(const struct window *w, const struct goal *goal)
{
    const struct candidate *label = &goal->label;
    const int64_t at = (int64_t)label->index;
    return goal->has_label && label->value >= w->first && label->value <= w->last &&
           (w->shift < 0 || (at >= w->from && at < w->to));
}

/* The bin of a label that counts for the ranking, or BINS. */
static int label_bin(const struct window *w, const struct goal *goal, bool counts)
{
    if (!counts || !label_inside(w, goal)) {
        return BINS;
    }
    return w->shift < 0 ? bin_of(w, goal->label.value)
                        : (int)(((int64_t)goal->label.index - w->from) >> w->shift);
}

static void know(struct window *w, const struct goal *goal, real value, int64_t index)
{
    w->cut = (struct cut){.value = value, .index = index};
    w->cut.label =
        goal->has_label && (goal->forced || goal->label.value > value ||
                            (goal->label.value == value && (int64_t)goal->label.index <= index));
    w->done = w->exact = true;
}

/* Keeps bins `low` to `high`, of these what lies in the range that was seen. */
static void keep_bins(struct window *w, const struct tally *tally, int low, int high)
{
    const real first = low > 0 ? least_in(w, low) : w->first;
    const real last =
        bin_of(w, w->last) > high ? value_of(key_of(least_in(w, high + 1)) - 1) : w->last;
    w->first = tally->range[0] > first && tally->range[0] <= last ? tally->range[0] : first;
    w->last = tally->range[1] < last && tally->range[1] >= w->first ? tally->range[1] : last;
}

/* Bins by index from now on, or finer ones. */
static void lay_bins_by_index(struct window *w)
{
    w->shift = 0;
    while ((w->to - w->from - 1) >> w->shift >= BINS) {
        w->shift++;
    }
}

static void narrow_by_index(struct window *w, const struct goal *goal, const struct tally *tally,
                            int64_t k)
{
    const int label = label_bin(w, goal, !goal->forced);
    const int last = (int)((w->to - w->from - 1) >> w->shift);
    int64_t above = w->above + (!goal->forced && label_above(w, goal));
    int bin = 0;
    while (bin < last && above + tally->count[bin] + (bin == label) < k) {
        above += tally->count[bin] + (bin == label);
        w->above += tally->count[bin++];
    }
    w->from += (int64_t)bin << w->shift;
    w->to = w->from + ((int64_t)1 << w->shift) < w->to ? w->from + ((int64_t)1 << w->shift) : w->to;
    if (w->to - w->from == 1) {
        know(w, goal, w->first, w->from);
    } else {
        lay_bins_by_index(w);
    }
}

static void narrow_by_count(struct window *w, const struct goal *goal, const struct tally *tally,
                            int64_t room)
{
    const int64_t others = w->count - goal->has_label;
    const int64_t k = goal->k - (goal->forced && goal->has_label);
    if (k <= 0) {
        know(w, goal, -REAL_NONE, -1);
        return;
    }
    if (k >= others + (goal->has_label && !goal->forced)) {
        know(w, goal, REAL_NONE, w->count);
        return;
    }
    if (w->shift >= 0) {
        narrow_by_index(w, goal, tally, k);
        return;
    }
    const int label = label_bin(w, goal, !goal->forced);
    int64_t above = w->above + (!goal->forced && label_above(w, goal));
    int bin = BINS - 1;
    while (bin > 0 && above + tally->count[bin] + (bin == label) < k) {
        above += tally->count[bin] + (bin == label);
        w->above += tally->count[bin--];
    }
    w->inside = tally->count[bin];
    keep_bins(w, tally, bin, bin);
    w->done = w->inside <= room;
    if (!w->done && key_of(w->first) == key_of(w->last)) {
        lay_bins_by_index(w);
    } else if (!w->done) {
        lay_bins(w);
    }
}

static void resolve(struct goal *goal, int64_t k, double before, double after)
{
    const bool nearer = goal->closer && k > 1 && goal->mass - before <= after - goal->mass;
    goal->k = k - nearer;
    goal->by_mass = false;
}

/* All entries inside are one value: k follows from the mass of one. */
static void resolve_equal(struct window *w, struct goal *goal)
{
    const double one = mass_of(w, goal, (double)w->first);
    const bool above = label_above(w, goal);
    double mass = w->mass_above + (above ? mass_of(w, goal, (double)goal->label.value) : 0);
    const double n = one > 0 ? ceil((goal->mass - mass) / one) : (double)w->inside;
    const int64_t most = w->inside + label_inside(w, goal);
    const int64_t within = n < 1 ? 1 : n < (double)most ? (int64_t)n : most;
    mass += (double)(within - 1) * one;
    resolve(goal, w->above + above + within, mass, mass + one);
    window_open(w, w->lowest, w->highest, w->count, w->factor);
}

static void narrow_by_mass(struct window *w, struct goal *goal, const struct tally *tally,
                           int64_t room)
{
    const double label_mass = goal->has_label ? mass_of(w, goal, (double)goal->label.value) : 0;
    const int label = label_bin(w, goal, true);
    double mass = w->mass_above + (label_above(w, goal) ? label_mass : 0);
    int bin = BINS - 1, high;
    for (; bin > 0; bin--) {
        const double here = bin_mass(w, goal, tally, bin);
        if (mass + here + (bin == label ? label_mass : 0) >= goal->mass) {
            break;
        }
        mass += here + (bin == label ? label_mass : 0);
        w->mass_above += here;
        w->above += tally->count[bin];
    }
    w->inside = tally->count[bin];
    /* the cut can be two entries higher: without the last, and with a label that is forced in */
    for (high = bin; high < BINS - 1 && w->inside - tally->count[bin] < 2; high++) {
        w->inside += tally->count[high + 1];
    }
    if (w->inside > room) {
        w->inside = tally->count[bin];
        high = bin;
    }
    for (int b = bin + 1; b <= high; b++) {
        w->mass_above -= bin_mass(w, goal, tally, b);
        w->above -= tally->count[b];
    }
    keep_bins(w, tally, bin, high);
    w->done = w->inside <= room;
    if (!w->done && key_of(w->first) == key_of(w->last)) {
        resolve_equal(w, goal);
    } else if (!w->done) {
        lay_bins(w);
    }
}

void window_narrow(struct window *w, struct goal *goal, const struct tally *tally, int64_t room)
{
    if (w->done) {
        return;
    }
    if (goal->by_mass) {
        narrow_by_mass(w, goal, tally, room);
    } else {
        narrow_by_count(w, goal, tally, room);
    }
}

/* ------------------------------------------------------------------ settle */

static void resolve_sorted(const struct window *w, struct goal *goal, const struct candidate *list,
                           int64_t count)
{
    const bool above = label_above(w, goal);
    double mass = w->mass_above + (above ? mass_of(w, goal, (double)goal->label.value) : 0);
    int64_t k = w->above + above;
    for (int64_t i = 0; i < count; i++) {
        const double next = mass + mass_of(w, goal, (double)list[i].value);
        k++;
        if (next >= goal->mass) {
            resolve(goal, k, mass, next);
            return;
        }
        mass = next;
    }
    /* Rounding left the bins' sum and the sorted sum on two sides of the target, or the whole row
     * holds less than the target. */
    resolve(goal, k, -INFINITY, INFINITY);
}

bool window_settle(struct window *w, struct goal *goal, struct candidate *list, int64_t count)
{
    if (w->exact) {
        return true;
    }
    const bool inside = label_inside(w, goal);
    if (inside) {
        list[count] = goal->label;
    }
    rank_sort(list, count + inside);
    if (goal->by_mass) {
        resolve_sorted(w, goal, list, count + inside);
    }
    int64_t left = goal->k - w->above;
    left -= goal->has_label && (goal->forced || label_above(w, goal));
    if (left < 0) {
        window_open(w, w->lowest, w->highest, w->count, w->factor);
        return false;
    }
    know(w, goal, w->last, -1);
    for (int64_t i = 0, to = 0; i < count + inside; i++) {
        const bool label = inside && list[i].index == goal->label.index;
        if (left > 0 && !(label && goal->forced)) {
            know(w, goal, list[i].value, (int64_t)list[i].index);
            left--;
        }
        list[to] = list[i];
        to += !label; /* it leaves the list again */
    }
    return true;
}
