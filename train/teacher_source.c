#include "train/teacher_source.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"

/* Threads that read ahead. They sleep in the disk's queue, which is fast only when it is long. */
enum { READERS_AHEAD = 16 };

/* "16.0 KiB"; `text` gets at most 24 bytes. */
static const char *format_bytes(double bytes, char text[24])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 24, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

/* "1 4": the temperatures of the stored LSEs. */
static void format_temperatures(const struct cask_manifest *manifest, char *text, size_t bytes)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < manifest->temperature_count && at < bytes; i++) {
        at += (size_t)snprintf(text + at, bytes - at, "%s%g", i ? " " : "",
                               manifest->temperatures[i]);
    }
}

static void log_contents(const struct cask_teacher_source *source, const char *folder)
{
    const struct cask_manifest *manifest = source->manifest;
    char temperatures[128];
    format_temperatures(manifest, temperatures, sizeof temperatures);
    cask_log_info("cache %s: teacher %s (%s, weights %.12s) on %lld images x %d views", folder,
                  manifest->teacher, manifest->precision, manifest->weights_sha256,
                  (long long)manifest->images, CASK_CACHE_VIEWS);
    cask_log_info("cache holds: embeddings of %d (%s), top %d of %lld cosines, LSE at T = %s, "
                  "class centres from %s",
                  manifest->embedding,
                  manifest->embedding_type == CASK_EMBEDDING_INT8 ? "int8" : "f16", manifest->topk,
                  (long long)manifest->classes, temperatures,
                  manifest->centers_sha256[0] ? manifest->centers_origin : "nowhere");
}

enum cask_status cask_teacher_source_open(struct cask_teacher_source *source, const char *folder,
                                          const struct cask_train_options *options,
                                          struct cask_error *err)
{
    *source = (struct cask_teacher_source){.mode = (enum cask_teacher_mode)options->teacher_mode};
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_cache_open(folder, (enum cask_verify)options->verify, &source->cache, err));
    source->manifest = cask_cache_manifest(source->cache);
    log_contents(source, folder);
    if (source->mode == CASK_TEACHER_EXACT && source->manifest->centers_sha256[0] == '\0') {
        cask_log_warn("this cache has no class centres: top-k mode instead of exact mode");
        source->mode = CASK_TEACHER_TOPK;
    }
done:
    return st;
}

void cask_teacher_source_close(struct cask_teacher_source *source)
{
    cask_prefetch_stop(source->prefetch);
    cask_cache_close(source->cache);
    cask_free(source->memory);
    *source = (struct cask_teacher_source){0};
}

/* ------------------------------------------------------------ does it fit? */

/* Row by row, because a row is found by nothing but its number. */
static enum cask_status check_rows(const struct cask_teacher_source *source,
                                   const struct cask_dataset *dataset, struct cask_error *err)
{
    int64_t rows = cask_cache_rows(source->cache), images = cask_dataset_count(dataset);
    int64_t different = 0, first = -1;
    if (rows != images) {
        return cask_error_set(
            err, CASK_ERR_MISMATCH,
            "images: the cache has %lld, the dataset %lld; give the --data that precompute read, "
            "or run precompute again",
            (long long)rows, (long long)images);
    }
    for (int64_t row = 0; row < rows; row++) {
        bool same = cask_cache_label(source->cache, row) == cask_dataset_label(dataset, row) &&
                    cask_cache_sample_id(source->cache, row) == cask_dataset_id(dataset, row);
        first = !same && different == 0 ? row : first;
        different += !same;
    }
    if (different == 0) {
        return CASK_OK;
    }
    char name[256];
    cask_dataset_name(dataset, first, name, sizeof name);
    return cask_error_set(
        err, CASK_ERR_MISMATCH,
        "labels: %lld of %lld rows differ between cache and dataset; the first is row %lld (%s): "
        "cache label %u id %llu, dataset label %u id %llu; give the --data that precompute read, "
        "or run precompute again",
        (long long)different, (long long)rows, (long long)first, name,
        cask_cache_label(source->cache, first),
        (unsigned long long)cask_cache_sample_id(source->cache, first),
        cask_dataset_label(dataset, first), (unsigned long long)cask_dataset_id(dataset, first));
}

