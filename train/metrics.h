/* train/metrics.h - what a run tells people: metrics.jsonl, its tables, and the progress line.
 *
 * Training lines: every train.log_steps steps one line of JSON: step (1-based: steps done), epoch,
 * lr, total, accuracy and each term's value as means over the steps since the line before; each
 * term's weight, gradient norm and cosine to the head's gradient at this step; images/s, seconds
 * waited for images, and seconds in each part of the steps (sums of this process since then):
 *
 *   {"step", "epoch", "lr", "total", "accuracy", "terms": [{"name", "weight", "value",
 *    "gradient_norm", "gradient_cosine"}], "captured"?, "gradient_norm"?, "coverage"?,
 *    "images_per_second", "stall_seconds", "stage_seconds": {"forward", "losses", "backward",
 *    "update"}}
 *
 * Where a sampler draws images more than once, the last step of an epoch ends a line too, and it
 * has "coverage": what the epoch drew, as struct cask_coverage counts it.
 *
 * Validation lines (train/validation.h), behind the training line of the same step if there is one:
 *
 *   {"step", "epoch", "validation": {"accuracy", "best", "sets": [{"name", "accuracy", "std"}]}}
 *
 * The running sums are part of the run's state, so the lines of a resumed run are those of an
 * uninterrupted one, but for the times.
 *
 * metrics.csv holds the training lines: step, epoch, lr, total, accuracy, gradient_norm,
 * images_per_second, stall_seconds, stage_seconds.forward, .losses, .backward, .update, then NAME,
 * NAME.weight, NAME.gradient_norm and NAME.gradient_cosine of each term. validation.csv holds the
 * others: step, epoch, accuracy, best, then one column a set. What is not known is left empty.
 */
#ifndef CASK_TRAIN_METRICS_H
#define CASK_TRAIN_METRICS_H

#include "common/json.h"
#include "common/log.h"
#include "common/status.h"
#include "data/data.h"
#include "train/checkpoint.h"
#include "train/tensorboard.h"
#include "train/trainer.h"

enum { CASK_METRICS_TERMS = 32 };

struct cask_metrics {
    char *path, *training_csv, *validation_csv; /* owned */
    int64_t batch, steps_per_epoch, log_steps, total_steps;
    double sums[3 + CASK_METRICS_TERMS]; /* steps, total, accuracy, values: saved with the run */
    /* since the last line, of this process */
    double line_time, line_stall, line_stages[CASK_STAGES];
    int64_t line_step;
    struct cask_progress bar;
    struct cask_tensorboard board;
    bool shows_progress, epoch_lines;
    bool has_coverage;
    struct cask_coverage coverage; /* for the next line */
};

struct cask_metrics_options {
    const char *folder;                     /* of the run */
    const struct cask_train_options *train; /* batch, log_steps */
    const struct cask_schedule *schedule;
    int64_t first_step, stop_step;
    int64_t validated_step; /* of the last validation that the run's state knows */
    bool epoch_lines;       /* the last step of an epoch ends a line */
    bool shows_progress;
};
/* Drops lines past `first_step`, which a killed run may have left, and validation lines past
 * `validated_step`; makes the tables anew; starts the progress bar. */
enum cask_status cask_metrics_open(struct cask_metrics *metrics,
                                   const struct cask_metrics_options *options,
                                   struct cask_error *err);
void cask_metrics_close(struct cask_metrics *metrics); /* accepts a zeroed struct */
enum cask_status cask_metrics_state(struct cask_metrics *metrics, struct cask_state_list *state,
                                    struct cask_error *err);

/* True if the step with this 0-based number ends a line, so that gradients should be measured. */
bool cask_metrics_due(const struct cask_metrics *metrics, int64_t step, int64_t stop_step);
/* Puts an epoch's coverage into the next line. */
void cask_metrics_set_coverage(struct cask_metrics *metrics, const struct cask_coverage *coverage);
/* {"draws": ..., "images": ..., ...}; the caller owns it. */
struct cask_json *cask_metrics_coverage_json(const struct cask_coverage *coverage);
/* Takes up one step; writes the line if `due`. */
enum cask_status cask_metrics_add(struct cask_metrics *metrics,
                                  const struct cask_step_report *report, double stall_seconds,
                                  bool due, struct cask_error *err);
/* Writes a validation line; takes over `validation`. */
enum cask_status cask_metrics_add_validation(struct cask_metrics *metrics, int64_t steps_done,
                                             struct cask_json *validation, struct cask_error *err);

#endif
