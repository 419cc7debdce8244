/* train/sweep_planner.h - private to train/sweep_plan.c and sweep_row.c: a sweep file at work. */
#ifndef CASK_TRAIN_SWEEP_PLANNER_H
#define CASK_TRAIN_SWEEP_PLANNER_H

#include "train/sweep_plan.h"

/* One key of a grid and its values. */
struct axis {
    char key[CASK_SWEEP_NAME];
    const struct cask_yaml_node *values;
    int count;
};

struct planner {
    const struct cask_train_config *call;
    int argc;
    char **argv;
    struct cask_yaml file;
    struct cask_sweep *sweep;
    /* of the row at hand */
    const struct cask_yaml_node *row; /* NULL: the file's own grid */
    const struct cask_yaml_node *seeds;
    struct axis axes[CASK_SWEEP_AXES];
    int axis_count;
};

/* Adds " tau=0.93 temperature=4" to a row's name: the last part of a key where that is clear. */
void sweep_name_combination(const struct planner *planner, const struct cask_yaml_node *const *at,
                            char name[CASK_SWEEP_NAME]);
/* Base, row, combination, command line: later ones win. `at`: a value of each axis; NULL: the base
 * alone. */
enum cask_status sweep_make_config(const struct planner *planner,
                                   const struct cask_yaml_node *const *at,
                                   struct cask_train_config **out, struct cask_error *err);
/* The run of the row sweep->rows[row_count] with this seed (NULL: what train.seed says), if --only
 * wants it. */
enum cask_status sweep_add_run(struct planner *planner, const struct cask_yaml_node *const *at,
                               const int64_t *seed, struct cask_error *err);

#endif
