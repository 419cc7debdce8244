/* common/thread.h - a pool for "do n independent things", and the interrupt flag. */
#ifndef CASK_COMMON_THREAD_H
#define CASK_COMMON_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

/* Runs task(user, index, worker) for every index in [0, count), spread over the pool's threads by
 * a shared counter, and returns when all are done. worker is in [0, threads). The caller's thread
 * is worker 0. Tasks may not call cask_pool_run on the same pool. One caller at a time.
 *
 * Unlike OpenMP's, a run does not wait for a thread that has not come yet: on a busy machine the
 * caller does the work alone and goes on, where a barrier would stand still until the system gives
 * the other thread a turn. */
struct cask_pool;
typedef void (*cask_task)(void *user, int64_t index, int worker);
enum cask_status cask_pool_create(int threads, struct cask_pool **pool, struct cask_error *err);
/* begin: the first thing that every thread but the caller's does. */
enum cask_status cask_pool_create_with(int threads, void (*begin)(void), struct cask_pool **pool,
                                       struct cask_error *err);
void cask_pool_run(struct cask_pool *pool, int64_t count, cask_task task, void *user);
/* `turn` neighbours at a time, for tasks of microseconds. */
void cask_pool_run_turns(struct cask_pool *pool, int64_t count, int64_t turn, cask_task task,
                         void *user);
int cask_pool_threads(const struct cask_pool *pool);
void cask_pool_free(struct cask_pool *pool); /* accepts NULL */

int cask_cpu_count(void); /* CPUs this process may use */

/* First SIGINT or SIGTERM sets a flag that loops poll; a second one ends the process at once. Call
 * it first in main, before any thread starts. */
void cask_interrupt_install(void);
bool cask_interrupted(void);
/* CASK_ERR_INTERRUPTED with "interrupted" if the flag is set, else CASK_OK. */
enum cask_status cask_interrupt_check(struct cask_error *err);

#endif
