/* train/losses/undecided.c - see undecided.h. */
#include "train/losses/undecided.h"

#include "common/mem.h"
#include "train/losses/cosines.h"
#include "train/losses/counted.h"

/* ------------------------------------------------------------------ memory */

/* A bin of a row of cosines holds about a hundredth of it at most (dim 512); twice that is room. A
 * window that is guessed holds 8 sqrt(classes) where k is half of them, less for any other k. */
static int64_t room_for(const struct cask_engine_facts *facts)
{
    const int64_t bin = facts->classes / 64;
    const int64_t guess = (int64_t)(10 * sqrt((double)facts->classes));
    int64_t room = bin > guess ? bin : guess;
    room = room > 512 ? room : 512;
    room = room < facts->classes ? room : facts->classes;
    return room > facts->topk ? room : facts->topk;
}

static enum cask_status claim(struct undecided *u, int64_t count, size_t size, void *slot,
                              struct cask_error *err)
{
    return counted_alloc(&u->bytes, (size_t)count, size, "undecided classes", slot, err);
}

enum cask_status undecided_create(struct undecided *u, const struct cask_engine_facts *facts,
                                  struct cask_error *err)
{
    enum { LINE = 16 }; /* starts of two chunks share no line of cache */
    enum cask_status st = CASK_OK;
    u->batch = facts->batch;
    u->threads = facts->threads;
    u->room = room_for(facts);
    u->chunks = (facts->classes + facts->chunk - 1) / facts->chunk;
    u->stride = (u->batch + 1 + LINE - 1) / LINE * LINE;
    CASK_TRY(claim(u, u->batch, sizeof *u->windows, &u->windows, err));
    CASK_TRY(claim(u, u->batch * u->room, sizeof *u->list, &u->list, err));
    CASK_TRY(claim(u, u->chunks * u->stride, sizeof *u->starts, &u->starts, err));
    CASK_TRY(claim(u, u->threads, sizeof *u->found, &u->found, err));
    for (int64_t t = 0; t < u->threads; t++) {
        CASK_TRY(claim(u, u->batch * facts->chunk + 1, sizeof *u->found[t], &u->found[t], err));
    }
done:
    return st;
}

void undecided_release(struct undecided *u)
{
    for (int64_t t = 0; u->found != NULL && t < u->threads; t++) {
        cask_free(u->found[t]);
    }
    cask_free(u->found);
    cask_free(u->starts);
    cask_free(u->list);
    cask_free(u->windows);
}

/* -------------------------------------------------------------------- find */

void undecided_begin(struct undecided *u, int64_t rows)
{
    u->rows = rows;
    u->used = 0;
}

void undecided_row(struct undecided *u, int64_t chunk, int64_t row)
{
    uint32_t *starts = u->starts + chunk * u->stride;
    starts[0] = row == 0 ? 0 : starts[0];
    starts[row + 1] = starts[row];
}

/* Bit j: entry j is undecided. */
INLINE uint32_t undecided_bits(const real *key, int count, real threshold, real below)
{
    uint32_t bits = 0;
    SIMD(reduction(| : bits))
    for (int j = 0; j < count; j++) {
        bits |= (uint32_t)((key[j] >= below) & (key[j] < threshold)) << j;
    }
    return bits;
}

/* The first of a word's, or none: then what is written does not count. */
INLINE int take(const struct run_of_keys *run, int from, uint32_t *bits, struct candidate *found)
{
    const int any = *bits != 0;
    const int j = from + __builtin_ctz(*bits | (uint32_t)!any);
    *found = (struct candidate){run->x[j], run->y[j], (uint32_t)(run->first + j)};
    *bits &= *bits - 1;
    return any;
}

/* The classes are few and fall anywhere: a branch that asked whether a word holds one would be
 * mispredicted as often as not, one that asks for a third seldom is. */
static int find(const struct run_of_keys *run, struct candidate *found)
{
    enum { WORD = 32 };
    int n = 0;
    for (int from = 0; from < run->count; from += WORD) {
        const int left = run->count - from;
        const real *key = run->key + from;
        uint32_t bits = left >= WORD ? undecided_bits(key, WORD, run->threshold, run->below)
                                     : undecided_bits(key, left, run->threshold, run->below);
        n += take(run, from, &bits, found + n);
        n += take(run, from, &bits, found + n);
        while (bits != 0) {
            n += take(run, from, &bits, found + n);
        }
    }
    return n;
}

void undecided_find(struct undecided *u, int64_t chunk, int64_t row, int thread,
                    const struct run_of_keys *run)
{
    uint32_t *end = u->starts + chunk * u->stride + row + 1;
    *end += (uint32_t)find(run, u->found[thread] + *end);
}

/* ------------------------------------------------------------------- aside */

void undecided_put_aside(struct undecided *u, int64_t chunk, int thread)
{
    uint32_t *starts = u->starts + chunk * u->stride;
    const int64_t count = starts[u->rows];
    const int64_t to = __atomic_fetch_add(&u->used, count, __ATOMIC_RELAXED);
    if (to + count > u->batch * u->room) {
        return;
    }
    memcpy(u->list + to, u->found[thread], (size_t)count * sizeof *u->list);
    for (int64_t row = 0; row <= u->rows; row++) {
        starts[row] += (uint32_t)to;
    }
}

int64_t undecided_gather(const struct undecided *u, int64_t row, real *x, real *y, uint32_t *index)
{
    int64_t n = 0;
    if (u->used > u->batch * u->room) {
        return u->room + 1;
    }
    for (int64_t c = 0; c < u->chunks; c++) {
        const uint32_t *starts = u->starts + c * u->stride + row;
        const struct candidate *from = u->list + starts[0];
        const int64_t count = (int64_t)starts[1] - starts[0];
        if (n + count > u->room) {
            return u->room + 1;
        }
        for (int64_t i = 0; i < count; i++, n++) {
            x[n] = from[i].x;
            y[n] = from[i].y;
            index[n] = from[i].index;
        }
    }
    return n;
}
