/* train/sweep_plan.h - a sweep file, read: which runs there are and what each is told.
 *
 *   extends: ../students/mobilefacenet-plain.yaml    # base settings, and more of them here
 *   train:
 *     epochs: 8
 *   seeds: [1, 2]              # every row is trained once for each
 *   baseline: plain            # row that step times are compared with; "plain" if not given
 *   rows:
 *     - name: plain
 *     - name: KD
 *       extends: ../losses/kd.yaml
 *       loss: {kd: {temperature: 4}}
 *     - name: GKD
 *       loss.gkd.weight: 1
 *       seeds: [1]             # instead of the sweep's
 *       grid:                  # one row for each combination: "GKD tau=0.93 temperature=4", ...
 *         loss.gkd.tau: [0.91, 0.93]
 *         loss.gkd.temperature: [1, 4]
 *     - name: fine
 *       student.init: "{run:KD}/student.safetensors"    # what that row, further up, ends with
 *   grid: ...                  # beside rows or instead of them: rows named by the values alone
 *
 * A row's settings win over the base, the command line's over the row's, a seed over all. Names are
 * what tables show; the folder of a run is its name with every other sign than letters, digits and
 * ". + = -" replaced, and ".seed-N" for seeds other than train.seed, so that seeds can be added
 * later.
 */
#ifndef CASK_TRAIN_SWEEP_PLAN_H
#define CASK_TRAIN_SWEEP_PLAN_H

#include "train/options.h"

enum { CASK_SWEEP_RUNS = 1000, CASK_SWEEP_AXES = 8, CASK_SWEEP_NAME = 128 };

struct cask_sweep_run {
    int row; /* of sweep->rows */
    int64_t seed;
    char *folder;                     /* owned: under --out */
    struct cask_train_config *config; /* owned: resolved, with its own --out */
};
struct cask_sweep_row {
    char name[CASK_SWEEP_NAME];
    int first, count; /* its runs, one a seed */
};
struct cask_sweep {
    char baseline[CASK_SWEEP_NAME];
    struct cask_sweep_row *rows; /* owned, [row_count] */
    struct cask_sweep_run *runs; /* owned, [run_count], by rows */
    int row_count, run_count;
    char *base; /* owned: dump of the base settings, for --list */
};

/* `call`: what the command line said; argv is applied to every row. Every row's values are checked.
 * `only` of the call leaves out rows, but a name that fits none is CASK_ERR_USAGE. */
enum cask_status cask_sweep_open(const struct cask_train_config *call, int argc, char **argv,
                                 struct cask_sweep *sweep, struct cask_error *err);
void cask_sweep_close(struct cask_sweep *sweep); /* accepts a zeroed struct */

#endif
