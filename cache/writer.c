/* cache/writer.c - the folder of a cache under construction: create or resume, what is already
 * there, and the final manifest. */
#include "cache/writer.h"

#include <inttypes.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

/* ---------------------------------------------------------------- resume */

/* The manifest on disk becomes the writer's; the given one must agree with it. */
static enum cask_status adopt_manifest(struct cask_cache_writer *writer,
                                       const struct cask_manifest *given, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int overrides = 0;
    CASK_TRY(cask_manifest_read(writer->there.manifest_path, &writer->there.file, err));
    st = cask_manifest_compare(given, &writer->there.file.manifest, NULL, 0, &overrides, err);
    if (st != CASK_OK) {
        cask_error_prefix(
            err, "%s was begun with other settings (use another folder, or give the same ones)",
            writer->there.folder);
        goto done;
    }
done:
    return st;
}

enum cask_status cask_cache_writer_refresh(struct cask_cache_writer *writer, struct cask_error *err)
{
    return cask_published_refresh(&writer->there, err);
}

static enum cask_status check_space(const struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t needed = 0, available = 0;
    struct cask_layout layout;
    for (int64_t i = 0; i < writer->there.shards; i++) {
        if (writer->there.records[i].rows == 0) {
            cask_layout_shard(&writer->there.file.manifest, i, &layout);
            needed += cask_layout_file_bound(&layout);
        }
    }
    if (writer->there.centers.rows == 0 && writer->there.file.manifest.centers_origin[0] != '\0') {
        cask_layout_centers(&writer->there.file.manifest, &layout);
        needed += cask_layout_file_bound(&layout);
    }
    CASK_TRY(cask_folder_free_bytes(writer->there.folder, &available, err));
    if (needed > available) {
        CASK_TRY(cask_error_set(err, CASK_ERR_NO_SPACE,
                                "%s: what is missing takes up to %.3f GB, the disk has %.3f GB "
                                "free: make room, or choose a smaller --topk or --embedding int8",
                                writer->there.folder, (double)needed / 1e9,
                                (double)available / 1e9));
    }
done:
    return st;
}

/* ---------------------------------------------------------------- life */

static enum cask_status open_folder(struct cask_cache_writer *writer,
                                    const struct cask_manifest *manifest, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lease *lease = NULL;
    CASK_TRY(cask_folder_create(writer->there.folder, err));
    CASK_TRY(cask_lease_sweep(writer->there.folder, err));
    CASK_TRY(cask_lease_wait(writer->there.folder, "manifest", 0, &lease, err));
    if (cask_path_exists(writer->there.manifest_path)) {
        CASK_TRY(adopt_manifest(writer, manifest, err));
    } else {
        writer->there.file.manifest = *manifest;
        CASK_TRY(cask_manifest_write(writer->there.manifest_path, &writer->there.file, err));
    }
    cask_lease_drop(lease);
    lease = NULL;
    CASK_TRY(cask_published_read_records(&writer->there, err));
    CASK_TRY(check_space(writer, err));
done:
    cask_lease_drop(lease);
    return st;
}

static enum cask_status create_workers(struct cask_cache_writer *writer, int threads,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t dimension = (size_t)writer->there.file.manifest.embedding;
    CASK_TRY(cask_pool_create(threads > 0 ? threads : 1, &writer->pool, err));
    threads = cask_pool_threads(writer->pool);
    writer->workers = cask_alloc((size_t)threads, sizeof *writer->workers);
    if (writer->workers == NULL) {
        CASK_TRY(
            cask_error_memory(err, (size_t)threads * sizeof *writer->workers, "writer threads"));
    }
    for (int i = 0; i < threads; i++) {
        writer->workers[i].back = cask_alloc(dimension, sizeof(float));
        if (writer->workers[i].back == NULL) {
            CASK_TRY(cask_error_memory(err, dimension * sizeof(float), "writer threads"));
        }
    }
done:
    return st;
}

