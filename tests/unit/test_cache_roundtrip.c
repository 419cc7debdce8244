/* What is written is what is read: both embedding types, both views, odd sizes, bad rows. */
#include "tests/support/test.h"

#include "cache/cache.h"
#include "cache/layout.h"
#include "tests/support/cache_fixture.h"

struct gathered {
    float *embedding, *norm, *topk_cosine, *label_cosine, *lse;
    uint32_t *topk_index;
};

static void make_gathered(struct gathered *g, const struct cask_manifest *m, size_t count)
{
    g->embedding = calloc(count * (size_t)m->embedding, 4);
    g->topk_index = calloc(count * (size_t)m->topk, 4);
    g->topk_cosine = calloc(count * (size_t)m->topk, 4);
    g->norm = calloc(count, 4);
    g->label_cosine = calloc(count, 4);
    g->lse = calloc(count * (size_t)m->temperature_count, 4);
}

static void free_gathered(struct gathered *g)
{
    free(g->embedding);
    free(g->topk_index);
    free(g->topk_cosine);
    free(g->norm);
    free(g->label_cosine);
    free(g->lse);
}

static double cosine(const float *a, const float *b, int count)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < count; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static double length(const float *a, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)a[i] * (double)a[i];
    }
    return sqrt(sum);
}

/* facts on quantisation: f16 1 - cos <= 2.8e-8 typically, bounded by (4.9e-4)^2 / 2; int8 per row
 * 6.5e-5 at D = 512, larger in few dimensions since the largest element is larger. */
static void check_view(const struct cask_manifest *m, const struct cask_cache_view *want,
                       const struct gathered *g, size_t at, double tolerance)
{
    const float *x = g->embedding + at * (size_t)m->embedding;
    assert_close(cosine(x, want->embedding, m->embedding), 1, tolerance);
    assert_close(length(x, m->embedding), 1, 1e-6);
    for (int j = 0; j < m->topk; j++) {
        size_t to = at * (size_t)m->topk + (size_t)j;
        assert_int_equal(g->topk_index[to], want->topk_index[j]);
        assert_close(g->topk_cosine[to], want->topk_cosine[j], 0.5 / 32767 + 1e-7);
    }
    assert_close(g->norm[at], want->norm, 0);
    assert_close(g->label_cosine[at], want->label_cosine, 0);
    for (int t = 0; t < m->temperature_count; t++) {
        assert_close(g->lse[at * (size_t)m->temperature_count + (size_t)t], want->lse[t], 4e-6);
    }
}

static void check_zero(const struct cask_manifest *m, const struct gathered *g, size_t at)
{
    for (int i = 0; i < m->embedding; i++) {
        assert_close(g->embedding[at * (size_t)m->embedding + (size_t)i], 0, 0);
    }
    assert_close(g->norm[at], 0, 0);
}

/* Every row in both views, in a scattered order. */
static void check_all(struct cask_cache *cache, const struct cask_manifest *m, double tolerance)
{
    struct cask_error err = {0};
    struct gathered g;
    struct fixture fixture;
    enum { BATCH = 64 };
    int64_t rows[BATCH];
    bool mirror[BATCH];
    make_gathered(&g, m, BATCH);
    fixture_open(&fixture, m);
    struct cask_cache_gather out = {g.embedding,   g.norm,         g.topk_index,
                                    g.topk_cosine, g.label_cosine, g.lse};
    for (int64_t done = 0; done < 2 * m->images; done += BATCH) {
        int count = 2 * m->images - done < BATCH ? (int)(2 * m->images - done) : BATCH;
        for (int i = 0; i < count; i++) {
            uint64_t place =
                cask_rng_permute(1, 2, (uint64_t)(2 * m->images), (uint64_t)(done + i));
            rows[i] = (int64_t)(place / 2);
            mirror[i] = place % 2;
        }
        assert_ok(cask_cache_gather(cache, rows, mirror, count, &out, &err));
        for (int i = 0; i < count; i++) {
            struct cask_cache_row want = fixture_row(&fixture, rows[i]);
            assert_int_equal(cask_cache_label(cache, rows[i]), want.label);
            assert_true(cask_cache_sample_id(cache, rows[i]) == want.sample_id);
            assert_true(cask_cache_source_offset(cache, rows[i]) == want.source_offset);
            assert_int_equal(cask_cache_flags(cache, rows[i]) & CASK_ROW_BAD, want.flags);
            if (want.flags & CASK_ROW_BAD) {
                check_zero(m, &g, (size_t)i);
            } else {
                check_view(m, &want.views[mirror[i]], &g, (size_t)i, tolerance);
            }
        }
    }
    free_gathered(&g);
    fixture_close(&fixture);
}

