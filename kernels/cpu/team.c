/* kernels/cpu/team.c - a crew of threads that share one counter. */
#include "kernels/cpu/team.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/mem.h"

/* About 50 microseconds of looking before a thread sleeps. */
enum { LOOKS = 1500 };

struct cask_team {
    int threads, started;
    pthread_t *handles;
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

struct start {
    struct cask_team *team;
    int thread;
};

static void look(void)
{
    __builtin_ia32_pause();
}

static void work(struct cask_team *team, int thread)
{
    for (;;) {
        int64_t begin = atomic_fetch_add(&team->next, team->turn);
        int64_t end = begin + team->turn < team->count ? begin + team->turn : team->count;
        if (begin >= team->count) {
            return;
        }
        for (int64_t index = begin; index < end; index++) {
            team->task(team->user, index, thread);
        }
    }
}

/* Returns with the lock held, when a run other than `seen` was called or the team stops. */
static void wait_for_run(struct cask_team *team, uint64_t seen)
{
    for (int i = 0; i < LOOKS && atomic_load(&team->run) == seen; i++) {
        look();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load(&team->run) == seen && !team->stop) {
        team->sleeping++;
        pthread_cond_wait(&team->work, &team->lock);
        team->sleeping--;
    }
}

static void *thread_main(void *argument)
{
    struct start start = *(struct start *)argument;
    struct cask_team *team = start.team;
    uint64_t seen = 0;
    cask_free(argument);
    omp_set_num_threads(1); /* oneDNN shall not start threads under this one */
    for (;;) {
        wait_for_run(team, seen);
        if (team->stop) {
            break;
        }
        seen = atomic_load(&team->run);
        if (!team->open) { /* came too late */
            pthread_mutex_unlock(&team->lock);
            continue;
        }
        atomic_fetch_add(&team->inside, 1);
        pthread_mutex_unlock(&team->lock);
        work(team, start.thread);
        pthread_mutex_lock(&team->lock);
        if (atomic_fetch_sub(&team->inside, 1) == 1) {
            pthread_cond_signal(&team->idle);
        }
        pthread_mutex_unlock(&team->lock);
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

static enum cask_status start_threads(struct cask_team *team, struct cask_error *err)
{
    for (int i = 1; i < team->threads; i++) {
        struct start *start = cask_alloc(1, sizeof *start);
        if (start == NULL) {
            return cask_error_memory(err, sizeof *start, "thread start");
        }
        *start = (struct start){team, i};
        int failed = pthread_create(&team->handles[i], NULL, thread_main, start);
        if (failed != 0) {
            cask_free(start);
            return cask_error_errno(err, failed, "starting thread %d of %d", i + 1, team->threads);
        }
        team->started++;
    }
    return CASK_OK;
}

enum cask_status cask_team_create(int threads, struct cask_team **result, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_team *team = cask_alloc(1, sizeof *team);
    if (team == NULL) {
        return cask_error_memory(err, sizeof *team, "threads");
    }
    (void)pthread_mutex_init(&team->lock, NULL);
    (void)pthread_cond_init(&team->work, NULL);
    (void)pthread_cond_init(&team->idle, NULL);
    team->threads = threads;
    team->handles = cask_alloc((size_t)threads, sizeof *team->handles);
    if (team->handles == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)threads * sizeof *team->handles, "threads"));
    }
    CASK_TRY(start_threads(team, err));
    *result = team;
    team = NULL;
done:
    cask_team_free(team);
    return st;
}

void cask_team_free(struct cask_team *team)
{
    if (team == NULL) {
        return;
    }
    pthread_mutex_lock(&team->lock);
    team->stop = true;
    atomic_fetch_add(&team->run, 1); /* also for those who look */
    pthread_cond_broadcast(&team->work);
    pthread_mutex_unlock(&team->lock);
    for (int i = 1; i <= team->started; i++) {
        pthread_join(team->handles[i], NULL);
    }
    (void)pthread_cond_destroy(&team->work);
    (void)pthread_cond_destroy(&team->idle);
    (void)pthread_mutex_destroy(&team->lock);
    cask_free(team->handles);
    cask_free(team);
}

static void begin_run(struct cask_team *team, int64_t count, int64_t turn, cask_task task,
                      void *user)
{
    pthread_mutex_lock(&team->lock);
    team->task = task;
    team->user = user;
    team->count = count;
    team->turn = turn;
    team->open = true;
    atomic_store(&team->next, 0);
    atomic_fetch_add(&team->run, 1);
    if (team->sleeping > 0) {
        pthread_cond_broadcast(&team->work);
    }
    pthread_mutex_unlock(&team->lock);
}

static void end_run(struct cask_team *team)
{
    for (int i = 0; i < LOOKS && atomic_load(&team->inside) > 0; i++) {
        look();
    }
    pthread_mutex_lock(&team->lock);
    team->open = false;
    while (atomic_load(&team->inside) > 0) {
        pthread_cond_wait(&team->idle, &team->lock);
    }
    pthread_mutex_unlock(&team->lock);
}

void cask_team_run(struct cask_team *team, int64_t count, int64_t turn, cask_task task, void *user)
{
    int outer = omp_get_max_threads();
    omp_set_num_threads(1);
    if (team->threads > 1 && count > turn) {
        begin_run(team, count, turn, task, user);
        work(team, 0);
        end_run(team);
    } else {
        for (int64_t index = 0; index < count; index++) {
            task(user, index, 0);
        }
    }
    omp_set_num_threads(outer);
}
