/* train/losses/select.c - see select.h. */
#include "train/losses/select.h"

#include "train/losses/rows.h"

int64_t rank_key(real value)
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

real rank_value(int64_t key)
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

static int64_t count_from(const real *x, int64_t count, real value)
{
    int64_t sum = 0;
    for (int64_t first = 0; first < count; first += TILE) {
        const int n = (int)(count - first < TILE ? count - first : TILE);
        int found = 0;
        SIMD(reduction(+ : found))
        for (int j = 0; j < n; j++) {
            found += x[first + j] >= value;
        }
        sum += found;
    }
    return sum;
}

static double weight_from(const real *x, const double *weight, int64_t count, real value)
{
    double sum = 0;
    SIMD(reduction(+ : sum))
    for (int64_t j = 0; j < count; j++) {
        const double one = weight != NULL ? weight[j] : (double)x[j];
        sum += x[j] >= value ? one : 0;
    }
    return sum;
}

/* The largest value that as many entries as wanted reach, or as weigh as much; if there is none,
 * the least of all. */
struct search {
    const real *x;
    const double *weight;
    int64_t count;
    bool by_mass;
    double wanted;
};

static bool reach(const struct search *s, real value)
{
    return s->by_mass ? weight_from(s->x, s->weight, s->count, value) >= s->wanted
                      : (double)count_from(s->x, s->count, value) >= s->wanted;
}

static real bisect(const struct search *s)
{
    real least = (real)INFINITY, largest = (real)-INFINITY;
    rows_range(s->x, s->count, &least, &largest);
    if (!(least < largest)) {
        return least;
    }
    int64_t low = rank_key(least);
    uint64_t steps = (uint64_t)rank_key(largest) - (uint64_t)low;
    while (steps > 0) {
        const uint64_t half = steps - steps / 2;
        if (reach(s, rank_value((int64_t)((uint64_t)low + half)))) {
            low = (int64_t)((uint64_t)low + half);
            steps -= half;
        } else {
            steps = half - 1;
        }
    }
    return rank_value(low);
}

real rank_nth(const real *x, int64_t count, int64_t k)
{
    const struct search search = {.x = x, .count = count, .wanted = (double)k};
    return bisect(&search);
}

struct cut rank_top(const real *x, int64_t count, int64_t k)
{
    struct cut cut = {.value = rank_nth(x, count, k), .index = count - 1};
    int64_t left = k;
    for (int64_t j = 0; j < count; j++) {
        left -= x[j] > cut.value;
    }
    for (int64_t j = 0; j < count && left > 0; j++) {
        if (x[j] == cut.value) {
            cut.index = j;
            left--;
        }
    }
    return cut;
}

int64_t rank_among_equal(double mass, double one, int64_t count)
{
    const double share = one > 0 ? ceil(mass / one) : (double)count;
    return share < 1 ? 1 : share < (double)count ? (int64_t)share : count;
}

int64_t rank_mass(const real *x, const double *weight, int64_t count, double mass, double *before,
                  double *after)
{
    const struct search search = {x, weight, count, true, mass};
    const real value = bisect(&search);
    double above = 0, one = 0;
    int64_t k = 0, equal = 0;
    for (int64_t j = 0; j < count; j++) {
        const double own = weight != NULL ? weight[j] : (double)x[j];
        above += x[j] > value ? own : 0;
        k += x[j] > value;
        one = x[j] == value ? own : one;
        equal += x[j] == value;
    }
    const int64_t within = rank_among_equal(mass - above, one, equal);
    *before = above + (double)(within - 1) * one;
    *after = *before + one;
    return k + within;
}
