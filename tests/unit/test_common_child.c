/* common/child.h with programs that every system has. */
#include "tests/support/test.h"

#include <signal.h>
#include <sys/stat.h>

#include "common/child.h"
#include "common/log.h"

static struct cask_error err;

/* Runs sh -c COMMAND; the shell is the child under test here. */
static enum cask_status run_shell(const char *command, const char *input, size_t bytes,
                                  double seconds, struct cask_text *output)
{
    const char *const arguments[] = {"-c", command, NULL};
    const struct cask_child child = {"sh", arguments, input, bytes, 100000, seconds};
    return cask_child_run(&child, output, &err);
}

static void passes_text_through(void **state)
{
    (void)state;
    struct cask_text output = {0};
    char input[60000];
    for (size_t i = 0; i < sizeof input; i++) {
        input[i] = (char)('a' + i % 23);
    }
    assert_ok(run_shell("cat; echo end", input, sizeof input, 20, &output));
    assert_int_equal(output.length, sizeof input + 4);
    assert_memory_equal(output.data, input, sizeof input);
    assert_string_equal(output.data + sizeof input, "end\n");
    assert_ok(run_shell("exit 0", input, sizeof input, 20, &output)); /* nobody reads it */
    cask_text_release(&output);
}

static void tells_why_it_failed(void **state)
{
    (void)state;
    struct cask_text output = {0};
    assert_refused(CASK_ERR_IO, "sh: ended with code 7: no way",
                   run_shell("echo no way >&2; exit 7", "", 0, 20, &output));
    assert_refused(CASK_ERR_IO, "sh: ended by signal 9",
                   run_shell("kill -KILL $$", "", 0, 20, &output));
    assert_refused(CASK_ERR_IO, "more than 100000 bytes",
                   run_shell("while :; do echo 0123456789; done", "", 0, 60, &output));
    const double begin = cask_now();
    assert_refused(CASK_ERR_IO, "no end after", run_shell("sleep 50", "", 0, 0.2, &output));
    assert_refused(CASK_ERR_IO, "no end after", /* it closed its ends and lives on */
                   run_shell("exec >&- 2>&-; sleep 50", "", 0, 0.2, &output));
    assert_true(cask_now() - begin < 20);
    /* megabytes of complaints do not block it, and the message is cut */
    assert_refused(
        CASK_ERR_IO, "code 3",
        run_shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 3", "", 0, 60, &output));
    cask_text_release(&output);
}

static void finds_programs_in_path_only(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    const struct cask_child child = {"cask-no-such-program", none, "", 0, 10, 5},
                            here = {"here", none, "", 0, 10, 5};
    struct cask_text output = {0};
    char folder[256], path[300], before[4096];
    assert_refused(CASK_ERR_UNSUPPORTED, "cask-no-such-program",
                   cask_child_run(&child, &output, &err));
    /* an empty entry of PATH is the current folder to a shell; here it is nothing */
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/here", folder);
    FILE *file = fopen(path, "w");
    fputs("#!/bin/sh\necho found\n", file);
    fchmod(fileno(file), 0755);
    fclose(file);
    assert_non_null(getcwd(before, sizeof before));
    char *kept = strdup(getenv("PATH"));
    assert_int_equal(chdir(folder), 0);
    setenv("PATH", ":.:", 1);
    assert_refused(CASK_ERR_UNSUPPORTED, "here", cask_child_run(&here, &output, &err));
    setenv("PATH", folder, 1);
    assert_ok(cask_child_run(&here, &output, &err));
    assert_string_equal(output.data, "found\n");
    setenv("PATH", kept, 1);
    assert_int_equal(chdir(before), 0);
    free(kept);
    cask_text_release(&output);
    test_remove_folder(folder);
}

/* Cask's programs block SIGINT and SIGTERM and hold files open; the child sees neither. */
static void inherits_nothing(void **state)
{
    (void)state;
    struct cask_text output = {0};
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    const int fd = dup2(2, 57); /* without O_CLOEXEC */
    assert_int_equal(fd, 57);
    assert_refused(CASK_ERR_IO, "signal 15",
                   run_shell("kill -TERM $$; echo alive", "", 0, 20, &output));
    output.length = 0;
    setenv("CASK_SECRET", "1", 1);
    assert_ok(run_shell("[ -e /proc/self/fd/57 ] && echo open; env | grep -c CASK || :; "
                        "echo $LC_ALL",
                        "", 0, 20, &output));
    assert_string_equal(output.data, "0\nC.UTF-8\n");
    close(fd);
    unsetenv("CASK_SECRET");
    sigprocmask(SIG_SETMASK, &before, NULL);
    cask_text_release(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_text_through),
        cmocka_unit_test(tells_why_it_failed),
        cmocka_unit_test(finds_programs_in_path_only),
        cmocka_unit_test(inherits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
