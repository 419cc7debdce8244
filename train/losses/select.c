/* train/losses/select.c - see select.h. */
#include "train/losses/select.h"

#include "train/losses/rows.h"

enum { BINS = 2048 };

/* Of the entries whose value is not below `first` and not above `last`. */
struct histogram {
    real first, last;
    real low, inverse_width;
    /* Two of each, for even and odd entries: neighbours in one bin need not wait for each other.
     * The last bin takes what does not count. */
    int32_t count[2][BINS + 1];
    double mass[2][BINS + 1];
};

bool rank_before(struct candidate a, struct candidate b)
{
    return a.value > b.value || (a.value == b.value && a.index < b.index);
}

static void sift_down(struct candidate *heap, int64_t root, int64_t count)
{
    for (;;) {
        int64_t child = 2 * root + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && rank_before(heap[child], heap[child + 1])) {
            child++;
        }
        if (rank_before(heap[child], heap[root])) {
            return;
        }
        struct candidate swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

/* Heapsort, first in rank first; the heap's root is the last in rank. No memory, no bad case. */
static void sort(struct candidate *list, int64_t count)
{
    for (int64_t i = count / 2; i-- > 0;) {
        sift_down(list, i, count);
    }
    for (int64_t end = count; end-- > 1;) {
        struct candidate swap = list[0];
        list[0] = list[end];
        list[end] = swap;
        sift_down(list, 0, end);
    }
}

void rank_keep(struct candidate *kept, int64_t *count, int64_t k, struct candidate next)
{
    if (*count == k) {
        if (k > 0 && rank_before(next, kept[0])) {
            kept[0] = next;
            sift_down(kept, 0, k);
        }
        return;
    }
    int64_t at = (*count)++;
    for (; at > 0 && rank_before(kept[(at - 1) / 2], next); at = (at - 1) / 2) {
        kept[at] = kept[(at - 1) / 2];
    }
    kept[at] = next;
}

void rank_drop(struct candidate *kept, int64_t *count)
{
    kept[0] = kept[--*count];
    sift_down(kept, 0, *count);
}

static int bin_of(const struct histogram *h, real value)
{
    real at = (value - h->low) * h->inverse_width;
    return at > 0 ? (at < BINS - 1 ? (int)at : BINS - 1) : 0;
}

static real value_at(const struct ranking *r, int64_t j)
{
    return j == r->label ? (real)r->label_value : r->x[j / r->width * r->step + j % r->width];
}

/* The run of entries that begins at `first`: at most TILE, and they lie side by side. */
static const real *run_at(const struct ranking *r, int64_t first, int *width)
{
    const int64_t at = first % r->width, left = r->count - first;
    int64_t run = r->width - at < left ? r->width - at : left;
    *width = (int)(run < TILE ? run : TILE);
    return r->x + first / r->width * r->step + at;
}

/* Is entry j counted at all, and is it one of the histogram's? NaN is. */
static bool counts(const struct histogram *h, const struct ranking *r, int64_t j)
{
    real value = value_at(r, j);
    return (j != r->label || r->with_label) && !(value < h->first) && !(value > h->last);
}

/* The bins of one run of entries, BINS for those that do not count; returns their number. */
static int tile_bins(const struct histogram *h, const struct ranking *r, int64_t first,
                     int32_t *bins)
{
    const real low = h->low, inverse = h->inverse_width, from = h->first, to = h->last;
    int width;
    const real *x = run_at(r, first, &width);
    SIMD()
    for (int j = 0; j < width; j++) {
        real at = (x[j] - low) * inverse;
        at = at > 0 ? at : 0; /* NaN too */
        at = at < BINS - 1 ? at : BINS - 1;
        int32_t bin = (int32_t)at;
        bins[j] = (x[j] < from) | (x[j] > to) ? BINS : bin;
    }
    if (r->label >= first && r->label < first + width) {
        bins[r->label - first] =
            counts(h, r, r->label) ? bin_of(h, (real)r->label_value) : (int32_t)BINS;
    }
    return width;
}

static int32_t count_of(const struct histogram *h, int bin)
{
    return h->count[0][bin] + h->count[1][bin];
}

static void fill_counts(struct histogram *h, const struct ranking *r)
{
    int32_t bins[TILE];
    for (int64_t first = 0; first < r->count;) {
        const int width = tile_bins(h, r, first, bins);
        for (int j = 0; j < width; j++) {
            h->count[j & 1][bins[j]]++;
        }
        first += width;
    }
}

static void lay_bins(struct histogram *h, real low, real high)
{
    h->low = low;
    h->inverse_width = high > low ? (real)BINS / (high - low) : 0;
    memset(h->count, 0, sizeof h->count);
    memset(h->mass, 0, sizeof h->mass);
}

/* Range over everything but the label, whose own value is clamped into the end bins. */
static void range_of(const struct ranking *r, real *low, real *high)
{
    int width;
    for (int64_t first = 0; first < r->count; first += width) {
        const real *x = run_at(r, first, &width);
        const int64_t at = r->label - first;
        if (at < 0 || at >= width) {
            rows_range(x, width, low, high);
            continue;
        }
        rows_range(x, at, low, high);
        rows_range(x + at + 1, width - at - 1, low, high);
    }
}

static void open_histogram(struct histogram *h, const struct ranking *r)
{
    real low = r->cosines ? -1 : -REAL_NONE, high = r->cosines ? 1 : REAL_NONE;
    if (!r->cosines) {
        range_of(r, &low, &high);
    }
    h->first = (real)-INFINITY;
    h->last = (real)INFINITY;
    lay_bins(h, low, high);
}

double rank_log_sum(const struct ranking *r, double factor, double *high)
{
    real low = 0, top = REAL_NONE;
    int width;
    double sum = 0;
    range_of(r, &low, &top);
    *high = r->label >= 0 && r->with_label ? fmax(r->label_value, (double)top) : (double)top;
    for (int64_t first = 0; first < r->count; first += width) {
        const real *x = run_at(r, first, &width);
        const int64_t at = r->label - first;
        if (at < 0 || at >= width) {
            sum += rows_sum_exp(x, width, *high, factor);
            continue;
        }
        sum += rows_sum_exp(x, at, *high, factor);
        sum += rows_sum_exp(x + at + 1, width - at - 1, *high, factor);
        sum += r->with_label ? exp((r->label_value - *high) * factor) : 0;
    }
    return log(sum);
}

/* Spreads one bin over all bins; false if it holds one value only. */
static bool narrow(struct histogram *h, const struct ranking *r, int bin)
{
    real low = (real)INFINITY, high = (real)-INFINITY;
    for (int64_t j = 0; j < r->count; j++) {
        real value = value_at(r, j);
        if (counts(h, r, j) && bin_of(h, value) == bin) {
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
    }
    if (!(low < high) || (low == h->first && high == h->last)) {
        return false;
    }
    h->first = low;
    h->last = high;
    lay_bins(h, low, high);
    return true;
}

static int64_t entries(const struct ranking *r)
{
    return r->count - (r->label >= 0 && !r->with_label);
}

/* Entries of a bin in order of rank; the first RANK_SCRATCH by index if there are more. A bin holds
 * few of many: runs are looked through in blocks, and only a block that has one is searched. */
static int64_t gather(const struct histogram *h, const struct ranking *r, int bin)
{
    enum { BLOCK = 64 };
    int64_t n = 0;
    int32_t bins[TILE];
    for (int64_t first = 0; first < r->count;) {
        const int width = tile_bins(h, r, first, bins);
        for (int from = 0; from < width; from += BLOCK) {
            const int end = from + BLOCK < width ? from + BLOCK : width;
            int found = 0;
            SIMD(reduction(+ : found))
            for (int j = from; j < end; j++) {
                found += bins[j] == bin;
            }
            for (int j = from; j < end && found > 0 && n < RANK_SCRATCH; j++) {
                if (bins[j] == bin) {
                    r->scratch[n++] =
                        (struct candidate){value_at(r, first + j), (uint32_t)(first + j)};
                    found--;
                }
            }
        }
        first += width;
    }
    sort(r->scratch, n);
    return n;
}

/* Entry n of a bin that holds one value only. */
static struct candidate nth_equal(const struct histogram *h, const struct ranking *r, int bin,
                                  int64_t n)
{
    for (int64_t j = 0; j < r->count; j++) {
        if (counts(h, r, j) && bin_of(h, value_at(r, j)) == bin && n-- == 0) {
            return (struct candidate){value_at(r, j), (uint32_t)j};
        }
    }
    return (struct candidate){REAL_NONE, (uint32_t)r->count};
}

static bool label_inside(const struct ranking *r, const struct cut *cut)
{
    real value = (real)r->label_value;
    return r->label >= 0 && r->with_label &&
           (value > cut->value || (value == cut->value && r->label <= cut->index));
}

struct cut rank_top(const struct ranking *r, int64_t k)
{
    if (k <= 0) {
        return (struct cut){.value = -REAL_NONE, .index = -1};
    }
    if (k >= entries(r)) {
        return (struct cut){
            .value = REAL_NONE, .index = r->count, .label = r->label >= 0 && r->with_label};
    }
    struct histogram h;
    struct candidate last;
    int64_t above = 0;
    open_histogram(&h, r);
    for (;;) {
        fill_counts(&h, r);
        int bin = BINS - 1;
        while (bin > 0 && above + count_of(&h, bin) < k) {
            above += count_of(&h, bin--);
        }
        if (count_of(&h, bin) <= RANK_SCRATCH) {
            gather(&h, r, bin);
            last = r->scratch[k - above - 1];
            break;
        }
        if (!narrow(&h, r, bin)) {
            last = nth_equal(&h, r, bin, k - above - 1);
            break;
        }
    }
    struct cut cut = {.value = last.value, .index = last.index};
    cut.label = label_inside(r, &cut);
    return cut;
}

static double mass_of(double value, double factor, double high, double log_sum)
{
    return factor == 0 ? value : exp((value - high) * factor - log_sum);
}

/* Mass and count per bin; the exponentials are taken a tile at a time so that they vectorise. */
static void fill_mass(struct histogram *h, const struct ranking *r, double factor, double high,
                      double log_sum)
{
    for (int64_t first = 0; first < r->count;) {
        real mass[TILE] = {0};
        int32_t bins[TILE];
        const int width = tile_bins(h, r, first, bins);
        const real *x = run_at(r, first, &(int){0});
        if (factor == 0) {
            memcpy(mass, x, (size_t)width * sizeof *mass);
        } else {
            rows_add_exp(x, width, factor, high, log_sum, 1, mass);
        }
        if (r->label >= first && r->label < first + width) {
            mass[r->label - first] = (real)mass_of(r->label_value, factor, high, log_sum);
        }
        for (int j = 0; j < width; j++) {
            h->count[j & 1][bins[j]]++;
            h->mass[j & 1][bins[j]] += (double)mass[j];
        }
        first += width;
    }
}

int64_t rank_mass(const struct ranking *r, double factor, double high, double log_sum,
                  double target, bool *closer)
{
    struct histogram h;
    int64_t k = 0, n;
    double mass = 0;
    int bin;
    bool equal;
    open_histogram(&h, r);
    do {
        fill_mass(&h, r, factor, high, log_sum);
        bin = BINS - 1;
        while (bin > 0 && mass + h.mass[0][bin] + h.mass[1][bin] < target) {
            k += count_of(&h, bin);
            mass += h.mass[0][bin] + h.mass[1][bin];
            bin--;
        }
        n = count_of(&h, bin);
    } while (n > RANK_SCRATCH && narrow(&h, r, bin));
    equal = n > RANK_SCRATCH; /* then one value stands for all */
    gather(&h, r, bin);
    *closer = false;
    for (int64_t i = 0; i < n; i++) {
        double value = (double)r->scratch[equal ? 0 : i].value;
        double next = mass + mass_of(value, factor, high, log_sum);
        k++;
        if (next >= target) {
            *closer = k > 1 && target - mass <= next - target;
            return k;
        }
        mass = next;
    }
    /* Rounding left the bins' sum and the sorted sum on two sides of the target, or the whole row
     * holds less than the target. */
    return k;
}
