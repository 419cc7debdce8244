#include "common/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

enum { ARGUMENTS_MAX = 32, COMPLAINT_BYTES = 1000 };

struct running {
    const struct cask_child *child;
    pid_t pid;        /* -1: not started or already waited for */
    int input;        /* a file in memory: a child that does not read it does us no harm */
    int output, said; /* our ends of its stdout and stderr */
    double deadline;
    struct cask_text complaint;
};

/* The program's path, in memory of its own; NULL if it is in no folder of PATH. An empty or
 * relative entry of PATH would mean the current folder and is passed over. */
static char *find_program(const char *name)
{
    if (name[0] == '/') {
        return access(name, X_OK) == 0 ? cask_strdup(name) : NULL;
    }
    const char *at = getenv("PATH");
    while (at != NULL && *at != 0) {
        const size_t length = strcspn(at, ":");
        char *path = *at == '/' ? cask_format("%.*s/%s", (int)length, at, name) : NULL;
        if (path != NULL && access(path, X_OK) == 0) {
            return path;
        }
        cask_free(path);
        at += length + (at[length] == ':');
    }
    return NULL;
}

static enum cask_status open_ends(struct running *run, int theirs[2], struct cask_error *err)
{
    int out[2], said[2];
    const struct cask_child *child = run->child;
    run->input = memfd_create("input", MFD_CLOEXEC);
    if (run->input < 0) {
        return cask_error_errno(err, errno, "%s: its input", child->program);
    }
    for (size_t at = 0; at < child->input_bytes;) {
        const ssize_t written = write(run->input, child->input + at, child->input_bytes - at);
        if (written < 0 && errno != EINTR) {
            return cask_error_errno(err, errno, "%s: its input", child->program);
        }
        at += written > 0 ? (size_t)written : 0;
    }
    lseek(run->input, 0, SEEK_SET);
    if (pipe2(out, O_CLOEXEC) != 0) {
        return cask_error_errno(err, errno, "%s: a pipe", child->program);
    }
    run->output = out[0];
    theirs[0] = out[1];
    if (pipe2(said, O_CLOEXEC) != 0) {
        return cask_error_errno(err, errno, "%s: a pipe", child->program);
    }
    run->said = said[0];
    theirs[1] = said[1];
    return CASK_OK;
}

/* Programs of Cask block SIGINT and SIGTERM in every thread but one; the child must not inherit it.
 */
static int spawn(struct running *run, const char *path, char *const *arguments,
                 char *const *environment, const int theirs[2])
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int problem = posix_spawn_file_actions_init(&files);
    if (problem != 0) {
        return problem;
    }
    problem = posix_spawnattr_init(&attributes);
    if (problem == 0) {
        posix_spawn_file_actions_adddup2(&files, run->input, 0);
        posix_spawn_file_actions_adddup2(&files, theirs[0], 1);
        posix_spawn_file_actions_adddup2(&files, theirs[1], 2);
        posix_spawn_file_actions_addclosefrom_np(&files, 3);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETPGROUP);
        problem = posix_spawn(&run->pid, path, &files, &attributes, arguments, environment);
        run->pid = problem == 0 ? run->pid : -1;
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return problem;
}

static enum cask_status start(struct running *run, int theirs[2], struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_child *child = run->child;
    char *arguments[ARGUMENTS_MAX + 2] = {NULL}, *environment[4] = {NULL};
    const char *folders = getenv("PATH"), *home = getenv("HOME");
    int count = 0, problem;
    char *path = find_program(child->program);
    if (path == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "%s: there is no such program in PATH; install it",
                                child->program));
    }
    CASK_TRY(open_ends(run, theirs, err));
    arguments[count++] = cask_strdup(child->program);
    for (int i = 0; child->arguments[i] != NULL && i < ARGUMENTS_MAX; i++) {
        arguments[count++] = cask_strdup(child->arguments[i]);
    }
    environment[0] = cask_strdup("LC_ALL=C.UTF-8"); /* C's numbers, UTF-8 text */
    environment[1] = cask_format("PATH=%s", folders != NULL ? folders : "");
    environment[2] = cask_format("HOME=%s", home != NULL ? home : "/");
    if (arguments[count - 1] == NULL || environment[0] == NULL || environment[1] == NULL ||
        environment[2] == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "arguments of another program"));
    }
    problem = spawn(run, path, arguments, environment, theirs);
    if (problem != 0) {
        CASK_TRY(cask_error_errno(err, problem, "%s: starting it", path));
    }
