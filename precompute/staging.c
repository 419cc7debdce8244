#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "precompute/precompute.h"

/* One stage file: this header, then per view [count][dim] float32 units and [count] norms, then
 * [count] bad flags. `checksum` is XXH3 of all that follows the header. */
struct stage_header {
    char magic[8];
    uint64_t first, count, dim, checksum;
};
static const char stage_magic[8] = "CASKSTG1";

static size_t image_bytes(int dim)
{
    return CASK_CACHE_VIEWS * ((size_t)dim + 1) * sizeof(float) + 1;
}

enum cask_status staging_open(const char *out, const struct cask_manifest *manifest,
                              struct staging *staging, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char hex[CASK_SHA256_HEX], pixels[64];
    struct cask_sha256 hash;
    cask_preprocess_format(&manifest->preprocess, pixels);
    cask_sha256_init(&hash);
    cask_sha256_update_text(&hash, manifest->weights_sha256);
    cask_sha256_update_text(&hash, manifest->architecture_sha256);
    cask_sha256_update_text(&hash, manifest->dataset_sha256);
    cask_sha256_update_text(&hash, manifest->precision);
    cask_sha256_update_text(&hash, pixels);
    cask_sha256_update_u64(&hash, manifest->decoder_crc);
    cask_sha256_update_u64(&hash, (uint64_t)manifest->shard_images);
    cask_sha256_final_hex(&hash, hex);
    if (snprintf(staging->folder, sizeof staging->folder, "%s/staging-%.16s", out, hex) >=
        (int)sizeof staging->folder) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "--out %.200s...: expected a path of at most %zu bytes", out,
                                sizeof staging->folder - 32));
    }
    staging->name = strrchr(staging->folder, '/') + 1;
    CASK_TRY(cask_folder_create(staging->folder, err));
    CASK_TRY(cask_lease_sweep(staging->folder, err));
done:
    return st;
}

enum cask_status staging_check_space(const struct staging *staging, const char *out,
                                     const struct cask_manifest *manifest, int64_t missing,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    uint64_t available = 0, needed = (uint64_t)missing * image_bytes(manifest->embedding);
    CASK_TRY(cask_folder_free_bytes(out, &available, err));
    if (needed > available) {
        CASK_TRY(cask_error_set(err, CASK_ERR_NO_SPACE,
                                "%s: staging the embeddings for class means takes %.3f GB, the "
                                "disk has %.3f GB free: make room, or give --centers FILE",
                                staging->folder, (double)needed / 1e9, (double)available / 1e9));
    }
done:
    return st;
}

static bool is_there(const struct staging *staging)
{
    return cask_path_is_folder(staging->folder);
}

enum cask_status staging_add_part(struct staging *staging, const char *part, struct cask_error *err)
{
    char folder[PATH_MAX];
    if (staging->part_count == CASK_CONFIG_LIST ||
        snprintf(folder, sizeof folder, "%s/%s", part, staging->name) >=
            (int)sizeof folder - (int)sizeof "/stage-00000000000000000000.bin" ||
        !cask_path_is_folder(folder)) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s: no embeddings of this build are staged there (expected the "
                              "folder %s, made by precompute --shards A:B)",
                              part, staging->name);
    }
    staging->parts[staging->part_count++] = part;
    return CASK_OK;
}

static void stage_path(const struct staging *staging, int64_t shard, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/stage-%05lld.bin", staging->folder, (long long)shard);
}

/* The shard's file where it is: in the own folder first. False: nowhere; `path` is the own one. */
static bool find_stage(const struct staging *staging, int64_t shard, char path[PATH_MAX])
{
    stage_path(staging, shard, path);
    if (cask_path_exists(path)) {
        return true;
    }
    for (int i = 0; i < staging->part_count; i++) {
        snprintf(path, PATH_MAX, "%s/%s/stage-%05lld.bin", staging->parts[i], staging->name,
                 (long long)shard);
        if (cask_path_exists(path)) {
            return true;
        }
    }
    stage_path(staging, shard, path);
    return false;
}

