/* tests/support/cache_fixture.h - a small synthetic teacher: rows that are a pure function of their
 * number, so that any test can say what a cache must hold without asking the cache.
 *
 * Embeddings are random unit vectors; top-k lists are random distinct class ids with falling
 * cosines and, at even rows, a tie of the first two. Real geometry does not matter to storage.
 */
#ifndef CASK_TESTS_SUPPORT_CACHE_FIXTURE_H
#define CASK_TESTS_SUPPORT_CACHE_FIXTURE_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/rng.h"

struct fixture {
    struct cask_manifest manifest;
    float *embedding, *cosine;
    uint32_t *index;
    double lse[CASK_CACHE_VIEWS][CASK_CACHE_TEMPERATURES];
};

static inline struct cask_manifest fixture_manifest(int64_t images, int64_t classes, int embedding,
                                                    int topk, int64_t shard_images,
                                                    enum cask_embedding_type type)
{
    struct cask_manifest manifest = {
        .major = CASK_CACHE_MAJOR,
        .images = images,
        .classes = classes,
        .embedding = embedding,
        .embedding_type = type,
        .topk = topk,
        .scale = 64,
        .temperatures = {1, 4},
        .temperature_count = 2,
        .shard_images = shard_images,
        .teacher = "ir50",
        .weights_sha256 = "6d0000000000000000000000000000000000000000000000000000000000beef",
        .precision = "fp32",
        .preprocess = {CASK_RGB, 127.5, 127.5, 112, 112},
        .decoder = "libjpeg-turbo",
        .decoder_crc = 0xfeedf00d,
        .dataset_sha256 = "da7a000000000000000000000000000000000000000000000000000000000001",
        .dataset_path = "/data/faces",
        .created = "2026-01-01T00:00:00Z",
        .writer = "test",
    };
    /* one kind with a probe, the other as Cask 0.1 wrote it */
    manifest.probe_count = type == CASK_EMBEDDING_F16 ? CASK_PROBE_NUMBERS : 0;
    for (int i = 0; i < manifest.probe_count; i++) {
        manifest.probe[i] = (double)(i % 7) / 8 - 0.25;
    }
    return manifest;
}

static inline void fixture_open(struct fixture *fixture, const struct cask_manifest *manifest)
{
    fixture->manifest = *manifest;
    fixture->embedding = calloc((size_t)manifest->embedding * CASK_CACHE_VIEWS, sizeof(float));
    fixture->cosine = calloc((size_t)manifest->topk * CASK_CACHE_VIEWS, sizeof(float));
    fixture->index = calloc((size_t)manifest->topk * CASK_CACHE_VIEWS, sizeof(uint32_t));
}

static inline void fixture_close(struct fixture *fixture)
{
    free(fixture->embedding);
    free(fixture->cosine);
    free(fixture->index);
}

static inline float fixture_uniform(int64_t row, int view, int what, int64_t n)
{
    return (float)cask_rng_uniform(4711, (uint64_t)(what * 2 + view), (uint64_t)(row * 8192 + n));
}

static inline void fixture_view(struct fixture *fixture, int64_t row, int view,
                                struct cask_cache_view *out)
{
    const struct cask_manifest *manifest = &fixture->manifest;
    float *x = fixture->embedding + (size_t)view * (size_t)manifest->embedding;
    float *cosine = fixture->cosine + (size_t)view * (size_t)manifest->topk;
    uint32_t *index = fixture->index + (size_t)view * (size_t)manifest->topk;
    double sum = 0;
    for (int i = 0; i < manifest->embedding; i++) {
        x[i] =
            (float)cask_rng_normal(99, (uint64_t)view, (uint64_t)(row * manifest->embedding + i));
        sum += (double)x[i] * (double)x[i];
    }
    for (int i = 0; i < manifest->embedding; i++) {
        x[i] = (float)((double)x[i] / sqrt(sum));
    }
    float last = 0.9f;
    uint32_t stride = (uint32_t)(manifest->classes / manifest->topk);
    uint32_t start = (uint32_t)cask_rng_below(7, (uint64_t)view, (uint64_t)row, (uint64_t)stride);
    for (int j = 0; j < manifest->topk; j++) {
        bool tie = j == 1 && row % 2 == 0;
        last -=
            tie ? 0.0f : 0.5f / (float)manifest->topk * fixture_uniform(row, view, 1, j) + 1e-5f;
        cosine[j] = last;
        /* distinct ids; ascending inside the tie of places 0 and 1 */
        index[j] = start + stride * (uint32_t)(j < 2 ? j : manifest->topk + 1 - j);
    }
    for (int t = 0; t < manifest->temperature_count; t++) {
        fixture->lse[view][t] = 50.0 + 10.0 * (double)fixture_uniform(row, view, 2, t);
    }
    *out = (struct cask_cache_view){
        x,      10.0f + fixture_uniform(row, view, 3, 0), index,
        cosine, fixture_uniform(row, view, 4, 0),         fixture->lse[view]};
}

