/* The manifest and the journal: round trip, limits, refusals by name, comparison, torn lines. */
#include "tests/support/test.h"

#include "cache/layout.h"
#include "cache/manifest.h"
#include "common/file.h"
#include "common/mem.h"
#include "tests/support/cache_fixture.h"

static char *encode(const struct cask_manifest *m)
{
    struct cask_error err = {0};
    struct cask_manifest_file file = {.manifest = *m};
    char *text = NULL;
    assert_ok(cask_manifest_encode(&file, &text, &err));
    return text;
}

/* Replaces `from` by `to` in an encoded manifest and renews its hash. */
static char *edited(const struct cask_manifest *m, const char *from, const char *to)
{
    char *text = encode(m), *at = strstr(text, from), *end = strstr(text, ",\"sha256\"");
    assert_non_null(at);
    assert_true(at < end);
    *end = '\0';
    char *body = cask_format("%.*s%s%s}", (int)(at - text), text, to, at + strlen(from));
    struct cask_sha256 state;
    char hex[CASK_SHA256_HEX];
    cask_sha256_init(&state);
    cask_sha256_update(&state, body, strlen(body));
    cask_sha256_final_hex(&state, hex);
    char *sealed = cask_format("%.*s,\"sha256\":\"%s\"}\n", (int)strlen(body) - 1, body, hex);
    cask_free(body);
    cask_free(text);
    return sealed;
}

#define refuse(status, message, from, to)                                                          \
    do {                                                                                           \
        char *text_ = edited(&m, from, to);                                                        \
        assert_refused(status, message, cask_manifest_decode(text_, strlen(text_), &file, &err));  \
        cask_free(text_);                                                                          \
    } while (0)

static void test_round_trip(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest_file file;
    struct cask_manifest m =
        fixture_manifest(42000000, 2000000, 512, 100, 16384, CASK_EMBEDDING_INT8);
    int overrides = 0;
    m.temperature_count = 3;
    m.temperatures[1] = 0.1;
    m.temperatures[2] = 1e5;
    snprintf(m.dataset_path, sizeof m.dataset_path, "/data/\xc3\xa9t\xc3\xa9 \"x\"");
    char *text = encode(&m);
    assert_ok(cask_manifest_decode(text, strlen(text), &file, &err));
    assert_memory_equal(&file.manifest, &m, sizeof m);
    assert_false(file.complete);
    assert_ok(cask_manifest_compare(&m, &file.manifest, NULL, 0, &overrides, &err));
    char *again = encode(&file.manifest);
    assert_string_equal(text, again);
    cask_free(text);
    cask_free(again);
}

static void test_refusals(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest_file file;
    struct cask_manifest m = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16);
    refuse(CASK_ERR_UNSUPPORTED, "cache format 2.x", "\"major\":1", "\"major\":2");
    refuse(CASK_ERR_UNSUPPORTED, "requires \"holograms\"", "\"sidecar-1\"",
           "\"sidecar-1\",\"holograms\"");
    refuse(CASK_ERR_FORMAT, "\"images\"", "\"images\":100", "\"images\":0");
    refuse(CASK_ERR_FORMAT, "\"images\"", "\"images\":100", "\"images\":1e300");
    refuse(CASK_ERR_FORMAT, "\"images\"", "\"images\":100", "\"images\":9000000000000000000");
    refuse(CASK_ERR_FORMAT, "\"embedding\"", "\"embedding\":8", "\"embedding\":-8");
    refuse(CASK_ERR_FORMAT, "\"embedding_type\"", "\"f16\"", "\"f64\"");
    refuse(CASK_ERR_RANGE, "topk is 51", "\"topk\":4", "\"topk\":51");
    refuse(CASK_ERR_RANGE, "temperatures is 0", "[1.0,4.0]", "[1.0,0.0]");
    refuse(CASK_ERR_FORMAT, "\"temperatures\"", "[1.0,4.0]", "[]");
    refuse(CASK_ERR_FORMAT, "\"temperatures\"", "[1.0,4.0]", "[1,1,1,1,1,1,1,1,1]");
    refuse(CASK_ERR_FORMAT, "\"preprocess\"", "\"order\":\"rgb\"", "\"order\":\"rbg\"");
    refuse(CASK_ERR_FORMAT, "\"format\" is \"keg\"", "\"format\":\"cask\"", "\"format\":\"keg\"");
    refuse(CASK_ERR_FORMAT, "shards", "\"complete\":false", "\"complete\":true");
    refuse(CASK_ERR_FORMAT, "\"scale\"", "\"scale\":64.0,", "");
    refuse(CASK_ERR_FORMAT, "\"probe\"", "\"probe\":[-0.25,", "\"probe\":[");
    refuse(CASK_ERR_FORMAT, "\"probe\"", "\"probe\":[-0.25,", "\"probe\":[\"x\",");
    refuse(CASK_ERR_RANGE, "probe is 7", "\"probe\":[-0.25,", "\"probe\":[7,");
    /* A minor version from the future is read, if it requires nothing unknown. */
    char *text = edited(&m, "\"minor\":0", "\"minor\":9,\"a_new_field\":[1]");
    assert_ok(cask_manifest_decode(text, strlen(text), &file, &err));
    cask_free(text);
}

