/* Class means need every embedding before the first top-k, so all of them are staged first. A run
 * that is asked for some of the shards only stages those and leaves the rest to others. */
#include "common/thread.h"
#include "precompute/build.h"

/* Images that are staged; `missing` gets those of this run that are not. */
static int64_t count_staged(const struct build *b, int64_t *missing)
{
    int64_t staged = 0;
    *missing = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        bool has = staging_has(&b->staging, s);
        staged += has ? build_shard_count(b, s) : 0;
        *missing += !has && b->mine[s] ? build_shard_count(b, s) : 0;
    }
    return staged;
}

/* What is still on its way to disk is done as far as the teacher goes. */
static int64_t count_embedded(const struct build *b)
{
    const struct publisher *p = &b->publisher;
    int64_t ignored, staged = count_staged(b, &ignored);
    return staged + (p->images > 0 && !staging_has(&b->staging, p->shard) ? p->images : 0);
}

/* Stages one shard, unless another process is at it (*taken is false) or was faster. */
static enum cask_status stage_shard(struct build *b, int64_t shard, bool *taken,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *lease = NULL;
    CASK_TRY(cask_lease_take(b->staging.folder, "stage", shard, &lease, err));
    *taken = lease != NULL;
    if (*taken && !staging_has(&b->staging, shard)) {
        CASK_TRY(build_ask_finished(b, err));
        if (!b->finished_elsewhere) {
            CASK_TRY(build_embed(b, shard, count_embedded(b), err));
            CASK_TRY(publisher_give_stage(&b->publisher, shard, &b->rows, &lease, err));
        }
    }
done:
    cask_lease_drop(lease);
    return st;
}

/* Until the embeddings of every shard of this run are staged, by this process or by others. */
static enum cask_status stage_embeddings(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t missing, staged = count_staged(b, &missing);
    if (staged > 0) {
        cask_log_info("resuming: embeddings of %lld of %lld images are staged", (long long)staged,
                      (long long)b->manifest.images);
    }
    CASK_TRY(staging_check_space(&b->staging, b->options->out, &b->manifest, missing, err));
    b->seen = staged;
    cask_progress_begin(&b->bar, "teacher", "images", staged, staged + missing);
    while (missing > 0 && !b->finished_elsewhere) {
        bool idle = true;
        for (int64_t s = 0; s < b->shards && !b->finished_elsewhere; s++) {
            bool taken = false;
            if (b->mine[s] && !staging_has(&b->staging, s)) {
                CASK_TRY(cask_interrupt_check(err));
                CASK_TRY(stage_shard(b, s, &taken, err));
            }
            idle = idle && !taken;
        }
        CASK_TRY(publisher_settle(&b->publisher, err));
        if (idle) {
            CASK_TRY(cask_lease_pause(err));
        }
        count_staged(b, &missing);
    }
    cask_progress_end(&b->bar);
done:
    st = publisher_end(&b->publisher, st, err);
    publisher_release(&b->publisher);
    return st;
}

/* Sums in the order of the data, whoever staged what: the same sums to the last bit. */
static enum cask_status sum_means(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct class_means means = {0};
    CASK_TRY(class_means_create(&means, b->manifest.classes, b->manifest.embedding, err));
    b->seen = b->bad = 0; /* all of them are seen once more */
    for (int64_t s = 0; s < b->shards; s++) {
        bool loaded = false;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(build_load_stage(b, s, &loaded, err));
        if (!loaded) {
            CASK_TRY(build_ask_finished(b, err));
            if (b->finished_elsewhere) {
                goto done;
            }
            CASK_TRY(build_embed(b, s, build_shard_first(b, s), err)); /* it was damaged */
            CASK_TRY(staging_save(&b->staging, s, &b->rows, err));
        }
        class_means_add(&means, b->dataset, &b->rows);
    }
    CASK_TRY(class_means_finish(&means, &b->centers, err));
done:
    class_means_release(&means);
    return st;
}

/* The folder they are staged in vanishes under this process when another one brings the cache to
 * its end: no error then. */
enum cask_status build_take_means(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_error ignored;
    int64_t missing;
    CASK_TRY(stage_embeddings(b, err));
    if (!b->finished_elsewhere && count_staged(b, &missing) == b->manifest.images) {
        CASK_TRY(sum_means(b, err));
    }
done:
    if (st == CASK_ERR_IO && build_ask_finished(b, &ignored) == CASK_OK && b->finished_elsewhere) {
        st = CASK_OK;
    }
    return st;
}
