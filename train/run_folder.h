/* train/run_folder.h - RUN: one folder, one run.
 *
 *   config.yaml               resolved settings, loads back to the same run
 *   metrics.jsonl             what happened (train/metrics.h)
 *   metrics.csv               the same as tables: its training lines, and
 *   validation.csv            its validation lines, if there are any
 *   checkpoints/              the last two states (train/checkpoint.h)
 *   student-best.safetensors  the best by validation so far (train/validation.h)
 *   student.safetensors       the network, when the run has ended
 *   evaluation.json           the final student on the validation sets (cask_report_json)
 *   result.json               summary, written last: its presence means the run has ended
 *   report.html               all of it on one page (train/report.h)
 *   events.out.tfevents.*     the lines for TensorBoard (train/tensorboard.h)
 *   failure.json              why it could not go on: {"status", "step", "message"}; gone, with its
 *                             report.html, when the run is continued
 *   lock                      held by the process that works here; empty, and freed by its death
 */
#ifndef CASK_TRAIN_RUN_FOLDER_H
#define CASK_TRAIN_RUN_FOLDER_H

#include "common/hash.h"
#include "common/status.h"
#include "train/options.h"

struct cask_run_folder {
    char *path, *config, *checkpoints, *student, *best, *evaluation, *result, *failure, *metrics,
        *report;                    /* owned */
    char identity[CASK_SHA256_HEX]; /* SHA-256 of the settings that shape the result */
    char *settings;                 /* owned: the text for config.yaml */
    int lock;                       /* file descriptor, or -1 */
};

/* Finds out which cache config->cache is and remembers it (cache_sha256); CASK_ERR_MISMATCH where
 * the settings name another one. Nothing is done without a cache. */
enum cask_status cask_run_pin_cache(struct cask_train_config *config, struct cask_error *err);

/* Compares `config`, its cache pinned, with the run in the folder config->out. *there: there is one
 * (with the same settings, or it is CASK_ERR_MISMATCH with the keys that differ; one with other
 * settings that never made a step counts as none). *identity: caller frees. */
enum cask_status cask_run_folder_compare(const struct cask_train_config *config, bool *there,
                                         char **identity, struct cask_error *err);
/* The file descriptor that holds FOLDER/lock for this process; close it, or die, to let go. */
enum cask_status cask_run_folder_lock(const char *folder, int *lock, struct cask_error *err);

/* Creates RUN. A folder that holds a run with other settings is refused with the lines that differ
 * (CASK_ERR_MISMATCH); one that holds other things, and no config.yaml, too;
 * so is one in which another process is at work. */
enum cask_status cask_run_folder_open(struct cask_run_folder *folder,
                                      const struct cask_train_config *config,
                                      struct cask_error *err);
/* Writes config.yaml: from now on the folder belongs to this run. Called when everything else could
 * be opened, so that a mistyped name does not take a folder. */
enum cask_status cask_run_folder_claim(const struct cask_run_folder *folder,
                                       struct cask_error *err);
void cask_run_folder_close(struct cask_run_folder *folder); /* accepts a zeroed struct */

#endif
