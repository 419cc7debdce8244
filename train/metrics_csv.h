/* train/metrics_csv.h - private to train/metrics*.c: lines of metrics.jsonl as rows of tables. */
#ifndef CASK_TRAIN_METRICS_CSV_H
#define CASK_TRAIN_METRICS_CSV_H

#include "train/metrics.h"

/* The row of one line, newline included, at its table; the first row brings the heads. */
enum cask_status cask_metrics_csv_append(const struct cask_metrics *metrics,
                                         const struct cask_json *line, struct cask_error *err);
/* Both tables anew from the lines in text[0..bytes); a table without rows is removed. */
enum cask_status cask_metrics_csv_rebuild(const struct cask_metrics *metrics, const char *text,
                                          size_t bytes, struct cask_error *err);

#endif