done:
    for (int i = 0; i < count; i++) {
        cask_free(arguments[i]);
    }
    for (int i = 0; i < 3; i++) {
        cask_free(environment[i]);
    }
    cask_free(path);
    return st;
}

/* What is there now; closes *fd at its end. */
static void take(int *fd, struct cask_text *text, size_t limit)
{
    char part[65536];
    const ssize_t count = read(*fd, part, sizeof part);
    if (count > 0) {
        const size_t room = limit > text->length ? limit - text->length : 0;
        cask_text_add(text, part, (size_t)count < room ? (size_t)count : room);
    } else if (count == 0 || errno != EINTR) {
        close(*fd);
        *fd = -1;
    }
}

static enum cask_status listen_to(struct running *run, struct cask_text *output,
                                  struct cask_error *err)
{
    const struct cask_child *child = run->child;
    const size_t before = output->length, limit = before + child->max_output;
    while (run->output >= 0 || run->said >= 0) {
        struct pollfd ends[2] = {{run->output, POLLIN, 0}, {run->said, POLLIN, 0}};
        const double left = run->deadline - cask_now();
        if (!(left > 0)) {
            return cask_error_set(err, CASK_ERR_IO, "%s: no end after %.0f s; it was stopped",
                                  child->program, child->seconds);
        }
        if (poll(ends, 2, (int)(left * 1000) + 1) < 0 && errno != EINTR) {
            return cask_error_errno(err, errno, "%s: waiting for it", child->program);
        }
        if (ends[0].revents != 0) {
            take(&run->output, output, limit + 1); /* one more than allowed shows */
        }
        if (ends[1].revents != 0) {
            take(&run->said, &run->complaint, COMPLAINT_BYTES);
        }
        if (output->length > limit) {
            return cask_error_set(err, CASK_ERR_IO, "%s: wrote more than %zu bytes", child->program,
                                  child->max_output);
        }
    }
    return CASK_OK;
}

/* It has closed its ends; a child that lives on behind them is stopped at the deadline. */
static enum cask_status end(struct running *run, struct cask_error *err)
{
    const char *name = run->child->program;
    const struct timespec moment = {0, 1000000};
    int how = 0;
    pid_t ended;
    while ((ended = waitpid(run->pid, &how, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        if (!(cask_now() < run->deadline)) {
            return cask_error_set(err, CASK_ERR_IO, "%s: no end after %.0f s; it was stopped", name,
                                  run->child->seconds);
        }
        nanosleep(&moment, NULL);
    }
    run->pid = -1;
    char *said = run->complaint.data != NULL ? run->complaint.data : (char[]){""};
    for (size_t i = strlen(said); i > 0 && (said[i - 1] == '\n' || said[i - 1] == ' '); i--) {
        said[i - 1] = 0;
    }
    if (ended < 0) {
        return cask_error_errno(err, errno, "%s: waiting for its end", name);
    }
    if (WIFSIGNALED(how)) {
        return cask_error_set(err, CASK_ERR_IO, "%s: ended by signal %d: %s", name, WTERMSIG(how),
                              said);
    }
    if (WEXITSTATUS(how) != 0) {
        return cask_error_set(err, CASK_ERR_IO, "%s: ended with code %d: %s", name,
                              WEXITSTATUS(how), said);
    }
    return CASK_OK;
}

enum cask_status cask_child_run(const struct cask_child *child, struct cask_text *output,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct running run = {.child = child, .pid = -1, .input = -1, .output = -1, .said = -1};
    int theirs[2] = {-1, -1};
    run.deadline = cask_now() + child->seconds;
    st = start(&run, theirs, err);
    for (int i = 0; i < 2; i++) { /* or we would wait for ourselves */
        if (theirs[i] >= 0) {
            close(theirs[i]);
        }
    }
    CASK_TRY(st);
    CASK_TRY(listen_to(&run, output, err));
    CASK_TRY(end(&run, err));
done:
    if (run.pid > 0) {
        kill(-run.pid, SIGKILL);
        while (waitpid(run.pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    const int ours[3] = {run.input, run.output, run.said};
    for (int i = 0; i < 3; i++) {
        if (ours[i] >= 0) {
            close(ours[i]);
        }
    }
    cask_text_release(&run.complaint);
    return st;
}
