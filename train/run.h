/* train/run.h - whole runs, from settings to student.safetensors. */
#ifndef CASK_TRAIN_RUN_H
#define CASK_TRAIN_RUN_H

#include "common/status.h"
#include "train/options.h"

/* Starts, or continues what is in the run folder. After SIGINT or SIGTERM: a checkpoint and
 * CASK_ERR_INTERRUPTED; the same call goes on from there and ends with the same bits. What else
 * ends a run is written to failure.json too (train/run_folder.h). */
enum cask_status cask_run(const struct cask_train_config *config, struct cask_error *err);

#endif
