/* A build that is stopped anywhere - abort, kill -9, an error of the disk - is resumed and ends
 * with the bytes of one that never stopped. */
#include "tests/support/test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cache/cache.h"
#include "common/file.h"
#include "tests/support/cache_fixture.h"

static char reference[256];
static struct cask_manifest manifest;

static int setup(void **state)
{
    (void)state;
    struct cask_error err = {0};
    manifest = fixture_manifest(330, 400, 16, 6, 60, CASK_EMBEDDING_F16);
    snprintf(manifest.centers_origin, sizeof manifest.centers_origin, "mean");
    test_make_folder(reference);
    assert_ok(fixture_build(reference, &manifest, &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(reference);
    return 0;
}

static void assert_like_reference(const char *folder)
{
    char what[512];
    if (!fixture_same_folders(reference, folder, what)) {
        fail_msg("differs from the undisturbed build: %s", what);
    }
}

static void test_twice_the_same(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256];
    test_make_folder(folder);
    assert_ok(fixture_build(folder, &manifest, &err));
    assert_like_reference(folder);
    assert_ok(fixture_build(folder, &manifest, &err)); /* nothing left to do */
    assert_like_reference(folder);
    test_remove_folder(folder);
}

/* Shards in another order, rows in other portions, one shard given up half way. */
static void test_any_order_and_abort(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct cask_cache *cache = NULL;
    struct fixture fixture;
    char folder[256];
    test_make_folder(folder);
    fixture_open(&fixture, &manifest);
    assert_ok(cask_cache_writer_open(folder, &manifest, 1, &writer, &err));
    assert_int_equal(cask_cache_writer_shards(writer), 6);
    assert_ok(fixture_shard(&fixture, writer, 5, &err));
    assert_ok(fixture_shard(&fixture, writer, 2, &err));
    assert_ok(cask_cache_writer_begin(writer, 3, &err));
    struct cask_cache_row row = fixture_row(&fixture, 180);
    assert_ok(cask_cache_writer_append(writer, &row, 1, &err));
    assert_refused(CASK_ERR_INTERNAL, "1 of 60 rows", cask_cache_writer_commit(writer, &err));
    cask_cache_writer_abort(writer);
    assert_true(cask_cache_writer_has(writer, 5) && !cask_cache_writer_has(writer, 3));
    assert_refused(CASK_ERR_FORMAT, "shard 0 of 6 is missing",
                   cask_cache_writer_finish(writer, &err));
    cask_cache_writer_close(writer);
    assert_refused(CASK_ERR_FORMAT, "not finished",
                   cask_cache_open(folder, CASK_VERIFY_FIRST, &cache, &err));
    assert_ok(fixture_build(folder, &manifest, &err));
    assert_like_reference(folder);
    fixture_close(&fixture);
    test_remove_folder(folder);
}

static void test_other_settings_are_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct cask_manifest other = manifest;
    other.topk = 5;
    other.scale = 30;
    snprintf(other.created, sizeof other.created, "later"); /* not part of the identity */
    assert_refused(CASK_ERR_MISMATCH, "topk: expected 5, found 6",
                   cask_cache_writer_open(reference, &other, 1, &writer, &err));
    assert_non_null(strstr(err.message, "scale: expected 30, found 64"));
    assert_null(strstr(err.message, "created"));
    assert_null(writer);
}

