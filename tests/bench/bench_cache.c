/* bench_cache [--rows N] [--topk K] [--int8] [--dir DIR] [--full-size | --cold]: how fast a cache
 * is written, read and verified; with --full-size instead, what a reader of a cache of MS1MV2's
 * size allocates; with --cold, what threads that read ahead gain on a disk.
 *
 * Rates are rows (one view of one image) per second of CPU time of one thread, page cache warm,
 * best of three; the ratio to H5Dread through our own LZ4 filter comes from the same run. Rows are
 * synthetic: random unit embeddings, random class ids with falling cosines. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/h5_file.h"
#include "cache/quantize.h"
#include "cache/shard.h"
#include "common/file.h"
#include "common/hash.h"
#include "tests/bench/bench_main.h"
#include "tests/bench/cache_cold.h"
#include "tests/bench/cache_full_size.h"
#include "tests/support/cache_fixture.h"

enum { BATCH = 512, KINDS = 997, IDENTITY_ROWS = 64 };

struct options {
    int64_t rows, topk;
    bool int8, full_size, cold;
    const char *dir;
};

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void stop(const struct cask_error *err)
{
    fprintf(stderr, "bench_cache: %s\n", err->message);
    exit(1);
}

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != CASK_OK) {                                                                   \
            stop(&err);                                                                            \
        }                                                                                          \
    } while (0)

/* ---------------------------------------------------------------- write */

/* Rows repeat after KINDS images: making them must not be what is measured. */
static void build(const char *folder, const struct cask_manifest *manifest)
{
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct fixture *kinds = calloc(KINDS, sizeof *kinds);
    struct cask_cache_row *rows = calloc(KINDS, sizeof *rows);
    for (int i = 0; i < KINDS; i++) {
        fixture_open(&kinds[i], manifest);
        rows[i] = fixture_row(&kinds[i], i);
    }
    double start = cpu_seconds();
    struct timespec wall[2];
    clock_gettime(CLOCK_MONOTONIC, &wall[0]);
    MUST(cask_cache_writer_open(folder, manifest, 1, &writer, &err));
    for (int64_t shard = 0; shard < cask_cache_writer_shards(writer); shard++) {
        int64_t left = manifest->images - shard * manifest->shard_images;
        left = left < manifest->shard_images ? left : manifest->shard_images;
        MUST(cask_cache_writer_begin(writer, shard, &err));
        for (; left > 0; left -= left < KINDS ? left : KINDS) {
            MUST(cask_cache_writer_append(writer, rows, left < KINDS ? (int)left : KINDS, &err));
        }
        MUST(cask_cache_writer_commit(writer, &err));
    }
    MUST(cask_cache_writer_finish(writer, &err));
    cask_cache_writer_close(writer);
    clock_gettime(CLOCK_MONOTONIC, &wall[1]);
    double seconds = (double)(wall[1].tv_sec - wall[0].tv_sec) +
                     1e-9 * (double)(wall[1].tv_nsec - wall[0].tv_nsec);
    double views = 2.0 * (double)manifest->images;
    printf("%-44s %8.0f k rows/s  (wall, with fsync: %.0f k)\n", "write",
           views / (cpu_seconds() - start) / 1e3, views / seconds / 1e3);
    for (int i = 0; i < KINDS; i++) {
        fixture_close(&kinds[i]);
    }
    free(kinds);
    free(rows);
}

/* ---------------------------------------------------------------- gather */

enum order { SEQUENTIAL, RANDOM, IDENTITIES };

static void fill(enum order order, int64_t images, uint64_t batch, int64_t *rows, bool *mirror)
{
    for (uint64_t i = 0; i < BATCH; i++) {
        uint64_t n = batch * BATCH + i;
        if (order == SEQUENTIAL) {
            rows[i] = (int64_t)(n % (uint64_t)images);
        } else if (order == RANDOM) {
            rows[i] = (int64_t)cask_rng_below(1, 0, n, (uint64_t)images);
        } else { /* 64 identities, 8 of the 64 adjacent rows of each */
            uint64_t identity = cask_rng_below(2, 0, n / 8, (uint64_t)images / IDENTITY_ROWS);
            rows[i] = (int64_t)(identity * IDENTITY_ROWS + cask_rng_below(3, 0, n, IDENTITY_ROWS));
        }
        mirror[i] = order != SEQUENTIAL && cask_rng_u64(4, 0, n) & 1;
    }
}