/* What this process can say about pixels and data; the teacher's own fields stay empty. */
static enum cask_status describe_here(const struct cask_dataset *dataset,
                                      const struct cask_train_options *options,
                                      struct cask_manifest *here, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    here->images = cask_dataset_count(dataset);
    CASK_TRY(cask_decoder_fingerprint(&here->decoder_crc, err));
    if (options->check_data == CASK_CHECK_FULL) {
        CASK_TRY(cask_dataset_fingerprint(dataset, (int)options->loader_threads,
                                          here->dataset_sha256, err));
    }
done:
    return st;
}

/* Called when nothing but accepted fields can differ. */
static void keep_accepted(const char *field, const char *dataset, const char *cache, void *user)
{
    struct cask_teacher_source *source = user;
    cask_log_warn("%s: the dataset has %s, the cache %s; accepted by train.accept_mismatch", field,
                  dataset, cache);
    if (source->accepted_count < CASK_ACCEPTED_MISMATCHES) {
        struct cask_accepted_mismatch *kept = &source->accepted[source->accepted_count++];
        snprintf(kept->field, sizeof kept->field, "%s", field);
        snprintf(kept->dataset, sizeof kept->dataset, "%s", dataset);
        snprintf(kept->cache, sizeof kept->cache, "%s", cache);
    }
}

enum cask_status cask_teacher_source_check(struct cask_teacher_source *source,
                                           const struct cask_dataset *dataset,
                                           const struct cask_train_options *options,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest here = {0};
    int overrides = 0;
    CASK_TRY(check_rows(source, dataset, err));
    CASK_TRY(describe_here(dataset, options, &here, err));
    st = cask_manifest_compare(&here, source->manifest, options->accept_mismatch.values,
                               options->accept_mismatch.count, &overrides, err);
    if (st == CASK_ERR_MISMATCH) {
        cask_error_prefix(err, "the cache was not made from this dataset (expected: the dataset "
                               "given here, found: the "
                               "cache; run precompute again, or allow a field with --set "
                               "train.accept_mismatch=FIELD)");
    } else if (st == CASK_ERR_USAGE) {
        cask_error_prefix(err, "train.accept_mismatch");
    }
    CASK_TRY(st);
    source->accepted_count = 0;
    cask_manifest_differences(&here, source->manifest, keep_accepted, source);
done:
    return st;
}

enum cask_status cask_teacher_source_good_rows(const struct cask_teacher_source *source,
                                               int64_t **rows, int64_t *count,
                                               struct cask_error *err)
{
    int64_t all = cask_cache_rows(source->cache), good = 0;
    *rows = NULL;
    for (int64_t row = 0; row < all; row++) {
        good += (cask_cache_flags(source->cache, row) & CASK_ROW_BAD) == 0;
    }
    *count = good;
    if (good == all) {
        return CASK_OK;
    }
    cask_log_warn("%lld of %lld images could not be decoded when the cache was made; training "
                  "leaves them out",
                  (long long)(all - good), (long long)all);
    *rows = cask_alloc((size_t)good + 1, sizeof **rows);
    if (*rows == NULL) {
        return cask_error_memory(err, (size_t)good * sizeof **rows, "table of good rows");
    }
    good = 0;
    for (int64_t row = 0; row < all; row++) {
        if ((cask_cache_flags(source->cache, row) & CASK_ROW_BAD) == 0) {
            (*rows)[good++] = row;
        }
    }
    return CASK_OK;
}

/* ------------------------------------------------------------------ batches */

/* Bytes of one array in the block, kept on 64-byte borders; 0 if it is not needed. */
static size_t slot(bool wanted, size_t count, size_t size)
{
    return wanted ? (count * size + 63) / 64 * 64 : 0;
}

static void *take(char **at, size_t bytes)
{
    void *here = bytes > 0 ? *at : NULL;
    *at += bytes;
    return here;
}

