/* cache/writer.c - the folder of a cache under construction: create or resume, what is already
 * there, centres, and the final manifest. */
#include "cache/writer.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/names.h"
#include "cache/shard_write.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum { INDEX_MAX_BYTES = 1 << 30 };

/* True if the two files of a record are there with the right sizes and the index hashes as
 * recorded. The data itself is hashed when it is read; re-hashing a whole cache at every start
 * would be a wait. */
static bool is_published(const char *stem, const struct cask_record *record)
{
    struct cask_error ignored;
    struct stat status;
    char *data = NULL, *path = cask_format("%s.h5", stem),
         *index_path = cask_format("%s.idx", stem);
    size_t bytes = 0;
    bool good =
        path != NULL && index_path != NULL && stat(path, &status) == 0 &&
        (uint64_t)status.st_size == record->bytes &&
        cask_file_read_all(index_path, INDEX_MAX_BYTES, &data, &bytes, &ignored) == CASK_OK &&
        bytes == record->index_bytes && cask_xxh3(data, bytes) == record->index_xxh3;
    cask_free(data);
    cask_free(path);
    cask_free(index_path);
    return good;
}

/* ---------------------------------------------------------------- resume */

/* Later lines win: a shard that was built again has two. */
static enum cask_status take_record(const struct cask_record *record, void *user,
                                    struct cask_error *err)
{
    struct cask_cache_writer *writer = user;
    const struct cask_manifest *manifest = &writer->file.manifest;
    (void)err;
    if (record->shard == CASK_RECORD_CENTERS && record->rows == manifest->classes) {
        writer->centers = *record;
    } else if (record->shard >= 0 && record->shard < writer->shards &&
               record->rows == cask_layout_shard_rows(manifest, record->shard)) {
        writer->records[record->shard] = *record;
    } else {
        cask_log_warn("%s: a line about shard %" PRId64 " with %" PRId64
                      " rows does not belong here: ignored",
                      writer->journal_path, record->shard, record->rows);
    }
    return CASK_OK;
}

static enum cask_status drop_unpublished(struct cask_cache_writer *writer, struct cask_error *err)
{
    for (int64_t i = 0; i < writer->shards; i++) {
        char *stem = cask_shard_stem(writer->folder, i);
        if (stem == NULL) {
            return cask_error_memory(err, strlen(writer->folder), "file name");
        }
        if (writer->records[i].rows > 0 && !is_published(stem, &writer->records[i])) {
            cask_log_warn(
                "%s.h5 is listed, but missing or not what was published: it will be built again",
                stem);
            writer->records[i].rows = 0;
        }
        cask_free(stem);
    }
    char *stem = cask_centers_stem(writer->folder);
    if (stem != NULL && writer->centers.rows > 0 && !is_published(stem, &writer->centers)) {
        writer->centers.rows = 0;
    }
    cask_free(stem);
    return CASK_OK;
}

static enum cask_status read_published(struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t bad_lines = 0;
    for (int64_t i = 0; writer->file.complete && i < writer->shards; i++) {
        writer->records[i] = writer->file.shards[i];
    }
    if (writer->file.has_centers) {
        writer->centers = writer->file.centers;
    }
    CASK_TRY(cask_journal_read(writer->journal_path, take_record, writer, &bad_lines, err));
    if (bad_lines > 0) {
        cask_log_warn("%s: %" PRId64 " lines are torn or damaged; their shards are built again",
                      writer->journal_path, bad_lines);
    }
    CASK_TRY(drop_unpublished(writer, err));
done:
    return st;
}

/* The manifest on disk becomes the writer's; the given one must agree with it. */
static enum cask_status adopt_manifest(struct cask_cache_writer *writer,
                                       const struct cask_manifest *given, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int overrides = 0;
    CASK_TRY(cask_manifest_read(writer->manifest_path, &writer->file, err));
    st = cask_manifest_compare(given, &writer->file.manifest, NULL, 0, &overrides, err);
    if (st != CASK_OK) {
        cask_error_prefix(
            err, "%s was begun with other settings (use another folder, or give the same ones)",
            writer->folder);
        goto done;
    }
done:
    return st;
}

