/* Several threads gather from one cache at once; memory runs out at every allocation in turn. */
#include "tests/support/test.h"

#include <pthread.h>

#include "cache/cache.h"
#include "common/mem.h"
#include "tests/support/cache_fixture.h"

/* libhdf5 1.10.8 loses 264 bytes of its own when its file driver is refused memory. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

enum { THREADS = 4, BATCH = 128, ROUNDS = 40, DIMENSION = 16, TOPK = 20 };

struct reader {
    struct cask_cache *cache;
    uint64_t seed;
    bool good;
};

/* Cosines and indices of a row are a function of its number: checked against the fixture. */
static void *gather_many(void *user)
{
    struct reader *reader = user;
    struct cask_error err = {0};
    struct fixture fixture;
    const struct cask_manifest *m = cask_cache_manifest(reader->cache);
    float *embedding = calloc(BATCH * DIMENSION, sizeof(float));
    uint32_t *index = calloc(BATCH * TOPK, sizeof *index);
    const float *centers = NULL;
    int64_t rows[BATCH];
    bool mirror[BATCH];
    fixture_open(&fixture, m);
    reader->good = cask_cache_centers(reader->cache, &centers, &err) == CASK_OK;
    for (uint64_t round = 0; round < ROUNDS && reader->good; round++) {
        for (uint64_t i = 0; i < BATCH; i++) {
            rows[i] = (int64_t)cask_rng_below(reader->seed, round, i, (uint64_t)m->images);
            mirror[i] = cask_rng_u64(reader->seed, 100 + round, i) & 1;
        }
        struct cask_cache_gather out = {.embedding = embedding, .topk_index = index};
        reader->good = cask_cache_gather(reader->cache, rows, mirror, BATCH, &out, &err) == CASK_OK;
        for (int i = 0; i < BATCH && reader->good; i++) {
            struct cask_cache_row want = fixture_row(&fixture, rows[i]);
            if (!(want.flags & CASK_ROW_BAD)) {
                reader->good =
                    memcmp(index + i * TOPK, want.views[mirror[i]].topk_index,
                           TOPK * sizeof *index) == 0 &&
                    fabsf(embedding[i * DIMENSION] - want.views[mirror[i]].embedding[0]) < 1e-3f;
            }
        }
    }
    fixture_close(&fixture);
    free(embedding);
    free(index);
    return NULL;
}

static struct cask_manifest small_manifest(int64_t images)
{
    struct cask_manifest m =
        fixture_manifest(images, 600, DIMENSION, TOPK, 200, CASK_EMBEDDING_F16);
    snprintf(m.centers_origin, sizeof m.centers_origin, "mean");
    return m;
}

static void test_threads(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256];
    static const enum cask_verify modes[] = {CASK_VERIFY_FIRST, CASK_VERIFY_ALWAYS,
                                             CASK_VERIFY_OFF};
    struct cask_manifest m = small_manifest(1000);
    test_make_folder(folder);
    assert_ok(fixture_build(folder, &m, &err));
    for (int mode = 0; mode < 3; mode++) {
        struct cask_cache *cache = NULL;
        struct reader readers[THREADS];
        pthread_t threads[THREADS];
        assert_ok(cask_cache_open(folder, modes[mode], &cache, &err));
        for (int i = 0; i < THREADS; i++) {
            readers[i] = (struct reader){cache, (uint64_t)(i + 10 * mode), false};
            assert_int_equal(pthread_create(&threads[i], NULL, gather_many, &readers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(readers[i].good);
        }
        cask_cache_close(cache);
    }
    test_remove_folder(folder);
}

static enum cask_status open_and_gather(const char *folder, struct cask_error *err)
{
    struct cask_cache *cache = NULL;
    float embedding[DIMENSION];
    uint32_t index[TOPK];
    struct cask_cache_gather out = {.embedding = embedding, .topk_index = index};
    enum cask_status st = cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, err);
    st = st == CASK_OK ? cask_cache_gather(cache, &(int64_t){3}, &(bool){true}, 1, &out, err) : st;
    cask_cache_close(cache);
    return st;
}

static void test_reader_without_memory(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256];
    struct cask_manifest m = small_manifest(250);
    test_make_folder(folder);
    assert_ok(fixture_build(folder, &m, &err));
    enum cask_status st = CASK_ERR_MEMORY;
    long n = 0;
    while (st != CASK_OK && n < 1000) {
        cask_mem_fail_after(++n);
        st = open_and_gather(folder, &err);
        cask_mem_fail_after(0);
        assert_true(st == CASK_OK || st == CASK_ERR_MEMORY);
    }
    assert_true(n > 15 && st == CASK_OK);
    test_remove_folder(folder);
}

static void test_writer_without_memory(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], reference[256], what[512];
    struct cask_manifest m = small_manifest(250);
    test_make_folder(reference);
    assert_ok(fixture_build(reference, &m, &err));
    enum cask_status st = CASK_ERR_MEMORY;
    long n = 0;
    while (st != CASK_OK && n < 3000) {
        test_make_folder(folder);
        cask_mem_fail_after(++n);
        st = fixture_build(folder, &m, &err);
        cask_mem_fail_after(0);
        /* libhdf5 words a lack of memory in its own way */
        assert_true(st == CASK_OK || st == CASK_ERR_MEMORY || st == CASK_ERR_IO);
        assert_ok(fixture_build(folder, &m, &err));
        if (!fixture_same_folders(reference, folder, what)) {
            fail_msg("after allocation %ld failed: %s", n, what);
        }
        test_remove_folder(folder);
    }
    printf("%ld allocations failed in turn\n", n - 1);
    assert_true(n > 50 && st == CASK_OK);
    test_remove_folder(reference);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_reader_without_memory),
        cmocka_unit_test(test_writer_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
