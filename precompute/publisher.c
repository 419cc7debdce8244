/* precompute/publisher.c - see the header. A thread lives as long as one shard's publication: it
 * is started once in minutes, and join is all the synchronisation there is. */
#include "precompute/publisher.h"

#include "common/log.h"

static void *publish(void *argument)
{
    struct publisher *p = argument;
    double begun = cask_now();
    p->status = p->sealed != NULL ? cask_sealed_publish(p->sealed, &p->error)
                                  : staging_save(p->staging, p->shard, &p->staged, &p->error);
    p->took += cask_now() - begun;
    atomic_store(&p->failed, p->status != CASK_OK);
    return NULL;
}

static enum cask_status start(struct publisher *p, int64_t shard, int64_t images,
                              struct cask_lease **lease, struct cask_error *err)
{
    p->shard = shard;
    p->images = images;
    p->lease = *lease;
    *lease = NULL;
    p->status = CASK_OK;
    int problem = pthread_create(&p->thread, NULL, publish, p);
    p->running = problem == 0;
    return p->running ? CASK_OK
                      : cask_error_errno(err, problem, "starting the thread that publishes shards");
}

enum cask_status publisher_settle(struct publisher *p, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (p->running) {
        double before = cask_now();
        pthread_join(p->thread, NULL);
        p->waited += cask_now() - before;
        p->running = false;
        st = p->status;
    }
    cask_cache_writer_settle(p->writer, p->sealed);
    cask_lease_drop(p->lease);
    p->sealed = NULL;
    p->lease = NULL;
    p->images = 0;
    if (st != CASK_OK) {
        *err = p->error;
        atomic_store(&p->failed, false);
    }
    return st;
}

enum cask_status publisher_give_shard(struct publisher *p, int64_t shard, int64_t images,
                                      struct cask_lease **lease, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(publisher_settle(p, err));
    CASK_TRY(cask_cache_writer_seal(p->writer, &p->sealed, err));
    CASK_TRY(start(p, shard, images, lease, err));
done:
    cask_lease_drop(*lease);
    *lease = NULL;
    return st;
}

enum cask_status publisher_give_stage(struct publisher *p, int64_t shard, struct shard_rows *rows,
                                      struct cask_lease **lease, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(publisher_settle(p, err));
    if (p->staged.bad == NULL) {
        CASK_TRY(shard_rows_create(&p->staged, rows->capacity, rows->dim, err));
    }
    struct shard_rows given = *rows;
    *rows = p->staged;
    p->staged = given;
    CASK_TRY(start(p, shard, given.count, lease, err));
done:
    cask_lease_drop(*lease);
    *lease = NULL;
    return st;
}

enum cask_status publisher_check(const struct publisher *p, struct cask_error *err)
{
    if (!atomic_load(&p->failed)) {
        return CASK_OK;
    }
    *err = p->error; /* whole since `failed` was set */
    return p->status;
}

enum cask_status publisher_end(struct publisher *p, enum cask_status st, struct cask_error *err)
{
    struct cask_error own = {0};
    enum cask_status last = publisher_settle(p, &own);
    if (last != CASK_OK && (st == CASK_OK || st == CASK_ERR_INTERRUPTED)) {
        *err = own;
        st = last;
    }
    return st;
}

void publisher_release(struct publisher *p)
{
    shard_rows_release(&p->staged);
}