static void test_writer_limits(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_manifest m = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16);
    assert_ok(cask_manifest_check(&m, &err));
    m.scale = NAN;
    assert_refused(CASK_ERR_RANGE, "scale is nan", cask_manifest_check(&m, &err));
    m = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16);
    memset(m.teacher, 'x', sizeof m.teacher);
    assert_refused(CASK_ERR_RANGE, "teacher is longer", cask_manifest_check(&m, &err));
    m = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16);
    m.teacher[0] = '\n';
    assert_refused(CASK_ERR_RANGE, "control character", cask_manifest_check(&m, &err));
    m = fixture_manifest(100, 50, 8, 51, 16, CASK_EMBEDDING_F16);
    assert_refused(CASK_ERR_RANGE, "only 50 classes", cask_manifest_check(&m, &err));
}

static void test_compare(void **state)
{
    (void)state;
    struct cask_error err = {0};
    int overrides = -1;
    struct cask_manifest a = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16), b = a,
                         empty = {0};
    snprintf(b.weights_sha256, sizeof b.weights_sha256, "other");
    b.preprocess.order = CASK_BGR;
    b.temperatures[1] = 8;
    snprintf(b.created, sizeof b.created, "another day");
    assert_refused(
        CASK_ERR_MISMATCH,
        "differs in 3 fields: temperatures: expected 1,4, found 1,8; weights_sha256: expected 6d00",
        cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    assert_non_null(strstr(err.message, "preprocess: expected rgb:127.5:127.5 112x112, found bgr"));
    const char *accepted[] = {"weights_sha256", "preprocess", "temperatures"};
    assert_refused(CASK_ERR_MISMATCH, "1 field: temperatures",
                   cask_manifest_compare(&a, &b, accepted, 2, &overrides, &err));
    assert_ok(cask_manifest_compare(&a, &b, accepted, 3, &overrides, &err));
    assert_int_equal(overrides, 3);
    assert_ok(cask_manifest_compare(&empty, &b, NULL, 0, &overrides, &err));
    assert_int_equal(overrides, 0);
}

