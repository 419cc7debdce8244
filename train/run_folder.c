#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/settings.h"

struct difference_list {
    char text[1200];
    size_t length;
    int count;
    bool place; /* a folder that the run was told of */
    bool cache;
};

static void list_difference(const char *key, const char *before, const char *now, void *user)
{
    enum { SHOWN = 8 };
    struct difference_list *list = user;
    list->place = list->place || strcmp(key, "data") == 0;
    list->cache = list->cache || strcmp(key, "cache_sha256") == 0;
    if (list->count++ < SHOWN && list->length < sizeof list->text) {
        list->length += (size_t)snprintf(
            list->text + list->length, sizeof list->text - list->length,
            "%s %s is %.120s there, %.120s now", list->count > 1 ? ";" : "", key, before, now);
    }
}

static enum cask_status refuse_difference(const char *path, const char *there, const char *here,
                                          struct cask_error *err)
{
    struct difference_list list = {0};
    cask_settings_compare(there, here, list_difference, &list);
    return cask_error_set(
        err, CASK_ERR_MISMATCH,
        "%s holds a run with other settings; use another --out or the same settings%s%s:%s", path,
        list.place ? " (of a folder that was moved, a link at its old place)" : "",
        list.cache ? " (this is another cache, or it was built anew since)" : "", list.text);
}

/* A folder without config.yaml may be empty or not there, but may not hold someone's files. */
static enum cask_status refuse_foreign(const char *path, struct cask_error *err)
{
    char **names = NULL;
    size_t count = 0;
    enum cask_status st = cask_folder_list(path, &names, &count, err);
    const char *foreign = NULL;
    for (size_t i = 0; i < count && foreign == NULL; i++) {
        const bool ours = strcmp(names[i], "lock") == 0 || strcmp(names[i], "failure.json") == 0;
        foreign = ours ? NULL : names[i];
    }
    if (st == CASK_OK && foreign != NULL) {
        st = cask_error_set(err, CASK_ERR_MISMATCH,
                            "%s: is not empty (%s, ...) and has no config.yaml, so it is not a "
                            "run; use another --out",
                            path, foreign);
    }
    cask_folder_list_free(names, count);
    return st;
}

enum cask_status cask_run_pin_cache(struct cask_train_config *config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char hex[CASK_SHA256_HEX];
    if (config->cache[0] == '\0') {
        goto done;
    }
    CASK_TRY(cask_cache_identify(config->cache, hex, err));
    if (config->cache_sha256[0] != '\0' && strcmp(config->cache_sha256, hex) != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: is another cache than cache_sha256 asks for: expected %s, "
                                "found %s (cachetool info: sha256)",
                                config->cache, config->cache_sha256, hex));
    }
    CASK_TRY(cask_config_set_value(config->rows, "cache_sha256", hex, config->cache, err));
done:
    return st;
}

/* Was a step made in this folder? One whose run ended before, for its images were not as they
 * should be, has nothing to lose. */
static bool has_begun(const char *path)
{
    static const char *const traces[] = {"metrics.jsonl", "checkpoints", "result.json"};
    bool begun = false;
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        char *trace = cask_format("%s/%s", path, traces[i]);
        begun = begun || trace == NULL || cask_path_exists(trace);
        cask_free(trace);
    }
    return begun;
}

enum cask_status cask_run_folder_compare(const struct cask_train_config *config, bool *there,
                                         char **identity, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool by_path = false;
    char *old = NULL, *here = NULL, *path = cask_format("%s/config.yaml", config->out);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of config.yaml"));
    }
    *there = cask_path_exists(path);
    if (*there) {
        CASK_TRY(cask_train_config_identity(path, &old, &by_path, err));
        CASK_TRY(cask_train_config_identity_of(config, by_path, &here, err));
        if (strcmp(old, here) != 0) {
            *there = has_begun(config->out);
            st = *there ? refuse_difference(config->out, old, here, err) : CASK_OK;
            CASK_TRY(st);
        }
    }
    CASK_TRY(cask_train_config_identity_of(config, false, identity, err));
done:
    cask_free(old);
    cask_free(here);
    cask_free(path);
    return st;
}

