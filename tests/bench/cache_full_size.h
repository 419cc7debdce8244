/* tests/bench/cache_full_size.h - a cache of MS1MV2's size on 40 MB of disk, to see what a reader
 * needs.
 *
 * One real shard is written; the other 355 are links to it, each with a sidecar of its own number
 * and the whole in one manifest. The reader cannot tell: it opens, maps, checks and gathers as from
 * 14 GB. What it allocates is the same in both cases; only the file pages behind the maps are not.
 */
#ifndef CASK_TESTS_BENCH_CACHE_FULL_SIZE_H
#define CASK_TESTS_BENCH_CACHE_FULL_SIZE_H

#include <errno.h>

#include "cache/manifest.h"
#include "cache/sidecar.h"
#include "common/hash.h"
#include "tests/support/cache_fixture.h"

/* MS1MV2 has 5,822,653 images of 85,742 identities. */
enum { FULL_SHARD = 16384, FULL_SHARDS = (5822653 + FULL_SHARD - 1) / FULL_SHARD };

/* Kilobytes of a line of /proc/self/status: "RssAnon:", "VmHWM:"; -1: there is no such line. */
static inline long full_size_status(const char *key)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && value < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = atol(line + strlen(key));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

/* Shard `number` of `folder` as a link to shard 0, whose sidecar is `sidecar`. */
static inline enum cask_status full_size_link(const char *folder, const struct cask_layout *layout,
                                              struct cask_sidecar *sidecar, int number,
                                              struct cask_record *record, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char path[600];
    uint8_t *data = NULL;
    size_t bytes = 0;
    sidecar->shard = (uint32_t)number;
    CASK_TRY(cask_sidecar_encode(sidecar, layout, &data, &bytes, err));
    snprintf(path, sizeof path, "%s/shard-%05d.idx", folder, number);
    FILE *file = fopen(path, "wb"); /* 356 fsyncs would be all that is measured */
    bool written = file != NULL && fwrite(data, 1, bytes, file) == bytes;
    if (file == NULL || fclose(file) != 0 || !written) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s: cannot be written", path));
    }
    record->shard = number;
    record->index_bytes = bytes;
    record->index_xxh3 = cask_xxh3(data, bytes);
    snprintf(path, sizeof path, "%s/shard-%05d.h5", folder, number);
    if (symlink("shard-00000.h5", path) != 0) {
        CASK_TRY(cask_error_errno(err, errno, "%s", path));
    }
done:
    cask_free(data);
    return st;
}

/* `folder` holds one finished shard of FULL_SHARD images; makes it a cache of FULL_SHARDS. */
static inline enum cask_status full_size_extend(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char path[600];
    struct cask_manifest_file file = {.complete = false};
    struct cask_sidecar sidecar = {.file_bytes = 0};
    struct cask_layout layout;
    struct cask_record *records = cask_alloc(FULL_SHARDS, sizeof *records);
    char *index = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/shard-00000.idx", folder);
    CASK_TRY(cask_file_read_all(path, (size_t)1 << 30, &index, &bytes, err));
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    CASK_TRY(cask_manifest_read(path, &file, err));
    cask_layout_shard(&file.manifest, 0, &layout);
    CASK_TRY(cask_sidecar_decode((const uint8_t *)index, bytes, &layout, CASK_SIDECAR_SHARD, 0,
                                 &sidecar, err));
    records[0] = file.shards[0];
    for (int i = 1; i < FULL_SHARDS; i++) {
        records[i] = file.shards[0];
        CASK_TRY(full_size_link(folder, &layout, &sidecar, i, &records[i], err));
    }
    struct cask_manifest_file full = file;
    full.manifest.images = (int64_t)FULL_SHARDS * FULL_SHARD;
    full.shards = records;
    CASK_TRY(cask_manifest_write(path, &full, err));
done:
    cask_sidecar_release(&sidecar);
    cask_manifest_file_release(&file);
    cask_free(records);
    cask_free(index);
    return st;
}

#endif
