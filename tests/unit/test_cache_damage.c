/* Damage is reported or harmless, never a crash and never a wrong row: single flipped bytes in
 * every file and region, truncations, foreign and empty files. */
#include "tests/support/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "cache/cache.h"
#include "cache/manifest.h"
#include "cache/sidecar.h"
#include "common/file.h"
#include "common/mem.h"
#include "tests/support/cache_fixture.h"

enum {
    IMAGES = 90,
    DIMENSION = 24,
    TOPK = 6,
    TEMPERATURES = 2,
    CLASSES = 300,
    ROW_FLOATS = DIMENSION + TOPK * 2 + 2 + TEMPERATURES
};

/* Everything the reader can say about the cache, one record per view. */
struct contents {
    float rows[2 * IMAGES][ROW_FLOATS];
    uint32_t label[IMAGES];
    uint64_t id[IMAGES];
    uint8_t flags[IMAGES];
    float centers[CLASSES * DIMENSION];
};

static enum cask_status read_rows(struct cask_cache *cache, struct contents *to,
                                  struct cask_error *err)
{
    static float embedding[2 * IMAGES * DIMENSION], cosine[2 * IMAGES * TOPK], norm[2 * IMAGES],
        label[2 * IMAGES], lse[2 * IMAGES * TEMPERATURES];
    static uint32_t index[2 * IMAGES * TOPK];
    int64_t rows[2 * IMAGES];
    bool mirror[2 * IMAGES];
    for (int i = 0; i < 2 * IMAGES; i++) {
        rows[i] = i / 2;
        mirror[i] = i % 2;
    }
    struct cask_cache_gather out = {embedding, norm, index, cosine, label, lse};
    enum cask_status st = cask_cache_gather(cache, rows, mirror, 2 * IMAGES, &out, err);
    for (int i = 0; i < 2 * IMAGES && st == CASK_OK; i++) {
        float *row = to->rows[i];
        memcpy(row, embedding + i * DIMENSION, DIMENSION * 4);
        memcpy(row + DIMENSION, index + i * TOPK, TOPK * 4);
        memcpy(row + DIMENSION + TOPK, cosine + i * TOPK, TOPK * 4);
        row[DIMENSION + 2 * TOPK] = norm[i];
        row[DIMENSION + 2 * TOPK + 1] = label[i];
        memcpy(row + DIMENSION + 2 * TOPK + 2, lse + i * TEMPERATURES, TEMPERATURES * 4);
    }
    return st;
}

static enum cask_status read_everything(const char *folder, enum cask_verify verify,
                                        struct contents *to, struct cask_error *err)
{
    struct cask_cache *cache = NULL;
    const float *centers = NULL;
    memset(to, 0, sizeof *to);
    enum cask_status st = cask_cache_open(folder, verify, &cache, err);
    if (st == CASK_OK) {
        for (int i = 0; i < IMAGES; i++) {
            to->label[i] = cask_cache_label(cache, i);
            to->id[i] = cask_cache_sample_id(cache, i);
            to->flags[i] = cask_cache_flags(cache, i);
        }
        st = read_rows(cache, to, err);
        st = st == CASK_OK ? cask_cache_centers(cache, &centers, err) : st;
    }
    if (st == CASK_OK) {
        memcpy(to->centers, centers, sizeof to->centers);
    }
    cask_cache_close(cache);
    return st;
}

static void ignore(int64_t shard, const struct cask_error *damage, void *user)
{
    (void)shard;
    snprintf(user, 64, "%.63s", damage->message);
}

static bool verify_finds_damage(const char *folder)
{
    struct cask_verify_counts counts;
    struct cask_error err = {0};
    char text[64];
    return cask_verify_folder(folder, ignore, text, &counts, &err) != CASK_OK ||
           counts.bad_shards > 0 || counts.centers_bad;
}

static char cache_folder[256];
static struct contents truth;

static int setup(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest m =
        fixture_manifest(IMAGES, CLASSES, DIMENSION, TOPK, 70, CASK_EMBEDDING_F16);
    snprintf(m.centers_origin, sizeof m.centers_origin, "mean");
    test_make_folder(cache_folder);
    assert_ok(fixture_build(cache_folder, &m, &err));
    assert_ok(read_everything(cache_folder, CASK_VERIFY_FIRST, &truth, &err));
    assert_false(verify_finds_damage(cache_folder));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(cache_folder);
    return 0;
}

static void poke(int fd, off_t at, uint8_t value)
{
    assert_true(pwrite(fd, &value, 1, at) == 1);
}

/* ---------------------------------------------------------------- regions of a file */

enum region { ANY, SUPERBLOCK, HEADERS, CHUNKS, CONTIGUOUS };
static const char *const region_names[] = {"", ", superblock", ", headers", ", chunks",
                                           ", contiguous arrays"};
