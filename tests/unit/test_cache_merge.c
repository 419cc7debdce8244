/* Parts that were built apart become the bytes of one build; what does not belong together is
 * refused by name, and a merge that is killed or fails goes on where it stopped. */
#include "tests/support/test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cache/merge.h"
#include "tests/support/cache_fixture.h"

enum { SHARDS = 6 };
static char root[256], whole[300];
static struct cask_manifest manifest;

static int setup(void **state)
{
    (void)state;
    struct cask_error err = {0};
    manifest = fixture_manifest(330, 400, 16, 6, 60, CASK_EMBEDDING_F16);
    snprintf(manifest.centers_origin, sizeof manifest.centers_origin, "mean");
    test_make_folder(root);
    snprintf(whole, sizeof whole, "%s/whole", root);
    assert_ok(fixture_build(whole, &manifest, &err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(root);
    return 0;
}

/* Shards [first, end) of the same build in a folder of their own. */
static void build_part(const char *name, const struct cask_manifest *m, int64_t first, int64_t end,
                       bool with_centers, char path[300])
{
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct fixture fixture;
    snprintf(path, 300, "%s/%s", root, name);
    fixture_open(&fixture, m);
    assert_ok(cask_cache_writer_open(path, m, 1, &writer, &err));
    for (int64_t s = first; s < end; s++) {
        assert_ok(fixture_shard(&fixture, writer, s, &err));
    }
    if (with_centers) {
        assert_ok(fixture_centers(writer, m, &err));
    }
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
}

static enum cask_status merge(const char *out, const char *a, const char *b, const char *c,
                              struct cask_merge_counts *counts, struct cask_error *err)
{
    const char *parts[] = {a, b, c};
    return cask_cache_merge(out, parts, c != NULL ? 3 : 2, counts, err);
}

static void assert_whole(const char *folder)
{
    char what[512];
    if (!fixture_same_folders(whole, folder, what)) {
        fail_msg("differs from the single build: %s", what);
    }
}

static void parts_become_the_single_build(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    char a[300], b[300], c[300], out[300];
    build_part("a", &manifest, 0, 2, true, a);
    build_part("b", &manifest, 2, 3, false, b);
    build_part("c", &manifest, 3, SHARDS, true, c);
    snprintf(out, sizeof out, "%s/out", root);
    assert_ok(merge(out, c, a, b, &counts, &err)); /* in any order */
    assert_int_equal(counts.shards, SHARDS);
    assert_int_equal(counts.copied, SHARDS);
    assert_whole(out);
    assert_ok(merge(out, a, b, c, &counts, &err)); /* nothing left to do */
    assert_int_equal(counts.copied, 0);
    assert_whole(out);
    snprintf(out, sizeof out, "%s/copy", root); /* a finished cache is a part like any other */
    const char *parts[] = {whole};
    assert_ok(cask_cache_merge(out, parts, 1, &counts, &err));
    assert_whole(out);
}

static void gaps_and_overlaps_are_named(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    char a[300], b[300], out[300];
    build_part("g1", &manifest, 0, 2, true, a);
    build_part("g2", &manifest, 4, 5, true, b);
    snprintf(out, sizeof out, "%s/gap", root);
    assert_refused(CASK_ERR_FORMAT, "no part holds shards 2 to 3 (of 0 to 5)",
                   merge(out, a, b, NULL, &counts, &err));
    assert_non_null(strstr(err.message, "precompute --shards 2:4"));
    assert_false(cask_path_exists(out)); /* refused before anything is written */
    build_part("g3", &manifest, 1, SHARDS, true, b);
    assert_refused(CASK_ERR_MISMATCH, "shard 1 is in", merge(out, a, b, NULL, &counts, &err));
    assert_non_null(strstr(err.message, "/g1 and in "));
    assert_refused(CASK_ERR_USAGE, "is one of the parts", merge(a, a, b, NULL, &counts, &err));
    assert_refused(CASK_ERR_IO, "no manifest.json",
                   merge(out, a, "/nonexistent", NULL, &counts, &err));
}

static void other_builds_are_refused_by_field(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    struct cask_manifest other = manifest;
    char a[300], b[300], out[300];
    snprintf(out, sizeof out, "%s/other", root);
    build_part("o1", &manifest, 0, 3, true, a);
    other.probe[17] += 1e-3;
    other.weights_sha256[0] = 'x';
    build_part("o2", &other, 3, SHARDS, true, b);
    assert_refused(CASK_ERR_MISMATCH, "differs in 2 fields: weights_sha256: expected 6d0",
                   merge(out, a, b, NULL, &counts, &err));
    assert_non_null(strstr(err.message, "probe: expected component 2 of picture 0 = "));
    assert_non_null(strstr(err.message, "not parts of one build"));
    other = manifest; /* empty on one side, in either order */
    other.dataset_sha256[0] = '\0';
    build_part("o3", &other, 3, SHARDS, true, b);
    assert_refused(CASK_ERR_MISMATCH, "dataset_sha256", merge(out, a, b, NULL, &counts, &err));
    assert_refused(CASK_ERR_MISMATCH, "dataset_sha256", merge(out, b, a, NULL, &counts, &err));
}

static void flip_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* A shard that rotted in a part is not carried over; what was copied before it is kept. */
static void damage_is_not_carried_over(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    char a[300], b[300], out[300], path[400];
    build_part("d1", &manifest, 0, 4, true, a);
    build_part("d2", &manifest, 4, SHARDS, true, b);
    snprintf(out, sizeof out, "%s/damaged", root);
    snprintf(path, sizeof path, "%s/shard-00004.h5", b);
    flip_byte(path, 5000);
    assert_refused(CASK_ERR_FORMAT, "d2/shard-00004.h5: damaged",
                   merge(out, a, b, NULL, &counts, &err));
    assert_int_equal(counts.copied, 4);
    flip_byte(path, 5000);
    assert_ok(merge(out, a, b, NULL, &counts, &err));
    assert_int_equal(counts.copied, 2);
    assert_whole(out);
}

static int fail_at(const char *call, const char *path, size_t *bytes, void *user)
{
    int *left = user;
    (void)call;
    (void)path;
    (void)bytes;
    return --*left < 0 ? (*left % 2 ? ENOSPC : EIO) : 0;
}

static void failing_disks_leave_nothing_half(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    char a[300], b[300], out[300];
    build_part("f1", &manifest, 0, 3, true, a);
    build_part("f2", &manifest, 3, SHARDS, true, b);
    snprintf(out, sizeof out, "%s/failing", root);
    for (int calls = 0, done = 0; !done; calls++) {
        int left = calls;
        cask_file_set_fault(fail_at, &left);
        enum cask_status st = merge(out, a, b, NULL, &counts, &err);
        cask_file_set_fault(NULL, NULL);
        done = st == CASK_OK;
        if (!done && calls % 5 == 0) {
            assert_ok(merge(out, a, b, NULL, &counts, &err));
            assert_whole(out);
            test_remove_folder(out);
        }
    }
    assert_whole(out);
}

static void killed_merges_go_on(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_merge_counts counts;
    char a[300], b[300], out[300];
    int killed = 0;
    build_part("k1", &manifest, 0, 3, true, a);
    build_part("k2", &manifest, 3, SHARDS, true, b);
    snprintf(out, sizeof out, "%s/killed", root);
    for (uint64_t round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(merge(out, a, b, NULL, &counts, &err) == CASK_OK ? 0 : 1);
        }
        assert_true(child > 0);
        const struct timespec pause = {0, (long)cask_rng_below(5, 0, round, 4000) * 1000};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int status = 0;
        assert_true(waitpid(child, &status, 0) == child);
        assert_true(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
        killed += WIFSIGNALED(status);
        if (round % 4 == 3) {
            assert_ok(merge(out, a, b, NULL, &counts, &err));
            assert_whole(out);
            test_remove_folder(out);
        }
    }
    printf("%d of 40 merges were killed while running\n", killed);
    assert_true(killed > 0);
}

/* A shard that is marked is built anew, whatever is on disk; the others are left alone. */
static void marked_shards_are_rebuilt(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_cache_writer *writer = NULL;
    struct cask_merge_counts counts;
    struct fixture fixture;
    char out[300], path[400];
    const char *parts[] = {whole};
    float centers[400 * 16];
    bool found;
    snprintf(out, sizeof out, "%s/rebuilt", root);
    assert_ok(cask_cache_merge(out, parts, 1, &counts, &err));
    snprintf(path, sizeof path, "%s/shard-00003.h5", out);
    flip_byte(path, 5000);
    snprintf(path, sizeof path, "%s/centers.h5", out);
    fixture_open(&fixture, &manifest);
    assert_ok(cask_cache_writer_open(out, &manifest, 1, &writer, &err));
    assert_true(cask_cache_writer_has(writer, 3)); /* sizes and index are right */
    assert_ok(cask_cache_writer_rebuild(writer, 3, &err));
    assert_false(cask_cache_writer_has(writer, 3));
    assert_ok(cask_cache_writer_refresh(writer, &err)); /* the journal still lists it */
    assert_false(cask_cache_writer_has(writer, 3));
    assert_refused(CASK_ERR_RANGE, "shard 6, expected 0 to 5",
                   cask_cache_writer_rebuild(writer, 6, &err));
    assert_ok(cask_cache_writer_read_centers(writer, centers, &found, &err));
    assert_true(found);
    flip_byte(path, 4200); /* inside the matrix */
    assert_ok(cask_cache_writer_read_centers(writer, centers, &found, &err));
    assert_false(found || cask_cache_writer_has(writer, CASK_CACHE_CENTERS));
    assert_ok(fixture_shard(&fixture, writer, 3, &err));
    centers[5] += 0.1f;
    assert_refused(CASK_ERR_MISMATCH, "centers_sha256: expected ",
                   cask_cache_writer_centers(writer, centers, &err));
    assert_ok(fixture_centers(writer, &manifest, &err));
    assert_ok(cask_cache_writer_finish(writer, &err));
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
    assert_whole(out);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_become_the_single_build),
        cmocka_unit_test(gaps_and_overlaps_are_named),
        cmocka_unit_test(other_builds_are_refused_by_field),
        cmocka_unit_test(damage_is_not_carried_over),
        cmocka_unit_test(failing_disks_leave_nothing_half),
        cmocka_unit_test(killed_merges_go_on),
        cmocka_unit_test(marked_shards_are_rebuilt),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
