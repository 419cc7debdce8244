/* train/losses/window.c - see window.h. */
#include "train/losses/window.h"

/* -------------------------------------------------------------------- bins */

static int bin_of(const struct window *w, real value)
{
    const real at = (value - w->low) * w->inverse;
    return at > 0 ? (int)(at < BIN_LIMIT ? at : BIN_LIMIT) : 0; /* NaN: 0 */
}

/* The least value inside whose bin is `bin` or a higher one; there is one. Rounding never swaps two
 * values' bins, so it can be searched for. */
static real least_in(const struct window *w, int bin)
{
    uint64_t low = (uint64_t)rank_key(w->first), steps = (uint64_t)rank_key(w->last) - low;
    while (steps > 0) {
        const uint64_t half = steps / 2;
        if (bin_of(w, rank_value((int64_t)(low + half))) >= bin) {
            steps = half;
        } else {
            low += half + 1;
            steps -= half + 1;
        }
    }
    return rank_value((int64_t)low);
}

static void lay_bins(struct window *w)
{
    const real width = w->last - w->first;
    w->low = w->first;
    w->inverse = width > 0 ? BINS / width : 0;
    const double growth = w->inverse > 0 ? w->factor / (double)w->inverse : 0;
    w->growth = (real)fmin(growth, 80);
    w->unit = (real)(0x1p30 / fmax(expm1((double)w->growth), 0x1p-16));
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

static void open_again(struct window *w)
{
    window_open(w, w->lowest, w->highest, w->count, w->factor);
}

/* ------------------------------------------------------------------ masses */

static double mass_of(const struct window *w, const struct goal *goal, double value)
{
    return exp((value - goal->top) * w->factor);
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
    return mass_of(w, goal, edge) * (n + beyond);
}

double window_total(const struct window *w, struct goal *goal, const struct tally *tally)
{
    int bin = BINS - 1;
    while (bin > 0 && tally->count[bin] == 0) {
        bin--;
    }
    goal->top = (double)w->low + (w->inverse > 0 ? (bin + 1) / (double)w->inverse : 0);
    goal->top = goal->has_label ? fmax(goal->top, (double)goal->label) : goal->top;
    double total = goal->has_label ? mass_of(w, goal, (double)goal->label) : 0;
    for (; bin >= 0; bin--) {
        total += bin_mass(w, goal, tally, bin);
    }
    return total;
}

/* ------------------------------------------------------------------ narrow */

static bool label_above(const struct window *w, const struct goal *goal)
{
    return goal->has_label && (goal->label > w->last || (w->shift >= 0 && goal->label == w->last &&
                                                         goal->label_at < w->from));
}

static bool label_inside(const struct window *w, const struct goal *goal)
{
    return goal->has_label && goal->label >= w->first && goal->label <= w->last &&
           (w->shift < 0 || (goal->label_at >= w->from && goal->label_at < w->to));
}

/* The bin of a label that counts for the ranking, or BINS. */
static int label_bin(const struct window *w, const struct goal *goal, bool counts)
{
    if (!counts || !label_inside(w, goal)) {
        return BINS;
    }
    return w->shift < 0 ? bin_of(w, goal->label) : (int)((goal->label_at - w->from) >> w->shift);
}

static void know(struct window *w, const struct goal *goal, real value, int64_t index)
{
    w->cut = (struct cut){.value = value, .index = index};
    w->cut.label = goal->has_label && (goal->forced || goal->label > value ||
                                       (goal->label == value && goal->label_at <= index));
    w->done = w->exact = true;
}

/* The k among what is ranked: a label that is forced in is not. */
static int64_t rank_of(const struct goal *goal)
{
    return goal->k - (goal->forced && goal->has_label);
}

/* Where none or all are in front. */
static bool know_beforehand(struct window *w, const struct goal *goal)
{
    if (rank_of(goal) <= 0) {
        know(w, goal, -REAL_NONE, -1);
    } else if (rank_of(goal) >= goal->others + (goal->has_label && !goal->forced)) {
        know(w, goal, REAL_NONE, w->count);
    }
    return w->exact;
}

/* Keeps bins `low` to `high`, of these what lies in the range that was seen. */
static void keep_bins(struct window *w, const struct tally *tally, int low, int high)
{
    const real first = low > 0 ? least_in(w, low) : w->first;
    const real last =
        bin_of(w, w->last) > high ? rank_value(rank_key(least_in(w, high + 1)) - 1) : w->last;
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
    const int64_t k = rank_of(goal);
    if (know_beforehand(w, goal)) {
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
    if (!w->done && rank_key(w->first) == rank_key(w->last)) {
        lay_bins_by_index(w);
    } else if (!w->done) {
        lay_bins(w);
    }
}

static void resolve(struct goal *goal, int64_t k, double before, double after)
{
    const bool nearer = k > 1 && goal->mass - before <= after - goal->mass;
    goal->k = k - nearer;
    goal->by_mass = false;
}

/* All entries inside are one value: k follows from the mass of one. */
static void resolve_equal(struct window *w, struct goal *goal)
{
    const double one = mass_of(w, goal, (double)w->first);
    const bool above = label_above(w, goal);
    double mass = w->mass_above + (above ? mass_of(w, goal, (double)goal->label) : 0);
    const int64_t within =
        rank_among_equal(goal->mass - mass, one, w->inside + label_inside(w, goal));
    mass += (double)(within - 1) * one;
    resolve(goal, w->above + above + within, mass, mass + one);
    open_again(w);
}

static void narrow_by_mass(struct window *w, struct goal *goal, const struct tally *tally,
                           int64_t room)
{
    const double label_mass = goal->has_label ? mass_of(w, goal, (double)goal->label) : 0;
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
    if (!w->done && rank_key(w->first) == rank_key(w->last)) {
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

void window_begin(struct window *w, const struct goal *goal, int64_t room)
{
    w->done = know_beforehand(w, goal) || goal->others <= room;
}

/* ------------------------------------------------------------------- guess */

static int64_t count_bins(const struct tally *tally, int from, int to)
{
    int32_t sum = 0;
    SIMD(reduction(+ : sum))
    for (int bin = from; bin < to; bin++) {
        sum += tally->count[bin];
    }
    return sum;
}

/* Where the entries from the largest down to here are `rank` of those that were looked at; inside a
 * bin they are taken as evenly spread. */
static real value_near(const struct window *w, const struct tally *tally, double rank)
{
    enum { STEP = 64 }; /* most bins are empty, or far from the rank */
    int64_t above = 0;
    int end = BINS;
    if (rank <= 0 || !(w->inverse > 0)) {
        return w->last;
    }
    for (; end > 0; end -= STEP) {
        const int64_t here = count_bins(tally, end - STEP, end);
        if ((double)(above + here) >= rank) {
            break;
        }
        above += here;
    }
    for (int bin = end - 1; bin >= 0; bin--) {
        const int32_t n = tally->count[bin];
        if (n > 0 && (double)(above + n) >= rank) {
            const double at = bin + 1 - (rank - (double)above) / n;
            return (real)((double)w->low + at / (double)w->inverse);
        }
        above += n;
    }
    return w->first;
}

/* The k first of N entries have, among n that were drawn, a number of mean r = k n / N and variance
 * r (1 - r / n) (1 - n / N). That it is 4.5 deviations off has a chance of 7e-6; where r is small
 * and the law not normal, 8 entries more make up for it. */
void window_guess(struct window *w, const struct goal *goal, const struct tally *tally)
{
    const double seen = (double)count_bins(tally, 0, BINS);
    const double share = seen / (double)goal->others;
    const double rank = (double)rank_of(goal) * share;
    const double off = 4.5 * sqrt(fmax(rank * (1 - rank / seen) * (1 - share), 0)) + 8;
    const real first = value_near(w, tally, rank + off);
    w->last = value_near(w, tally, rank - off);
    w->first = first < w->last ? first : w->last;
    w->done = w->guessed = true;
}

/* ------------------------------------------------------------------ settle */

static void resolve_gathered(const struct window *w, struct goal *goal, const struct gathered *g)
{
    const bool above = label_above(w, goal), inside = label_inside(w, goal);
    const double mass = w->mass_above + (above ? mass_of(w, goal, (double)goal->label) : 0);
    const int64_t count = g->count + inside;
    double before = -INFINITY, after = INFINITY;
    int64_t k = 0;
    g->value[g->count] = goal->label;
    for (int64_t i = 0; i < count; i++) {
        g->mass[i] = mass_of(w, goal, (double)g->value[i]);
    }
    if (count > 0) {
        k = rank_mass(g->value, g->mass, count, goal->mass - mass, &before, &after);
    }
    /* Rounding left the bins' sum and this one on two sides of the target, or the whole row holds
     * less than the target. */
    const bool reached = count > 0 && mass + after >= goal->mass;
    resolve(goal, w->above + above + k, reached ? mass + before : -INFINITY,
            reached ? mass + after : INFINITY);
}

/* The cut behind `left` of the entries inside, and of the label if it is one of them. */
static void cut_inside(struct window *w, const struct goal *goal, const struct gathered *g,
                       bool label, int64_t left)
{
    g->value[g->count] = goal->label;
    const real value = rank_nth(g->value, g->count + label, left);
    for (int64_t i = 0; i < g->count + label; i++) {
        left -= g->value[i] > value;
    }
    int64_t at = -1;
    label = label && goal->label == value; /* equal ones go by index */
    for (int64_t i = 0; i < g->count && left > 0; i++) {
        if (label && (int64_t)g->index[i] > goal->label_at) {
            at = goal->label_at;
            label = false;
            left--;
        }
        if (g->value[i] == value && left > 0) {
            at = (int64_t)g->index[i];
            left--;
        }
    }
    know(w, goal, value, label && left > 0 ? goal->label_at : at);
}

bool window_settle(struct window *w, struct goal *goal, const struct gathered *g)
{
    if (w->exact) {
        return true;
    }
    if (g->count > g->room) {
        open_again(w);
        return false;
    }
    w->above = g->above;
    if (goal->by_mass) {
        resolve_gathered(w, goal, g);
    }
    const bool label = !goal->forced && label_inside(w, goal);
    const int64_t left = rank_of(goal) - w->above - (!goal->forced && label_above(w, goal));
    const int64_t most = g->count + label;
    if (left < 0 || (left > most && w->guessed)) {
        open_again(w);
        return false;
    }
    if (left > 0 && most > 0) {
        cut_inside(w, goal, g, label, left < most ? left : most);
    } else {
        know(w, goal, w->last, -1);
    }
    return true;
}