/* A line about a shard that is not known yet, and whose files are there. */
static enum cask_status take_news(const struct cask_record *record, void *user,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cache_writer *writer = user;
    const struct cask_manifest *manifest = &writer->file.manifest;
    const bool centers = record->shard == CASK_RECORD_CENTERS;
    const bool shard = record->shard >= 0 && record->shard < writer->shards;
    struct cask_record *known = centers ? &writer->centers
                                : shard ? &writer->records[record->shard]
                                        : NULL;
    int64_t rows = centers ? manifest->classes
                   : shard ? cask_layout_shard_rows(manifest, record->shard)
                           : -1;
    if (known == NULL || known->rows > 0 || record->rows != rows) {
        return CASK_OK;
    }
    char *stem = centers ? cask_centers_stem(writer->folder)
                         : cask_shard_stem(writer->folder, record->shard);
    if (stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(writer->folder), "file name"));
    }
    if (is_published(stem, record)) {
        *known = *record;
    }
done:
    cask_free(stem);
    return st;
}

enum cask_status cask_cache_writer_refresh(struct cask_cache_writer *writer, struct cask_error *err)
{
    int64_t bad_lines;
    return cask_journal_read(writer->journal_path, take_news, writer, &bad_lines, err);
}

static enum cask_status check_space(const struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t needed = 0, available = 0;
    struct cask_layout layout;
    for (int64_t i = 0; i < writer->shards; i++) {
        if (writer->records[i].rows == 0) {
            cask_layout_shard(&writer->file.manifest, i, &layout);
            needed += cask_layout_file_bound(&layout);
        }
    }
    if (writer->centers.rows == 0 && writer->file.manifest.centers_origin[0] != '\0') {
        cask_layout_centers(&writer->file.manifest, &layout);
        needed += cask_layout_file_bound(&layout);
    }
    CASK_TRY(cask_folder_free_bytes(writer->folder, &available, err));
    if (needed > available) {
        CASK_TRY(cask_error_set(err, CASK_ERR_NO_SPACE,
                                "%s: what is missing takes up to %.3f GB, the disk has %.3f GB "
                                "free: make room, or choose a smaller --topk or --embedding int8",
                                writer->folder, (double)needed / 1e9, (double)available / 1e9));
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
    CASK_TRY(cask_folder_create(writer->folder, err));
    CASK_TRY(cask_lease_sweep(writer->folder, err));
    CASK_TRY(cask_lease_wait(writer->folder, "manifest", 0, &lease, err));
    if (cask_path_exists(writer->manifest_path)) {
        CASK_TRY(adopt_manifest(writer, manifest, err));
    } else {
        writer->file.manifest = *manifest;
        CASK_TRY(cask_manifest_write(writer->manifest_path, &writer->file, err));
    }
    cask_lease_drop(lease);
    lease = NULL;
    writer->shards = cask_layout_shards(&writer->file.manifest);
    writer->records = cask_alloc((size_t)writer->shards, sizeof *writer->records);
    if (writer->records == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)writer->shards * sizeof *writer->records,
                                   "list of shards"));
    }
    CASK_TRY(read_published(writer, err));
    CASK_TRY(check_space(writer, err));
done:
    cask_lease_drop(lease);
    return st;
}

