/* Errors, memory, random numbers, hashes. */
#include "tests/support/test.h"

#include "common/hash.h"
#include "common/mem.h"
#include "common/preprocess.h"
#include "common/rng.h"

static enum cask_status inner(struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_FORMAT, "%s: expected %d, found %d", "x.bin", 1, 2);
}

static enum cask_status outer(struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(inner(err));
done:
    return st;
}

static void errors_carry_message_and_way(void **state)
{
    (void)state;
    struct cask_error err = {0};
    assert_int_equal(outer(&err), CASK_ERR_FORMAT);
    assert_string_equal(err.message, "x.bin: expected 1, found 2");
    assert_int_equal(err.frame_count, 1);
    cask_error_prefix(&err, "shard %d", 3);
    assert_string_equal(err.message, "shard 3: x.bin: expected 1, found 2");
    assert_int_equal(cask_error_errno(&err, 28, "a"), CASK_ERR_NO_SPACE);
    assert_int_equal(cask_status_exit_code(CASK_ERR_USAGE), 2);
    assert_int_equal(cask_status_exit_code(CASK_ERR_MISMATCH), 3);
    assert_int_equal(cask_status_exit_code(CASK_ERR_DEVICE), 4);
    assert_int_equal(cask_status_exit_code(CASK_ERR_INTERNAL), 5);
    assert_int_equal(cask_status_exit_code(CASK_ERR_INTERRUPTED), 130);
}

static void memory_is_zeroed_aligned_and_checked(void **state)
{
    (void)state;
    for (size_t n = 1; n < 300; n += 37) {
        uint8_t *p = cask_alloc(n, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < 3 * n; i++) {
            assert_int_equal(p[i], 0);
            p[i] = (uint8_t)i;
        }
        p = cask_grow(p, n, 2 * n, 3);
        assert_int_equal(p[3 * n - 1], (uint8_t)(3 * n - 1));
        assert_int_equal(p[3 * n], 0);
        cask_free(p);
    }
    assert_null(cask_alloc(SIZE_MAX / 2, 3));
    cask_mem_fail_after(2);
    void *first = cask_alloc(1, 1);
    assert_non_null(first);
    assert_null(cask_alloc(1, 1));
    assert_null(cask_alloc(1, 1));
    cask_mem_fail_after(0);
    cask_free(first);
}

static void arena_keeps_what_it_gave(void **state)
{
    (void)state;
    struct cask_arena arena;
    cask_arena_init(&arena);
    char *texts[1000];
    for (int i = 0; i < 1000; i++) {
        char text[32];
        snprintf(text, sizeof text, "text %d", i);
        texts[i] = cask_arena_strdup(&arena, text);
        assert_non_null(texts[i]);
        assert_int_equal((uintptr_t)texts[i] % 64, 0);
    }
    assert_non_null(cask_arena_alloc(&arena, 1 << 20, 1));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(atoi(texts[i] + 5), i);
    }
    cask_arena_release(&arena);
}

static void permutation_is_a_bijection(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 1100; n += n < 20 ? 1 : 97) {
        uint8_t *seen = cask_alloc(n, 1);
        uint64_t fixed = 0;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = cask_rng_permute(7, n, n, i);
            assert_true(at < n);
            assert_int_equal(seen[at]++, 0);
            fixed += at == i;
        }
        assert_true(n < 50 || fixed < 12);
        cask_free(seen);
    }
}

/* Mean, variance and lag correlation of many draws, against their known values. */
static void draws_have_the_right_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum = 0, squares = 0, normal = 0, normal_squares = 0, lag = 0, previous = 0;
    int64_t counts[10] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = cask_rng_uniform(1, 2, i), z = cask_rng_normal(1, 3, i);
        sum += u;
        squares += u * u;
        normal += z;
        normal_squares += z * z;
        lag += z * previous;
        previous = z;
        counts[cask_rng_below(1, 4, i, 10)]++;
    }
    assert_close(sum / N, 0.5, 0.003);
    assert_close(squares / N, 1.0 / 3, 0.003);
    assert_close(normal / N, 0, 0.01);
    assert_close(normal_squares / N, 1, 0.015);
    assert_close(lag / N, 0, 0.01);
    for (int i = 0; i < 10; i++) {
        assert_close((double)counts[i] / N, 0.1, 0.003);
    }
}

static void hashes_match_published_values(void **state)
{
    (void)state;
    char hex[CASK_SHA256_HEX];
    struct cask_sha256 hash;
    cask_sha256_init(&hash);
    cask_sha256_update(&hash, "abc", 3);
    cask_sha256_final_hex(&hash, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(cask_crc32(0, "123456789", 9), 0xcbf43926u);
    assert_true(cask_xxh3("", 0) == 0x2d06800538d394c2u);
}

static void preprocess_text_goes_both_ways(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_preprocess p = cask_preprocess_default(), q = p;
    char text[64];
    assert_ok(cask_preprocess_parse("bgr:127.5:128", &p, &err));
    cask_preprocess_format(&p, text);
    assert_string_equal(text, "bgr:127.5:128");
    assert_false(cask_preprocess_equal(&p, &q));
    const char *const wrong[] = {"", "rgb", "rgb:1", "bgr:1:0", "bgr:nan:1", "rbg:1:1", "rgb:1:1x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_refused(CASK_ERR_USAGE, "rgb:MEAN:SCALE", cask_preprocess_parse(wrong[i], &p, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_message_and_way),
        cmocka_unit_test(memory_is_zeroed_aligned_and_checked),
        cmocka_unit_test(arena_keeps_what_it_gave),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(draws_have_the_right_moments),
        cmocka_unit_test(hashes_match_published_values),
        cmocka_unit_test(preprocess_text_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
