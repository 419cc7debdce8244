#include "common/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/mem.h"

struct cask_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    pthread_t *threads;
    int thread_count; /* the caller's included */
    int started;
    cask_task task;
    void *user;
    int64_t next, count;
    atomic_int busy;        /* workers inside the current run */
    atomic_uint generation; /* counts runs */
    atomic_bool stop;
};

struct worker_start {
    struct cask_pool *pool;
    int worker;
};

/* Kernels follow one another within microseconds, and a sleeping thread wakes in tens of them: so a
 * thread looks a short while before it sleeps. Short, because on a shared machine a spinning thread
 * takes the CPU from the one it waits for. */
enum { SPINS = 2000 };

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Takes indices until none is left. The lock is held on entry and on return. */
static void drain(struct cask_pool *pool, int worker)
{
    while (pool->next < pool->count) {
        int64_t index = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        pool->task(pool->user, index, worker);
        pthread_mutex_lock(&pool->lock);
    }
}

static void *worker_main(void *argument)
{
    struct worker_start start = *(struct worker_start *)argument;
    struct cask_pool *pool = start.pool;
    cask_free(argument);
    unsigned seen = 0;
    for (;;) {
        for (int i = 0;
             i < SPINS && atomic_load(&pool->generation) == seen && !atomic_load(&pool->stop);
             i++) {
            pause_briefly();
        }
        pthread_mutex_lock(&pool->lock);
        while (!pool->stop && pool->generation == seen) {
            pthread_cond_wait(&pool->work, &pool->lock);
        }
        if (pool->stop) {
            break;
        }
        seen = pool->generation;
        pool->busy++;
        drain(pool, start.worker);
        if (--pool->busy == 0) {
            pthread_cond_signal(&pool->idle);
        }
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum cask_status cask_pool_create(int threads, struct cask_pool **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = cask_alloc(1, sizeof *pool);
    if (pool == NULL) {
        return cask_error_memory(err, sizeof *pool, "thread pool");
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->thread_count = threads > 1 ? threads : 1;
    pool->threads = cask_alloc((size_t)pool->thread_count, sizeof *pool->threads);
    if (pool->threads == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof(pthread_t), "thread pool"));
    }
    for (int i = 1; i < pool->thread_count; i++) {
        struct worker_start *start = cask_alloc(1, sizeof *start);
        if (start == NULL) {
            CASK_TRY(cask_error_memory(err, sizeof *start, "thread start"));
        }
        *start = (struct worker_start){pool, i};
        int failed = pthread_create(&pool->threads[i], NULL, worker_main, start);
        if (failed != 0) {
            cask_free(start);
            CASK_TRY(cask_error_errno(err, failed, "starting thread %d of %d", i + 1, threads));
        }
        pool->started++;
    }
    *out = pool;
    pool = NULL;
done:
    cask_pool_free(pool);
    return st;
}

void cask_pool_run(struct cask_pool *pool, int64_t count, cask_task task, void *user)
{
    if (count <= 0) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->user = user;
    pool->next = 0;
    pool->count = count;
    pool->generation++;
    pthread_cond_broadcast(&pool->work);
    drain(pool, 0);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < SPINS && atomic_load(&pool->busy) > 0; i++) {
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0) {
        pthread_cond_wait(&pool->idle, &pool->lock);
    }
    pool->count = pool->next = 0;
    pthread_mutex_unlock(&pool->lock);
}

int cask_pool_threads(const struct cask_pool *pool)
{
    return pool->thread_count;
}

void cask_pool_free(struct cask_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->started; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->idle);
    pthread_mutex_destroy(&pool->lock);
    cask_free(pool->threads);
    cask_free(pool);
}

int cask_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return CPU_COUNT(&set);
    }
    return 1;
}

static atomic_bool interrupted;

/* Signals are taken by a thread of their own, never by a handler: oneDNN 2.6.3's "gemm:jit" kernels
 * point the stack register into a heap buffer while they run, and the kernel would write a
 * handler's frame (some kilobytes) over what lies below it. */
static void *signal_main(void *argument)
{
    sigset_t wanted = *(sigset_t *)argument;
    int number = 0;
    cask_free(argument);
    while (sigwait(&wanted, &number) == 0) {
        if (atomic_exchange(&interrupted, true)) {
            _exit(128 + number);
        }
    }
    return NULL;
}

void cask_interrupt_install(void)
{
    pthread_t thread;
    sigset_t *wanted = cask_alloc(1, sizeof *wanted);
    if (wanted == NULL) {
        return; /* the default action stays: the signal ends the process */
    }
    sigemptyset(wanted);
    sigaddset(wanted, SIGINT);
    sigaddset(wanted, SIGTERM);
    pthread_sigmask(SIG_BLOCK, wanted, NULL); /* threads started later inherit it */
    if (pthread_create(&thread, NULL, signal_main, wanted) == 0) {
        pthread_detach(thread);
    } else {
        pthread_sigmask(SIG_UNBLOCK, wanted, NULL);
        cask_free(wanted);
    }
}

bool cask_interrupted(void)
{
    return atomic_load(&interrupted);
}

enum cask_status cask_interrupt_check(struct cask_error *err)
{
    return cask_interrupted() ? cask_error_set(err, CASK_ERR_INTERRUPTED, "interrupted") : CASK_OK;
}