static double measure(const char *folder, enum order order, enum cask_verify verify, bool topk)
{
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    MUST(cask_cache_open(folder, verify, &cache, &err));
    const struct cask_manifest *m = cask_cache_manifest(cache);
    struct cask_cache_gather out = {.embedding = calloc((size_t)m->embedding * BATCH, 4)};
    if (topk) {
        out.topk_index = calloc((size_t)m->topk * BATCH, 4);
        out.topk_cosine = calloc((size_t)m->topk * BATCH, 4);
        out.label_cosine = calloc(BATCH, 4);
        out.lse = calloc((size_t)m->temperature_count * BATCH, 4);
    }
    int64_t *rows = calloc(BATCH, sizeof *rows);
    bool *mirror = calloc(BATCH, sizeof *mirror);
    uint64_t batches = (uint64_t)m->images / BATCH;
    double best = 0;
    for (uint64_t round = 0; round < 4;
         round++) { /* the first one warms up, and checks with `first` */
        double seconds = 0;
        for (uint64_t b = 0; b < batches; b++) {
            fill(order, m->images, round * batches + b, rows, mirror);
            double start = cpu_seconds();
            MUST(cask_cache_gather(cache, rows, mirror, BATCH, &out, &err));
            seconds += cpu_seconds() - start;
        }
        double rate = (double)(batches * BATCH) / seconds;
        best = round > 0 && rate > best ? rate : best;
    }
    free(out.embedding);
    free(out.topk_index);
    free(out.topk_cosine);
    free(out.label_cosine);
    free(out.lse);
    free(rows);
    free(mirror);
    cask_cache_close(cache);
    return best;
}

static double report(const char *folder, const char *what, enum order order,
                     enum cask_verify verify, bool topk)
{
    static const char *const names[] = {"first", "always", "off"};
    char title[80];
    double rate = measure(folder, order, verify, topk);
    snprintf(title, sizeof title, "%s%s, checksums %s", what, topk ? "" : ", embedding only",
             names[verify]);
    printf("%-44s %8.0f k rows/s\n", title, rate / 1e3);
    return rate;
}

/* ---------------------------------------------------------------- H5Dread */

/* What a loss takes: unit floats and cosines as floats, as the gather gives them. */
static void convert(const struct cask_manifest *m, int which, const void *stored, size_t rows,
                    float *out)
{
    size_t width = (size_t)(which == 0 ? m->embedding : m->topk);
    for (size_t r = 0; which == 0 && r < rows; r++) {
        if (m->embedding_type == CASK_EMBEDDING_INT8) {
            cask_unit_from_i8((const int8_t *)stored + r * width, width, out + r * width);
        } else {
            cask_unit_from_f16((const uint8_t *)stored + 2 * r * width, width, out + r * width);
        }
    }
    for (size_t i = 0; which == 2 && i < rows * width; i++) {
        out[i] = cask_cosine_from_i16(((const int16_t *)stored)[i]);
    }
}

/* Three arrays of view 0 in slabs of 1,024 rows. */
static double read_shard(const char *path, const struct cask_manifest *m, void *buffer,
                         float *floats)
{
    static const char *const names[] = {"orig/embedding", "orig/topk_index", "orig/topk_cosine"};
    hsize_t widths[] = {(hsize_t)m->embedding, (hsize_t)m->topk, (hsize_t)m->topk}, total = 0;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    for (int i = 0; i < 3; i++) {
        hid_t dataset = H5Dopen2(file, names[i], H5P_DEFAULT), type = H5Dget_type(dataset),
              space = H5Dget_space(dataset);
        hsize_t shape[2];
        H5Sget_simple_extent_dims(space, shape, NULL);
        total = shape[0];
        for (hsize_t at = 0; at < shape[0]; at += 1024) {
            hsize_t offset[2] = {at, 0},
                    count[2] = {shape[0] - at < 1024 ? shape[0] - at : 1024, widths[i]};
            hid_t memory = H5Screate_simple(2, count, NULL);
            H5Sselect_hyperslab(space, H5S_SELECT_SET, offset, NULL, count, NULL);
            if (H5Dread(dataset, type, memory, space, H5P_DEFAULT, buffer) < 0) {
                fprintf(stderr, "bench_cache: H5Dread of %s failed\n", names[i]);
                exit(1);
            }
            convert(m, i, buffer, count[0], floats);
            H5Sclose(memory);
        }
        H5Sclose(space);
        H5Tclose(type);
        H5Dclose(dataset);
    }
    H5Fclose(file);
    return (double)total;
}

static double measure_h5dread(const char *folder, const struct cask_manifest *m)
{
    struct cask_error err = {0};
    double best = 0;
    size_t width = (size_t)(m->embedding > m->topk ? m->embedding : m->topk);
    void *buffer = calloc(1024 * width, 4);
    float *floats = calloc(1024 * width, 4);
    MUST(cask_h5_register_lz4(&err));
    for (int round = 0; round < 3; round++) {
        double rows = 0, start = cpu_seconds();
        for (int64_t shard = 0; shard < cask_layout_shards(m); shard++) {
            char path[600];
            snprintf(path, sizeof path, "%s/shard-%05d.h5", folder, (int)shard);
            rows += read_shard(path, m, buffer, floats);
        }
        double rate = rows / (cpu_seconds() - start);
        best = rate > best ? rate : best;
    }
    free(buffer);
    free(floats);
    return best;
}

