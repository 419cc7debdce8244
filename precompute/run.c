/* One run of precompute from its options to its report. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "precompute/build.h"

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
    b->publisher = (struct publisher){.writer = b->writer, .staging = &b->staging};
    CASK_TRY(build_plan(b, err));
done:
    return st;
}

/* Class means that are published already are those of all embeddings: no need to see them again. */
static enum cask_status reuse_means(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = (size_t)b->manifest.classes * (size_t)b->manifest.embedding;
    bool found = false;
    float *rows = cask_alloc(count, sizeof *rows);
    if (rows == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *rows, "class centres"));
    }
    CASK_TRY(cask_cache_writer_read_centers(b->writer, rows, &found, err));
    if (found) {
        cask_log_info("class centres: the class means in %s/centers.h5", b->options->out);
        b->centers = (struct centers){.rows = rows, .classes = b->manifest.classes};
        snprintf(b->centers.origin, sizeof b->centers.origin, "mean");
        rows = NULL;
    }
done:
    cask_free(rows);
    return st;
}

/* What others have staged in folders of their own must come from the same teacher and data. */
static enum cask_status adopt_parts(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_config_texts *parts = &b->options->parts;
    for (int i = 0; i < parts->count; i++) {
        struct cask_manifest there;
        bool found, complete;
        int overrides;
        CASK_TRY(cask_manifest_peek(parts->values[i], &there, &found, &complete, err));
        if (!found) {
            CASK_TRY(cask_error_set(err, CASK_ERR_IO, "--parts %s: no manifest.json there",
                                    parts->values[i]));
        }
        st = cask_manifest_compare(&b->manifest, &there, NULL, 0, &overrides, err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "--parts %s is of another build", parts->values[i]);
            goto done;
        }
        CASK_TRY(staging_add_part(&b->staging, parts->values[i], err));
        CASK_TRY(cask_cache_writer_take_bad(b->writer, parts->values[i], err));
    }
done:
    return st;
}

/* Fills b->centers where they are the means of what the teacher says. */
static enum cask_status find_means(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (b->centers.rows != NULL) {
        if (b->options->parts.count > 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                    "--parts is for class means; with centres from the %s each "
                                    "part holds finished shards: join them with cachetool merge",
                                    b->centers.origin));
        }
        return CASK_OK;
    }
    CASK_TRY(reuse_means(b, err));
    CASK_TRY(staging_open(b->options->out, &b->manifest, &b->staging, err));
    CASK_TRY(adopt_parts(b, err));
    if (b->centers.rows == NULL) {
        if (b->options->only.count > 0) {
            cask_log_warn("class means are taken from all images, so the teacher runs over all");
            memset(b->mine, true, (size_t)b->shards * sizeof *b->mine);
        }
        CASK_TRY(build_take_means(b, err));
    }
done:
    return st;
}

/* ---------------------------------------------------------------- the end */

static void report(const struct build *b)
{
    cask_log_info("%s: %lld images, both views, %lld classes, k = %d, centres: %s", b->options->out,
                  (long long)b->manifest.images, (long long)b->manifest.classes, b->manifest.topk,
                  b->manifest.centers_origin);
    if (b->bad > 0) {
        cask_log_warn("%lld of the %lld images of this run could not be decoded: see %s/bad.csv",
                      (long long)b->bad, (long long)b->seen, b->options->out);
    }
    if (b->fresh > 0) {
        cask_log_info("teacher: %lld forward passes in %.1f s, %.1f a second",
                      (long long)(2 * b->fresh), b->teacher_seconds,
                      2.0 * (double)b->fresh / b->teacher_seconds);
    }
    cask_log_info("time: forward %.1f s, waiting for images %.1f s, top-k %.1f s, waiting for the "
                  "disk %.1f s; writing took %.1f s beside the rest",
                  b->teacher_seconds - b->image_seconds, b->image_seconds, b->topk_seconds,
                  b->publisher.waited, fmax(b->publisher.took - b->publisher.waited, 0));
}

/* A part is done; how it becomes a cache. */
static void report_part(const struct build *b)
{
    const char *out = b->options->out;
    if (b->centers.rows != NULL) {
        cask_log_info("%s: shards %s of 0:%lld are done; when all are, join the folders: cachetool "
                      "merge NEW %s ...",
                      out, b->options->shards, (long long)b->shards, out);
    } else {
        cask_log_info("%s: the embeddings of shards %s of 0:%lld are staged; class means need "
                      "all: then run the same command without --shards, with --out NEW --parts %s "
                      "--parts ...",
                      out, b->options->shards, (long long)b->shards, out);
    }
}

/* The parts of a build that come after the folder is open. */
static enum cask_status build_cache(struct build *b, int threads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(find_means(b, err));
    if (b->finished_elsewhere) {
        cask_log_info("%s: finished by another process", b->options->out);
        goto done;
    }
    if (b->centers.rows == NULL) {
        report_part(b);
        goto done;
    }
    CASK_TRY(cask_cache_writer_centers(b->writer, b->centers.rows, err));
    CASK_TRY(distiller_create(b->teacher.device, &b->manifest, &b->centers, threads, &b->distiller,
                              err));
    CASK_TRY(build_write_shards(b, err));
    if (!build_all_there(b) && b->options->shards[0] != 0) {
        report_part(b);
        goto done;
    }
    CASK_TRY(cask_cache_writer_finish(b->writer, err));
    staging_remove(&b->staging, b->shards);
    report(b);
done:
    return st;
}

/* Nothing to do; what an earlier run left behind when it was killed at its very end goes. */
static enum cask_status leave_complete(struct build *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    cask_log_info("%s: already complete, nothing to do", b->options->out);
    if (b->centers.rows == NULL) {
        CASK_TRY(staging_open(b->options->out, &b->manifest, &b->staging, err));
        staging_remove(&b->staging, b->shards);
    }
done:
    return st;
}

enum cask_status precompute_run(const struct precompute_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct build b = {.options = options};
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    CASK_TRY(build_check_options(options, err));
    CASK_TRY(open_build(&b, err));
    CASK_TRY(open_writer(&b, threads, err));
    if (b.complete && build_all_there(&b)) {
        CASK_TRY(leave_complete(&b, err));
    } else {
        CASK_TRY(build_cache(&b, threads, err));
    }
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
    cask_free(b.mine);
    cask_dataset_close(b.dataset);
    teacher_close(&b.teacher);
    return st;
}
