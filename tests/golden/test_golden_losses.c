/* Golden loss cases through build/bin/check_loss: our own (make_losses.py, torch autograd) and,
 * where it is there, the shared collection. check_loss exits 0 only if every case passes in double,
 * float and on the cpu backend. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"

static int run_folder(const char *folder, int *cases)
{
    struct cask_error err;
    char **names;
    size_t count;
    assert_ok(cask_folder_list(folder, &names, &count, &err));
    int failed = 0;
    *cases = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (length < 5 || strcmp(names[i] + length - 5, ".json") != 0 ||
            strcmp(names[i], "INDEX.json") == 0) {
            continue;
        }
        char command[1024];
        snprintf(command, sizeof command, "'%s/check_loss' '%s/%s' 2>&1", getenv("CASK_BIN"),
                 folder, names[i]);
        failed += system(command) != 0;
        ++*cases;
    }
    cask_folder_list_free(names, count);
    return failed;
}

static void test_own_cases(void **state)
{
    (void)state;
    char folder[512];
    int cases;
    snprintf(folder, sizeof folder, "%s/tests/golden/losses", getenv("CASK_SOURCE"));
    assert_int_equal(run_folder(folder, &cases), 0);
    assert_true(cases >= 40);
}

static void test_shared_cases(void **state)
{
    (void)state;
    const char *shared = getenv("CASK_SHARED");
    char folder[512];
    int cases;
    snprintf(folder, sizeof folder, "%s/golden", shared ? shared : "");
    if (shared == NULL || !cask_path_is_folder(folder)) {
        print_message("no shared golden cases: skipped\n");
        skip();
    }
    assert_int_equal(run_folder(folder, &cases), 0);
    assert_true(cases > 0);
}

/* Cases drawn by random_losses.py: other sizes and options, references by autograd. */
static void test_random_cases(void **state)
{
    (void)state;
    char folder[256], command[900];
    if (system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0) {
        print_message("no python3-torch: skipped\n");
        skip();
    }
    test_make_folder(folder);
    snprintf(command, sizeof command,
             "/usr/bin/python3 '%s/tests/golden/random_losses.py' '%s' 3 6 && '%s/check_loss' "
             "'%s'/*.json >'%s/out' 2>&1 || { grep -v ' ok' '%s/out'; false; }",
             getenv("CASK_SOURCE"), folder, getenv("CASK_BIN"), folder, folder, folder);
    assert_int_equal(system(command), 0);
    test_remove_folder(folder);
}

/* An option, a method or an input that is not known is an error, not a default. */
static void test_unknown_words(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"name\":\"a\",\"method\":\"kd\",\"options\":{\"T\":4,\"Tee\":1},\"inputs\":{\"z_"
        "student\":[[1,2]],\"z_teacher\":[[1,0]],\"labels\":[0]},\"loss\":0,\"grad\":{}}",
        "{\"name\":\"a\",\"method\":\"kdd\",\"options\":{},\"inputs\":{\"z_student\":[[1,2]],\"z_"
        "teacher\":[[1,0]],\"labels\":[0]},\"loss\":0,\"grad\":{}}",
        "{\"name\":\"a\",\"method\":\"kd\",\"options\":{\"T\":4},\"inputs\":{\"z_student\":[[1,2]],"
        "\"z_taecher\":[[1,0]],\"labels\":[0]},\"loss\":0,\"grad\":{}}",
        "{\"name\":\"a\",\"method\":\"kd\",\"options\":{\"T\":4},\"inputs\":{\"z_student\":[[1,2]],"
        "\"z_teacher\":[[1,0,3]],\"labels\":[0]},\"loss\":0,\"grad\":{}}",
    };
    char folder[256], path[300], command[900];
    struct cask_error err;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/bad.json", folder);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(cask_file_write_all(path, bad[i], strlen(bad[i]), &err));
        snprintf(command, sizeof command, "'%s/check_loss' '%s' 2>/dev/null", getenv("CASK_BIN"),
                 path);
        assert_int_not_equal(system(command), 0);
    }
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_cases),
        cmocka_unit_test(test_shared_cases),
        cmocka_unit_test(test_random_cases),
        cmocka_unit_test(test_unknown_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
