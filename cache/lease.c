/* cache/lease.c - who is building what, so that several builders share the work.
 *
 * A lease is a small file, "lease-shard-00012", made with O_EXCL, that names host and process. A
 * thread touches it while it is held. It counts for nothing once its process is gone from this
 * host, or has not touched it for STALE_SECONDS (a machine that died, or one that sleeps).
 *
 * Nothing is ever wrong because of a lease: whatever two builders make of one shard is the same to
 * the last byte, and it is published by rename. Leases only keep them from doing it twice. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/thread.h"

enum {
    STALE_SECONDS = 60,
    UNSIGNED_SECONDS = 3,
    BEAT_SECONDS = 10,
    POLL_MILLISECONDS = 100,
    HOST_BYTES = 256
};

struct cask_lease {
    char *path;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stop;
};

static void host_name(char host[HOST_BYTES])
{
    if (gethostname(host, HOST_BYTES) != 0) {
        host[0] = '\0';
    }
    host[HOST_BYTES - 1] = '\0';
}

/* ---------------------------------------------------------------- another's lease */

/* Is whoever wrote this lease still at work? `here` is cleared where it is another host's. An empty
 * lease was just made, or its maker died between two system calls: time tells. */
static bool is_alive(const char *path, const struct stat *status, bool *here)
{
    char text[HOST_BYTES + 32] = "", host[HOST_BYTES];
    long long pid = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    text[bytes > 0 ? bytes : 0] = '\0';
    char *space = strchr(text, ' ');
    host_name(host);
    *here = true;
    if (space != NULL) {
        *space = '\0';
        pid = strtoll(space + 1, NULL, 10);
        *here = strcmp(text, host) == 0;
    }
    if (pid > 0 && *here && kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    return time(NULL) - status->st_mtime < (space != NULL ? STALE_SECONDS : UNSIGNED_SECONDS);
}

/* Takes a dead lease out of the way. Should it have been replaced by a live one since it was looked
 * at, that one is put back. */
static void clear_dead(const char *path, const struct stat *dead)
{
    struct stat status;
    char *aside = cask_format("%s.tmp.%ld", path, (long)getpid());
    if (aside != NULL && rename(path, aside) == 0) {
        bool same = stat(aside, &status) == 0 && status.st_ino == dead->st_ino;
        if (!same && link(aside, path) != 0) {
            errno = 0; /* a third one has it now: one shard is built twice, to the same bytes */
        }
        unlink(aside);
    }
    cask_free(aside);
}

/* ---------------------------------------------------------------- one's own */

static void *beat(void *user)
{
    struct cask_lease *lease = user;
    struct timespec until;
    pthread_mutex_lock(&lease->lock);
    while (!lease->stop) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += BEAT_SECONDS;
        if (pthread_cond_timedwait(&lease->wake, &lease->lock, &until) == ETIMEDOUT &&
            futimens(lease->fd, NULL) != 0) {
            break; /* the lease runs out, and another builder may do this shard too */
        }
    }
    pthread_mutex_unlock(&lease->lock);
    return NULL;
}

static enum cask_status hold(int fd, char **path, struct cask_lease **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char host[HOST_BYTES], text[HOST_BYTES + 32];
    struct cask_lease *lease = cask_alloc(1, sizeof *lease);
    if (lease == NULL) {
        unlink(*path);
        close(fd);
        return cask_error_memory(err, sizeof *lease, "lease");
    }
    lease->fd = fd;
    lease->path = *path;
    *path = NULL;
    pthread_mutex_init(&lease->lock, NULL);
    pthread_cond_init(&lease->wake, NULL);
    host_name(host);
    int bytes = snprintf(text, sizeof text, "%s %ld\n", host, (long)getpid());
    if (write(fd, text, (size_t)bytes) != bytes) {
        CASK_TRY(cask_error_errno(err, errno, "%s: writing", lease->path));
    }
    int problem = pthread_create(&lease->thread, NULL, beat, lease);
    if (problem != 0) {
        CASK_TRY(cask_error_errno(err, problem, "%s: starting its thread", lease->path));
    }
    lease->running = true;
    *out = lease;
    lease = NULL;
done:
    cask_lease_drop(lease);
    return st;
}

