/* cache/reader.c - opens a finished cache: manifest, indexes, maps; resident arrays; centres. */
#include "cache/reader.h"

#include <string.h>
#include <sys/mman.h>

#include "cache/names.h"
#include "common/file.h"
#include "common/mem.h"

static enum cask_status open_shards(struct cask_cache *cache, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *stem = NULL;
    for (int64_t i = 0; i < cache->shards; i++) {
        stem = cask_shard_stem(cache->folder, i);
        if (stem == NULL) {
            CASK_TRY(cask_error_memory(err, strlen(cache->folder), "file name"));
        }
        const struct cask_layout *layout = i + 1 < cache->shards ? &cache->full : &cache->tail;
        CASK_TRY(cask_shard_open(&cache->shard[i], stem, &cache->file.shards[i], layout,
                                 cache->verify, err));
        /* These have accessors without an error to return. */
        static const int resident[] = {CASK_ARRAY_LABEL, CASK_ARRAY_SAMPLE_ID,
                                       CASK_ARRAY_SOURCE_OFFSET, CASK_ARRAY_FLAGS};
        for (int j = 0; j < CASK_ARRAY_SHARED && cache->verify != CASK_VERIFY_OFF; j++) {
            CASK_TRY(cask_shard_check_array(&cache->shard[i], resident[j], err));
        }
        cask_free(stem);
        stem = NULL;
    }
done:
    cask_free(stem);
    return st;
}

static enum cask_status open_centers(struct cask_cache *cache, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *stem = cask_centers_stem(cache->folder);
    if (stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(cache->folder), "file name"));
    }
    cask_layout_centers(&cache->file.manifest, &cache->centers_layout);
    CASK_TRY(cask_shard_open(&cache->centers, stem, &cache->file.centers, &cache->centers_layout,
                             cache->verify, err));
done:
    cask_free(stem);
    return st;
}

static enum cask_status read_finished(const char *folder, struct cask_manifest_file *file,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/manifest.json", folder);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    if (!cask_path_exists(path)) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_IO, "%s: no manifest.json there: not a cache (build one with precompute)",
            folder));
    }
    CASK_TRY(cask_manifest_read(path, file, err));
    if (!file->complete) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: the cache is not finished: run precompute again with the same "
                                "settings, it goes on where it stopped",
                                folder));
    }
done:
    cask_free(path);
    return st;
}

enum cask_status cask_cache_identify(const char *folder, char hex[CASK_SHA256_HEX],
                                     struct cask_error *err)
{
    struct cask_manifest_file file = {0};
    const enum cask_status st = read_finished(folder, &file, err);
    memcpy(hex, file.sha256, sizeof file.sha256);
    cask_manifest_file_release(&file);
    return st;
}

static enum cask_status open_manifest(struct cask_cache *cache, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(read_finished(cache->folder, &cache->file, err));
    cache->shards = cask_layout_shards(&cache->file.manifest);
    cask_layout_shard(&cache->file.manifest, 0, &cache->full);
    cask_layout_shard(&cache->file.manifest, cache->shards - 1, &cache->tail);
    cask_scratch_pool_fit(&cache->scratch, &cache->full);
done:
    return st;
}

enum cask_status cask_cache_open(const char *folder, enum cask_verify verify,
                                 struct cask_cache **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *out = NULL;
    struct cask_cache *cache = cask_alloc(1, sizeof *cache);
    if (cache == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *cache, "cache"));
    }
    pthread_mutex_init(&cache->lock, NULL);
    cask_scratch_pool_init(&cache->scratch);
    cache->verify = verify;
    cache->folder = cask_strdup(folder);
    if (cache->folder == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    CASK_TRY(open_manifest(cache, err));
    cache->shard = cask_alloc((size_t)cache->shards, sizeof *cache->shard);
    if (cache->shard == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)cache->shards * sizeof *cache->shard, "shards"));
    }
    CASK_TRY(open_shards(cache, err));
    if (cache->file.has_centers) {
        CASK_TRY(open_centers(cache, err));
    }
    *out = cache;
    cache = NULL;
done:
    cask_cache_close(cache);
    return st;
}

void cask_cache_close(struct cask_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (int64_t i = 0; cache->shard != NULL && i < cache->shards; i++) {
        cask_shard_close(&cache->shard[i]);
    }
    cask_shard_close(&cache->centers);
    cask_scratch_pool_release(&cache->scratch);
    cask_manifest_file_release(&cache->file);
    pthread_mutex_destroy(&cache->lock);
    cask_free(cache->shard);
    cask_free(cache->folder);
    cask_free(cache);
}

/* ---------------------------------------------------------------- accessors */

