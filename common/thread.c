#include "common/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/mem.h"

struct cask_pool {
    int threads, started; /* the caller's included; besides the caller's */
    pthread_t *handles;
    void (*begin)(void);
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    /* One run. Written under the lock while no thread is inside. */
    cask_task task;
    void *user;
    int64_t count, turn;
    bool open;
    int sleeping;
    bool stop;
    atomic_uint_fast64_t run; /* number of the current run */
    atomic_int_fast64_t next; /* first index nobody has taken */
    atomic_int inside;        /* threads besides the caller */
};

struct worker_start {
    struct cask_pool *pool;
    int worker;
};

/* Kernels follow one another within microseconds, and a sleeping thread wakes in tens of them: so a
 * thread looks about 50 of them before it sleeps. Not longer, because on a shared machine a looking
 * thread takes the CPU from the one it waits for. */
enum { LOOKS = 1500 };

static void look(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(struct cask_pool *pool, int worker)
{
    for (;;) {
        int64_t begin = atomic_fetch_add(&pool->next, pool->turn);
        int64_t end = begin + pool->turn < pool->count ? begin + pool->turn : pool->count;
        if (begin >= pool->count) {
            return;
        }
        for (int64_t index = begin; index < end; index++) {
            pool->task(pool->user, index, worker);
        }
    }
}

/* Returns with the lock held, when a run other than `seen` was called or the pool stops. */
static void wait_for_run(struct cask_pool *pool, uint64_t seen)
{
    for (int i = 0; i < LOOKS && atomic_load(&pool->run) == seen; i++) {
        look();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->run) == seen && !pool->stop) {
        pool->sleeping++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->sleeping--;
    }
}

static void *worker_main(void *argument)
{
    struct worker_start start = *(struct worker_start *)argument;
    struct cask_pool *pool = start.pool;
    uint64_t seen = 0;
    cask_free(argument);
    if (pool->begin != NULL) {
        pool->begin();
    }
    for (;;) {
        wait_for_run(pool, seen);
        if (pool->stop) {
            break;
        }
        seen = atomic_load(&pool->run);
        if (!pool->open) { /* came too late */
            pthread_mutex_unlock(&pool->lock);
            continue;
        }
        atomic_fetch_add(&pool->inside, 1);
        pthread_mutex_unlock(&pool->lock);
        work(pool, start.worker);
        pthread_mutex_lock(&pool->lock);
        if (atomic_fetch_sub(&pool->inside, 1) == 1) {
            pthread_cond_signal(&pool->idle);
        }
        pthread_mutex_unlock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static enum cask_status start_threads(struct cask_pool *pool, struct cask_error *err)
{
    for (int i = 1; i < pool->threads; i++) {
        struct worker_start *start = cask_alloc(1, sizeof *start);
        if (start == NULL) {
            return cask_error_memory(err, sizeof *start, "thread start");
        }
        *start = (struct worker_start){pool, i};
        int failed = pthread_create(&pool->handles[i], NULL, worker_main, start);
        if (failed != 0) {
            cask_free(start);
            return cask_error_errno(err, failed, "starting thread %d of %d", i + 1, pool->threads);
        }
        pool->started++;
    }
    return CASK_OK;
}

enum cask_status cask_pool_create_with(int threads, void (*begin)(void), struct cask_pool **out,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = cask_alloc(1, sizeof *pool);
    if (pool == NULL) {
        return cask_error_memory(err, sizeof *pool, "thread pool");
    }
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->idle, NULL);
    pool->threads = threads > 1 ? threads : 1;
    pool->begin = begin;
    pool->handles = cask_alloc((size_t)pool->threads, sizeof *pool->handles);
    if (pool->handles == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)threads * sizeof *pool->handles, "thread pool"));
    }
    CASK_TRY(start_threads(pool, err));
    *out = pool;
    pool = NULL;
done:
    cask_pool_free(pool);
    return st;
}

enum cask_status cask_pool_create(int threads, struct cask_pool **pool, struct cask_error *err)
{
    return cask_pool_create_with(threads, NULL, pool, err);
}

static void begin_run(struct cask_pool *pool, int64_t count, int64_t turn, cask_task task,
                      void *user)
{
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->user = user;
    pool->count = count;
    pool->turn = turn;
    pool->open = true;
    atomic_store(&pool->next, 0);
    atomic_fetch_add(&pool->run, 1);
    if (pool->sleeping > 0) {
        pthread_cond_broadcast(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void end_run(struct cask_pool *pool)
{
    for (int i = 0; i < LOOKS && atomic_load(&pool->inside) > 0; i++) {
        look();
    }
    pthread_mutex_lock(&pool->lock);
    pool->open = false;
    while (atomic_load(&pool->inside) > 0) {
        pthread_cond_wait(&pool->idle, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

void cask_pool_run_turns(struct cask_pool *pool, int64_t count, int64_t turn, cask_task task,
                         void *user)
{
    if (pool->threads > 1 && count > turn) {
        begin_run(pool, count, turn, task, user);
        work(pool, 0);
        end_run(pool);
        return;
    }
    for (int64_t index = 0; index < count; index++) {
        task(user, index, 0);
    }
}

void cask_pool_run(struct cask_pool *pool, int64_t count, cask_task task, void *user)
{
    cask_pool_run_turns(pool, count, 1, task, user);
}

int cask_pool_threads(const struct cask_pool *pool)
{
    return pool->threads;
}

void cask_pool_free(struct cask_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    atomic_fetch_add(&pool->run, 1); /* also for those who look */
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->started; i++) {
        pthread_join(pool->handles[i], NULL);
    }
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->idle);
    (void)pthread_mutex_destroy(&pool->lock);
    cask_free(pool->handles);
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
