#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "precompute/precompute.h"

/* Everything one build needs at once; opened in order, closed in reverse. */
struct build {
    const struct precompute_options *options;
    struct teacher teacher;
    struct cask_dataset *dataset;
    struct cask_manifest manifest;
    struct centers centers;
    struct shard_rows rows;
    struct cask_cache_writer *writer;
    struct distiller *distiller;
    struct cask_progress bar;
    int64_t shards, bad, fresh_images;
    double teacher_seconds;
};

static int64_t shard_first(const struct build *b, int64_t shard)
{
    return shard * b->manifest.shard_images;
}

static int64_t shard_count(const struct build *b, int64_t shard)
{
    int64_t left = b->manifest.images - shard_first(b, shard);
    return left < b->manifest.shard_images ? left : b->manifest.shard_images;
}

static enum cask_status check_options(const struct precompute_options *options,
                                      struct cask_error *err)
{
    const char *missing = options->teacher[0] == 0   ? "--teacher"
                          : options->weights[0] == 0 ? "--weights"
                          : options->data[0] == 0    ? "--data"
                          : options->out[0] == 0     ? "--out"
                                                     : NULL;
    return missing == NULL
               ? CASK_OK
               : cask_error_set(err, CASK_ERR_USAGE, "expected %s; see --help", missing);
}

static enum cask_status on_bad_image(void *user, int64_t index, const char *message,
                                     struct cask_error *err)
{
    struct build *b = user;
    char name[256];
    cask_dataset_name(b->dataset, index, name, sizeof name);
    b->bad++;
    cask_log_warn("image %lld skipped: %s", (long long)index, message);
    return b->writer != NULL ? cask_cache_writer_bad(b->writer, index, name, message, err)
                             : CASK_OK;
}

static enum cask_status embed_shard(struct build *b, int64_t shard, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct embed_request request = {
        b->dataset, shard_first(b, shard), shard_count(b, shard), on_bad_image, b, &b->bar};
    double start = cask_now();
    CASK_TRY(teacher_embed(&b->teacher, &request, &b->rows, err));
    b->teacher_seconds += cask_now() - start;
    b->fresh_images += request.count;
    double percent = 100.0 * (double)b->bad / (double)b->fresh_images;
    if (percent > b->options->max_bad_percent) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%lld of %lld images (%.1f %%) could not be decoded, more than "
                                "--max-bad-percent %g; the first are listed above",
                                (long long)b->bad, (long long)b->fresh_images, percent,
                                b->options->max_bad_percent));
    }
done:
    return st;
}

/* Class means need every embedding before the first top-k: stage them all on disk, shard by shard.
 */
static enum cask_status stage_embeddings(struct build *b, struct staging *staging,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct class_means means = {0};
    int64_t staged = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        staged += staging_has(staging, s) ? shard_count(b, s) : 0;
    }
    CASK_TRY(class_means_create(&means, b->manifest.classes, b->manifest.embedding, err));
    cask_progress_begin(&b->bar, "teacher", "images", staged, b->manifest.images);
    for (int64_t s = 0; s < b->shards; s++) {
        if (staging_has(staging, s)) {
            CASK_TRY(staging_load(staging, s, shard_first(b, s), shard_count(b, s), &b->rows, err));
        } else {
            CASK_TRY(embed_shard(b, s, err));
            CASK_TRY(staging_save(staging, s, &b->rows, err));
        }
        class_means_add(&means, b->dataset, &b->rows);
    }
    cask_progress_end(&b->bar);
    CASK_TRY(class_means_finish(&means, &b->centers, err));
done:
    class_means_release(&means);
    return st;
}

/* `staging` is NULL where the centres were known from the start. */
static enum cask_status write_shards(struct build *b, const struct staging *staging,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t have = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        have += cask_cache_writer_has(b->writer, s) ? shard_count(b, s) : 0;
    }
    if (have > 0) {
        cask_log_info("resuming: %lld of %lld images are in finished shards", (long long)have,
                      (long long)b->manifest.images);
    }
    cask_progress_begin(&b->bar, staging != NULL ? "top-k" : "teacher", "images", have,
                        b->manifest.images);
    for (int64_t s = 0; s < b->shards; s++) {
        if (cask_cache_writer_has(b->writer, s)) {
            continue;
        }
        CASK_TRY(cask_interrupt_check(err));
        if (staging != NULL) {
            CASK_TRY(staging_load(staging, s, shard_first(b, s), shard_count(b, s), &b->rows, err));
        } else {
            CASK_TRY(embed_shard(b, s, err));
        }
        CASK_TRY(cask_cache_writer_begin(b->writer, s, err));
        CASK_TRY(distiller_write(b->distiller, b->dataset, &b->rows, b->writer, err));
        CASK_TRY(cask_cache_writer_commit(b->writer, err));
        cask_progress_update(&b->bar, shard_first(b, s) + shard_count(b, s), "%s", "");
    }
    cask_progress_end(&b->bar);
