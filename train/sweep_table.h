/* train/sweep_table.h - what the runs of a sweep came to, as sweep.json, sweep.csv and text. */
#ifndef CASK_TRAIN_SWEEP_TABLE_H
#define CASK_TRAIN_SWEEP_TABLE_H

#include "common/json.h"
#include "common/text.h"
#include "train/sweep_plan.h"

/* Reads every run's result.json and failure.json into the object that train/sweep.h documents.
 * messages: [run_count], what the sweep itself knows of a run's end, or "". Caller frees *table. */
enum cask_status cask_sweep_table(const struct cask_sweep *sweep,
                                  const struct cask_train_config *call, const char (*messages)[256],
                                  struct cask_json **table, struct cask_error *err);
/* One line a row; after it what failed, and the protocols. */
void cask_sweep_table_text(const struct cask_json *table, struct cask_text *text);
/* One line a row, with a head: row, seeds, finished, then SET and "SET std" for each set, seconds,
 * seconds_per_step, step_ratio, teacher_passes_saved. */
void cask_sweep_table_csv(const struct cask_json *table, struct cask_text *text);

#endif
