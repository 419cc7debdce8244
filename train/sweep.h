/* train/sweep.h - many runs, one after another or side by side, and one table of them.
 *
 *   OUT/FOLDER/...           one run folder for each row and seed (train/run_folder.h)
 *   OUT/settings/FOLDER.yaml what that run is told; `train-student --config` of it is that run
 *   OUT/logs/FOLDER.log      its log, where several rows train at the same time (--jobs)
 *   OUT/sweep.json, sweep.csv, sweep.txt    the table, made anew after every run
 *   OUT/report.html          the same with pictures (train/report.h), made at the end of a call
 *   OUT/lock                 held by the sweep
 *
 * A run is a process of its own, so that one which is killed for its memory, or ends with an error,
 * takes nothing with it; it dies with the sweep. A killed sweep goes on where its runs stopped, to
 * the same bits; finished runs are skipped. A run that was begun with other settings than the file
 * now has stops the sweep before anything is trained, with the difference. A run that fails is told
 * in the table and tried again by the next call.
 *
 * sweep.json:
 *
 *   {"program", "sweep": FILE, "cache", "baseline": NAME,
 *    "sets": [{"name", "protocol", "pairs"}],
 *    "rows": [{"name", "finished", "seeds",        how many of its runs
 *              "accuracy": [{"set", "mean", "std", "count"}],   percent, of the final students; std
 *                                                  is that of a sample (n - 1), null below two
 *              "seconds", "seconds_per_step",      means over the finished runs
 *              "step_ratio",                       to the baseline's seconds_per_step, or null
 *              "teacher_passes_saved",             sum over the finished runs
 *              "runs": [{"folder", "seed", "state", "message", "steps", "seconds",
 *                        "seconds_per_step", "teacher_passes_saved", "stopped_early",
 *                        "accuracy": [{"set", "accuracy", "std"}],
 *                        "best": {"step", "accuracy", "model"}}]}],
 *    "seconds", "teacher_passes_saved"}            sums over all
 *
 * state: "finished", "failed" (then message says why), "unfinished" or "not started".
 */
#ifndef CASK_TRAIN_SWEEP_H
#define CASK_TRAIN_SWEEP_H

#include "common/status.h"
#include "train/options.h"

/* `call`: what the command line said, with call.sweep; argc, argv: the same, for every row. Prints
 * the table (or, with call.list, the rows) to stdout. CASK_ERR_RANGE if a row failed, after all
 * others have run; CASK_ERR_INTERRUPTED after SIGINT or SIGTERM, when the runs have written their
 * checkpoints. */
enum cask_status cask_sweep(const struct cask_train_config *call, int argc, char **argv,
                            struct cask_error *err);

#endif
