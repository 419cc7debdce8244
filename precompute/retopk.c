#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/thread.h"
#include "precompute/publisher.h"

enum { GATHER = 256 }; /* rows read at a time */

#define ROW(field) offsetof(struct retopk_options, field)
const struct cask_config_row retopk_rows[] = {
    {"cache", CASK_CONFIG_TEXT, ROW(cache), "", 0, 0, NULL, "DIR",
     "a finished cache with class centres"},
    {"out", CASK_CONFIG_TEXT, ROW(out), "", 0, 0, NULL, "DIR",
     "the new cache; an unfinished one is resumed"},
    {"topk", CASK_CONFIG_INT, ROW(topk), "0", 0, 4096, NULL, "N",
     "largest cosines kept per view; 0: as many as in the cache"},
    {"temperatures", CASK_CONFIG_REALS, ROW(temperatures), "[]", 0.01, 1000, NULL, "T,...",
     "temperatures of the stored log-sum-exps, at most 8; none: those of the cache"},
    {"scale", CASK_CONFIG_REAL, ROW(scale), "0", 0, 1024, NULL, "S",
     "s of the log-sum-exps; 0: that of the cache"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "CPU threads; 0: all"},
    {"json", CASK_CONFIG_BOOL, ROW(json), "false", 0, 0, NULL, NULL,
     "one JSON object on stdout when it is done"},
    {"backend", CASK_CONFIG_TEXT, ROW(backend), "cpu", 0, 0, NULL, "NAME", "cpu, ref or ref64"},
};
const size_t retopk_row_count = sizeof retopk_rows / sizeof *retopk_rows;

struct retopk {
    const struct retopk_options *options;
    struct cask_cache *cache;
    struct cask_manifest manifest; /* of the new cache */
    struct centers centers;        /* rows borrowed from the cache */
    struct cask_device *device;
    struct cask_cache_writer *writer;
    struct distiller *distiller;
    struct publisher publisher;
    struct shard_rows rows;
    struct cask_progress bar;
};

static enum cask_status check_options(const struct retopk_options *options, struct cask_error *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    if (options->cache[0] == 0 || options->out[0] == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "expected %s; see --help",
                              options->cache[0] == 0 ? "--cache" : "--out");
    }
    if (options->temperatures.count > CASK_CACHE_TEMPERATURES) {
        return cask_error_set(err, CASK_ERR_USAGE, "--temperatures: expected at most %d, found %d",
                              CASK_CACHE_TEMPERATURES, options->temperatures.count);
    }
    if (realpath(options->cache, from) != NULL && realpath(options->out, to) != NULL &&
        strcmp(from, to) == 0) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--out %s is the cache itself, which is never changed: give another "
                              "folder",
                              options->out);
    }
    return CASK_OK;
}

/* The new manifest is the old one but for what was asked. `created` stays: it is when the teacher
 * spoke. */
static void describe(struct retopk *r)
{
    const struct retopk_options *options = r->options;
    struct cask_manifest *m = &r->manifest;
    *m = *cask_cache_manifest(r->cache);
    if (options->topk > 0) {
        m->topk = (int)(options->topk < m->classes ? options->topk : m->classes);
    }
    if (options->scale > 0) {
        m->scale = options->scale;
    }
    if (options->temperatures.count > 0) {
        memset(m->temperatures, 0, sizeof m->temperatures);
        m->temperature_count = options->temperatures.count;
        memcpy(m->temperatures, options->temperatures.values,
               (size_t)options->temperatures.count * sizeof *m->temperatures);
    }
    m->cosine_error_max = 0;
    snprintf(m->writer, sizeof m->writer, "cask %s retopk", CASK_VERSION);
}

static enum cask_status open_all(struct retopk *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct retopk_options *options = r->options;
    const float *rows = NULL;
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    const struct cask_device_options device = {options->backend, threads, CASK_PRECISION_FP32};
    CASK_TRY(cask_cache_open(options->cache, CASK_VERIFY_FIRST, &r->cache, err));
    describe(r);
    CASK_TRY(cask_cache_centers(r->cache, &rows, err));
    r->centers = (struct centers){.rows = (float *)(uintptr_t)rows, .classes = r->manifest.classes};
    CASK_TRY(cask_device_open(&device, &r->device, err));
    CASK_TRY(cask_cache_writer_open(options->out, &r->manifest, threads, &r->writer, err));
    r->publisher = (struct publisher){.writer = r->writer};
    cask_cache_writer_inherit(r->writer, cask_cache_manifest(r->cache)->embedding_error_max);
    CASK_TRY(cask_cache_writer_centers(r->writer, rows, err));
    CASK_TRY(distiller_create(r->device, &r->manifest, &r->centers, threads, &r->distiller, err));
    int64_t capacity = r->manifest.images < r->manifest.shard_images ? r->manifest.images
                                                                     : r->manifest.shard_images;
    CASK_TRY(shard_rows_create(&r->rows, capacity, r->manifest.embedding, err));
done:
    return st;
}