enum { SUPERBLOCK_BYTES = 48 };

/* Which region each byte of a shard belongs to, from its index; the caller frees. */
static uint8_t *map_regions(const char *stem, int64_t shard, size_t bytes)
{
    struct cask_error err = {0};
    struct cask_manifest_file file;
    struct cask_layout layout;
    struct cask_sidecar sidecar = {.file_bytes = 0};
    char path[300], *index = NULL;
    size_t index_bytes = 0;
    uint8_t *regions = calloc(bytes, 1);
    snprintf(path, sizeof path, "%s/manifest.json", cache_folder);
    assert_ok(cask_manifest_read(path, &file, &err));
    cask_layout_shard(&file.manifest, shard, &layout);
    snprintf(path, sizeof path, "%s/%s.idx", cache_folder, stem);
    assert_ok(cask_file_read_all(path, 1 << 26, &index, &index_bytes, &err));
    assert_ok(cask_sidecar_decode((const uint8_t *)index, index_bytes, &layout, CASK_SIDECAR_SHARD,
                                  (uint32_t)shard, &sidecar, &err));
    memset(regions, HEADERS, bytes);
    memset(regions, SUPERBLOCK, SUPERBLOCK_BYTES);
    for (int i = 0; i < layout.array_count; i++) {
        const struct cask_array *array = &layout.arrays[i];
        for (uint32_t c = 0; array->row_elements > 0 && c < array->chunks; c++) {
            const struct cask_chunk *chunk = &sidecar.chunks[array->first_chunk + c];
            memset(regions + chunk->address,
                   array->storage == CASK_STORAGE_CONTIGUOUS ? CONTIGUOUS : CHUNKS,
                   cask_chunk_bytes(chunk));
        }
    }
    cask_sidecar_release(&sidecar);
    cask_manifest_file_release(&file);
    cask_free(index);
    return regions;
}

/* Places of one region; *found gets their number. The caller frees. */
static size_t *list_places(const char *name, enum region region, size_t bytes, size_t *found)
{
    size_t *places = calloc(bytes, sizeof *places);
    int64_t shard = strcmp(name, "shard-00001.h5") == 0;
    uint8_t *regions =
        region != ANY ? map_regions(shard ? "shard-00001" : "shard-00000", shard, bytes) : NULL;
    *found = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (region == ANY || regions[i] == region) {
            places[(*found)++] = i;
        }
    }
    free(regions);
    assert_true(*found > 0);
    return places;
}

/* `count` single-byte changes at random places of a region. */
static void flip_region(const char *name, enum region region, int count, bool verify_must_find)
{
    struct cask_error err = {0};
    static struct contents found;
    char path[300], *data = NULL;
    size_t bytes = 0, place_count;
    int reported = 0;
    snprintf(path, sizeof path, "%s/%s", cache_folder, name);
    assert_ok(cask_file_read_all(path, 1 << 26, &data, &bytes, &err));
    size_t *places = list_places(name, region, bytes, &place_count);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (int i = 0; i < count; i++) {
        off_t at = (off_t)places[cask_rng_below(11, (uint64_t)region, (uint64_t)i, place_count)];
        uint8_t change = (uint8_t)(1 + cask_rng_below(12, 0, (uint64_t)i, 255));
        poke(fd, at, (uint8_t)data[at] ^ change);
        enum cask_status st = read_everything(
            cache_folder, i % 2 ? CASK_VERIFY_ALWAYS : CASK_VERIFY_FIRST, &found, &err);
        if (st == CASK_OK && memcmp(&found, &truth, sizeof found) != 0) {
            fail_msg("%s: byte %lld changed by %02x: rows differ and nothing was said", name,
                     (long long)at, change);
        }
        if (st != CASK_OK && (strstr(err.message, cache_folder) == NULL ||
                              (region >= CHUNKS && strstr(err.message, ", rows ") == NULL))) {
            fail_msg("%s: the message names no file or no rows: %s", name, err.message);
        }
        reported += st != CASK_OK;
        if (verify_must_find && !verify_finds_damage(cache_folder)) {
            fail_msg("%s: byte %lld changed by %02x: verify found nothing", name, (long long)at,
                     change);
        }
        /* With checksums off rows may be wrong, but nothing may crash or leave its memory. */
        (void)read_everything(cache_folder, CASK_VERIFY_OFF, &found, &err);
        poke(fd, at, (uint8_t)data[at]);
    }
    close(fd);
    cask_free(data);
    free(places);
    assert_false(verify_finds_damage(cache_folder));
    printf("%s%s: %d of %d changes reported by the reader\n", name, region_names[region], reported,
           count);
}

