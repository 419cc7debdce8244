/* cache/published.c - see the header. */
#include "cache/published.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/layout.h"
#include "cache/names.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum { INDEX_MAX_BYTES = 1 << 30 };

enum cask_status cask_published_init(struct cask_published *published, const char *folder,
                                     struct cask_error *err)
{
    *published = (struct cask_published){.folder = cask_strdup(folder),
                                         .manifest_path = cask_format("%s/manifest.json", folder),
                                         .journal_path = cask_format("%s/journal.jsonl", folder)};
    return published->folder != NULL && published->manifest_path != NULL &&
                   published->journal_path != NULL
               ? CASK_OK
               : cask_error_memory(err, strlen(folder), "file names");
}

void cask_published_release(struct cask_published *published)
{
    cask_free(published->records);
    cask_free(published->redo);
    cask_manifest_file_release(&published->file);
    cask_free(published->folder);
    cask_free(published->manifest_path);
    cask_free(published->journal_path);
    *published = (struct cask_published){0};
}

char *cask_published_stem(const struct cask_published *published, int64_t shard)
{
    return shard == CASK_CACHE_CENTERS ? cask_centers_stem(published->folder)
                                       : cask_shard_stem(published->folder, shard);
}

struct cask_record *cask_published_record(struct cask_published *published, int64_t shard)
{
    return shard == CASK_CACHE_CENTERS               ? &published->centers
           : shard >= 0 && shard < published->shards ? &published->records[shard]
                                                     : NULL;
}

/* ---------------------------------------------------------------- one file */

static bool is_whole(const char *stem, const struct cask_record *record)
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

/* A line about a file that this cache has. */
static bool belongs(const struct cask_published *published, const struct cask_record *record)
{
    const struct cask_manifest *manifest = &published->file.manifest;
    return record->shard == CASK_CACHE_CENTERS
               ? record->rows == manifest->classes
               : record->shard >= 0 && record->shard < published->shards &&
                     record->rows == cask_layout_shard_rows(manifest, record->shard);
}

static bool is_redone(const struct cask_published *published, int64_t shard)
{
    return shard == CASK_CACHE_CENTERS ? published->redo_centers : published->redo[shard];
}

/* ---------------------------------------------------------------- all of them */

/* Later lines win: a shard that was built again has two. */
static enum cask_status take_record(const struct cask_record *record, void *user,
                                    struct cask_error *err)
{
    struct cask_published *published = user;
    (void)err;
    if (belongs(published, record)) {
        *cask_published_record(published, record->shard) = *record;
    } else {
        cask_log_warn("%s: a line about shard %" PRId64 " with %" PRId64
                      " rows does not belong here: ignored",
                      published->journal_path, record->shard, record->rows);
    }
    return CASK_OK;
}

static enum cask_status drop_unpublished(struct cask_published *published, struct cask_error *err)
{
    for (int64_t i = CASK_CACHE_CENTERS; i < published->shards; i++) {
        struct cask_record *record = cask_published_record(published, i);
        char *stem = cask_published_stem(published, i);
        if (stem == NULL) {
            return cask_error_memory(err, strlen(published->folder), "file name");
        }
        if (record->rows > 0 && !is_whole(stem, record)) {
            cask_log_warn("%s.h5 is listed, but missing or not what was published", stem);
            record->rows = 0;
        }
        cask_free(stem);
    }
    return CASK_OK;
}

enum cask_status cask_published_read_records(struct cask_published *published,
                                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t bad_lines = 0;
    published->shards = cask_layout_shards(&published->file.manifest);
    published->records = cask_alloc((size_t)published->shards, sizeof *published->records);
    published->redo = cask_alloc((size_t)published->shards, sizeof *published->redo);
    if (published->records == NULL || published->redo == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)published->shards * sizeof *published->records,
                                   "list of shards"));
    }
    for (int64_t i = 0; published->file.complete && i < published->shards; i++) {
        published->records[i] = published->file.shards[i];
    }
    if (published->file.has_centers) {
        published->centers = published->file.centers;
    }
    CASK_TRY(cask_journal_read(published->journal_path, take_record, published, &bad_lines, err));
    if (bad_lines > 0) {
        cask_log_warn("%s: %" PRId64 " lines are torn or damaged; their shards count as missing",
                      published->journal_path, bad_lines);
    }
    CASK_TRY(drop_unpublished(published, err));
done:
    return st;
}

enum cask_status cask_published_read(struct cask_published *published, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (!cask_path_exists(published->manifest_path)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s: no manifest.json there: not a cache",
                                published->folder));
    }
    CASK_TRY(cask_manifest_read(published->manifest_path, &published->file, err));
    CASK_TRY(cask_published_read_records(published, err));
done:
    return st;
}

/* A line about a shard that is not known yet, and whose files are there. */
static enum cask_status take_news(const struct cask_record *record, void *user,
                                  struct cask_error *err)
{
    struct cask_published *published = user;
    if (!belongs(published, record) || is_redone(published, record->shard) ||
        cask_published_record(published, record->shard)->rows > 0) {
        return CASK_OK;
    }
    char *stem = cask_published_stem(published, record->shard);
    if (stem == NULL) {
        return cask_error_memory(err, strlen(published->folder), "file name");
    }
    if (is_whole(stem, record)) {
        *cask_published_record(published, record->shard) = *record;
    }
    cask_free(stem);
    return CASK_OK;
}

enum cask_status cask_published_refresh(struct cask_published *published, struct cask_error *err)
{
    int64_t bad_lines;
    return cask_journal_read(published->journal_path, take_news, published, &bad_lines, err);
}
