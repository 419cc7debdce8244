/* train/report_sweep.h - the parts of a sweep's page. Private to train/report*.c. */
#ifndef CASK_TRAIN_REPORT_SWEEP_H
#define CASK_TRAIN_REPORT_SWEEP_H

#include "train/report_data.h"
#include "train/report_page.h"

struct report_sweep {
    char *path, *name; /* owned: the folder, and the last part of it */
    /* as sweep.json says (train/sweep.h); of a folder without one the same is made of its runs */
    struct cask_json *table;
    struct report_row {
        const struct cask_json *json; /* of table */
        const char *name;
        struct report_data *runs; /* [count], owned; path is NULL of a run that has not begun */
        int count;
    } * rows; /* [count], owned */
    int count;
};

/* CASK_ERR_FORMAT: there is neither a sweep.json nor a run. */
enum cask_status report_sweep_open(struct report_sweep *sweep, const char *folder,
                                   struct cask_error *err);
void report_sweep_close(struct report_sweep *sweep); /* accepts a zeroed struct */

/* "accuracy" of a row's JSON for a set; NaN if it has none. what: "mean", "std". */
double report_sweep_accuracy(const struct report_row *row, const char *set, const char *what);
/* Mean over the row's sets. */
double report_sweep_mean(const struct report_row *row);
/* The index-th name of the sets that some row was measured on; NULL past the last. */
const char *report_sweep_set(const struct report_sweep *sweep, int index);
/* The first run of a row that has begun, or NULL. */
const struct report_data *report_sweep_run(const struct report_row *row);
/* The set of that name in a run's evaluation.json, or NULL. */
const struct cask_json *report_sweep_evaluation(const struct report_data *run, const char *set);

void report_sweep_table(struct report_page *page, const struct report_sweep *sweep);
/* Keys whose values differ between the rows. */
void report_sweep_settings(struct report_page *page, const struct report_sweep *sweep);
enum cask_status report_sweep_figures(struct report_page *page, const struct report_sweep *sweep,
                                      struct cask_error *err);

#endif
