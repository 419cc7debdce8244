/* cache/verify.c - is every byte of a cache what was published? libhdf5 is not involved: the
 * sidecar says where everything is, and the whole-file hash covers HDF5's own structures. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/lz4_frame.h"
#include "cache/manifest.h"
#include "cache/names.h"
#include "cache/shard.h"
#include "common/hash.h"
#include "common/mem.h"

/* Class ids of one decoded chunk: four byte planes. */
static bool indices_in_range(const uint8_t *planes, size_t count, int64_t classes)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)planes[i] | (uint32_t)planes[count + i] << 8 |
                         (uint32_t)planes[2 * count + i] << 16 |
                         (uint32_t)planes[3 * count + i] << 24;
        if ((int64_t)index >= classes) {
            return false;
        }
    }
    return true;
}

static const char *check_rows(const struct cask_array *array, const uint8_t *chunk, size_t bytes)
{
    const char *wrong = NULL;
    for (size_t row = 0; row < array->chunk_rows && wrong == NULL; row++) {
        const uint8_t *data;
        wrong = cask_lz4_frame_row(chunk, bytes, array->chunk_rows, array->row_bytes, row, &data);
    }
    return wrong;
}

/* Decodes every chunk of one array: a checksum says that bytes are as published, not that they are
 * right. */
static enum cask_status decode_array(struct cask_shard *shard, int slot, int64_t classes,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_array *array = &shard->layout->arrays[slot];
    size_t raw = cask_array_chunk_raw(array, shard->layout->rows);
    uint8_t *planes = cask_alloc(raw, 1);
    if (planes == NULL) {
        CASK_TRY(cask_error_memory(err, raw, "decoding memory"));
    }
    for (uint32_t c = 0; c < array->chunks; c++) {
        const struct cask_chunk *chunk = &shard->sidecar.chunks[array->first_chunk + c];
        const uint8_t *stored = shard->map.data + chunk->address;
        const char *wrong;
        if (array->storage == CASK_STORAGE_ROW_BLOCKS) {
            wrong = check_rows(array, stored, cask_chunk_bytes(chunk));
        } else {
            wrong = cask_lz4_frame_decode(stored, cask_chunk_bytes(chunk), planes, raw);
        }
        if (wrong == NULL && array->element == CASK_ELEMENT_U32 &&
            !indices_in_range(planes, raw / 4, classes)) {
            wrong = "a class index is out of range";
        }
        if (wrong != NULL) {
            CASK_TRY(cask_shard_damage(shard, slot, (uint64_t)c * array->chunk_rows,
                                       array->chunk_rows, wrong, err));
        }
    }
done:
    cask_free(planes);
    return st;
}

static enum cask_status check_file(const char *stem, const struct cask_record *record,
                                   const struct cask_layout *layout, int64_t classes,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_shard shard = {0};
    CASK_TRY(cask_shard_open(&shard, stem, record, layout, CASK_VERIFY_ALWAYS, err));
    madvise((void *)(uintptr_t)shard.map.data, shard.map.bytes, MADV_SEQUENTIAL);
    for (int i = 0; i < layout->array_count; i++) {
        if (layout->arrays[i].row_elements > 0) {
            CASK_TRY(cask_shard_check_array(&shard, i, err));
        }
        if (layout->arrays[i].row_elements > 0 &&
            layout->arrays[i].storage != CASK_STORAGE_CONTIGUOUS) {
            CASK_TRY(decode_array(&shard, i, classes, err));
        }
    }
    if (cask_xxh3(shard.map.data, shard.map.bytes) != shard.sidecar.file_xxh3) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: damaged outside of all arrays, in HDF5's own structures: the "
                                "rows are whole, but h5py may not open the file",
                                shard.path));
    }
done:
    cask_shard_close(&shard);
    return st;
}

static enum cask_status verify_one(const char *folder, const struct cask_manifest_file *file,
                                   int64_t number, struct cask_error *damage)
{
    struct cask_layout layout;
    const struct cask_record *record = &file->centers;
    char *stem;
    if (number == CASK_CACHE_CENTERS) {
        stem = cask_centers_stem(folder);
        cask_layout_centers(&file->manifest, &layout);
    } else {
        stem = cask_shard_stem(folder, number);
        record = &file->shards[number];
        cask_layout_shard(&file->manifest, number, &layout);
    }
    enum cask_status st = stem != NULL
                              ? check_file(stem, record, &layout, file->manifest.classes, damage)
                              : cask_error_memory(damage, strlen(folder), "file name");
    cask_free(stem);
    return st;
}

enum cask_status cask_verify_folder(const char *folder, cask_verify_report report, void *user,
                                    struct cask_verify_counts *counts, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_manifest_file file = {0};
    struct cask_error damage;
    char *path = cask_format("%s/manifest.json", folder);
    memset(counts, 0, sizeof *counts);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    if (!cask_path_exists(path)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_IO,
                                "%s: no manifest.json there: not a cache (build one with "
                                "precompute)",
                                folder));
    }
    CASK_TRY(cask_manifest_read(path, &file, err));
    if (!file.complete) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_FORMAT,
            "%s: the cache is not finished: run precompute again with the same settings", folder));
    }
    counts->shards = cask_layout_shards(&file.manifest);
    for (int64_t i = 0; i < counts->shards; i++) {
        counts->bytes += file.shards[i].bytes + file.shards[i].index_bytes;
        if (verify_one(folder, &file, i, &damage) != CASK_OK) {
            counts->bad_shards++;
            report(i, &damage, user);
        }
    }
    if (file.has_centers) {
        counts->bytes += file.centers.bytes + file.centers.index_bytes;
        if (verify_one(folder, &file, CASK_CACHE_CENTERS, &damage) != CASK_OK) {
            counts->centers_bad = true;
            report(CASK_CACHE_CENTERS, &damage, user);
        }
    }
done:
    cask_manifest_file_release(&file);
    cask_free(path);
    return st;
}
