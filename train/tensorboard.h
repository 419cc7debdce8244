/* train/tensorboard.h - metrics.jsonl once more, as TensorBoard event files in the run's folder.
 *
 *   tensorboard --logdir runs/
 *
 * Every number of a metrics line becomes a scalar of that step:
 *
 *   "lr": 0.1                                      train/lr
 *   "terms": [{"name": "kd", "value": ...}]        terms/kd, and terms_weight/kd, ...
 *   "validation": {"accuracy": ..., "sets": [...]} validation/accuracy, validation/lfw, ...
 *
 * null and what is not a number is left out. A process writes one file,
 * events.out.tfevents.SECONDS.HOST.PID, which begins with its first line. A resumed run writes a
 * new file. No step is told twice: records past the resumed step are cut off the older files,
 * which serves every reader; the new file begins with SessionLog START at the first step to come,
 * at which a TensorBoard that is running drops what it has read of those steps.
 */
#ifndef CASK_TRAIN_TENSORBOARD_H
#define CASK_TRAIN_TENSORBOARD_H

#include <stdint.h>

#include "common/json.h"
#include "common/status.h"

struct cask_tensorboard {
    char *folder;    /* owned */
    char *path;      /* owned; NULL before the first line */
    int64_t resumed; /* the step after which this process began */
    double after;    /* SECONDS of the newest file there, or 0 */
};

/* Cuts the older files: lines past `first_step` and validations past `validated_step` go, as from
 * metrics.jsonl. */
enum cask_status cask_tensorboard_open(struct cask_tensorboard *board, const char *folder,
                                       int64_t first_step, int64_t validated_step,
                                       struct cask_error *err);
/* One line of metrics.jsonl, with "step". */
enum cask_status cask_tensorboard_add(struct cask_tensorboard *board, const struct cask_json *line,
                                      struct cask_error *err);
void cask_tensorboard_close(struct cask_tensorboard *board); /* accepts a zeroed struct */

#endif