static void test_bad_rows_are_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct fixture fixture;
    char folder[256];
    test_make_folder(folder);
    fixture_open(&fixture, &manifest);
    assert_ok(cask_cache_writer_open(folder, &manifest, 2, &writer, &err));
    assert_ok(cask_cache_writer_begin(writer, 0, &err));
    struct cask_cache_row row = fixture_row(&fixture, 0);
    fixture.embedding[3] = NAN;
    assert_refused(CASK_ERR_RANGE, "row 0 (sample 1099511627776): view 0: embedding has length nan",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    fixture.embedding[16] += 0.5f;
    assert_refused(CASK_ERR_RANGE, "view 1: embedding has length",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    fixture.index[2] = 400;
    assert_refused(CASK_ERR_RANGE, "top-k index 2 is 400",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0); /* an even row: places 0 and 1 are tied */
    uint32_t first = fixture.index[0];
    fixture.index[0] = fixture.index[1];
    fixture.index[1] = first;
    assert_refused(CASK_ERR_RANGE, "entries 0 and 1 are not in order",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    fixture.cosine[4] = NAN;
    assert_refused(CASK_ERR_RANGE, "top-k cosine 4 is",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    fixture.lse[0][1] = INFINITY;
    assert_refused(CASK_ERR_RANGE, "LSE at temperature 4",
                   cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    row.label = 400;
    assert_refused(CASK_ERR_RANGE, "label is 400", cask_cache_writer_append(writer, &row, 1, &err));
    row = fixture_row(&fixture, 0);
    assert_ok(cask_cache_writer_append(writer, &row, 1, &err)); /* a refused row leaves no trace */
    assert_refused(CASK_ERR_INTERNAL, "while 0 is open", cask_cache_writer_begin(writer, 1, &err));
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
    test_remove_folder(folder);
}

static void test_bad_csv(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    char folder[256], path[300], *text = NULL;
    size_t bytes;
    test_make_folder(folder);
    struct cask_manifest m = fixture_manifest(10, 20, 4, 2, 10, CASK_EMBEDDING_F16);
    assert_ok(cask_cache_writer_open(folder, &m, 1, &writer, &err));
    assert_ok(cask_cache_writer_bad(writer, 9, "b.jpg", "cut short", &err));
    assert_ok(cask_cache_writer_bad(writer, 2, "a \"x\".jpg", "no JPEG\nat all", &err));
    cask_cache_writer_close(writer);
    snprintf(path, sizeof path, "%s/bad.csv", folder);
    assert_ok(cask_file_append(path, "9,\"b.j", 6, false, &err)); /* torn by a kill */
    assert_ok(cask_cache_writer_open(folder, &m, 1, &writer, &err));
    assert_ok(cask_file_append(path, "\n", 1, false, &err));
    assert_ok(cask_cache_writer_bad(writer, 9, "b.jpg", "cut short", &err));
    cask_cache_writer_close(writer);
    assert_ok(fixture_build(folder, &m, &err));
    assert_ok(cask_file_read_all(path, 4096, &text, &bytes, &err));
    assert_string_equal(
        text,
        "row,name,reason\n2,\"a \"\"x\"\".jpg\",\"no JPEG at all\"\n9,\"b.jpg\",\"cut short\"\n");
    cask_free(text);
    test_remove_folder(folder);
}

/* ---------------------------------------------------------------- kill -9 */

static void nap(uint64_t microseconds)
{
    struct timespec time = {(time_t)(microseconds / 1000000),
                            (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Starts a build and kills it after `microseconds`; true if it was still running. */
static bool build_and_kill(const char *folder, uint64_t microseconds)
{
    struct cask_error err = {0};
    pid_t child = fork();
    if (child == 0) {
        _exit(fixture_build(folder, &manifest, &err) == CASK_OK ? 0 : 1);
    }
    assert_true(child > 0);
    nap(microseconds);
    kill(child, SIGKILL);
    int status = 0;
    assert_true(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    return WIFSIGNALED(status);
}

static void test_kills(void **state)
{
    (void)state;
    enum { FOLDERS = 50, KILLS = 4 };
    struct cask_error err = {0};
    char folder[256];
    int killed = 0;
    test_make_folder(folder);
    double start = seconds();
    assert_ok(fixture_build(folder, &manifest, &err));
    uint64_t whole = (uint64_t)(1e6 * (seconds() - start)) + 1000;
    test_remove_folder(folder);
    for (uint64_t f = 0; f < FOLDERS; f++) {
        test_make_folder(folder);
        for (uint64_t k = 0; k < KILLS; k++) {
            killed += build_and_kill(folder, cask_rng_below(21, f, k, whole / 2));
        }
        assert_ok(fixture_build(folder, &manifest, &err));
        assert_like_reference(folder);
        test_remove_folder(folder);
    }
    printf("%d of %d builds were killed while running\n", killed, FOLDERS * KILLS);
    assert_true(killed > FOLDERS * KILLS / 4);
}

/* ---------------------------------------------------------------- faults of the disk */

struct fault {
    int calls, fail_at; /* 0: never */
    int problem;
    bool shorten, interrupt;
};

static int inject(const char *call, const char *path, size_t *bytes, void *user)
{
    struct fault *fault = user;
    (void)path;
    fault->calls++;
    if (fault->shorten && bytes != NULL && *bytes > 1) {
        *bytes = *bytes / 3 + 1;
    }
    if (fault->interrupt && strcmp(call, "write") == 0 && fault->calls % 2 == 0) {
        return EINTR;
    }
    return fault->fail_at != 0 && fault->calls >= fault->fail_at ? fault->problem : 0;
}

static void test_full_disk_and_broken_disk(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct fault counter = {0};
    char folder[256];
    test_make_folder(folder);
    cask_file_set_fault(inject, &counter);
    assert_ok(fixture_build(folder, &manifest, &err));
    cask_file_set_fault(NULL, NULL);
    test_remove_folder(folder);
    assert_true(counter.calls > 50);
    for (int at = 1; at <= counter.calls; at++) {
        struct fault fault = {.fail_at = at, .problem = at % 2 ? ENOSPC : EIO};
        test_make_folder(folder);
        cask_file_set_fault(inject, &fault);
        enum cask_status st = fixture_build(folder, &manifest, &err);
        cask_file_set_fault(NULL, NULL);
        assert_int_equal(st, at % 2 ? CASK_ERR_NO_SPACE : CASK_ERR_IO);
        assert_non_null(strstr(err.message, folder));
        assert_ok(fixture_build(folder, &manifest, &err));
        assert_like_reference(folder);
        test_remove_folder(folder);
    }
}

static void test_short_writes_and_interrupts(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct fault fault = {.shorten = true, .interrupt = true};
    char folder[256];
    test_make_folder(folder);
    cask_file_set_fault(inject, &fault);
    assert_ok(fixture_build(folder, &manifest, &err));
    cask_file_set_fault(NULL, NULL);
    assert_like_reference(folder);
    test_remove_folder(folder);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twice_the_same),
        cmocka_unit_test(test_any_order_and_abort),
        cmocka_unit_test(test_other_settings_are_refused),
        cmocka_unit_test(test_bad_rows_are_refused),
        cmocka_unit_test(test_bad_csv),
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_full_disk_and_broken_disk),
        cmocka_unit_test(test_short_writes_and_interrupts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