bool staging_has(const struct staging *staging, int64_t shard)
{
    char path[PATH_MAX];
    return find_stage(staging, shard, path);
}

/* The parts of a stage file in order, so that saving and loading cannot disagree. */
struct part {
    void *data;
    size_t bytes;
};
enum { PARTS = 2 * CASK_CACHE_VIEWS + 1 };
static void list_parts(const struct shard_rows *rows, struct part parts[PARTS])
{
    size_t count = (size_t)rows->count;
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        parts[2 * v] = (struct part){rows->unit[v], count * (size_t)rows->dim * sizeof(float)};
        parts[2 * v + 1] = (struct part){rows->norm[v], count * sizeof(float)};
    }
    parts[PARTS - 1] = (struct part){rows->bad, count};
}

static uint64_t chain(uint64_t checksum, const struct part *part)
{
    uint64_t pair[2] = {checksum, cask_xxh3(part->data, part->bytes)};
    return cask_xxh3(pair, sizeof pair);
}

enum cask_status staging_save(const struct staging *staging, int64_t shard,
                              const struct shard_rows *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char path[PATH_MAX];
    struct cask_file file = {.fd = -1};
    struct part parts[PARTS];
    struct stage_header header = {
        .first = (uint64_t)rows->first, .count = (uint64_t)rows->count, .dim = (uint64_t)rows->dim};
    memcpy(header.magic, stage_magic, sizeof header.magic);
    list_parts(rows, parts);
    for (int i = 0; i < PARTS; i++) {
        header.checksum = chain(header.checksum, &parts[i]);
    }
    stage_path(staging, shard, path);
    CASK_TRY(cask_folder_create(staging->folder, err));
    CASK_TRY(cask_file_begin(&file, path, err));
    CASK_TRY(cask_file_write(&file, &header, sizeof header, err));
    for (int i = 0; i < PARTS; i++) {
        CASK_TRY(cask_file_write(&file, parts[i].data, parts[i].bytes, err));
    }
    CASK_TRY(cask_file_commit(&file, err));
done:
    cask_file_abort(&file);
    return st;
}

enum cask_status staging_load(const struct staging *staging, int64_t shard, int64_t first,
                              int64_t count, struct shard_rows *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char path[PATH_MAX];
    struct cask_map map = {0};
    struct part parts[PARTS];
    struct stage_header header;
    uint64_t checksum = 0;
    size_t expected = sizeof header;
    rows->first = first;
    rows->count = count;
    list_parts(rows, parts);
    for (int i = 0; i < PARTS; i++) {
        expected += parts[i].bytes;
    }
    find_stage(staging, shard, path);
    CASK_TRY(cask_map_open(&map, path, err));
    if (map.bytes != expected) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected %zu bytes, found %zu: cut short, or not from this "
                                "build; run the same command again to make it anew",
                                path, expected, map.bytes));
    }
    memcpy(&header, map.data, sizeof header);
    const uint8_t *at = map.data + sizeof header;
    for (int i = 0; i < PARTS; at += parts[i].bytes, i++) {
        memcpy(parts[i].data, at, parts[i].bytes);
        checksum = chain(checksum, &parts[i]);
    }
    if (memcmp(header.magic, stage_magic, sizeof header.magic) != 0 ||
        header.first != (uint64_t)first || header.count != (uint64_t)count ||
        header.dim != (uint64_t)rows->dim || header.checksum != checksum) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected images %lld to %lld and checksum %016llx, found "
                                "something else: damaged; run the same command again to make it "
                                "anew",
                                path, (long long)first, (long long)(first + count - 1),
                                (unsigned long long)checksum));
    }
done:
    cask_map_close(&map);
    return st;
}

void staging_remove(const struct staging *staging, int64_t shards)
{
    char path[PATH_MAX];
    if (!is_there(staging)) {
        return;
    }
    for (int64_t s = 0; s < shards; s++) {
        stage_path(staging, s, path);
        unlink(path);
    }
    struct cask_error ignored;
    cask_lease_sweep(staging->folder, &ignored);
    rmdir(
        staging->folder); /* fails while another process still holds a lease there: it will do it */
}
