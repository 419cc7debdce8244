/* cache/tool/repair_index.c - makes lost or damaged indexes again. An index is a function of its
 * shard, and the manifest holds its hash: a rebuilt one is written only if it is the very one that
 * was lost. */
#include <inttypes.h>
#include <string.h>

#include "cache/h5_locate.h"
#include "cache/names.h"
#include "cache/tool/tool.h"
#include "common/hash.h"
#include "common/mem.h"

struct repair {
    const char *folder;
    const struct cask_manifest_file *file;
    int64_t good, repaired, lost;
    struct cask_json *list;
};

static bool is_good(const char *path, const struct cask_record *record)
{
    struct cask_error ignored;
    char *data = NULL;
    size_t bytes = 0;
    bool good = cask_file_read_all(path, (size_t)1 << 30, &data, &bytes, &ignored) == CASK_OK &&
                bytes == record->index_bytes && cask_xxh3(data, bytes) == record->index_xxh3;
    cask_free(data);
    return good;
}

static enum cask_status rebuild(const char *stem, const char *index_path,
                                const struct cask_record *record, const struct cask_layout *layout,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    struct cask_sidecar sidecar = {0};
    uint8_t *data = NULL;
    size_t bytes = 0;
    char *path = cask_format("%s.h5", stem);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(stem), "file name"));
    }
    CASK_TRY(cask_map_open(&map, path, err));
    CASK_TRY(cask_sidecar_allocate(&sidecar, layout, err));
    sidecar.kind = record->shard == CASK_CACHE_CENTERS ? CASK_SIDECAR_CENTERS : CASK_SIDECAR_SHARD;
    sidecar.shard = record->shard == CASK_CACHE_CENTERS ? 0 : (uint32_t)record->shard;
    sidecar.file_bytes = map.bytes;
    sidecar.file_xxh3 = cask_xxh3(map.data, map.bytes);
    CASK_TRY(cask_h5_locate(map.data, map.bytes, layout, sidecar.chunks, err));
    cask_sidecar_hash(&sidecar, layout, map.data);
    CASK_TRY(cask_sidecar_encode(&sidecar, layout, &data, &bytes, err));
    if (bytes != record->index_bytes || cask_xxh3(data, bytes) != record->index_xxh3) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_FORMAT,
            "%s: the shard is not the one that was published either: build it again", path));
    }
    CASK_TRY(cask_file_write_all(index_path, data, bytes, err));
done:
    cask_map_close(&map);
    cask_sidecar_release(&sidecar);
    cask_free(data);
    cask_free(path);
    return st;
}

static void report(struct repair *repair, const char *path, const char *what)
{
    if (repair->list == NULL) {
        printf("%s: %s\n", path, what);
        return;
    }
    struct cask_json *entry = cask_json_object();
    cask_json_set_text(entry, "index", path);
    cask_json_set_text(entry, "result", what);
    cask_json_append(repair->list, entry);
}

static enum cask_status repair_one(struct repair *repair, int64_t number, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_layout layout;
    struct cask_error problem;
    const struct cask_manifest *manifest = &repair->file->manifest;
    bool centers = number == CASK_CACHE_CENTERS;
    const struct cask_record *record =
        centers ? &repair->file->centers : &repair->file->shards[number];
    char *stem =
        centers ? cask_centers_stem(repair->folder) : cask_shard_stem(repair->folder, number);
    char *path = stem != NULL ? cask_format("%s.idx", stem) : NULL;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(repair->folder), "file name"));
    }
    if (centers) {
        cask_layout_centers(manifest, &layout);
    } else {
        cask_layout_shard(manifest, number, &layout);
    }
    if (is_good(path, record)) {
        repair->good++;
    } else if (rebuild(stem, path, record, &layout, &problem) == CASK_OK) {
        repair->repaired++;
        report(repair, path, "made again");
    } else {
        repair->lost++;
        report(repair, path, problem.message);
    }
done:
    cask_free(stem);
    cask_free(path);
    return st;
}

enum cask_status tool_repair_index(const struct tool_arguments *arguments, int *exit_code,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest_file file = {0};
    struct repair repair = {.folder = arguments->folders.values[0],
                            .file = &file,
                            .list = arguments->json ? cask_json_array() : NULL};
    char *path = cask_format("%s/manifest.json", repair.folder);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(repair.folder), "file name"));
    }
    CASK_TRY(cask_manifest_read(path, &file, err));
    if (!file.complete) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: the cache is not finished: precompute makes what is missing",
                                repair.folder));
    }
    for (int64_t i = file.has_centers ? CASK_CACHE_CENTERS : 0;
         i < cask_layout_shards(&file.manifest); i++) {
        CASK_TRY(repair_one(&repair, i, err));
    }
    *exit_code = repair.lost == 0 ? 0 : cask_status_exit_code(CASK_ERR_FORMAT);
    if (arguments->json) {
        struct cask_json *object = cask_json_object();
        cask_json_set_int(object, "good", repair.good);
        cask_json_set_int(object, "repaired", repair.repaired);
        cask_json_set_int(object, "lost", repair.lost);
        cask_json_set(object, "indexes", repair.list);
        repair.list = NULL;
        CASK_TRY(cask_json_print(object, err));
    } else {
        printf("%" PRId64 " indexes good, %" PRId64 " made again, %" PRId64 " lost\n", repair.good,
               repair.repaired, repair.lost);
    }
done:
    cask_json_free(repair.list);
    cask_manifest_file_release(&file);
    cask_free(path);
    return st;
}