enum cask_status cask_lease_take(const char *folder, const char *what, int64_t number,
                                 struct cask_lease **lease, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool here;
    struct stat status;
    char *path = cask_format("%s/lease-%s-%05" PRId64, folder, what, number);
    *lease = NULL;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "file name"));
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            CASK_TRY(hold(fd, &path, lease, err));
            break;
        }
        if (errno != EEXIST) {
            CASK_TRY(cask_error_errno(err, errno, "%s: creating", path));
        }
        if (stat(path, &status) == 0) {
            if (is_alive(path, &status, &here)) {
                break;
            }
            clear_dead(path, &status);
        }
    }
done:
    cask_free(path);
    return st;
}

void cask_lease_drop(struct cask_lease *lease)
{
    struct stat mine, there;
    if (lease == NULL) {
        return;
    }
    if (lease->running) {
        pthread_mutex_lock(&lease->lock);
        lease->stop = true;
        pthread_cond_signal(&lease->wake);
        pthread_mutex_unlock(&lease->lock);
        pthread_join(lease->thread, NULL);
    }
    if (fstat(lease->fd, &mine) == 0 && stat(lease->path, &there) == 0 &&
        mine.st_ino == there.st_ino) {
        unlink(lease->path);
    }
    close(lease->fd);
    pthread_cond_destroy(&lease->wake);
    pthread_mutex_destroy(&lease->lock);
    cask_free(lease->path);
    cask_free(lease);
}

enum cask_status cask_lease_pause(struct cask_error *err)
{
    const struct timespec pause = {0, POLL_MILLISECONDS * 1000000L};
    nanosleep(&pause, NULL);
    return cask_interrupt_check(err);
}

enum cask_status cask_lease_wait(const char *folder, const char *what, int64_t number,
                                 struct cask_lease **lease, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (*lease = NULL; *lease == NULL;) {
        CASK_TRY(cask_lease_take(folder, what, number, lease, err));
        if (*lease == NULL) {
            CASK_TRY(cask_lease_pause(err));
        }
    }
done:
    return st;
}

/* ---------------------------------------------------------------- what the dead leave behind */

/* Removes dead leases; says whether another host is at work here. */
static void sweep_leases(const char *folder, char *const *names, size_t count, bool *foreign)
{
    *foreign = false;
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        bool here;
        char *path = cask_format("%s/%s", folder, names[i]);
        if (path != NULL && strncmp(names[i], "lease-", 6) == 0 &&
            strstr(names[i], ".tmp.") == NULL && stat(path, &status) == 0) {
            bool alive = is_alive(path, &status, &here);
            *foreign = *foreign || (alive && !here);
            if (!alive) {
                clear_dead(path, &status);
            }
        }
        cask_free(path);
    }
}

enum cask_status cask_lease_sweep(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL;
    size_t count = 0;
    bool foreign;
    if (!cask_path_exists(folder)) {
        return CASK_OK;
    }
    CASK_TRY(cask_folder_list(folder, &names, &count, err));
    sweep_leases(folder, names, count, &foreign);
    for (size_t i = 0; i < count && !foreign; i++) {
        const char *mark = strstr(names[i], ".tmp.");
        long long pid = mark != NULL ? strtoll(mark + 5, NULL, 10) : 0;
        if (mark == NULL ||
            (pid > 0 && pid != getpid() && !(kill((pid_t)pid, 0) != 0 && errno == ESRCH))) {
            continue;
        }
        char *path = cask_format("%s/%s", folder, names[i]);
        if (path != NULL && unlink(path) != 0 && errno != ENOENT) {
            st = cask_error_errno(err, errno, "%s: removing a temporary file", path);
        }
        cask_free(path);
        CASK_TRY(st);
    }
done:
    cask_folder_list_free(names, count);
    return st;
}