enum cask_status cask_cache_writer_open(const char *folder, const struct cask_manifest *manifest,
                                        int threads, struct cask_cache_writer **out,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest given = *manifest;
    given.major = CASK_CACHE_MAJOR;
    given.minor = CASK_CACHE_MINOR;
    *out = NULL;
    struct cask_cache_writer *writer = cask_alloc(1, sizeof *writer);
    if (writer == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *writer, "cache writer"));
    }
    writer->open_shard = -1;
    CASK_TRY(cask_manifest_check(&given, err));
    CASK_TRY(cask_published_init(&writer->there, folder, err));
    writer->bad_path = cask_format("%s/bad.csv", folder);
    if (writer->bad_path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file names"));
    }
    CASK_TRY(open_folder(writer, &given, err));
    CASK_TRY(create_workers(writer, threads, err));
    *out = writer;
    writer = NULL;
done:
    cask_cache_writer_close(writer);
    return st;
}

void cask_cache_writer_close(struct cask_cache_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    cask_writer_release_rows(writer);
    for (int i = 0; writer->workers != NULL && i < cask_pool_threads(writer->pool); i++) {
        cask_free(writer->workers[i].back);
    }
    cask_free(writer->workers);
    cask_pool_free(writer->pool);
    cask_published_release(&writer->there);
    cask_free(writer->bad_path);
    cask_free(writer);
}

void cask_cache_writer_inherit(struct cask_cache_writer *writer, double embedding_error)
{
    writer->inherited_error = embedding_error;
}

int64_t cask_cache_writer_shards(const struct cask_cache_writer *writer)
{
    return writer->there.shards;
}

bool cask_cache_writer_has(const struct cask_cache_writer *writer, int64_t shard)
{
    const struct cask_published *there = &writer->there;
    if (shard == CASK_CACHE_CENTERS) {
        return there->centers.rows > 0;
    }
    return shard >= 0 && shard < there->shards && there->records[shard].rows > 0;
}

enum cask_status cask_cache_writer_rebuild(struct cask_cache_writer *writer, int64_t shard,
                                           struct cask_error *err)
{
    struct cask_record *record = cask_published_record(&writer->there, shard);
    if (record == NULL) {
        return cask_error_set(err, CASK_ERR_RANGE, "%s: shard %" PRId64 ", expected 0 to %" PRId64,
                              writer->there.folder, shard, writer->there.shards - 1);
    }
    record->rows = 0;
    *(shard == CASK_CACHE_CENTERS ? &writer->there.redo_centers : &writer->there.redo[shard]) =
        true;
    return check_space(writer, err);
}

/* ---------------------------------------------------------------- the end */

enum cask_status cask_cache_writer_finish(struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest *manifest = &writer->there.file.manifest;
    struct cask_lease *lease = NULL;
    manifest->embedding_error_max = 0;
    manifest->cosine_error_max = 0;
    for (int64_t i = 0; i < writer->there.shards; i++) {
        const struct cask_record *record = &writer->there.records[i];
        if (record->rows == 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: shard %" PRId64 " of %" PRId64
                                    " is missing: run precompute again with the same settings",
                                    writer->there.folder, i, writer->there.shards));
        }
        manifest->embedding_error_max = record->embedding_error > manifest->embedding_error_max
                                            ? record->embedding_error
                                            : manifest->embedding_error_max;
        manifest->cosine_error_max = record->cosine_error > manifest->cosine_error_max
                                         ? record->cosine_error
                                         : manifest->cosine_error_max;
    }
    if (writer->there.centers.rows == 0 && manifest->centers_origin[0] != '\0') {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: the class centres (from \"%s\") are missing",
                                writer->there.folder, manifest->centers_origin));
    }
    CASK_TRY(cask_lease_wait(writer->there.folder, "finish", 0, &lease, err));
    CASK_TRY(cask_writer_sort_bad(writer->bad_path, err));
    struct cask_manifest_file file = writer->there.file;
    file.complete = true;
    file.shards = writer->there.records;
    file.centers = writer->there.centers;
    file.has_centers = writer->there.centers.rows > 0;
    CASK_TRY(cask_manifest_write(writer->there.manifest_path, &file, err));
    CASK_TRY(cask_lease_sweep(writer->there.folder, err));
done:
    cask_lease_drop(lease);
    return st;
}
