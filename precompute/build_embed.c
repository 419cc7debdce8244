/* The teacher's part of a build: one shard's embeddings, fresh or as they were staged. */
#include <string.h>

#include "precompute/build.h"

/* The share of bad images is judged once so many images count; so many are named in the log. */
enum { JUDGED_OVER = 1000, NAMED_IN_LOG = 10 };

/* Counts, lists and, past --max-bad-percent, stops. A few bad images at the start say little, so
 * the share is taken of at least JUDGED_OVER images where the data has as many. */
static enum cask_status on_bad_image(void *user, int64_t index, const char *message,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct build *b = user;
    char name[256];
    int64_t seen = b->seen + index - b->rows.first + 1;
    int64_t judged = b->manifest.images < JUDGED_OVER ? b->manifest.images : JUDGED_OVER;
    judged = seen > judged ? seen : judged;
    cask_dataset_name(b->dataset, index, name, sizeof name);
    b->bad++;
    if (b->bad <= NAMED_IN_LOG) {
        cask_log_warn("image %lld skipped: %s%s", (long long)index, message,
                      b->bad == NAMED_IN_LOG ? "; more of them only in bad.csv" : "");
    }
    CASK_TRY(cask_cache_writer_bad(b->writer, index, name, message, err));
    if (100.0 * (double)b->bad > b->options->max_bad_percent * (double)judged) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_FORMAT,
            "%s: %lld of the first %lld images could not be decoded, more than --max-bad-percent "
            "%g allows; the last is %s; all are listed in %s/bad.csv",
            b->options->data, (long long)b->bad, (long long)seen, b->options->max_bad_percent,
            message, b->options->out));
    }
done:
    return st;
}

static enum cask_status go_on(void *user, struct cask_error *err)
{
    const struct build *b = user;
    return publisher_check(&b->publisher, err);
}

enum cask_status build_embed(struct build *b, int64_t shard, int64_t shown, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct embed_request request = {.dataset = b->dataset,
                                    .first = build_shard_first(b, shard),
                                    .count = build_shard_count(b, shard),
                                    .on_bad = on_bad_image,
                                    .go_on = go_on,
                                    .user = b,
                                    .bar = &b->bar,
                                    .bar_from = shown};
    double start = cask_now();
    CASK_TRY(teacher_embed(&b->teacher, &request, &b->rows, err));
    b->teacher_seconds += cask_now() - start;
    b->image_seconds += request.waited;
    b->seen += request.count;
    b->fresh += request.count;
done:
    return st;
}

enum cask_status build_load_stage(struct build *b, int64_t shard, bool *loaded,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *loaded = false;
    if (!staging_has(&b->staging, shard)) {
        return CASK_OK;
    }
    st = staging_load(&b->staging, shard, build_shard_first(b, shard), build_shard_count(b, shard),
                      &b->rows, err);
    if (st == CASK_ERR_FORMAT) {
        cask_log_warn("%s; the teacher runs over these images once more", err->message);
        return CASK_OK;
    }
    CASK_TRY(st);
    for (int64_t i = 0; i < b->rows.count; i++) {
        b->bad += b->rows.bad[i] != 0;
    }
    b->seen += b->rows.count;
    *loaded = true;
done:
    return st;
}

enum cask_status build_ask_finished(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest there;
    bool found, complete;
    CASK_TRY(cask_cache_writer_refresh(b->writer, err));
    CASK_TRY(cask_manifest_peek(b->options->out, &there, &found, &complete, err));
    b->finished_elsewhere = complete && build_all_there(b);
done:
    return st;
}