static void test_flips_in_shards(void **state)
{
    (void)state;
    for (int region = SUPERBLOCK; region <= CONTIGUOUS; region++) {
        flip_region("shard-00000.h5", (enum region)region, 1000, true);
    }
    flip_region("shard-00001.h5", ANY, 500, true);
}

static void test_flips_in_indexes(void **state)
{
    (void)state;
    flip_region("shard-00000.idx", ANY, 1000, true);
    flip_region("centers.idx", ANY, 1000, true);
}

static void test_flips_in_manifest_and_centers(void **state)
{
    (void)state;
    flip_region("manifest.json", ANY, 1000, true);
    flip_region("centers.h5", ANY, 1000, true);
}

/* The journal of a finished cache is history: whatever happens to it, nothing changes. */
static void test_flips_in_journal(void **state)
{
    (void)state;
    flip_region("journal.jsonl", ANY, 1000, false);
}

static void test_truncation(void **state)
{
    (void)state;
    static const char *const names[] = {"shard-00000.h5", "shard-00000.idx", "shard-00001.h5",
                                        "manifest.json",  "centers.h5",      "centers.idx"};
    static struct contents found;
    struct cask_error err = {0};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        char path[300], *data = NULL;
        size_t bytes = 0;
        snprintf(path, sizeof path, "%s/%s", cache_folder, names[f]);
        assert_ok(cask_file_read_all(path, 1 << 26, &data, &bytes, &err));
        for (uint64_t i = 0; i < 40; i++) {
            size_t length = i == 0 ? 0 : i == 1 ? bytes - 1 : cask_rng_below(13, f, i, bytes);
            assert_int_equal(truncate(path, (off_t)length), 0);
            assert_true(read_everything(cache_folder, CASK_VERIFY_FIRST, &found, &err) != CASK_OK);
            assert_non_null(strstr(err.message, cache_folder));
            assert_true(verify_finds_damage(cache_folder));
            assert_ok(cask_file_write_all(path, data, bytes, &err));
        }
        /* Longer is as wrong as shorter. */
        assert_ok(cask_file_append(path, "x", 1, false, &err));
        assert_true(read_everything(cache_folder, CASK_VERIFY_FIRST, &found, &err) != CASK_OK);
        assert_ok(cask_file_write_all(path, data, bytes, &err));
        cask_free(data);
    }
}

/* A good file in the wrong place is damage too. */
static void test_foreign_files(void **state)
{
    (void)state;
    static const char *const swaps[][2] = {{"shard-00000.h5", "shard-00001.h5"},
                                           {"shard-00000.idx", "shard-00001.idx"},
                                           {"centers.idx", "shard-00000.idx"},
                                           {"centers.h5", "manifest.json"}};
    static struct contents found;
    struct cask_error err = {0};
    for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
        char a[300], b[300], t[300];
        snprintf(a, sizeof a, "%s/%s", cache_folder, swaps[i][0]);
        snprintf(b, sizeof b, "%s/%s", cache_folder, swaps[i][1]);
        snprintf(t, sizeof t, "%s/aside", cache_folder);
        assert_int_equal(rename(a, t) | rename(b, a) | rename(t, b), 0);
        assert_true(read_everything(cache_folder, CASK_VERIFY_FIRST, &found, &err) != CASK_OK);
        assert_true(verify_finds_damage(cache_folder));
        assert_int_equal(rename(a, t) | rename(b, a) | rename(t, b), 0);
    }
    assert_ok(read_everything(cache_folder, CASK_VERIFY_FIRST, &found, &err));
}

static void test_message_names_place(void **state)
{
    (void)state;
    static struct contents found;
    struct cask_error err = {0};
    char path[300], *data = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/shard-00000.h5", cache_folder);
    assert_ok(cask_file_read_all(path, 1 << 26, &data, &bytes, &err));
    float norm = truth.rows[2 * 33][DIMENSION + 2 * TOPK]; /* row 33, view 0 */
    uint8_t *at = memmem(data, bytes, &norm, sizeof norm);
    assert_non_null(at);
    int fd = open(path, O_RDWR);
    poke(fd, (off_t)(at - (uint8_t *)data), *at ^ 1);
    assert_refused(CASK_ERR_FORMAT, "shard-00000.h5: orig/norm, rows 0 to 69",
                   read_everything(cache_folder, CASK_VERIFY_ALWAYS, &found, &err));
    poke(fd, (off_t)(at - (uint8_t *)data), *at);
    close(fd);
    cask_free(data);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips_in_shards),
        cmocka_unit_test(test_flips_in_indexes),
        cmocka_unit_test(test_flips_in_manifest_and_centers),
        cmocka_unit_test(test_flips_in_journal),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_message_names_place),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
