/* train/losses/window.h - where a row is cut at a rank, found while the row streams by.
 *
 * A look counts the entries inside the window, bin by bin; then the window shrinks to the bin with
 * the cut. As soon as few enough entries are inside, they are gathered and sorted. Cosines need one
 * look, which is taken when they are made; rows whose values lie very close need more, and where
 * too many are equal the last looks go by index. Counts and masses are integers: they do not depend
 * on who counted what. Order: by value, largest first; equal values by index.
 *
 * The label is no entry: its margin logit is not in the row. It is handed in apart.
 */
#ifndef CASK_TRAIN_LOSSES_WINDOW_H
#define CASK_TRAIN_LOSSES_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "train/losses/select.h"

enum { BINS = 2048, TALLY = BINS + 1 }; /* the last one takes what is not inside */

struct window {
    real first, last; /* values inside */
    int64_t from, to; /* and where first = last: indexes inside */
    int64_t above, inside;
    double mass_above;
    bool done;      /* nothing more to count: what is inside can be gathered ... */
    bool exact;     /* ... or there is no need to: the cut is known */
    struct cut cut; /* its label: if exact */

    real low, inverse;    /* bins by value: (x - low) inverse */
    int shift;            /* bins by index: (j - from) >> shift; -1: by value */
    double factor;        /* a mass is exp(x factor), or x itself if this is 0 */
    real growth, unit;    /* inside a bin it grows by exp(growth); unit: of the tally's integers */
    real lowest, highest; /* of the row */
    int64_t count;
};

/* What is looked for: the k first in rank, or the fewest that hold a mass, without the last of them
 * if that is as near to it (`closer`). */
struct goal {
    bool by_mass, closer;
    double mass, top; /* masses are divided by exp(top factor) */
    int64_t k;        /* with the label; by mass: known in the end */
    bool forced;      /* the label is one of the k, whatever its rank */
    bool has_label;
    struct candidate label;
};

/* Of one row. */
struct tally {
    int32_t *count; /* [TALLY] */
    real *range;    /* least and largest value inside; INFINITY and -INFINITY: none */
    int64_t *mass;  /* [TALLY]: what entries have beyond the masses of their bins' lower ends; NULL:
                       masses do not matter */
};

/* Several rows are looked at side by side: a counter waits for its own last increment, and not for
 * those of other rows. */
enum { LOOK_ROWS = 4 };
struct look {
    const struct window *window;
    const real *x;
    int skip; /* entry that does not count; -1: none */
    struct tally tally;
};

#define window_open NAME(cask_window_open)
#define window_look NAME(cask_window_look)
#define window_total NAME(cask_window_total)
#define window_narrow NAME(cask_window_narrow)
#define window_settle NAME(cask_window_settle)

/* All of a row: `count` entries from `lowest` to `highest`. */
void window_open(struct window *window, real lowest, real highest, int64_t count, double factor);
/* Counts `count` entries, at most TILE, of indexes from `index` on, of up to LOOK_ROWS rows. */
void window_look(const struct look *rows, int row_count, int count, int64_t index);
/* Mass of a row after its first look, label included; sets goal->top. */
double window_total(const struct window *window, struct goal *goal, const struct tally *tally);
/* Shrinks the window by what was counted. `room`: entries that may be gathered. */
void window_narrow(struct window *window, struct goal *goal, const struct tally *tally,
                   int64_t room);
/* The cut, from all entries inside, which are sorted; a label needs room for one more of them.
 * False: the goal is a number of entries now, and the window is open again. */
bool window_settle(struct window *window, struct goal *goal, struct candidate *list, int64_t count);

#endif