static enum cask_status allocate(struct cask_teacher_source *source, unsigned needs,
                                 struct cask_error *err)
{
    const struct cask_manifest *manifest = source->manifest;
    size_t batch = (size_t)source->batch, topk = batch * (size_t)manifest->topk;
    const size_t rows = slot(true, batch, sizeof(int64_t)),
                 mirror = slot(true, batch, sizeof(bool));
    const size_t unit =
        slot(needs & CASK_NEED_UNIT, batch * (size_t)manifest->embedding, sizeof(float));
    const size_t norm = slot(needs & CASK_NEED_NORM, batch, sizeof(float));
    const size_t index = slot(needs & CASK_NEED_TOPK, topk, sizeof(uint32_t));
    const size_t cosine = slot(needs & CASK_NEED_TOPK, topk, sizeof(float));
    const size_t label = slot(needs & CASK_NEED_LABEL_COSINE, batch, sizeof(float));
    const size_t lse =
        slot(needs & CASK_NEED_LSE, batch * (size_t)manifest->temperature_count, sizeof(float));
    const size_t total = rows + mirror + unit + norm + index + cosine + label + lse;
    char *at = source->memory = cask_alloc(total, 1);
    source->batch_bytes = total;
    if (at == NULL) {
        return cask_error_memory(err, total, "the teacher's side of a batch");
    }
    source->rows = take(&at, rows);
    source->mirror = take(&at, mirror);
    source->arrays.embedding = take(&at, unit);
    source->arrays.norm = take(&at, norm);
    source->arrays.topk_index = take(&at, index);
    source->arrays.topk_cosine = take(&at, cosine);
    source->arrays.label_cosine = take(&at, label);
    source->arrays.lse = take(&at, lse);
    return CASK_OK;
}

static void log_memory(const struct cask_teacher_source *source)
{
    char centers[24], resident[24], batch[24], mapped[24];
    cask_log_info("no teacher network in memory, %s mode; read from the cache: %s of class "
                  "centres, %s of labels, "
                  "LSEs and index, %s a batch out of %s that are mapped",
                  source->mode == CASK_TEACHER_EXACT ? "exact" : "top-k",
                  format_bytes(source->center_bytes, centers),
                  format_bytes((double)cask_cache_resident_bytes(source->cache), resident),
                  format_bytes((double)source->batch_bytes, batch),
                  format_bytes((double)cask_cache_file_bytes(source->cache), mapped));
}

enum cask_status cask_teacher_source_prepare(struct cask_teacher_source *source, unsigned needs,
                                             int batch, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_manifest *manifest = source->manifest;
    const bool exact = source->mode == CASK_TEACHER_EXACT && (needs & CASK_NEED_CENTERS);
    const float *centers = NULL;
    source->batch = batch;
    if (exact) {
        CASK_TRY(cask_cache_centers(source->cache, &centers, err));
    }
    source->center_bytes = exact ? 4.0 * (double)manifest->classes * manifest->embedding : 0;
    CASK_TRY(allocate(source, needs, err));
    CASK_TRY(
        cask_prefetch_start(source->cache, &source->arrays, READERS_AHEAD, &source->prefetch, err));
    source->teacher = (struct cask_teacher){
        .dim = manifest->embedding,
        .unit = source->arrays.embedding,
        .norm = source->arrays.norm,
        .centers = centers,
        .topk = manifest->topk,
        .topk_index = source->arrays.topk_index,
        .topk_cosine = source->arrays.topk_cosine,
        .label_cosine = source->arrays.label_cosine,
        .lse = source->arrays.lse,
        .scale = manifest->scale,
        .temperatures = manifest->temperatures,
        .temperature_count = manifest->temperature_count,
    };
    log_memory(source);
done:
    return st;
}

void cask_teacher_source_ahead(struct cask_teacher_source *source,
                               const struct cask_sampler *sampler, int64_t first, int64_t end)
{
    enum { AT_ONCE = 64 };
    int64_t rows[AT_ONCE];
    bool mirror[AT_ONCE];
    while (first < end) {
        int count = 0;
        for (; count < AT_ONCE && first < end; count++, first++) {
            const struct cask_sample sample = cask_sampler_at(sampler, first);
            rows[count] = sample.index;
            mirror[count] = sample.mirror;
        }
        cask_prefetch_rows(source->prefetch, rows, mirror, count);
    }
}

enum cask_status cask_teacher_source_gather(struct cask_teacher_source *source,
                                            const struct cask_sample *samples, int count,
                                            struct cask_error *err)
{
    for (int i = 0; i < count; i++) {
        source->rows[i] = samples[i].index;
        source->mirror[i] = samples[i].mirror;
    }
    source->teacher.serial++;
    return cask_cache_gather(source->cache, source->rows, source->mirror, count, &source->arrays,
                             err);
}
