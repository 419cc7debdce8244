/* train/sweep_jobs.h - runs of a sweep as processes of their own.
 *
 * A job is this program again, with --config. It is in a process group of its own, so that Ctrl-C
 * reaches only the sweep, which passes it on once as SIGTERM and waits; and it is killed when the
 * sweep dies. Thread rule: one thread, the one that starts jobs must not end before them.
 */
#ifndef CASK_TRAIN_SWEEP_JOBS_H
#define CASK_TRAIN_SWEEP_JOBS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/status.h"

struct cask_job {
    pid_t pid; /* 0: none */
    bool told; /* SIGTERM was sent */
    int code;  /* when it has ended: its exit code, or 128 + the signal that ended it */
};

/* settings: [count], the first for --config, others for --also. `log`: a file that its stderr is
 * added to, or NULL: ours. */
enum cask_status cask_job_start(char *const *settings, int count, const char *log,
                                struct cask_job *job, struct cask_error *err);
/* True when the job has ended; its pid is then 0. Does not wait. */
bool cask_job_ended(struct cask_job *job);
/* Asks it to write a checkpoint and end; asks once. */
void cask_job_interrupt(struct cask_job *job);

#endif
