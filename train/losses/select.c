/* train/losses/select.c - see select.h. */
#include "train/losses/select.h"

#include "train/losses/rows.h"
#include "train/losses/window.h"

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

/* Heapsort: the heap's root is the last in rank. No memory, no bad case. */
void rank_sort(struct candidate *list, int64_t count)
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

/* An array is a row that can be looked at as often as one likes. */
static void find(const real *x, int64_t count, struct goal *goal, struct candidate *scratch,
                 struct window *window)
{
    const int64_t room = count < RANK_SCRATCH ? count : RANK_SCRATCH;
    real low = x[0], high = x[0];
    rows_range(x, count, &low, &high);
    window_open(window, low, high, count, 0);
    do {
        while (!window->done) {
            int32_t counts[TALLY] = {0};
            int64_t masses[TALLY] = {0};
            real range[2] = {(real)INFINITY, (real)-INFINITY};
            const struct tally tally = {counts, range, goal->by_mass ? masses : NULL};
            for (int64_t j = 0; j < count; j += TILE) {
                const struct look look = {window, x + j, -1, tally};
                window_look(&look, 1, (int)(count - j < TILE ? count - j : TILE), j);
            }
            window_narrow(window, goal, &tally, room);
        }
        int64_t n = 0;
        for (int64_t j = 0; j < count && n < room && !window->exact; j++) {
            if (x[j] >= window->first && x[j] <= window->last) {
                scratch[n++] = (struct candidate){x[j], (uint32_t)j, 0};
            }
        }
        if (window_settle(window, goal, scratch, n)) {
            return;
        }
    } while (true);
}

struct cut rank_top(const real *x, int64_t count, int64_t k, struct candidate *scratch)
{
    struct goal goal = {.k = k};
    struct window window;
    find(x, count, &goal, scratch, &window);
    return window.cut;
}

int64_t rank_mass(const real *x, int64_t count, double mass, struct candidate *scratch)
{
    struct goal goal = {.by_mass = true, .mass = mass};
    struct window window;
    find(x, count, &goal, scratch, &window);
    return goal.k;
}
