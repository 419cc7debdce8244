/* train/run.h - whole runs, from settings to student.safetensors. */
#ifndef CASK_TRAIN_RUN_H
#define CASK_TRAIN_RUN_H

#include "common/status.h"
#include "train/options.h"

/* Starts, or continues what is in the run folder. After SIGINT or SIGTERM: a checkpoint and
 * CASK_ERR_INTERRUPTED; the same call goes on from there and ends with the same bits. What else
 * ends a run is written to failure.json too (train/run_folder.h). */
enum cask_status cask_run(const struct cask_train_config *config, struct cask_error *err);

/* Several runs from one stream of batches: images are decoded, and the teacher's rows read, once
 * for all of them; each student ends with the bits that it would have alone. What the batches
 * depend on, and the device, must be the same in all (CASK_ERR_MISMATCH, naming the key); losses,
 * networks, heads, rates and epochs may differ. A run that fails leaves the others at work; the
 * first such error is returned at the end. Runs may be at different steps: those ahead wait. */
enum { CASK_RUN_TOGETHER = 32 };
enum cask_status cask_run_together(const struct cask_train_config *const *configs, int count,
                                   struct cask_error *err);
/* CASK_ERR_MISMATCH if the two cannot be fed the same batches on the same device. */
enum cask_status cask_run_can_share(const struct cask_train_config *a,
                                    const struct cask_train_config *b, struct cask_error *err);

#endif