static void round_trip(const struct cask_manifest *m, double tolerance)
{
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    char folder[256];
    test_make_folder(folder);
    assert_ok(fixture_build(folder, m, &err));
    static const enum cask_verify modes[] = {CASK_VERIFY_FIRST, CASK_VERIFY_ALWAYS,
                                             CASK_VERIFY_OFF};
    for (int i = 0; i < 3; i++) {
        assert_ok(cask_cache_open(folder, modes[i], &cache, &err));
        assert_true(cask_cache_rows(cache) == m->images);
        check_all(cache, m, tolerance);
        const struct cask_manifest *read = cask_cache_manifest(cache);
        assert_true(read->embedding_error_max > 0 && read->embedding_error_max <= tolerance);
        assert_true(read->cosine_error_max > 0 && read->cosine_error_max <= 0.5 / 32767 + 1e-7);
        assert_true(cask_cache_file_bytes(cache) > 0 && cask_cache_resident_bytes(cache) > 0);
        cask_cache_close(cache);
    }
    test_remove_folder(folder);
}

static void test_f16(void **state)
{
    (void)state;
    struct cask_manifest m = fixture_manifest(1000, 5000, 128, 32, 300, CASK_EMBEDDING_F16);
    round_trip(&m, 1.2e-7);
}

static void test_int8(void **state)
{
    (void)state;
    struct cask_manifest m = fixture_manifest(700, 5000, 512, 32, 256, CASK_EMBEDDING_INT8);
    round_trip(&m, 1e-4);
}

/* Sizes at which something is cut short: one image, one element, k of one, a chunk to the row. */
static void test_edges(void **state)
{
    (void)state;
    static const int64_t shapes[][5] = {
        {1, 1, 1, 1, 1},      {1, 9, 3, 9, 16},         {65, 40, 7, 5, 64}, {64, 40, 8, 16, 64},
        {17, 700, 9, 600, 5}, {130, 3000, 16, 64, 129}, {33, 60, 5, 33, 1}, {3, 300000, 4, 4, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int64_t *s = shapes[i];
        for (int type = 0; type < 2; type++) {
            struct cask_manifest m = fixture_manifest(s[0], s[1], (int)s[2], (int)s[3], s[4],
                                                      (enum cask_embedding_type)type);
            m.temperature_count = 1 + (int)i % CASK_CACHE_TEMPERATURES;
            for (int t = 0; t < m.temperature_count; t++) {
                m.temperatures[t] = 1 + t;
            }
            struct cask_error err = {0};
            struct cask_cache *cache = NULL;
            char folder[256];
            test_make_folder(folder);
            assert_ok(fixture_build(folder, &m, &err));
            assert_ok(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
            check_all(cache, &m, type == CASK_EMBEDDING_INT8 ? 2e-3 : 1.2e-7);
            cask_cache_close(cache);
            test_remove_folder(folder);
        }
    }
}

/* More than 1,024 chunks in a dataset: HDF5 pages its chunk index. And the bound on a shard's size
 * holds. */
static void test_paged_index(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    struct cask_layout layout;
    char folder[256];
    test_make_folder(folder);
    struct cask_manifest m = fixture_manifest(2600, 4000, 8, 300, 2500, CASK_EMBEDDING_F16);
    cask_layout_shard(&m, 0, &layout);
    assert_int_equal(layout.arrays[CASK_ARRAY_VIEW(0, CASK_FIELD_TOPK_INDEX)].chunks, 2500);
    assert_ok(fixture_build(folder, &m, &err));
    assert_ok(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
    check_all(cache, &m, 1.2e-7);
    uint64_t bound = cask_layout_file_bound(&layout);
    cask_layout_shard(&m, 1, &layout);
    bound += cask_layout_file_bound(&layout);
    assert_true(cask_cache_file_bytes(cache) <= bound && cask_cache_file_bytes(cache) > bound / 3);
    cask_cache_close(cache);
    test_remove_folder(folder);
}

static void test_centers(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache *cache = NULL;
    const float *centers = NULL, *again = NULL;
    char folder[256];
    test_make_folder(folder);
    struct cask_manifest m = fixture_manifest(20, 1500, 24, 5, 16, CASK_EMBEDDING_F16);
    assert_ok(fixture_build(folder, &m, &err));
    assert_ok(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
    assert_refused(CASK_ERR_UNSUPPORTED, "no class centres",
                   cask_cache_centers(cache, &centers, &err));
    cask_cache_close(cache);
    test_remove_folder(folder);

    test_make_folder(folder);
    snprintf(m.centers_origin, sizeof m.centers_origin, "mean");
    assert_ok(fixture_build(folder, &m, &err));
    assert_ok(cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
    assert_ok(cask_cache_centers(cache, &centers, &err));
    assert_ok(cask_cache_centers(cache, &again, &err));
    assert_true(centers == again);
    for (size_t i = 0; i < 1500 * 24; i++) {
        assert_close(centers[i], (float)cask_rng_uniform(3, 0, i) - 0.5f, 0);
    }
    char hex[CASK_SHA256_HEX];
    cask_centers_sha256(centers, 1500, 24, hex);
    assert_string_equal(hex, cask_cache_manifest(cache)->centers_sha256);
    cask_cache_close(cache);
    test_remove_folder(folder);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),     cmocka_unit_test(test_int8),
        cmocka_unit_test(test_edges),   cmocka_unit_test(test_paged_index),
        cmocka_unit_test(test_centers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
