/* train/losses/window.h - where a row is cut at a rank, found while the row streams by.
 *
 * The window is a range of values with the cut in it. Its entries are gathered when the row streams
 * by for its sums, and among so few of them the cut is found exactly. There are two ways to it:
 *
 *   guess    from a look at a sample of the row, where k is known. The sample's quantiles leave a
 *            hundredth of the row, and what is above the window is counted with the sums. Should
 *            the cut turn out to be elsewhere, the window opens again, for the other way.
 *   narrow   from looks at all of the row, each of which shrinks the window to the bin with the cut
 *            until few enough entries are inside. Cosines need one look; values that lie very close
 *            need more, and where too many are equal the last looks go by index. For k by mass.
 *
 * A look counts entries, bin by bin. Counts and masses are integers: they do not depend on who
 * counted what. Order: by value, largest first; equal values by index.
 *
 * The label is no entry: its margin logit is not in the row. It is handed in apart.
 */
#ifndef CASK_TRAIN_LOSSES_WINDOW_H
#define CASK_TRAIN_LOSSES_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "train/losses/select.h"

enum { BINS = 2048, TALLY = BINS + 1 }; /* the last one takes what is not inside */
/* Least above the last bin's number: what lies higher is in the last bin, too. */
#define BIN_LIMIT ((real)(BINS - 1.0 / 1024))

struct window {
    real first, last; /* values inside */
    int64_t from, to; /* and where first = last: indexes inside */
    int64_t above, inside;
    double mass_above;
    bool done;      /* nothing more to look at: what is inside can be gathered ... */
    bool exact;     /* ... or there is no need to: the cut is known */
    bool guessed;   /* the cut may be elsewhere; `above` comes with what was gathered */
    struct cut cut; /* its label: if exact */

    real low, inverse;    /* bins by value: (x - low) inverse */
    int shift;            /* bins by index: (j - from) >> shift; -1: by value */
    double factor;        /* a mass is exp(x factor) */
    real growth, unit;    /* inside a bin it grows by exp(growth); unit: of the tally's integers */
    real lowest, highest; /* of the row */
    int64_t count;        /* classes */
};

/* What is looked for: the k first in rank, or the fewest that hold a mass, without the last of them
 * if that is as near to it. */
struct goal {
    bool by_mass;
    double mass, top; /* masses are divided by exp(top factor) */
    int64_t k;        /* with the label; by mass: known in the end */
    int64_t others;   /* entries of the row */
    bool forced;      /* the label is one of the k, whatever its rank */
    bool has_label;
    real label;
    int64_t label_at;
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

/* Entries inside the window, in the order of their indexes. */
struct gathered {
    int64_t count, room; /* count > room: they did not fit, and only the number is known */
    int64_t above;       /* entries above the window */
    real *value;         /* [room + 1]: the last one is for the label */
    uint32_t *index;     /* [room] */
    double *mass;        /* [room + 1], to work with; NULL if no goal is by mass */
};

#define window_open NAME(cask_window_open)
#define window_look NAME(cask_window_look)
#define window_total NAME(cask_window_total)
#define window_begin NAME(cask_window_begin)
#define window_guess NAME(cask_window_guess)
#define window_narrow NAME(cask_window_narrow)
#define window_settle NAME(cask_window_settle)

/* All of a row: entries from `lowest` to `highest`, indexes below `count`. */
void window_open(struct window *window, real lowest, real highest, int64_t count, double factor);
/* For a goal of k: no look is needed where none or all are in front, or all may be gathered. */
void window_begin(struct window *window, const struct goal *goal, int64_t room);
/* Counts `count` entries, at most TILE, of indexes from `index` on, of up to LOOK_ROWS rows. */
void window_look(const struct look *rows, int row_count, int count, int64_t index);
/* Mass of a row after its first look, label included; sets goal->top. */
double window_total(const struct window *window, struct goal *goal, const struct tally *tally);
/* To where the cut lies most likely, by a look at an evenly spread part of the row. */
void window_guess(struct window *window, const struct goal *goal, const struct tally *tally);
/* Shrinks the window by a look at all of the row. `room`: entries that may be gathered. */
void window_narrow(struct window *window, struct goal *goal, const struct tally *tally,
                   int64_t room);
/* The cut, from all entries inside. False: the window is open again; a goal by mass is a number of
 * entries now. */
bool window_settle(struct window *window, struct goal *goal, const struct gathered *gathered);

#endif
