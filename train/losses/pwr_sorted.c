/* train/losses/pwr_sorted.c - see pwr_sorted.h. */
#include "train/losses/pwr_sorted.h"

#include "common/mem.h"

enum cask_status pwr_sorted_create(struct pwr_sorted *s, int64_t most, struct cask_error *err)
{
    const size_t n = (size_t)most;
    *s = (struct pwr_sorted){
        .key = cask_alloc(n, sizeof *s->key),
        .slope = cask_alloc(n, sizeof *s->slope),
        .by_key = cask_alloc(n, sizeof *s->by_key),
        .by_teacher = cask_alloc(n, sizeof *s->by_teacher),
        .rank = cask_alloc(n, sizeof *s->rank),
        .scratch = cask_alloc(n, sizeof *s->scratch),
        .sorted = cask_alloc(n, sizeof *s->sorted),
        .tree_sum = cask_alloc(n + 1, sizeof *s->tree_sum),
        .tree_count = cask_alloc(n + 1, sizeof *s->tree_count),
    };
    if (s->key == NULL || s->slope == NULL || s->by_key == NULL || s->by_teacher == NULL ||
        s->rank == NULL || s->scratch == NULL || s->sorted == NULL || s->tree_sum == NULL ||
        s->tree_count == NULL) {
        return cask_error_memory(err, n * 64, "sorted pairs of PWR");
    }
    return CASK_OK;
}

void pwr_sorted_release(struct pwr_sorted *s)
{
    void *const owned[] = {s->key,     s->slope,  s->by_key,   s->by_teacher, s->rank,
                           s->scratch, s->sorted, s->tree_sum, s->tree_count};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
}

/* Bottom-up merge sort. */
void pwr_sorted_order(const double *value, int64_t count, uint32_t *order, uint32_t *scratch)
{
    for (int64_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t from = 0; from < count; from += 2 * width) {
            int64_t middle = from + width < count ? from + width : count;
            int64_t end = from + 2 * width < count ? from + 2 * width : count;
            int64_t left = from, right = middle;
            for (int64_t at = from; at < end; at++) {
                bool take_left =
                    right >= end || (left < middle && !(value[order[right]] < value[order[left]]));
                scratch[at] = take_left ? order[left++] : order[right++];
            }
        }
        memcpy(order, scratch, (size_t)count * sizeof *order);
    }
}

static void tree_add(struct pwr_sorted *s, int64_t count, int64_t at, double value)
{
    for (int64_t i = at + 1; i <= count; i += i & -i) {
        s->tree_count[i]++;
        s->tree_sum[i] += value;
    }
}

/* Count and sum of the first n places. */
static double tree_first(const struct pwr_sorted *s, int64_t n, int64_t *count)
{
    double sum = 0;
    *count = 0;
    for (int64_t i = n; i > 0; i -= i & -i) {
        *count += s->tree_count[i];
        sum += s->tree_sum[i];
    }
    return sum;
}

/* How many keys are <= value. */
static int64_t keys_up_to(const struct pwr_sorted *s, int64_t count, double value, bool inclusive)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (s->sorted[middle] < value || (inclusive && s->sorted[middle] == value)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct pass {
    bool ascending; /* by the teacher: asks as a, of what is worse; else as b, of what is better */
    double mu, beta, value;
};

/* What the tree holds for score `a`, as loss and as derivative. The ascending tree is laid out from
 * the largest key down, so that the active ones are a prefix and nothing is subtracted. */
static void ask(struct pwr_sorted *s, int64_t count, int64_t a, struct pass *pass)
{
    const double k = s->key[a];
    int64_t active, n;
    if (pass->ascending) {
        n = count - keys_up_to(s, count, k - pass->mu, true);
        double sum = tree_first(s, n, &active);
        double e = pass->beta == 0 ? (double)active : exp(pass->beta * (pass->mu - k)) * sum;
        pass->value += pass->beta == 0 ? sum - (double)active * (k - pass->mu) : e - (double)active;
        s->slope[a] -= pass->beta == 0 ? e : pass->beta * e;
    } else {
        n = keys_up_to(s, count, k + pass->mu, false);
        double sum = tree_first(s, n, &active);
        s->slope[a] +=
            pass->beta == 0 ? (double)active : pass->beta * exp(pass->beta * (k + pass->mu)) * sum;
    }
}

static void enter(struct pwr_sorted *s, int64_t count, int64_t a, const struct pass *pass)
{
    const double k = s->key[a];
    if (pass->ascending) {
        tree_add(s, count, count - 1 - (int64_t)s->rank[a],
                 pass->beta == 0 ? k : exp(pass->beta * k));
    } else {
        tree_add(s, count, s->rank[a], pass->beta == 0 ? 1 : exp(-pass->beta * k));
    }
}

/* Groups of equal teacher scores first ask, then enter. Returns the number of ordered (a,b). */
static double sweep(struct pwr_sorted *s, const double *teacher, int64_t count, struct pass *pass)
{
    double ordered = 0;
    memset(s->tree_count, 0, (size_t)(count + 1) * sizeof *s->tree_count);
    memset(s->tree_sum, 0, (size_t)(count + 1) * sizeof *s->tree_sum);
    for (int64_t from = 0, to; from < count; from = to) {
        const uint32_t *order = s->by_teacher;
        const double score = teacher[order[pass->ascending ? from : count - 1 - from]];
        for (to = from;
             to < count && teacher[order[pass->ascending ? to : count - 1 - to]] == score; to++) {
            ask(s, count, order[pass->ascending ? to : count - 1 - to], pass);
            ordered += (double)from;
        }
        to = to > from ? to : from + 1; /* NaN is equal to nothing */
        for (int64_t i = from; i < to; i++) {
            enter(s, count, order[pass->ascending ? i : count - 1 - i], pass);
        }
    }
    return ordered;
}

double pwr_sorted_run(struct pwr_sorted *s, const double *teacher, int64_t count, double mu,
                      double beta, double *ordered)
{
    struct pass up = {.ascending = true, .mu = mu, .beta = beta}, down = {.mu = mu, .beta = beta};
    pwr_sorted_order(teacher, count, s->by_teacher, s->scratch);
    pwr_sorted_order(s->key, count, s->by_key, s->scratch);
    for (int64_t i = 0; i < count; i++) {
        s->slope[i] = 0;
        s->sorted[i] = s->key[s->by_key[i]];
        s->rank[s->by_key[i]] = (uint32_t)i;
        up.value += s->key[i] - s->key[i]; /* a NaN among the scores must show */
    }
    *ordered = sweep(s, teacher, count, &up);
    sweep(s, teacher, count, &down);
    return up.value;
}
