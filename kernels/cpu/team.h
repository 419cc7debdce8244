/* kernels/cpu/team.h - the threads of one device.
 *
 * Unlike OpenMP's, a run does not wait for a thread that has not come yet: on a busy machine the
 * caller does the work alone and goes on, where a barrier would stand still until the system gives
 * the other thread a turn. Unlike common/thread.h's pool, indices are taken several at a time and
 * without a lock, and every thread holds oneDNN at one thread.
 */
#ifndef CASK_KERNELS_CPU_TEAM_H
#define CASK_KERNELS_CPU_TEAM_H

#include "common/thread.h"

struct cask_team;
enum cask_status cask_team_create(int threads, struct cask_team **team, struct cask_error *err);
void cask_team_free(struct cask_team *team); /* accepts NULL */

/* task(user, index, thread) for every index below count; `turn` neighbours at a time; the caller is
 * thread 0. Returns when all are done. */
void cask_team_run(struct cask_team *team, int64_t count, int64_t turn, cask_task task, void *user);

#endif
