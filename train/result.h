/* train/result.h - result.json: one run in one object, for tables and for `was it finished?`. */
#ifndef CASK_TRAIN_RESULT_H
#define CASK_TRAIN_RESULT_H

#include "cache/cache.h"
#include "common/status.h"
#include "data/data.h"
#include "train/run_folder.h"
#include "train/teacher_source.h"

struct cask_result {
    int64_t steps, batch;
    bool complete;          /* the schedule's end was reached, not only train.max_steps */
    double epochs, seconds; /* over all restarts */
    int64_t bad_images;     /* met by the last process */
    const char *network, *device;
    const char *cache;                   /* "" without one */
    const struct cask_manifest *teacher; /* NULL without a cache */
    const char *teacher_mode;
    const struct cask_coverage *coverage;          /* what was drawn; NULL: shuffled images */
    const struct cask_accepted_mismatch *accepted; /* [accepted_count] */
    int accepted_count;
};

/* Adds the last line of metrics.jsonl as "final" and this process's peak memory. */
enum cask_status cask_result_write(const struct cask_run_folder *folder,
                                   const struct cask_result *result, struct cask_error *err);
/* What result.json says of a run that has ended; *steps is -1 if there is no such file. */
enum cask_status cask_result_read(const struct cask_run_folder *folder, int64_t *steps,
                                  bool *complete, struct cask_error *err);

#endif