static void identify(const void *user, int64_t row, struct row_identity *who)
{
    const struct cask_cache *cache = user;
    *who =
        (struct row_identity){cask_cache_sample_id(cache, row),
                              cask_cache_source_offset(cache, row), cask_cache_label(cache, row)};
}

/* What the teacher said about the shard's images, out of the cache. */
static enum cask_status read_shard(struct retopk *r, int64_t shard, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct shard_rows *rows = &r->rows;
    int64_t row[GATHER], left;
    bool mirror[GATHER];
    rows->first = shard * r->manifest.shard_images;
    left = r->manifest.images - rows->first;
    rows->count = left < r->manifest.shard_images ? left : r->manifest.shard_images;
    for (int64_t at = 0; at < rows->count; at += GATHER) {
        int count = rows->count - at < GATHER ? (int)(rows->count - at) : GATHER;
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            for (int i = 0; i < count; i++) {
                row[i] = rows->first + at + i;
                mirror[i] = v == 1;
                rows->bad[at + i] = (cask_cache_flags(r->cache, row[i]) & CASK_ROW_BAD) != 0;
            }
            const struct cask_cache_gather out = {.embedding = rows->unit[v] + at * rows->dim,
                                                  .norm = rows->norm[v] + at};
            CASK_TRY(cask_cache_gather(r->cache, row, mirror, count, &out, err));
        }
    }
done:
    return st;
}

static enum cask_status write_shards(struct retopk *r, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *no_lease = NULL; /* nobody shares the work */
    cask_progress_begin(&r->bar, "top-k", "images", 0, r->manifest.images);
    for (int64_t s = 0; s < cask_cache_writer_shards(r->writer); s++) {
        if (!cask_cache_writer_has(r->writer, s)) {
            CASK_TRY(cask_interrupt_check(err));
            CASK_TRY(read_shard(r, s, err));
            CASK_TRY(cask_cache_writer_begin(r->writer, s, err));
            CASK_TRY(
                distiller_write_rows(r->distiller, identify, r->cache, &r->rows, r->writer, err));
            CASK_TRY(publisher_give_shard(&r->publisher, s, r->rows.count, &no_lease, err));
        }
        int64_t end = (s + 1) * r->manifest.shard_images;
        cask_progress_update(&r->bar, end < r->manifest.images ? end : r->manifest.images, "%s",
                             "");
    }
    cask_progress_end(&r->bar);
done:
    return publisher_end(&r->publisher, st, err);
}

static enum cask_status print_json(const struct retopk *r, struct cask_error *err)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_text(object, "folder", r->options->out);
    cask_json_set_text(object, "from", r->options->cache);
    cask_json_set_int(object, "rows", r->manifest.images);
    cask_json_set_int(object, "topk", r->manifest.topk);
    cask_json_set_real(object, "scale", r->manifest.scale);
    return cask_json_print(object, err);
}

enum cask_status retopk_run(const struct retopk_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct retopk r = {.options = options};
    CASK_TRY(check_options(options, err));
    CASK_TRY(open_all(&r, err));
    CASK_TRY(write_shards(&r, err));
    CASK_TRY(cask_cache_writer_take_bad(r.writer, options->cache, err));
    CASK_TRY(cask_cache_writer_finish(r.writer, err));
    cask_log_info("%s: %lld images, both views, k = %d, from the embeddings and centres of %s",
                  options->out, (long long)r.manifest.images, r.manifest.topk, options->cache);
    if (options->json) {
        CASK_TRY(print_json(&r, err));
    }
done:
    distiller_free(r.distiller);
    cask_cache_writer_close(r.writer);
    shard_rows_release(&r.rows);
    cask_device_close(r.device);
    cask_cache_close(r.cache);
    return st;
}