static enum cask_status create_workers(struct cask_cache_writer *writer, int threads,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t dimension = (size_t)writer->file.manifest.embedding;
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
    writer->folder = cask_strdup(folder);
    writer->manifest_path = cask_format("%s/manifest.json", folder);
    writer->journal_path = cask_format("%s/journal.jsonl", folder);
    writer->bad_path = cask_format("%s/bad.csv", folder);
    if (writer->folder == NULL || writer->manifest_path == NULL || writer->journal_path == NULL ||
        writer->bad_path == NULL) {
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
    cask_free(writer->records);
    cask_manifest_file_release(&writer->file);
    cask_free(writer->folder);
    cask_free(writer->manifest_path);
    cask_free(writer->journal_path);
    cask_free(writer->bad_path);
    cask_free(writer);
}

void cask_cache_writer_inherit(struct cask_cache_writer *writer, double embedding_error)
{
    writer->inherited_error = embedding_error;
}

int64_t cask_cache_writer_shards(const struct cask_cache_writer *writer)
{
    return writer->shards;
}

bool cask_cache_writer_has(const struct cask_cache_writer *writer, int64_t shard)
{
    return shard >= 0 && shard < writer->shards && writer->records[shard].rows > 0;
}

/* ---------------------------------------------------------------- centres and the end */

void cask_centers_sha256(const float *centers, int64_t classes, int embedding,
                         char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_u64(&state, (uint64_t)classes);
    cask_sha256_update(&state, centers, (size_t)classes * (size_t)embedding * sizeof *centers);
    cask_sha256_final_hex(&state, hex);
}

enum cask_status cask_cache_writer_centers(struct cask_cache_writer *writer, const float *centers,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest *manifest = &writer->file.manifest;
    struct cask_record record = {.shard = CASK_RECORD_CENTERS, .rows = manifest->classes};
    char *stem = NULL;
    struct cask_lease *lease = NULL;
    if (manifest->centers_sha256[0] == '\0') {
        cask_centers_sha256(centers, manifest->classes, manifest->embedding,
                            manifest->centers_sha256);
    }
    CASK_TRY(cask_lease_wait(writer->folder, "centers", 0, &lease, err));
    CASK_TRY(cask_cache_writer_refresh(writer, err));
    if (writer->centers.rows > 0) {
        goto done;
    }
    stem = cask_centers_stem(writer->folder);
    if (stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(writer->folder), "file name"));
    }
    CASK_TRY(cask_centers_write(stem, manifest, centers, &record, err));
    CASK_TRY(cask_journal_append(writer->journal_path, &record, err));
    writer->centers = record;
done:
    cask_lease_drop(lease);
    cask_free(stem);
    return st;
}

enum cask_status cask_cache_writer_finish(struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest *manifest = &writer->file.manifest;
    struct cask_lease *lease = NULL;
    manifest->embedding_error_max = 0;
    manifest->cosine_error_max = 0;
    for (int64_t i = 0; i < writer->shards; i++) {
        const struct cask_record *record = &writer->records[i];
        if (record->rows == 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: shard %" PRId64 " of %" PRId64
                                    " is missing: run precompute again with the same settings",
                                    writer->folder, i, writer->shards));
        }
        manifest->embedding_error_max = record->embedding_error > manifest->embedding_error_max
                                            ? record->embedding_error
                                            : manifest->embedding_error_max;
        manifest->cosine_error_max = record->cosine_error > manifest->cosine_error_max
                                         ? record->cosine_error
                                         : manifest->cosine_error_max;
    }
    if (writer->centers.rows == 0 && manifest->centers_origin[0] != '\0') {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: the class centres (from \"%s\") are missing", writer->folder,
                                manifest->centers_origin));
    }
    CASK_TRY(cask_lease_wait(writer->folder, "finish", 0, &lease, err));
    CASK_TRY(cask_writer_sort_bad(writer->bad_path, err));
    struct cask_manifest_file file = writer->file;
    file.complete = true;
    file.shards = writer->records;
    file.centers = writer->centers;
    file.has_centers = writer->centers.rows > 0;
    CASK_TRY(cask_manifest_write(writer->manifest_path, &file, err));
    CASK_TRY(cask_lease_sweep(writer->folder, err));
done:
    cask_lease_drop(lease);
    return st;
}
