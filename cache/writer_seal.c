/* cache/writer_seal.c - a shard whose rows are all there, on its way to disk: taken out of the
 * writer, published by whatever thread, and taken note of. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cache/names.h"
#include "cache/shard_write.h"
#include "cache/writer.h"
#include "common/mem.h"

struct cask_sealed {
    const struct cask_manifest *manifest; /* the writer's, which does not change any more */
    const char *journal_path;             /* the writer's */
    char *stem;
    struct cask_layout layout;
    uint8_t *arrays[CASK_ARRAYS];
    struct cask_record record;
    bool published;
};

enum cask_status cask_cache_writer_seal(struct cask_cache_writer *writer, struct cask_sealed **out,
                                        struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_sealed *sealed = NULL;
    *out = NULL;
    if (writer->open_shard < 0 || writer->filled != (int64_t)writer->layout.rows) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "shard %" PRId64 " committed with %" PRId64 " of %" PRIu64 " rows",
                                writer->open_shard, writer->filled, writer->layout.rows));
    }
    sealed = cask_alloc(1, sizeof *sealed);
    if (sealed == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *sealed, "sealed shard"));
    }
    sealed->manifest = &writer->there.file.manifest;
    sealed->journal_path = writer->there.journal_path;
    sealed->layout = writer->layout;
    sealed->record = (struct cask_record){.shard = writer->open_shard, .rows = writer->filled};
    for (int i = 0; i < cask_pool_threads(writer->pool); i++) {
        const struct cask_writer_worker *worker = &writer->workers[i];
        sealed->record.embedding_error =
            fmax(sealed->record.embedding_error, worker->embedding_error);
        sealed->record.cosine_error = fmax(sealed->record.cosine_error, worker->cosine_error);
    }
    sealed->stem = cask_shard_stem(writer->there.folder, writer->open_shard);
    if (sealed->stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(writer->there.folder), "file name"));
    }
    memcpy(sealed->arrays, writer->arrays, sizeof sealed->arrays);
    memset(writer->arrays, 0, sizeof writer->arrays);
    *out = sealed;
    sealed = NULL;
done:
    cask_free(sealed);
    cask_writer_release_rows(writer);
    return st;
}

static enum cask_status publish(struct cask_sealed *sealed, struct cask_pool *pool,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_shard_write(sealed->stem, sealed->manifest, sealed->record.shard, &sealed->layout,
                              sealed->arrays, pool, &sealed->record, err));
    CASK_TRY(cask_journal_append(sealed->journal_path, &sealed->record, err));
    sealed->published = true;
done:
    return st;
}

enum cask_status cask_sealed_publish(struct cask_sealed *sealed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *alone = NULL;
    CASK_TRY(cask_pool_create(1, &alone, err));
    CASK_TRY(publish(sealed, alone, err));
done:
    cask_pool_free(alone);
    return st;
}

void cask_cache_writer_settle(struct cask_cache_writer *writer, struct cask_sealed *sealed)
{
    if (sealed == NULL) {
        return;
    }
    if (sealed->published) {
        *cask_published_record(&writer->there, sealed->record.shard) = sealed->record;
    }
    for (int i = 0; i < CASK_ARRAYS; i++) {
        cask_free(sealed->arrays[i]);
    }
    cask_free(sealed->stem);
    cask_free(sealed);
}

enum cask_status cask_cache_writer_commit(struct cask_cache_writer *writer, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_sealed *sealed = NULL;
    CASK_TRY(cask_cache_writer_seal(writer, &sealed, err));
    CASK_TRY(publish(sealed, writer->pool, err));
done:
    cask_cache_writer_settle(writer, sealed);
    return st;
}