/* Probes are equal within the tolerance of the precision; one that is not there says nothing. */
static void test_compare_probes(void **state)
{
    (void)state;
    struct cask_error err = {0};
    int overrides;
    struct cask_manifest a = fixture_manifest(100, 50, 8, 4, 16, CASK_EMBEDDING_F16), b = a;
    for (int i = 0; i < CASK_PROBE_NUMBERS; i++) {
        b.probe[i] += i % 2 ? 1.9e-5 : -1.9e-5;
    }
    assert_ok(cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    b.probe[4] += 0.01; /* pairs (0,1) (0,2) (1,2) (0,3) (1,3) */
    assert_refused(CASK_ERR_MISMATCH,
                   "1 field: probe: expected cosine of pictures 1 and 3 = 0.2500000, found "
                   "0.2599810 (tolerance 2e-05)",
                   cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    snprintf(a.precision, sizeof a.precision, "bf16");
    snprintf(b.precision, sizeof b.precision, "bf16");
    assert_ok(cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    b.probe[CASK_PROBE_COSINES + CASK_PROBE_COMPONENTS + 2] = NAN;
    assert_refused(CASK_ERR_MISMATCH, "component 2 of picture 1",
                   cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    assert_refused(CASK_ERR_RANGE, "probe is nan", cask_manifest_check(&b, &err));
    b.probe_count = 0;
    assert_ok(cask_manifest_compare(&a, &b, NULL, 0, &overrides, &err));
    assert_ok(cask_manifest_compare(&b, &a, NULL, 0, &overrides, &err));
    b.probe_count = 5;
    assert_refused(CASK_ERR_RANGE, "probe_count is 5", cask_manifest_check(&b, &err));
}

/* Sizes at MS1MV2's and WebFace42M's scale; no number of a layout may overflow. */
static void test_large_layouts(void **state)
{
    (void)state;
    struct cask_layout layout;
    struct cask_manifest m = fixture_manifest(5822653, 85742, 512, 32, 16384, CASK_EMBEDDING_F16);
    assert_int_equal(cask_layout_shards(&m), 356);
    assert_int_equal(cask_layout_shard_rows(&m, 355), 5822653 - 355 * 16384);
    cask_layout_shard(&m, 0, &layout);
    double index = (layout.chunks * 16.0 + layout.spans * 8.0) * 356;
    double resident = index + 5822653 * 21.0; /* label, ids, source offset, flags */
    printf("MS1MV2: index %.1f MB, with labels and ids %.1f MB, shard at most %.1f MB\n",
           index / 1e6, resident / 1e6, (double)cask_layout_file_bound(&layout) / 1e6);
    m = fixture_manifest((int64_t)1 << 33, 2000000, 512, 1000, 1 << 20, CASK_EMBEDDING_F16);
    cask_layout_shard(&m, 8191, &layout);
    assert_true(layout.rows == 1 << 20);
    assert_int_equal(layout.arrays[CASK_ARRAY_VIEW(1, CASK_FIELD_TOPK_INDEX)].chunks, 1 << 20);
    assert_true(cask_layout_file_bound(&layout) > ((uint64_t)1 << 20) * 2 * 1000 * 6);
    cask_layout_centers(&m, &layout);
    assert_true(cask_array_chunk_raw(&layout.arrays[0], layout.rows) == (size_t)2000000 * 512 * 4);
}

/* ---------------------------------------------------------------- journal */

struct seen {
    int count;
    struct cask_record last;
};

static enum cask_status see(const struct cask_record *record, void *user, struct cask_error *err)
{
    struct seen *seen = user;
    (void)err;
    seen->count++;
    seen->last = *record;
    return CASK_OK;
}

static void test_journal(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], path[300], *text = NULL;
    size_t bytes = 0;
    int64_t bad = 0;
    struct seen seen = {0};
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/journal.jsonl", folder);
    assert_ok(cask_journal_read(path, see, &seen, &bad, &err));
    struct cask_record record = {.shard = 7,
                                 .rows = 16384,
                                 .bytes = (uint64_t)1 << 40,
                                 .index_bytes = 9,
                                 .index_xxh3 = UINT64_MAX,
                                 .embedding_error = 1e-8,
                                 .cosine_error = 0.1};
    assert_ok(cask_journal_append(path, &record, &err));
    record.shard = CASK_CACHE_CENTERS;
    assert_ok(cask_journal_append(path, &record, &err));
    assert_ok(cask_file_read_all(path, 4096, &text, &bytes, &err));
    size_t first = strcspn(text, "\n") + 1;
    for (size_t cut = 0; cut <= bytes; cut++) {
        /* Torn anywhere, and then one more line: all whole lines are there. */
        assert_ok(cask_file_write_all(path, text, cut, &err));
        record.shard = 99;
        assert_ok(cask_journal_append(path, &record, &err));
        seen.count = 0;
        assert_ok(cask_journal_read(path, see, &seen, &bad, &err));
        assert_int_equal(seen.count, 1 + (cut >= first - 1) + (cut >= bytes - 1));
        assert_int_equal(seen.last.shard, 99);
        assert_true(seen.last.index_xxh3 == UINT64_MAX && seen.last.cosine_error == 0.1 &&
                    seen.last.bytes == (uint64_t)1 << 40);
    }
    for (size_t at = 0; at + 1 < bytes; at++) {
        text[at] ^= 4;
        assert_ok(cask_file_write_all(path, text, bytes, &err));
        seen.count = 0;
        assert_ok(cask_journal_read(path, see, &seen, &bad, &err));
        assert_true(seen.count <= 1 && bad >= 1);
        text[at] ^= 4;
    }
    cask_free(text);
    test_remove_folder(folder);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_writer_limits),  cmocka_unit_test(test_compare),
        cmocka_unit_test(test_compare_probes), cmocka_unit_test(test_large_layouts),
        cmocka_unit_test(test_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
