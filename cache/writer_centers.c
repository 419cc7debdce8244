/* cache/writer_centers.c - centers.h5, written once and read back by builds that go on. */
#include <string.h>

#include "cache/shard.h"
#include "cache/shard_write.h"
#include "cache/writer.h"
#include "common/log.h"
#include "common/mem.h"

void cask_centers_sha256(const float *centers, int64_t classes, int embedding,
                         char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update_u64(&state, (uint64_t)classes);
    cask_sha256_update(&state, centers, (size_t)classes * (size_t)embedding * sizeof *centers);
    cask_sha256_final_hex(&state, hex);
}

/* The manifest learns its hash from the first centres; later ones must be the same. */
static enum cask_status agree(struct cask_manifest *manifest, const char *folder,
                              const float *centers, struct cask_error *err)
{
    char hex[CASK_SHA256_HEX];
    cask_centers_sha256(centers, manifest->classes, manifest->embedding, hex);
    if (manifest->centers_sha256[0] == '\0') {
        memcpy(manifest->centers_sha256, hex, sizeof hex);
    }
    if (strcmp(manifest->centers_sha256, hex) != 0) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s: centers_sha256: expected %s, found %s: these are not the class "
                              "centres that the shards were made with",
                              folder, manifest->centers_sha256, hex);
    }
    return CASK_OK;
}

enum cask_status cask_cache_writer_centers(struct cask_cache_writer *writer, const float *centers,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_published *there = &writer->there;
    struct cask_manifest *manifest = &there->file.manifest;
    struct cask_record record = {.shard = CASK_CACHE_CENTERS, .rows = manifest->classes};
    char *stem = NULL;
    struct cask_lease *lease = NULL;
    CASK_TRY(agree(manifest, there->folder, centers, err));
    CASK_TRY(cask_lease_wait(there->folder, "centers", 0, &lease, err));
    CASK_TRY(cask_cache_writer_refresh(writer, err));
    if (there->centers.rows > 0) {
        goto done;
    }
    stem = cask_published_stem(there, CASK_CACHE_CENTERS);
    if (stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(there->folder), "file name"));
    }
    CASK_TRY(cask_centers_write(stem, manifest, centers, &record, err));
    CASK_TRY(cask_journal_append(there->journal_path, &record, err));
    there->centers = record;
done:
    cask_lease_drop(lease);
    cask_free(stem);
    return st;
}

static enum cask_status load(struct cask_cache_writer *writer, float *centers,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_published *there = &writer->there;
    struct cask_manifest *manifest = &there->file.manifest;
    struct cask_layout layout;
    struct cask_shard shard = {.path = NULL};
    char *stem = cask_published_stem(there, CASK_CACHE_CENTERS);
    if (stem == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(there->folder), "file name"));
    }
    cask_layout_centers(manifest, &layout);
    CASK_TRY(cask_shard_open(&shard, stem, &there->centers, &layout, CASK_VERIFY_ALWAYS, err));
    CASK_TRY(cask_shard_check_array(&shard, 0, err));
    memcpy(centers, cask_shard_rows(&shard, 0),
           (size_t)manifest->classes * (size_t)manifest->embedding * sizeof *centers);
    CASK_TRY(agree(manifest, there->folder, centers, err));
done:
    cask_shard_close(&shard);
    cask_free(stem);
    return st;
}

enum cask_status cask_cache_writer_read_centers(struct cask_cache_writer *writer, float *centers,
                                                bool *found, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *found = false;
    CASK_TRY(cask_cache_writer_refresh(writer, err));
    if (writer->there.centers.rows == 0) {
        return CASK_OK;
    }
    st = load(writer, centers, err);
    *found = st == CASK_OK;
    if (st == CASK_ERR_FORMAT || st == CASK_ERR_MISMATCH) {
        cask_log_warn("%s", err->message);
        writer->there.centers.rows = 0;
        writer->there.redo_centers = true;
        return CASK_OK;
    }
    CASK_TRY(st);
done:
    return st;
}