/* ---------------------------------------------------------------- verify */

static void measure_verify(const char *folder, const struct cask_manifest *m)
{
    struct cask_error err = {0};
    double bytes = 0, hashing = 0;
    for (int64_t shard = 0; shard < cask_layout_shards(m); shard++) {
        char path[600];
        struct cask_map map;
        snprintf(path, sizeof path, "%s/shard-%05d.h5", folder, (int)shard);
        MUST(cask_map_open(&map, path, &err));
        double start = cpu_seconds();
        volatile uint64_t hash = cask_xxh3(map.data, map.bytes);
        (void)hash;
        hashing += cpu_seconds() - start;
        bytes += (double)map.bytes;
        cask_map_close(&map);
    }
    char *copy = malloc(1 << 26), *from = malloc(1 << 26);
    memset(from, 1, 1 << 26);
    memset(copy, 2, 1 << 26);
    double start = cpu_seconds();
    for (int i = 0; i < 4; i++) {
        memcpy(copy, from, 1 << 26);
        from[i] = copy[i + 1];
    }
    double copying = 4.0 * (1 << 26) / (cpu_seconds() - start);
    printf("%-44s %8.1f GB/s  (memcpy %.1f GB/s)\n", "verify: XXH3 of whole files",
           bytes / hashing / 1e9, copying / 1e9);
    free(copy);
    free(from);
}

/* ---------------------------------------------------------------- memory */

/* One gather of BATCH random rows after another, `batches` of them. */
static void gather_some(struct cask_cache *cache, uint64_t batches)
{
    struct cask_error err = {0};
    const struct cask_manifest *m = cask_cache_manifest(cache);
    struct cask_cache_gather out = {.embedding = calloc((size_t)m->embedding * BATCH, 4),
                                    .topk_index = calloc((size_t)m->topk * BATCH, 4),
                                    .topk_cosine = calloc((size_t)m->topk * BATCH, 4)};
    int64_t rows[BATCH];
    bool mirror[BATCH];
    for (uint64_t b = 0; b < batches; b++) {
        fill(RANDOM, m->images, b, rows, mirror);
        MUST(cask_cache_gather(cache, rows, mirror, BATCH, &out, &err));
    }
    free(out.embedding);
    free(out.topk_index);
    free(out.topk_cosine);
}

/* Memory that is the process's own (RssAnon): mapped file pages are the page cache's, shared by all
 * readers and given back under pressure. False if it is over the limit. */
