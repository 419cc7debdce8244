/* The shards of a build: embeddings to top-k lists to files. */
#include "common/thread.h"
#include "precompute/build.h"

/* What is still on its way to disk is done as far as the bar goes. */
static int64_t count_done(const struct build *b)
{
    const struct publisher *p = &b->publisher;
    bool counted = p->images == 0 || cask_cache_writer_has(b->writer, p->shard);
    return build_written(b) + (counted ? 0 : p->images);
}

/* Builds one shard, unless another process is at it (*taken is false) or was faster. */
static enum cask_status write_shard(struct build *b, int64_t shard, bool *taken,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *lease = NULL;
    bool loaded = false;
    CASK_TRY(cask_interrupt_check(err));
    CASK_TRY(cask_lease_take(b->options->out, "shard", shard, &lease, err));
    *taken = lease != NULL;
    CASK_TRY(cask_cache_writer_refresh(b->writer, err));
    if (!*taken || cask_cache_writer_has(b->writer, shard)) {
        goto done;
    }
    if (b->staging.folder[0] != 0) {
        CASK_TRY(build_load_stage(b, shard, &loaded, err));
    }
    if (!loaded) {
        CASK_TRY(build_embed(b, shard, count_done(b), err));
    }
    double start = cask_now();
    CASK_TRY(cask_cache_writer_begin(b->writer, shard, err));
    CASK_TRY(distiller_write(b->distiller, b->dataset, &b->rows, b->writer, err));
    b->topk_seconds += cask_now() - start;
    CASK_TRY(publisher_give_shard(&b->publisher, shard, b->rows.count, &lease, err));
done:
    cask_lease_drop(lease);
    return st;
}

enum cask_status build_write_shards(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t have = build_written(b), missing = build_missing(b);
    b->seen = b->bad = 0; /* of staged images too: they are seen once more */
    if (have > 0) {
        cask_log_info("resuming: %lld of %lld images are in finished shards", (long long)have,
                      (long long)b->manifest.images);
    }
    cask_progress_begin(&b->bar, b->staging.folder[0] != 0 ? "top-k" : "teacher", "images", have,
                        have + missing);
    while (missing > 0) {
        bool idle = true;
        for (int64_t s = 0; s < b->shards; s++) {
            bool taken = false;
            if (b->mine[s] && !cask_cache_writer_has(b->writer, s)) {
                CASK_TRY(write_shard(b, s, &taken, err));
                cask_progress_update(&b->bar, count_done(b), "%s", "");
            }
            idle = idle && !taken;
        }
        CASK_TRY(publisher_settle(&b->publisher, err));
        missing = build_missing(b);
        if (idle && missing > 0) {
            CASK_TRY(cask_lease_pause(err));
        }
    }
    cask_progress_end(&b->bar);
done:
    st = publisher_end(&b->publisher, st, err);
    if (st != CASK_OK) {
        cask_cache_writer_abort(b->writer);
    }
    return st;
}
