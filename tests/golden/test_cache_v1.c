/* Caches of format 1.0, written once and kept: every later Cask must read them, and as long as the
 * format is 1.0 must write the same bytes. They hold fixture_manifest(5, 12, 8, 3, 3, type) with
 * centres. */
#include "tests/support/test.h"

#include "cache/cache.h"
#include "tests/support/cache_fixture.h"

static struct cask_manifest golden_manifest(enum cask_embedding_type type)
{
    struct cask_manifest m = fixture_manifest(5, 12, 8, 3, 3, type);
    snprintf(m.centers_origin, sizeof m.centers_origin, "mean");
    return m;
}

static void golden_folder(enum cask_embedding_type type, char path[600])
{
    const char *source = getenv("CASK_SOURCE");
    snprintf(path, 600, "%s/tests/golden/cache_v1/%s", source ? source : ".",
             type == CASK_EMBEDDING_INT8 ? "int8" : "f16");
}

static void check_reading(enum cask_embedding_type type)
{
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    struct fixture fixture;
    char path[600];
    golden_folder(type, path);
    assert_ok(cask_cache_open(path, CASK_VERIFY_ALWAYS, &cache, &err));
    const struct cask_manifest *m = cask_cache_manifest(cache);
    fixture_open(&fixture, m);
    assert_int_equal(m->images, 5);
    for (int64_t row = 0; row < 5; row++) {
        struct cask_cache_row want = fixture_row(&fixture, row);
        for (int view = 0; view < 2; view++) {
            float embedding[8], cosine[3], lse[2], norm;
            uint32_t index[3];
            struct cask_cache_gather out = {.embedding = embedding,
                                            .topk_cosine = cosine,
                                            .topk_index = index,
                                            .lse = lse,
                                            .norm = &norm};
            assert_ok(cask_cache_gather(cache, &row, &(bool){view == 1}, 1, &out, &err));
            assert_all_close_f32(embedding, want.views[view].embedding, 8,
                                 type == CASK_EMBEDDING_INT8 ? 8e-3 : 1e-3);
            assert_all_close_f32(cosine, want.views[view].topk_cosine, 3, 2e-5);
            assert_memory_equal(index, want.views[view].topk_index, sizeof index);
            assert_close(norm, want.views[view].norm, 0);
            assert_close(lse[1], want.views[view].lse[1], 4e-6);
        }
        assert_int_equal(cask_cache_label(cache, row), want.label);
        assert_true(cask_cache_sample_id(cache, row) == want.sample_id);
    }
    fixture_close(&fixture);
    cask_cache_close(cache);
}

static void check_writing(enum cask_embedding_type type)
{
    struct cask_error err = {0};
    struct cask_manifest m = golden_manifest(type);
    char path[600], folder[256], what[512];
    golden_folder(type, path);
    test_make_folder(folder);
    assert_ok(fixture_build(folder, &m, &err));
    if (!fixture_same_folders(path, folder, what)) {
        fail_msg("%s", what);
    }
    test_remove_folder(folder);
}

static void test_reads_1_0(void **state)
{
    (void)state;
    check_reading(CASK_EMBEDDING_F16);
    check_reading(CASK_EMBEDDING_INT8);
}

static void test_writes_1_0(void **state)
{
    (void)state;
    check_writing(CASK_EMBEDDING_F16);
    check_writing(CASK_EMBEDDING_INT8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads_1_0),
                                       cmocka_unit_test(test_writes_1_0)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
