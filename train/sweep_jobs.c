#include "train/sweep_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"

enum { CANNOT_START = 127 };

/* Between fork and exec only calls that POSIX allows there: other threads may have held locks. */
__attribute__((noreturn)) static void become(char *const *argv, int log, pid_t sweep)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != sweep) { /* it died before the line above */
        _exit(CANNOT_START);
    }
    if (log >= 0) {
        dup2(log, STDERR_FILENO);
    }
    /* stdout is the table's */
    dup2(STDERR_FILENO, STDOUT_FILENO);
    execv("/proc/self/exe", argv);
    _exit(CANNOT_START);
}

enum cask_status cask_job_start(char *const *settings, int count, const char *log,
                                struct cask_job *job, struct cask_error *err)
{
    char program[] = "train-student", first[] = "--config", also[] = "--also";
    int file = -1;
    *job = (struct cask_job){0};
    char **argv = cask_alloc(2 * (size_t)count + 2, sizeof *argv);
    if (argv == NULL) {
        return cask_error_memory(err, (size_t)count * sizeof *argv, "arguments of a process");
    }
    argv[0] = program;
    for (int i = 0; i < count; i++) {
        argv[1 + 2 * i] = i == 0 ? first : also;
        argv[2 + 2 * i] = settings[i];
    }
    if (log != NULL) {
        file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (file < 0) {
            enum cask_status st = cask_error_errno(err, errno, "%s: opening", log);
            cask_free(argv);
            return st;
        }
    }
    const pid_t sweep = getpid();
    job->pid = fork();
    if (job->pid == 0) {
        become(argv, file, sweep);
    }
    const int problem = errno;
    cask_free(argv);
    if (file >= 0) {
        close(file);
    }
    if (job->pid < 0) {
        job->pid = 0;
        return cask_error_errno(err, problem, "starting a process for %s", settings[0]);
    }
    return CASK_OK;
}

bool cask_job_ended(struct cask_job *job)
{
    int status = 0;
    pid_t found = waitpid(job->pid, &status, WNOHANG);
    if (found == 0 || (found < 0 && errno == EINTR)) {
        return false;
    }
    job->pid = 0;
    job->code = found < 0             ? CANNOT_START
                : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                      : WEXITSTATUS(status);
    return true;
}

void cask_job_interrupt(struct cask_job *job)
{
    if (!job->told && job->pid > 0) {
        job->told = true;
        kill(job->pid, SIGTERM);
    }
}
