/* train/report_data.h - a run folder as a report needs it. Private to train/report*.c.
 *
 * Only the run's own files are read, and each may be missing: a run that is still at work, or was
 * killed, has a report too. A line of metrics.jsonl that is torn (the run is writing it) is passed
 * over.
 */
#ifndef CASK_TRAIN_REPORT_DATA_H
#define CASK_TRAIN_REPORT_DATA_H

#include <stdbool.h>

#include "common/json.h"
#include "common/status.h"
#include "common/yaml.h"
#include "train/report_table.h"

struct report_data {
    char *path, *name;                               /* owned; name: the last part of the path */
    char *settings_text;                             /* config.yaml; owned */
    struct cask_yaml yaml;                           /* the same, open */
    struct cask_json *result, *evaluation, *failure; /* owned; NULL if there is no such file */
    struct report_table training, validation;
};

/* The last part of the folder's absolute path; caller frees, NULL: no memory. */
char *report_name(const char *folder);

/* CASK_ERR_FORMAT: there is no config.yaml (not a run), or a file is damaged. */
enum cask_status report_data_open(struct report_data *run, const char *path,
                                  struct cask_error *err);
void report_data_close(struct report_data *run); /* accepts a zeroed struct */

/* result.json's number at "a.b.c"; NaN if it is not there. */
double report_data_number(const struct cask_json *root, const char *keys);
/* Text at "a.b.c"; "" if it is not there. */
const char *report_data_text(const struct cask_json *root, const char *keys);
/* A setting as it stands in config.yaml, in `buffer`; false if it is not there. */
bool report_data_setting(const struct report_data *run, const char *key, char *buffer,
                         size_t bytes);

/* Steps of the whole schedule as far as they are known: NaN without a training line. */
double report_data_planned_steps(const struct report_data *run);
double report_data_seconds(const struct report_data *run); /* of training; NaN if not known */

#endif
