/* tests/bench/cache_cold.h - random rows of a cache that is on disk and not in memory, with and
 * without threads that read ahead.
 *
 * The page cache is emptied of the shards (POSIX_FADV_DONTNEED) before each run; the host of a
 * virtual machine may still hold them, so the first run of a day can be slower than what is
 * printed. Between two gathers the thread sleeps as long as a training step takes; the time that
 * counts is what the gathers take.
 */
#ifndef CASK_TESTS_BENCH_CACHE_COLD_H
#define CASK_TESTS_BENCH_CACHE_COLD_H

#include <fcntl.h>
#include <time.h>

#include "common/log.h"
#include "tests/support/cache_fixture.h"

enum { COLD_BATCH = 256, COLD_BATCHES = 24, COLD_AHEAD = 8 };

static inline bool cold_drop(const char *folder, int64_t shards)
{
    bool dropped = true;
    for (int64_t shard = 0; shard < shards; shard++) {
        char path[600];
        snprintf(path, sizeof path, "%s/shard-%05d.h5", folder, (int)shard);
        int fd = open(path, O_RDONLY);
        dropped = fd >= 0 && fdatasync(fd) == 0 &&
                  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 && dropped;
        if (fd >= 0) {
            close(fd);
        }
    }
    return dropped;
}

struct cold_order {
    int64_t images;
    uint64_t seed;
    int64_t rows[COLD_BATCH];
    bool mirror[COLD_BATCH];
};

static inline void cold_fill(struct cold_order *order, uint64_t batch)
{
    for (uint64_t i = 0; i < COLD_BATCH; i++) {
        uint64_t n = batch * COLD_BATCH + i;
        order->rows[i] = (int64_t)cask_rng_permute(order->seed, 0, (uint64_t)order->images, n);
        order->mirror[i] = cask_rng_u64(order->seed, 1, n) & 1;
    }
}

/* Milliseconds that the gather of one batch takes, on average. `threads` 0: nobody reads ahead. */
static inline enum cask_status cold_run(const char *folder, int threads, uint64_t seed,
                                        double step_seconds, double *milliseconds,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache *cache = NULL;
    struct cask_prefetch *prefetch = NULL;
    struct cask_cache_gather out = {0};
    CASK_TRY(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, err));
    const struct cask_manifest *m = cask_cache_manifest(cache);
    struct cold_order order = {.images = m->images, .seed = seed};
    out.embedding = calloc((size_t)m->embedding * COLD_BATCH, 4);
    out.topk_index = calloc((size_t)m->topk * COLD_BATCH, 4);
    out.topk_cosine = calloc((size_t)m->topk * COLD_BATCH, 4);
    out.lse = calloc((size_t)m->temperature_count * COLD_BATCH, 4);
    if (threads > 0) {
        CASK_TRY(cask_prefetch_start(cache, &out, threads, &prefetch, err));
    }
    double inside = 0;
    const struct timespec step = {0, (long)(1e9 * step_seconds)};
    for (uint64_t b = 0; b < COLD_BATCHES; b++) {
        /* the first call announces all that lie ahead, later ones the last of them */
        for (uint64_t n = b == 0 ? 1 : b + COLD_AHEAD; prefetch != NULL && n <= b + COLD_AHEAD;
             n++) {
            cold_fill(&order, n);
            cask_prefetch_rows(prefetch, order.rows, order.mirror, COLD_BATCH);
        }
        cold_fill(&order, b);
        double start = cask_now();
        CASK_TRY(cask_cache_gather(cache, order.rows, order.mirror, COLD_BATCH, &out, err));
        inside += b > 0 ? cask_now() - start : 0; /* nobody can know the first one */
        nanosleep(&step, NULL);
    }
    *milliseconds = 1e3 * inside / (COLD_BATCHES - 1);
done:
    cask_prefetch_stop(prefetch);
    cask_cache_close(cache);
    free(out.embedding);
    free(out.topk_index);
    free(out.topk_cosine);
    free(out.lse);
    return st;
}

#endif
