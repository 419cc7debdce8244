/* cache/prefetch.c - threads that wait for the disk so that the trainer need not.
 *
 * Each takes a few rows from a ring and reads one byte of every page that a gather of them will
 * read. The pages are those of the same maps, so nothing is copied and nothing is held: what the
 * kernel evicts again is simply read once more. */
#include <pthread.h>

#include "cache/reader.h"
#include "common/mem.h"

enum { PAGE = 4096, TAKEN_AT_ONCE = 4 };

struct coming {
    int64_t row;
    bool mirror;
};

struct cask_prefetch {
    struct cask_cache *cache;
    bool wanted[CASK_FIELDS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct coming ring[CASK_PREFETCH_ROWS]; /* under lock */
    uint64_t first, end;                    /* positions; slot = position % size */
    bool stop;
    pthread_t *threads;
    int thread_count;
};

static void touch(const uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PAGE) {
        (void)((const volatile uint8_t *)data)[at];
    }
    (void)((const volatile uint8_t *)data)[bytes - 1];
}

static void touch_row(const struct cask_prefetch *prefetch, const struct coming *coming)
{
    uint64_t inside;
    size_t bytes;
    const struct cask_shard *shard = cask_cache_locate(prefetch->cache, coming->row, &inside);
    for (int field = 0; field < CASK_FIELDS; field++) {
        int slot = CASK_ARRAY_VIEW(coming->mirror ? 1 : 0, field);
        if (prefetch->wanted[field] && shard->layout->arrays[slot].row_elements > 0) {
            const uint8_t *chunk, *span = cask_shard_span(shard, slot, inside, &chunk, &bytes);
            touch(chunk, 1);
            touch(span, bytes);
        }
    }
}

static void *work(void *user)
{
    struct cask_prefetch *prefetch = user;
    struct coming taken[TAKEN_AT_ONCE];
    pthread_mutex_lock(&prefetch->lock);
    while (!prefetch->stop) {
        int count = 0;
        while (count < TAKEN_AT_ONCE && prefetch->first < prefetch->end) {
            taken[count++] = prefetch->ring[prefetch->first++ % CASK_PREFETCH_ROWS];
        }
        if (count == 0) {
            pthread_cond_wait(&prefetch->wake, &prefetch->lock);
            continue;
        }
        pthread_mutex_unlock(&prefetch->lock);
        for (int i = 0; i < count; i++) {
            touch_row(prefetch, &taken[i]);
        }
        pthread_mutex_lock(&prefetch->lock);
    }
    pthread_mutex_unlock(&prefetch->lock);
    return NULL;
}

enum cask_status cask_prefetch_start(struct cask_cache *cache,
                                     const struct cask_cache_gather *wanted, int threads,
                                     struct cask_prefetch **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_prefetch *prefetch = cask_alloc(1, sizeof *prefetch);
    *out = NULL;
    if (prefetch == NULL) {
        return cask_error_memory(err, sizeof *prefetch, "reading ahead");
    }
    prefetch->cache = cache;
    prefetch->wanted[CASK_FIELD_EMBEDDING] = wanted->embedding != NULL;
    prefetch->wanted[CASK_FIELD_EMBEDDING_SCALE] = wanted->embedding != NULL;
    prefetch->wanted[CASK_FIELD_TOPK_INDEX] = wanted->topk_index != NULL;
    prefetch->wanted[CASK_FIELD_TOPK_COSINE] = wanted->topk_cosine != NULL;
    prefetch->wanted[CASK_FIELD_LABEL_COSINE] = wanted->label_cosine != NULL;
    prefetch->wanted[CASK_FIELD_NORM] = wanted->norm != NULL;
    prefetch->wanted[CASK_FIELD_LSE] = wanted->lse != NULL;
    pthread_mutex_init(&prefetch->lock, NULL);
    pthread_cond_init(&prefetch->wake, NULL);
    prefetch->threads = cask_alloc((size_t)threads, sizeof *prefetch->threads);
    if (prefetch->threads == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)threads * sizeof *prefetch->threads, "threads"));
    }
    for (int i = 0; i < threads; i++) {
        int problem = pthread_create(&prefetch->threads[i], NULL, work, prefetch);
        if (problem != 0) {
            CASK_TRY(cask_error_errno(err, problem, "starting a thread that reads ahead"));
        }
        prefetch->thread_count++;
    }
    *out = prefetch;
    prefetch = NULL;
done:
    cask_prefetch_stop(prefetch);
    return st;
}

void cask_prefetch_rows(struct cask_prefetch *prefetch, const int64_t *rows, const bool *mirror,
                        int count)
{
    pthread_mutex_lock(&prefetch->lock);
    for (int i = 0; i < count && prefetch->end - prefetch->first < CASK_PREFETCH_ROWS; i++) {
        if (rows[i] >= 0 && rows[i] < cask_cache_rows(prefetch->cache)) {
            prefetch->ring[prefetch->end++ % CASK_PREFETCH_ROWS] =
                (struct coming){rows[i], mirror != NULL && mirror[i]};
        }
    }
    pthread_cond_broadcast(&prefetch->wake);
    pthread_mutex_unlock(&prefetch->lock);
}

void cask_prefetch_stop(struct cask_prefetch *prefetch)
{
    if (prefetch == NULL) {
        return;
    }
    pthread_mutex_lock(&prefetch->lock);
    prefetch->stop = true;
    pthread_cond_broadcast(&prefetch->wake);
    pthread_mutex_unlock(&prefetch->lock);
    for (int i = 0; i < prefetch->thread_count; i++) {
        pthread_join(prefetch->threads[i], NULL);
    }
    pthread_mutex_destroy(&prefetch->lock);
    pthread_cond_destroy(&prefetch->wake);
    cask_free(prefetch->threads);
    cask_free(prefetch);
}
