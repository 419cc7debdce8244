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
    char begun[16]; /* origin of centres in the manifest that is already there, or "" */
    bool complete;  /* that manifest says so */
    struct centers centers;
    struct shard_rows rows;
    struct cask_cache_writer *writer;
    struct distiller *distiller;
    struct cask_progress bar;
    int64_t shards;
    int64_t seen, bad; /* images embedded or staged so far, and those of them without pixels */
    int64_t fresh;     /* images embedded by this run */
    bool finished_elsewhere; /* another process brought the cache to its end */
    double teacher_seconds;
};
/* The share of bad images is judged once so many images count; so many are named in the log. */
enum { JUDGED_OVER = 1000, NAMED_IN_LOG = 10 };

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
    int temperatures = options->temperatures.count;
    const char *missing = options->teacher[0] == 0   ? "--teacher"
                          : options->weights[0] == 0 ? "--weights"
                          : options->data[0] == 0    ? "--data"
                          : options->out[0] == 0     ? "--out"
                                                     : NULL;
    if (missing != NULL) {
        return cask_error_set(err, CASK_ERR_USAGE, "expected %s; see --help", missing);
    }
    if (strcmp(options->backend, "ref64") == 0) { /* and not after hours of teacher */
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--backend ref64: expected cpu or ref; the cosines of a cache are "
                              "products of float32 matrices");
    }
    if (temperatures < 1 || temperatures > CASK_CACHE_TEMPERATURES) {
        return cask_error_set(err, CASK_ERR_USAGE, "--temperatures: expected 1 to %d, found %d",
                              CASK_CACHE_TEMPERATURES, temperatures);
    }
    return CASK_OK;
}

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

/* Runs the teacher over one shard; `shown` is what the bar shows before it. */
static enum cask_status embed_shard(struct build *b, int64_t shard, int64_t shown,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct embed_request request = {.dataset = b->dataset,
                                    .first = shard_first(b, shard),
                                    .count = shard_count(b, shard),
                                    .on_bad = on_bad_image,
                                    .bad_user = b,
                                    .bar = &b->bar,
                                    .bar_from = shown};
    double start = cask_now();
    CASK_TRY(teacher_embed(&b->teacher, &request, &b->rows, err));
    b->teacher_seconds += cask_now() - start;
    b->seen += request.count;
    b->fresh += request.count;
done:
    return st;
}

/* A stage file that is whole is read into b->rows; one that is damaged counts as missing. */
static enum cask_status load_stage(struct build *b, const struct staging *staging, int64_t shard,
                                   bool *loaded, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *loaded = false;
    if (!staging_has(staging, shard)) {
        return CASK_OK;
    }
    st = staging_load(staging, shard, shard_first(b, shard), shard_count(b, shard), &b->rows, err);
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

static int64_t count_written(const struct build *b)
{
    int64_t have = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        have += cask_cache_writer_has(b->writer, s) ? shard_count(b, s) : 0;
    }
    return have;
}

static bool all_shards_there(const struct build *b)
{
    return count_written(b) == b->manifest.images;
}

/* Has another process brought this cache to its end in the meantime? What is staged is gone then.
 */
static enum cask_status ask_finished(struct build *b, bool *finished, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest there;
    bool found, complete;
    CASK_TRY(cask_cache_writer_refresh(b->writer, err));
    CASK_TRY(cask_manifest_peek(b->options->out, &there, &found, &complete, err));
    *finished = complete && all_shards_there(b);
done:
    return st;
}

/* Stages one shard, unless another process is at it (*taken is false) or was faster. */
static enum cask_status stage_shard(struct build *b, const struct staging *staging, int64_t shard,
                                    int64_t staged, bool *taken, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *lease = NULL;
    CASK_TRY(cask_lease_take(staging->folder, "stage", shard, &lease, err));
    *taken = lease != NULL;
    if (*taken && !staging_has(staging, shard)) {
        CASK_TRY(ask_finished(b, &b->finished_elsewhere, err));
        if (!b->finished_elsewhere) {
            CASK_TRY(embed_shard(b, shard, staged, err));
            CASK_TRY(staging_save(staging, shard, &b->rows, err));
        }
    }
done:
    cask_lease_drop(lease);
    return st;
}

static int64_t count_staged(const struct build *b, const struct staging *staging)
{
    int64_t staged = 0;
    for (int64_t s = 0; s < b->shards; s++) {
        staged += staging_has(staging, s) ? shard_count(b, s) : 0;
    }
    return staged;
}