struct cask_shard *cask_cache_locate(const struct cask_cache *cache, int64_t row, uint64_t *inside)
{
    int64_t shard = row / cache->file.manifest.shard_images;
    *inside = (uint64_t)(row - shard * cache->file.manifest.shard_images);
    return &cache->shard[shard];
}

static void read_resident(const struct cask_cache *cache, int slot, int64_t row, void *value,
                          size_t bytes)
{
    uint64_t inside;
    const struct cask_shard *shard = cask_cache_locate(cache, row, &inside);
    memcpy(value, cask_shard_rows(shard, slot) + inside * bytes, bytes);
}

const struct cask_manifest *cask_cache_manifest(const struct cask_cache *cache)
{
    return &cache->file.manifest;
}

const char *cask_cache_sha256(const struct cask_cache *cache)
{
    return cache->file.sha256;
}

int64_t cask_cache_rows(const struct cask_cache *cache)
{
    return cache->file.manifest.images;
}

uint32_t cask_cache_label(const struct cask_cache *cache, int64_t row)
{
    uint32_t label;
    read_resident(cache, CASK_ARRAY_LABEL, row, &label, sizeof label);
    return label;
}

uint64_t cask_cache_sample_id(const struct cask_cache *cache, int64_t row)
{
    uint64_t id;
    read_resident(cache, CASK_ARRAY_SAMPLE_ID, row, &id, sizeof id);
    return id;
}

uint64_t cask_cache_source_offset(const struct cask_cache *cache, int64_t row)
{
    uint64_t offset;
    read_resident(cache, CASK_ARRAY_SOURCE_OFFSET, row, &offset, sizeof offset);
    return offset;
}

uint8_t cask_cache_flags(const struct cask_cache *cache, int64_t row)
{
    uint8_t flags;
    read_resident(cache, CASK_ARRAY_FLAGS, row, &flags, sizeof flags);
    return flags;
}

static size_t index_bytes(const struct cask_layout *layout)
{
    return (size_t)layout->chunks * sizeof(struct cask_chunk) +
           (size_t)layout->spans * sizeof(uint64_t) + layout->spans / 8;
}

size_t cask_cache_resident_bytes(const struct cask_cache *cache)
{
    /* label 4, sample id 8, source offset 8, flags 1; per view label cosine, norm and the LSEs */
    size_t row_bytes =
        21 + CASK_CACHE_VIEWS * (8 + 4 * (size_t)cache->file.manifest.temperature_count);
    size_t index =
        (size_t)(cache->shards - 1) * index_bytes(&cache->full) + index_bytes(&cache->tail);
    return index + (size_t)cache->shards * sizeof *cache->shard +
           (size_t)cask_cache_rows(cache) * row_bytes;
}

uint64_t cask_cache_file_bytes(const struct cask_cache *cache)
{
    uint64_t bytes =
        cache->file.has_centers ? cache->file.centers.bytes + cache->file.centers.index_bytes : 0;
    for (int64_t i = 0; i < cache->shards; i++) {
        bytes += cache->file.shards[i].bytes + cache->file.shards[i].index_bytes;
    }
    return bytes;
}

/* ---------------------------------------------------------------- centres */

static enum cask_status check_centers(struct cask_cache *cache, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (!cache->file.has_centers) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_UNSUPPORTED,
            "%s: the cache holds no class centres: build it with --centers, or choose top-k mode",
            cache->folder));
    }
    if ((uintptr_t)cask_shard_rows(&cache->centers, 0) % sizeof(float) != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "%s: /centers is not aligned to 4 bytes",
                                cache->centers.path));
    }
    madvise((void *)(uintptr_t)cache->centers.map.data, cache->centers.map.bytes, MADV_NORMAL);
    if (cache->verify != CASK_VERIFY_OFF) {
        CASK_TRY(cask_shard_check_array(&cache->centers, 0, err));
    }
    cache->centers_state = 1;
done:
    return st;
}

enum cask_status cask_cache_centers(struct cask_cache *cache, const float **centers,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *centers = NULL;
    pthread_mutex_lock(&cache->lock);
    if (cache->centers_state == 0) {
        CASK_TRY(check_centers(cache, err));
    }
    *centers = (const float *)(const void *)cask_shard_rows(&cache->centers, 0);
done:
    pthread_mutex_unlock(&cache->lock);
    return st;
}

void cask_cache_centers_idle(struct cask_cache *cache)
{
    if (cache->file.has_centers) { /* a hint, as the one above: the file has it all */
        (void)madvise((void *)(uintptr_t)cache->centers.map.data, cache->centers.map.bytes,
                      MADV_DONTNEED);
    }
}
