/* cache/scratch.c - see scratch.h. */
#include "cache/scratch.h"

#include <string.h>

#include "common/mem.h"

void cask_scratch_pool_init(struct cask_scratch_pool *pool)
{
    *pool = (struct cask_scratch_pool){.free = NULL};
    pthread_mutex_init(&pool->lock, NULL);
}

void cask_scratch_pool_fit(struct cask_scratch_pool *pool, const struct cask_layout *full)
{
    static const enum cask_view_field planes[2] = {CASK_FIELD_TOPK_INDEX, CASK_FIELD_TOPK_COSINE};
    for (int which = 0; which < 2; which++) {
        pool->plane_bytes[which] =
            cask_array_chunk_raw(&full->arrays[CASK_ARRAY_VIEW(0, planes[which])], full->rows);
    }
}

static void free_all(struct cask_scratch *list)
{
    while (list != NULL) {
        struct cask_scratch *next = list->next;
        for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
            cask_free(list->decoded[view][0]);
            cask_free(list->decoded[view][1]);
        }
        cask_free(list);
        list = next;
    }
}

void cask_scratch_pool_release(struct cask_scratch_pool *pool)
{
    free_all(pool->free);
    pthread_mutex_destroy(&pool->lock);
}

static struct cask_scratch *create(const struct cask_scratch_pool *pool)
{
    struct cask_scratch *scratch = cask_alloc(1, sizeof *scratch);
    bool whole = scratch != NULL;
    for (int view = 0; whole && view < CASK_CACHE_VIEWS; view++) {
        for (int which = 0; which < 2; which++) {
            scratch->decoded[view][which] = cask_alloc(pool->plane_bytes[which], 1);
            whole = whole && scratch->decoded[view][which] != NULL;
        }
    }
    if (!whole) {
        free_all(scratch);
        return NULL;
    }
    return scratch;
}

enum cask_status cask_scratch_pool_take(struct cask_scratch_pool *pool,
                                        struct cask_scratch **scratch, struct cask_error *err)
{
    pthread_mutex_lock(&pool->lock);
    *scratch = pool->free;
    if (*scratch != NULL) {
        pool->free = (*scratch)->next;
    }
    pthread_mutex_unlock(&pool->lock);
    if (*scratch == NULL) {
        *scratch = create(pool);
    }
    if (*scratch == NULL) {
        return cask_error_memory(err, pool->plane_bytes[0], "decoding memory");
    }
    (*scratch)->next = NULL;
    /* What was decoded for an earlier call is stale news: with `always` it must be checked again.
     */
    memset((*scratch)->last, 0, sizeof(*scratch)->last);
    memset((*scratch)->recent, 0, sizeof(*scratch)->recent);
    return CASK_OK;
}

void cask_scratch_pool_give(struct cask_scratch_pool *pool, struct cask_scratch *scratch)
{
    if (scratch != NULL) {
        pthread_mutex_lock(&pool->lock);
        scratch->next = pool->free;
        pool->free = scratch;
        pthread_mutex_unlock(&pool->lock);
    }
}