/* Row 5 of every hundred is bad; row 7 has no label. */
static inline struct cask_cache_row fixture_row(struct fixture *fixture, int64_t row)
{
    struct cask_cache_row out = {.sample_id = (uint64_t)row + ((uint64_t)1 << 40),
                                 .source_offset = (uint64_t)row * 6007};
    out.label = row % 100 == 7 ? UINT32_MAX
                               : (uint32_t)cask_rng_below(5, 0, (uint64_t)row,
                                                          (uint64_t)fixture->manifest.classes);
    if (row % 100 == 5) {
        out.flags = CASK_ROW_BAD;
        return out;
    }
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        fixture_view(fixture, row, view, &out.views[view]);
    }
    return out;
}

static inline enum cask_status fixture_shard(struct fixture *fixture,
                                             struct cask_cache_writer *writer, int64_t shard,
                                             struct cask_error *err)
{
    const struct cask_manifest *manifest = &fixture->manifest;
    int64_t first = shard * manifest->shard_images, end = first + manifest->shard_images;
    enum cask_status st = cask_cache_writer_begin(writer, shard, err);
    for (int64_t row = first; st == CASK_OK && row < end && row < manifest->images; row++) {
        struct cask_cache_row one = fixture_row(fixture, row);
        st = cask_cache_writer_append(writer, &one, 1, err);
    }
    if (st == CASK_OK) {
        return cask_cache_writer_commit(writer, err);
    }
    cask_cache_writer_abort(writer);
    return st;
}

static inline enum cask_status fixture_centers(struct cask_cache_writer *writer,
                                               const struct cask_manifest *manifest,
                                               struct cask_error *err)
{
    size_t count = (size_t)manifest->classes * (size_t)manifest->embedding;
    float *centers = calloc(count, sizeof *centers);
    for (size_t i = 0; i < count; i++) {
        centers[i] = (float)cask_rng_uniform(3, 0, i) - 0.5f;
    }
    enum cask_status st = cask_cache_writer_centers(writer, centers, err);
    free(centers);
    return st;
}

/* Every missing shard, centres where the manifest names their origin, the final manifest. */
static inline enum cask_status fixture_build(const char *folder,
                                             const struct cask_manifest *manifest,
                                             struct cask_error *err)
{
    struct fixture fixture;
    struct cask_cache_writer *writer = NULL;
    fixture_open(&fixture, manifest);
    enum cask_status st = cask_cache_writer_open(folder, manifest, 2, &writer, err);
    for (int64_t i = 0; st == CASK_OK && i < cask_cache_writer_shards(writer); i++) {
        st = cask_cache_writer_has(writer, i) ? CASK_OK : fixture_shard(&fixture, writer, i, err);
    }
    if (st == CASK_OK && manifest->centers_origin[0] != '\0') {
        st = fixture_centers(writer, manifest, err);
    }
    st = st == CASK_OK ? cask_cache_writer_finish(writer, err) : st;
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
    return st;
}

/* Tests that write and sync thousands of files: on a disk that takes minutes and proves nothing
 * more. */
static inline void fixture_in_memory(void)
{
    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
}

/* Two folders hold the same files with the same bytes; the journal is history and may differ.
 * Leaves the first difference in `what`. */
static inline bool fixture_same_folders(const char *a, const char *b, char what[512])
{
    struct cask_error err = {0};
    char **names[2] = {NULL, NULL};
    size_t counts[2] = {0, 0};
    bool same = cask_folder_list(a, &names[0], &counts[0], &err) == CASK_OK &&
                cask_folder_list(b, &names[1], &counts[1], &err) == CASK_OK &&
                counts[0] == counts[1];
    snprintf(what, 512, "%zu files in %s, %zu in %s", counts[0], a, counts[1], b);
    for (size_t i = 0; same && i < counts[0]; i++) {
        char path[2][600], *data[2] = {NULL, NULL};
        size_t bytes[2] = {0, 0};
        snprintf(path[0], sizeof path[0], "%s/%s", a, names[0][i]);
        snprintf(path[1], sizeof path[1], "%s/%s", b, names[1][i]);
        same = strcmp(names[0][i], names[1][i]) == 0 &&
               cask_file_read_all(path[0], 1 << 28, &data[0], &bytes[0], &err) == CASK_OK &&
               cask_file_read_all(path[1], 1 << 28, &data[1], &bytes[1], &err) == CASK_OK &&
               (strcmp(names[0][i], "journal.jsonl") == 0 ||
                (bytes[0] == bytes[1] && memcmp(data[0], data[1], bytes[0]) == 0));
        snprintf(what, 512, "%.200s and %.200s", names[0][i], names[1][i]);
        cask_free(data[0]);
        cask_free(data[1]);
    }
    cask_folder_list_free(names[0], counts[0]);
    cask_folder_list_free(names[1], counts[1]);
    return same;
}

#endif