static enum cask_status check_settings(struct cask_run_folder *folder,
                                       const struct cask_train_config *config,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *identity = NULL;
    bool there = false;
    struct cask_sha256 hash;
    CASK_TRY(cask_run_folder_compare(config, &there, &identity, err));
    if (!there && !cask_path_exists(folder->config)) {
        CASK_TRY(refuse_foreign(folder->path, err));
    }
    cask_sha256_init(&hash);
    cask_sha256_update_text(&hash, identity);
    cask_sha256_final_hex(&hash, folder->identity);
done:
    cask_free(identity);
    return st;
}

enum cask_status cask_run_folder_claim(const struct cask_run_folder *folder, struct cask_error *err)
{
    return cask_file_write_all(folder->config, folder->settings, strlen(folder->settings), err);
}

enum { LOCK_TRIES = 40, LOCK_PAUSE_MS = 50 };

/* 0, or an errno. A process that was killed lets go of its lock only when the kernel has put its
 * memory away, so a lock that is held is tried again for two seconds. */
static int take_lock(int file)
{
    for (int try = 1; flock(file, LOCK_EX | LOCK_NB) != 0; try++) {
        const struct timespec pause = {0, LOCK_PAUSE_MS * 1000000L};
        if (errno != EWOULDBLOCK || try == LOCK_TRIES) {
            return errno;
        }
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

/* Two processes in one folder would write over each other. A file system without locks gets a
 * warning only. */
enum cask_status cask_run_folder_lock(const char *folder, int *lock, struct cask_error *err)
{
    char *path = cask_format("%s/lock", folder);
    if (path == NULL) {
        return cask_error_memory(err, 1, "path of the lock");
    }
    enum cask_status st = CASK_OK;
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*lock < 0) {
        st = cask_error_errno(err, errno, "%s: creating", path);
        goto done;
    }
    int failure = take_lock(*lock);
    if (failure == EWOULDBLOCK) {
        st = cask_error_set(err, CASK_ERR_MISMATCH, "%s: another train-student is at work there",
                            folder);
    } else if (failure != 0) {
        cask_log_warn("%s: cannot be locked (%s); do not start two runs in this folder", path,
                      strerror(failure));
    }
done:
    cask_free(path);
    return st;
}

enum cask_status cask_run_folder_open(struct cask_run_folder *folder,
                                      const struct cask_train_config *config,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *folder = (struct cask_run_folder){.lock = -1};
    folder->path = cask_strdup(config->out);
    folder->config = cask_format("%s/config.yaml", config->out);
    folder->checkpoints = cask_format("%s/checkpoints", config->out);
    folder->student = cask_format("%s/student.safetensors", config->out);
    folder->best = cask_format("%s/student-best.safetensors", config->out);
    folder->evaluation = cask_format("%s/evaluation.json", config->out);
    folder->result = cask_format("%s/result.json", config->out);
    folder->failure = cask_format("%s/failure.json", config->out);
    folder->metrics = cask_format("%s/metrics.jsonl", config->out);
    folder->report = cask_format("%s/report.html", config->out);
    folder->settings = cask_config_dump(config->rows);
    if (!folder->settings || !folder->path || !folder->config || !folder->checkpoints ||
        !folder->student || !folder->best || !folder->evaluation || !folder->result ||
        !folder->failure || !folder->metrics || !folder->report) {
        CASK_TRY(cask_error_memory(err, 1, "paths of the run folder"));
    }
    CASK_TRY(cask_folder_create(folder->path, err));
    CASK_TRY(cask_run_folder_lock(folder->path, &folder->lock, err));
    CASK_TRY(cask_folder_sweep_temporaries(folder->path, err));
    CASK_TRY(cask_folder_sweep_temporaries(folder->checkpoints, err));
    CASK_TRY(check_settings(folder, config, err));
done:
    return st;
}

void cask_run_folder_close(struct cask_run_folder *folder)
{
    if (folder->path != NULL && folder->lock >= 0) { /* a zeroed struct has no path */
        close(folder->lock);
    }
    cask_free(folder->path);
    cask_free(folder->config);
    cask_free(folder->report);
    cask_free(folder->checkpoints);
    cask_free(folder->student);
    cask_free(folder->best);
    cask_free(folder->evaluation);
    cask_free(folder->result);
    cask_free(folder->failure);
    cask_free(folder->metrics);
    cask_free(folder->settings);
    *folder = (struct cask_run_folder){.lock = -1};
}
