/* train/losses/undecided.h - classes of which it is not known yet on which side of a row's cut they
 * are: inside the row's window (window.h). The sums leave them out, and they are put aside until
 * the cut is known.
 *
 * A thread finds those of a chunk, row by row, in memory of its own, and puts them behind what is
 * in the common list when the chunk is done: so threads meet once a chunk, not once a row.
 */
#ifndef CASK_TRAIN_LOSSES_UNDECIDED_H
#define CASK_TRAIN_LOSSES_UNDECIDED_H

#include "common/status.h"
#include "train/losses/engine.h"
#include "train/losses/window.h"

struct candidate {
    real x, y;
    uint32_t index;
};
struct undecided {
    struct window *windows; /* [batch] */
    int64_t batch, room, chunks, threads;
    struct candidate *list; /* [batch * room]: chunks as threads came by */
    int64_t used, rows;     /* used above batch * room: not all of them are there */
    uint32_t *starts;       /* [chunks][stride]: where in the list each row's begin, and the end */
    int64_t stride;
    struct candidate **found; /* [threads][batch * chunk + 1]: of the chunk that is worked on */
    size_t bytes;
};

/* A run of one row, as far as it is looked at: below <= key < threshold is undecided. */
struct run_of_keys {
    const real *key, *x, *y;
    int64_t first; /* class */
    int count;
    real threshold, below;
};

#define undecided_create NAME(cask_undecided_create)
#define undecided_release NAME(cask_undecided_release)
#define undecided_begin NAME(cask_undecided_begin)
#define undecided_row NAME(cask_undecided_row)
#define undecided_find NAME(cask_undecided_find)
#define undecided_put_aside NAME(cask_undecided_put_aside)
#define undecided_gather NAME(cask_undecided_gather)

/* Release accepts a part of it. */
enum cask_status undecided_create(struct undecided *undecided,
                                  const struct cask_engine_facts *facts, struct cask_error *err);
void undecided_release(struct undecided *undecided);
/* Before a pass of sums over so many rows: nothing is aside. */
void undecided_begin(struct undecided *undecided, int64_t rows);
/* In a chunk, by its thread: each row in turn, its runs, and behind the last row. */
void undecided_row(struct undecided *undecided, int64_t chunk, int64_t row);
void undecided_find(struct undecided *undecided, int64_t chunk, int64_t row, int thread,
                    const struct run_of_keys *run);
void undecided_put_aside(struct undecided *undecided, int64_t chunk, int thread);
/* A row's, in the order of their classes, into `room` places of x, y, index. Returns their number;
 * above the room if they do not fit, or if too much was put aside for all rows together. */
int64_t undecided_gather(const struct undecided *undecided, int64_t row, real *x, real *y,
                         uint32_t *index);

#endif