static bool full_size(const char *folder, enum cask_embedding_type type, int topk)
{
    enum { LIMIT_MB = 150, BATCHES = 400 };
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    struct cask_manifest m = fixture_manifest(FULL_SHARD, 85742, 512, topk, FULL_SHARD, type);
    build(folder, &m);
    MUST(full_size_extend(folder, &err));
    long before = full_size_status("RssAnon:");
    double start = cpu_seconds();
    MUST(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
    double seconds = cpu_seconds() - start;
    long opened = full_size_status("RssAnon:");
    gather_some(cache, BATCHES);
    long after = full_size_status("RssAnon:");
    double rows = (double)cask_cache_rows(cache), most = (double)(after - before) / 1e3;
    printf("%.0f images x 2 views in %d shards, %.1f GB, opened in %.2f s\n", rows, FULL_SHARDS,
           (double)cask_cache_file_bytes(cache) / 1e9, seconds);
    printf("%-44s %8.1f MB\n", "own memory of the open reader", (double)(opened - before) / 1e3);
    printf("%-44s %8.1f MB  (limit %d)\n", "... and after 204,800 random rows", most, LIMIT_MB);
    printf("%-44s %8.1f MB\n", "index, and file pages of labels, ids, LSEs",
           (double)cask_cache_resident_bytes(cache) / 1e6);
    cask_cache_close(cache);
    return before > 0 && most < LIMIT_MB;
}

/* ---------------------------------------------------------------- cold storage */

static void cold(const char *folder, enum cask_embedding_type type, int topk, int64_t images)
{
    static const struct {
        int threads;
        double step_ms;
    } cases[] = {{0, 0}, {1, 50}, {4, 50}, {16, 50}, {48, 50}, {16, 10}, {16, 200}, {48, 200}};
    struct cask_error err = {0};
    struct cask_manifest m = fixture_manifest(images, 85742, 512, topk, 16384, type);
    build(folder, &m);
    printf("random batches of %d rows, gathered between training steps; milliseconds that a gather "
           "takes\n",
           COLD_BATCH);
    printf("%10s %10s %10s %10s\n", "threads", "step ms", "cold ms", "warm ms");
    for (uint64_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double cold_ms = 0, warm_ms = 0;
        if (!cold_drop(folder, cask_layout_shards(&m))) {
            fprintf(stderr, "bench_cache: the page cache cannot be emptied\n");
            exit(1);
        }
        MUST(cold_run(folder, cases[i].threads, i, 1e-3 * cases[i].step_ms, &cold_ms, &err));
        MUST(cold_run(folder, cases[i].threads, i, 1e-3 * cases[i].step_ms, &warm_ms, &err));
        printf("%10d %10.0f %10.2f %10.2f\n", cases[i].threads, cases[i].step_ms, cold_ms, warm_ms);
    }
}

static void speeds(const char *folder, enum cask_embedding_type type, int topk, int64_t images)
{
    struct cask_error err = {0};
    struct cask_manifest m = fixture_manifest(images, 85742, 512, topk, 16384, type);
    printf("%lld images x 2 views, D 512, k %d, %s; CPU time of one thread\n", (long long)images,
           topk, type == CASK_EMBEDDING_INT8 ? "int8" : "f16");
    build(folder, &m);
    double sequential = report(folder, "sequential", SEQUENTIAL, CASK_VERIFY_FIRST, true);
    report(folder, "sequential", SEQUENTIAL, CASK_VERIFY_ALWAYS, true);
    report(folder, "random", RANDOM, CASK_VERIFY_FIRST, true);
    report(folder, "random", RANDOM, CASK_VERIFY_ALWAYS, true);
    report(folder, "random", RANDOM, CASK_VERIFY_FIRST, false);
    report(folder, "p x q = 64 x 8", IDENTITIES, CASK_VERIFY_FIRST, true);
    report(folder, "p x q = 64 x 8", IDENTITIES, CASK_VERIFY_ALWAYS, true);
    double library = measure_h5dread(folder, &m);
    printf("%-44s %8.0f k rows/s\n", "sequential H5Dread through the filter", library / 1e3);
    printf("%-44s %8.2f\n", "sequential / H5Dread", sequential / library);
    measure_verify(folder, &m);
    struct cask_cache *cache = NULL;
    MUST(cask_cache_open(folder, CASK_VERIFY_OFF, &cache, &err));
    printf("%-44s %8.1f MB  (%.1f bytes per image)\n", "on disk",
           (double)cask_cache_file_bytes(cache) / 1e6,
           (double)cask_cache_file_bytes(cache) / (double)images);
    cask_cache_close(cache);
}

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row flags[] = {
    {"rows", CASK_CONFIG_INT, ROW(rows), "32768", 1, 1e9, NULL, "N", "images, of two views each"},
    {"topk", CASK_CONFIG_INT, ROW(topk), "32", 1, 4096, NULL, "K", "cosines kept per view"},
    {"int8", CASK_CONFIG_BOOL, ROW(int8), "false", 0, 0, NULL, NULL, "embeddings as int8"},
    {"dir", CASK_CONFIG_TEXT, ROW(dir), "", 0, 0, NULL, "DIR", "where; by default memory"},
    {"full_size", CASK_CONFIG_BOOL, ROW(full_size), "false", 0, 0, NULL, NULL,
     "own memory of a reader of MS1MV2's size"},
    {"cold", CASK_CONFIG_BOOL, ROW(cold), "false", 0, 0, NULL, NULL,
     "threads that read ahead, on a disk"},
};

static enum cask_status run(void *user, struct cask_error *err)
{
    const struct options *options = user;
    const enum cask_embedding_type type = options->int8 ? CASK_EMBEDDING_INT8 : CASK_EMBEDDING_F16;
    const int topk = (int)options->topk;
    /* CPU rates are not to be the disk's; --cold is about it */
    const char *base = options->dir[0] != '\0'         ? options->dir
                       : options->cold                 ? "/var/tmp"
                       : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                       : "/tmp";
    char folder[256], command[300];
    bool small = true;
    snprintf(folder, sizeof folder, "%s/bench-cache-XXXXXX", base);
    if (mkdtemp(folder) == NULL) {
        return cask_error_errno(err, errno, "%s: cannot make a folder in it", base);
    }
    if (options->full_size) {
        small = full_size(folder, type, topk);
    } else if (options->cold) {
        cold(folder, type, topk, options->rows);
    } else {
        speeds(folder, type, topk, options->rows);
    }
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) {
        return cask_error_set(err, CASK_ERR_IO, "%s", command);
    }
    return small ? CASK_OK
                 : cask_error_set(err, CASK_ERR_RANGE, "a reader takes more memory than it may");
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_cache", flags, sizeof flags / sizeof *flags, &options, run, argc,
                      argv);
}
