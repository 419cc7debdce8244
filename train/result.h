/* train/result.h - result.json: one run in one object, for tables and for `was it finished?`. */
#ifndef CASK_TRAIN_RESULT_H
#define CASK_TRAIN_RESULT_H

#include "cache/cache.h"
#include "common/status.h"
#include "data/data.h"
#include "train/run_folder.h"
#include "train/teacher_source.h"
#include "train/validation.h"

struct cask_result {
    int64_t steps, batch;
    bool complete;          /* the end was reached: of the schedule or by valid.patience, not only
                               by train.max_steps */
    bool stopped_early;     /* by valid.patience */
    double epochs, seconds; /* over all restarts */
    double stall_seconds;   /* of the last process: what steps waited for their input */
    double stall_share;     /* and the part of its steps' time that this is */
    int64_t teacher_passes_saved; /* images whose teacher came from the cache and was asked for */
    int64_t bad_images;           /* met by the last process */
    const char *network, *device;
    const char *cache;                   /* "" without one */
    const struct cask_manifest *teacher; /* NULL without a cache */
    const char *teacher_mode;
    const struct cask_validation *validation;      /* with the final results, if there are sets */
    const struct cask_coverage *coverage;          /* what was drawn; NULL: shuffled images */
    const struct cask_accepted_mismatch *accepted; /* [accepted_count] */
    int accepted_count;
};

/* Adds the last training line of metrics.jsonl as "final" and this process's peak memory. Of the
 * times, "seconds" is all of the run, "validation_seconds" the part of it that was no training, and
 * "seconds_per_step" the rest by steps; "stall_seconds" and "stall_share" are what the last process
 * waited for images and rows of the cache. With validation sets:
 *
 *   "validation": {"settings", "accuracy", "sets": [{"name", "protocol", "pairs", "accuracy",
 *                  "std"}], "best": {"step", "accuracy", "model"} or null}
 *
 * where all but "best" is of the final student. */
enum cask_status cask_result_write(const struct cask_run_folder *folder,
                                   const struct cask_result *result, struct cask_error *err);

/* What result.json says of a run that has ended. */
struct cask_result_summary {
    int64_t steps; /* -1: there is no such file */
    bool complete;
    double validation_settings; /* -1: without validation */
};
enum cask_status cask_result_read(const struct cask_run_folder *folder,
                                  struct cask_result_summary *found, struct cask_error *err);

/* failure.json, for a table of many runs; a failure to write it is only logged. */
void cask_result_write_failure(const struct cask_run_folder *folder, int64_t steps_done,
                               const struct cask_error *why);

#endif