done:
    if (st != CASK_OK) {
        cask_cache_writer_abort(b->writer);
    }
    return st;
}

static enum cask_status open_build(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_dataset_options data = {.limit = b->options->limit};
    CASK_TRY(teacher_open(b->options, &b->teacher, err));
    CASK_TRY(cask_dataset_open(b->options->data, &data, &b->dataset, err));
    cask_log_info("%s: %s, %lld images, %lld classes", b->options->data,
                  cask_dataset_kind(b->dataset), (long long)cask_dataset_count(b->dataset),
                  (long long)cask_dataset_classes(b->dataset));
    CASK_TRY(manifest_begin(b->options, &b->teacher, b->dataset, &b->manifest, err));
    b->shards = (b->manifest.images + b->manifest.shard_images - 1) / b->manifest.shard_images;
    int64_t capacity = b->manifest.images < b->manifest.shard_images ? b->manifest.images
                                                                     : b->manifest.shard_images;
    CASK_TRY(shard_rows_create(&b->rows, capacity, b->teacher.dim, err));
    CASK_TRY(centers_find(b->options, &b->teacher, b->dataset, &b->centers, err));
done:
    return st;
}

static void report(const struct build *b)
{
    char bad[80] = "";
    if (b->bad > 0) {
        snprintf(bad, sizeof bad, "; %lld images skipped, see bad.csv", (long long)b->bad);
    }
    cask_log_info("%s: %lld images, both views, %lld classes, k = %d, centres: %s%s",
                  b->options->out, (long long)b->manifest.images, (long long)b->manifest.classes,
                  b->manifest.topk, b->manifest.centers_origin, bad);
    if (b->teacher_seconds > 0) {
        cask_log_info("teacher: %lld forward passes in %.1f s, %.1f a second",
                      (long long)(2 * b->fresh_images), b->teacher_seconds,
                      2.0 * (double)b->fresh_images / b->teacher_seconds);
    }
}

/* The writer compares the whole manifest with what is in the folder, before any work is done. Class
 * means are not known yet then; the writer adds their hash when it gets them. */
static enum cask_status open_writer(struct build *b, int threads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *origin = b->centers.rows != NULL ? b->centers.origin : "mean";
    snprintf(b->manifest.centers_origin, sizeof b->manifest.centers_origin, "%s", origin);
    if (b->centers.rows != NULL) {
        cask_centers_sha256(b->centers.rows, b->centers.classes, b->manifest.embedding,
                            b->manifest.centers_sha256);
    }
    CASK_TRY(cask_cache_writer_open(b->options->out, &b->manifest, threads, &b->writer, err));
done:
    return st;
}

static bool all_shards_there(const struct build *b)
{
    for (int64_t s = 0; s < b->shards; s++) {
        if (!cask_cache_writer_has(b->writer, s)) {
            return false;
        }
    }
    return true;
}

enum cask_status precompute_run(const struct precompute_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct build b = {.options = options};
    struct staging staging = {0};
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    CASK_TRY(check_options(options, err));
    CASK_TRY(open_build(&b, err));
    CASK_TRY(open_writer(&b, threads, err));
    bool staged = b.centers.rows == NULL;
    if (staged) {
        CASK_TRY(staging_open(options->out, &b.manifest, &staging, err));
        if (all_shards_there(&b) && !staging_exists(&staging)) {
            cask_log_info("%s: already complete", options->out);
            goto done;
        }
        CASK_TRY(stage_embeddings(&b, &staging, err));
    }
    CASK_TRY(cask_cache_writer_centers(b.writer, b.centers.rows, err));
    CASK_TRY(
        distiller_create(b.teacher.device, &b.manifest, &b.centers, threads, &b.distiller, err));
    CASK_TRY(write_shards(&b, staged ? &staging : NULL, err));
    CASK_TRY(cask_cache_writer_finish(b.writer, err));
    if (staged) {
        staging_remove(&staging, b.shards);
    }
    report(&b);
done:
    distiller_free(b.distiller);
    cask_cache_writer_close(b.writer);
    shard_rows_release(&b.rows);
    centers_release(&b.centers);
    cask_dataset_close(b.dataset);
    teacher_close(&b.teacher);
    return st;
}
