/* train/report.h - report.html: what a run did, on one page a person understands at a glance.
 *
 * One self-contained file of HTML, style and SVG pictures drawn by common/plot; it refers to
 * nothing on the network. Without gnuplot the tables stay and one sentence says why there are no
 * pictures. Only files of the run folders are read (train/run_folder.h, train/sweep.h), so a report
 * can be made of a run that is still at work, was killed, or failed.
 *
 * Thread rule: plain functions.
 */
#ifndef CASK_TRAIN_REPORT_H
#define CASK_TRAIN_REPORT_H

#include "common/status.h"

/* Writes FOLDER/report.html about the run in FOLDER. CASK_ERR_FORMAT: it holds no run, or a file of
 * it is damaged. */
enum cask_status cask_run_report(const char *folder, struct cask_error *err);

/* Writes FOLDER/report.html about all runs in FOLDER, a sweep's --out: the rows of its sweep.json,
 * or, in a folder without one, every subfolder that is a run. It links to FOLDER/RUN/report.html,
 * which each run wrote when it ended; those that are missing are written. */
enum cask_status cask_sweep_report(const char *folder, struct cask_error *err);

/* What `train-student --report FOLDER` does: the one or the other. *path is the page (caller frees
 * with cask_free); NULL on failure. */
enum cask_status cask_report_folder(const char *folder, char **path, struct cask_error *err);

#endif