/* Until the embeddings of every shard are staged, by this process or by others. */
static enum cask_status stage_embeddings(struct build *b, const struct staging *staging,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t staged = count_staged(b, staging);
    if (staged > 0) {
        cask_log_info("resuming: embeddings of %lld of %lld images are staged", (long long)staged,
                      (long long)b->manifest.images);
    }
    CASK_TRY(staging_check_space(staging, b->options->out, &b->manifest,
                                 b->manifest.images - staged, err));
    b->seen = staged;
    cask_progress_begin(&b->bar, "teacher", "images", staged, b->manifest.images);
    while (staged < b->manifest.images && !b->finished_elsewhere) {
        bool idle = true;
        for (int64_t s = 0; s < b->shards && !b->finished_elsewhere; s++) {
            bool taken = false;
            if (!staging_has(staging, s)) {
                CASK_TRY(cask_interrupt_check(err));
                CASK_TRY(stage_shard(b, staging, s, count_staged(b, staging), &taken, err));
            }
            idle = idle && !taken;
        }
        if (idle) {
            CASK_TRY(cask_lease_pause(err));
        }
        staged = count_staged(b, staging);
    }
    cask_progress_end(&b->bar);
done:
    return st;
}

/* Class means need every embedding before the first top-k. They are summed in the order of the
 * data, whoever staged what: the same sums to the last bit. */
static enum cask_status sum_means(struct build *b, const struct staging *staging,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct class_means means = {0};
    CASK_TRY(class_means_create(&means, b->manifest.classes, b->manifest.embedding, err));
    b->seen = b->bad = 0; /* all of them are seen once more */
    for (int64_t s = 0; s < b->shards; s++) {
        bool loaded = false;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(load_stage(b, staging, s, &loaded, err));
        if (!loaded) {
            CASK_TRY(ask_finished(b, &b->finished_elsewhere, err));
            if (b->finished_elsewhere) {
                goto done;
            }
            CASK_TRY(embed_shard(b, s, shard_first(b, s), err)); /* it was damaged */
            CASK_TRY(staging_save(staging, s, &b->rows, err));
        }
        class_means_add(&means, b->dataset, &b->rows);
    }
    CASK_TRY(class_means_finish(&means, &b->centers, err));
done:
    class_means_release(&means);
    return st;
}

/* Builds one shard, unless another process is at it (*taken is false) or was faster. `staging` is
 * NULL where the centres were known from the start. */
static enum cask_status write_shard(struct build *b, const struct staging *staging, int64_t shard,
                                    bool *taken, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *lease = NULL;
    CASK_TRY(cask_interrupt_check(err));
    CASK_TRY(cask_lease_take(b->options->out, "shard", shard, &lease, err));
    *taken = lease != NULL;
    CASK_TRY(cask_cache_writer_refresh(b->writer, err));
    if (!*taken || cask_cache_writer_has(b->writer, shard)) {
        goto done;
    }
    if (staging != NULL) {
        CASK_TRY(staging_load(staging, shard, shard_first(b, shard), shard_count(b, shard),
                              &b->rows, err));
    } else {
        CASK_TRY(embed_shard(b, shard, count_written(b), err));
    }
    CASK_TRY(cask_cache_writer_begin(b->writer, shard, err));
    CASK_TRY(distiller_write(b->distiller, b->dataset, &b->rows, b->writer, err));
    CASK_TRY(cask_cache_writer_commit(b->writer, err));
done:
    cask_lease_drop(lease);
    return st;
}

/* Until every shard is published, by this process or by others. */
static enum cask_status write_shards(struct build *b, const struct staging *staging,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t have = count_written(b);
    if (have > 0) {
        cask_log_info("resuming: %lld of %lld images are in finished shards", (long long)have,
                      (long long)b->manifest.images);
    }
    cask_progress_begin(&b->bar, staging != NULL ? "top-k" : "teacher", "images", have,
                        b->manifest.images);
    while (!all_shards_there(b)) {
        bool idle = true;
        for (int64_t s = 0; s < b->shards; s++) {
            bool taken = false;
            if (!cask_cache_writer_has(b->writer, s)) {
                CASK_TRY(write_shard(b, staging, s, &taken, err));
                cask_progress_update(&b->bar, count_written(b), "%s", "");
            }
            idle = idle && !taken;
        }
        if (idle && !all_shards_there(b)) {
            CASK_TRY(cask_lease_pause(err));
        }
    }
    cask_progress_end(&b->bar);
done:
    if (st != CASK_OK) {
        cask_cache_writer_abort(b->writer);
    }
    return st;
}

