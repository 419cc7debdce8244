/* Atomic files under injected faults, folders, and the thread pool. */
#include "tests/support/test.h"

#include <errno.h>
#include <stdatomic.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/thread.h"

struct faults {
    const char *call;
    int errnum, skip, times;
    size_t limit; /* largest write let through at once; 0: no limit */
};

static int inject(const char *call, const char *path, size_t *bytes, void *user)
{
    struct faults *f = user;
    (void)path;
    if (f->limit > 0 && bytes != NULL && *bytes > f->limit) {
        *bytes = f->limit;
    }
    if (f->call == NULL || strcmp(call, f->call) != 0 || f->skip-- > 0 || f->times-- <= 0) {
        return 0;
    }
    return f->errnum;
}

static void failed_writes_leave_the_old_file(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], path[300];
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    assert_ok(cask_file_write_all(path, "old", 3, &err));
    static const struct {
        const char *call;
        int errnum;
        enum cask_status status;
    } cases[] = {{"write", ENOSPC, CASK_ERR_NO_SPACE},
                 {"write", EIO, CASK_ERR_IO},
                 {"fsync", EIO, CASK_ERR_IO},
                 {"fsync", ENOSPC, CASK_ERR_NO_SPACE},
                 {"rename", EIO, CASK_ERR_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct faults f = {cases[i].call, cases[i].errnum, 0, 1, 0};
        cask_file_set_fault(inject, &f);
        assert_refused(cases[i].status, path, cask_file_write_all(path, "new!", 4, &err));
        cask_file_set_fault(NULL, NULL);
        char *data = NULL, **names = NULL;
        size_t bytes = 0, count = 0;
        assert_ok(cask_file_read_all(path, 100, &data, &bytes, &err));
        assert_string_equal(data, "old");
        cask_free(data);
        assert_ok(cask_folder_list(folder, &names, &count, &err));
        assert_int_equal(count, 1); /* no temporary is left */
        cask_folder_list_free(names, count);
    }
    test_remove_folder(folder);
}

static void short_writes_and_eintr_are_survived(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], path[300], text[1000], *data = NULL;
    size_t bytes = 0;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + i % 26);
    }
    struct faults f = {"write", EINTR, 3, 5, 7};
    cask_file_set_fault(inject, &f);
    assert_ok(cask_file_write_all(path, text, sizeof text, &err));
    assert_ok(cask_file_append(path, "tail", 4, true, &err));
    cask_file_set_fault(NULL, NULL);
    assert_ok(cask_file_read_all(path, 2000, &data, &bytes, &err));
    assert_int_equal(bytes, sizeof text + 4);
    assert_memory_equal(data, text, sizeof text);
    cask_free(data);
    assert_refused(CASK_ERR_FORMAT, "at most 10 bytes",
                   cask_file_read_all(path, 10, &data, &bytes, &err));
    test_remove_folder(folder);
}

/* Half a line was written when the disk was full; of a file that was not there nothing stays. */
static void an_appended_line_is_whole_or_absent(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], path[300], *data = NULL;
    size_t bytes = 0;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/log", folder);
    for (int there = 0; there < 2; there++) {
        struct faults f = {"write", ENOSPC, 1, 1, 5};
        cask_file_set_fault(inject, &f);
        assert_refused(CASK_ERR_NO_SPACE, path,
                       cask_file_append_whole(path, "a second line\n", 14, &err));
        cask_file_set_fault(NULL, NULL);
        assert_int_equal(cask_path_exists(path), there);
        if (!there) {
            assert_ok(cask_file_append_whole(path, "a line\n", 7, &err));
        }
    }
    assert_ok(cask_file_read_all(path, 100, &data, &bytes, &err));
    assert_string_equal(data, "a line\n");
    cask_free(data);
    test_remove_folder(folder);
}

static void folders_are_created_listed_swept(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char folder[256], path[300];
    char **names = NULL;
    size_t count = 0;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/a/b/c", folder);
    assert_ok(cask_folder_create(path, &err));
    assert_ok(cask_folder_create(path, &err));
    assert_true(cask_path_is_folder(path));
    const char *const files[] = {"z", "b", "x.h5.tmp.12"};
    for (size_t i = 0; i < 3; i++) {
        char name[400];
        snprintf(name, sizeof name, "%s/%s", path, files[i]);
        assert_ok(cask_file_write_all(name, "", 0, &err));
        assert_refused(CASK_ERR_IO, name, cask_folder_create(name, &err));
    }
    assert_ok(cask_folder_sweep_temporaries(path, &err));
    assert_ok(cask_folder_list(path, &names, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "b");
    cask_folder_list_free(names, count);
    struct cask_map map;
    assert_refused(CASK_ERR_IO, "a folder", cask_map_open(&map, path, &err));
    snprintf(path, sizeof path, "%s/none", folder);
    assert_refused(CASK_ERR_IO, "No such file", cask_map_open(&map, path, &err));
    test_remove_folder(folder);
}

struct tally {
    atomic_int hits[1000];
};

static void hit(void *user, int64_t index, int worker)
{
    struct tally *tally = user;
    (void)worker;
    tally->hits[index]++;
}

static atomic_int begun;

static void begin(void)
{
    begun++;
}

static void pool_runs_each_index_once(void **state)
{
    (void)state;
    struct cask_error err = {0};
    for (int threads = 1; threads <= 4; threads++) {
        struct cask_pool *pool = NULL;
        static struct tally tally;
        memset(&tally, 0, sizeof tally);
        begun = 0;
        assert_ok(cask_pool_create_with(threads, begin, &pool, &err));
        assert_int_equal(cask_pool_threads(pool), threads);
        for (int round = 1; round <= 50; round++) {
            const int64_t turn = round % 7 + 1; /* more than there are, too */
            cask_pool_run(pool, 20 * round, hit, &tally);
            cask_pool_run_turns(pool, 20 * round - 13, turn, hit, &tally);
            cask_pool_run_turns(pool, round % 3, turn, hit, &tally);
        }
        cask_pool_free(pool);
        assert_int_equal(begun, threads - 1);
        for (int i = 0; i < 1000; i++) {
            int want = 0;
            for (int round = 1; round <= 50; round++) {
                want += (i < 20 * round) + (i < 20 * round - 13) + (i < round % 3);
            }
            assert_int_equal(tally.hits[i], want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_writes_leave_the_old_file),
        cmocka_unit_test(short_writes_and_eintr_are_survived),
        cmocka_unit_test(an_appended_line_is_whole_or_absent),
        cmocka_unit_test(folders_are_created_listed_swept),
        cmocka_unit_test(pool_runs_each_index_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