/* A folder that was begun with other settings is refused here, before the teacher runs. */
static enum cask_status agree_with_folder(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest there, asked = b->manifest;
    bool found = false;
    int overrides = 0;
    CASK_TRY(cask_manifest_peek(b->options->out, &there, &found, &b->complete, err));
    if (found) {
        const char *origin = centers_asked(b->options);
        if (origin[0] == 0 && strcmp(there.centers_origin, "file") == 0) {
            origin = "auto"; /* which never takes a file: a difference to be told */
        }
        snprintf(asked.centers_origin, sizeof asked.centers_origin, "%s", origin);
        snprintf(b->begun, sizeof b->begun, "%s", there.centers_origin);
        st = cask_manifest_compare(&asked, &there, NULL, 0, &overrides, err);
        if (st != CASK_OK) {
            cask_error_prefix(err,
                              "%s was begun with other settings (use another --out, or give "
                              "the same ones)",
                              b->options->out);
            goto done;
        }
    }
done:
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
    CASK_TRY(agree_with_folder(b, err));
    CASK_TRY(centers_find(b->options, b->begun, &b->teacher, b->dataset, &b->centers, err));
done:
    return st;
}

static void report(const struct build *b)
{
    cask_log_info("%s: %lld images, both views, %lld classes, k = %d, centres: %s", b->options->out,
                  (long long)b->manifest.images, (long long)b->manifest.classes, b->manifest.topk,
                  b->manifest.centers_origin);
    if (b->bad > 0) {
        cask_log_warn("%lld of the %lld images of this run could not be decoded: see %s/bad.csv",
                      (long long)b->bad, (long long)b->seen, b->options->out);
    }
    if (b->teacher_seconds > 0) {
        cask_log_info("teacher: %lld forward passes in %.1f s, %.1f a second",
                      (long long)(2 * b->fresh), b->teacher_seconds,
                      2.0 * (double)b->fresh / b->teacher_seconds);
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

/* Centres out of staged embeddings. The folder they are staged in vanishes under this process when
 * another one brings the cache to its end: no error then. */
static enum cask_status take_means(struct build *b, struct staging *staging, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_error ignored;
    CASK_TRY(staging_open(b->options->out, &b->manifest, staging, err));
    CASK_TRY(stage_embeddings(b, staging, err));
    if (!b->finished_elsewhere) {
        CASK_TRY(sum_means(b, staging, err));
    }
done:
    if (st == CASK_ERR_IO && ask_finished(b, &b->finished_elsewhere, &ignored) == CASK_OK &&
        b->finished_elsewhere) {
        st = CASK_OK;
    }
    return st;
}

/* The parts of a build that come after the folder is open. */
static enum cask_status build_cache(struct build *b, struct staging *staging, int threads,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const bool staged = b->centers.rows == NULL;
    if (staged) {
        CASK_TRY(take_means(b, staging, err));
    }
    if (b->finished_elsewhere) {
        cask_log_info("%s: finished by another process", b->options->out);
        goto done;
    }
    CASK_TRY(cask_cache_writer_centers(b->writer, b->centers.rows, err));
    CASK_TRY(distiller_create(b->teacher.device, &b->manifest, &b->centers, threads, &b->distiller,
                              err));
    CASK_TRY(write_shards(b, staged ? staging : NULL, err));
    CASK_TRY(cask_cache_writer_finish(b->writer, err));
    report(b);
done:
    return st;
}

enum cask_status precompute_run(const struct precompute_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct build b = {.options = options};
    struct staging staging = {.folder = ""};
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    CASK_TRY(check_options(options, err));
    CASK_TRY(open_build(&b, err));
    CASK_TRY(open_writer(&b, threads, err));
    if (b.complete && all_shards_there(&b)) {
        cask_log_info("%s: already complete, nothing to do", options->out);
        if (b.centers.rows == NULL) {
            CASK_TRY(staging_open(options->out, &b.manifest, &staging, err));
        }
    } else {
        CASK_TRY(build_cache(&b, &staging, threads, err));
    }
    staging_remove(&staging, b.shards);
done:
    if (st == CASK_ERR_INTERRUPTED) {
        cask_error_set(err, st,
                       "interrupted; finished shards are kept in %s: the same command "
                       "goes on from there",
                       options->out);
    }
    distiller_free(b.distiller);
    cask_cache_writer_close(b.writer);
    shard_rows_release(&b.rows);
    centers_release(&b.centers);
    cask_dataset_close(b.dataset);
    teacher_close(&b.teacher);
    return st;
}
