#include "train/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

/* One line of a dump: "    weight: 1" below "  kd:" below "loss:" is key "loss.kd.weight", value
 * "1". */
enum { DEPTH = 8, NAME = 64, VALUE = 120 };
struct dump_line {
    char names[DEPTH][NAME]; /* of the sections around it */
    char key[DEPTH * NAME], value[VALUE];
};

/* Takes the next line of *text; false at the end. Two spaces a level, as cask_config_dump writes.
 */
static bool next_line(const char **text, struct dump_line *line)
{
    line->key[0] = line->value[0] = '\0';
    if (**text == '\0') {
        return false;
    }
    const size_t length = strcspn(*text, "\n"), indent = strspn(*text, " ");
    const char *name = *text + indent;
    const size_t depth = indent / 2 < DEPTH ? indent / 2 : DEPTH - 1,
                 name_length = strcspn(name, ":\n");
    snprintf(line->names[depth], NAME, "%.*s", (int)name_length, name);
    size_t at = 0;
    for (size_t i = 0; i <= depth; i++) {
        at += (size_t)snprintf(line->key + at, sizeof line->key - at, "%s%s", i > 0 ? "." : "",
                               line->names[i]);
    }
    if (indent + name_length + 2 <= length) {
        snprintf(line->value, VALUE, "%.*s", (int)(length - indent - name_length - 2),
                 name + name_length + 2);
    }
    *text += length + ((*text)[length] == '\n');
    return true;
}

/* Both dumps come from the same rows, so their lines stand side by side. */
static enum cask_status refuse_difference(const char *path, const char *there, const char *here,
                                          struct cask_error *err)
{
    enum { SHOWN = 8 };
    struct dump_line before = {0}, now = {0};
    char list[1200] = "";
    size_t at = 0;
    for (int shown = 0; next_line(&there, &before) & next_line(&here, &now);) {
        if (strcmp(before.value, now.value) == 0 && strcmp(before.key, now.key) == 0) {
            continue;
        }
        if (shown++ < SHOWN && at < sizeof list) {
            at += (size_t)snprintf(list + at, sizeof list - at, "%s %s is %s there, %s now",
                                   shown > 1 ? ";" : "", now.key, before.value, now.value);
        }
    }
    return cask_error_set(
        err, CASK_ERR_MISMATCH,
        "%s holds a run with other settings; use another --out or the same settings:%s", path,
        list);
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

static enum cask_status compare_settings(struct cask_run_folder *folder, const char *old_path,
                                         const char *new_path, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *here = NULL, *there = NULL;
    struct cask_sha256 hash;
    CASK_TRY(cask_train_config_identity(new_path, &here, err));
    if (cask_path_exists(old_path)) {
        CASK_TRY(cask_train_config_identity(old_path, &there, err));
        if (strcmp(there, here) != 0) {
            CASK_TRY(refuse_difference(folder->path, there, here, err));
        }
    }
    cask_sha256_init(&hash);
    cask_sha256_update_text(&hash, here);
    cask_sha256_final_hex(&hash, folder->identity);
done:
    cask_free(here);
    cask_free(there);
    return st;
}

/* Settings are compared as files, because a dump that was loaded again is what will be compared
 * next time. */
static enum cask_status check_settings(struct cask_run_folder *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/config.yaml", folder->path);
    char *next = cask_format("%s/config.yaml.tmp.next", folder->path);
    if (path == NULL || next == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of config.yaml"));
    }
    if (!cask_path_exists(path)) {
        CASK_TRY(refuse_foreign(folder->path, err));
    }
    CASK_TRY(cask_file_write_all(next, folder->settings, strlen(folder->settings), err));
    CASK_TRY(compare_settings(folder, path, next, err));
done:
    if (next != NULL) {
        remove(next);
    }
    cask_free(next);
    cask_free(path);
    return st;
}

enum cask_status cask_run_folder_claim(const struct cask_run_folder *folder, struct cask_error *err)
{
    char *path = cask_format("%s/config.yaml", folder->path);
    if (path == NULL) {
        return cask_error_memory(err, 1, "path of config.yaml");
    }
    enum cask_status st =
        cask_file_write_all(path, folder->settings, strlen(folder->settings), err);
    cask_free(path);
    return st;
}

/* Two processes in one folder would write over each other. A file system without locks gets a
 * warning only. */
static enum cask_status take_lock(struct cask_run_folder *folder, struct cask_error *err)
{
    char *path = cask_format("%s/lock", folder->path);
    if (path == NULL) {
        return cask_error_memory(err, 1, "path of the lock");
    }
    enum cask_status st = CASK_OK;
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (folder->lock < 0) {
        st = cask_error_errno(err, errno, "%s: creating", path);
    } else if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            st = cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: another train-student is at work there", folder->path);
        } else {
            cask_log_warn("%s: cannot be locked (%s); do not start two runs in this folder", path,
                          strerror(errno));
        }
    }
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
    folder->checkpoints = cask_format("%s/checkpoints", config->out);
    folder->student = cask_format("%s/student.safetensors", config->out);
    folder->best = cask_format("%s/student-best.safetensors", config->out);
    folder->evaluation = cask_format("%s/evaluation.json", config->out);
    folder->result = cask_format("%s/result.json", config->out);
    folder->failure = cask_format("%s/failure.json", config->out);
    folder->metrics = cask_format("%s/metrics.jsonl", config->out);
    folder->settings = cask_config_dump(config->rows);
    if (!folder->settings || !folder->path || !folder->checkpoints || !folder->student ||
        !folder->best || !folder->evaluation || !folder->result || !folder->failure ||
        !folder->metrics) {
        CASK_TRY(cask_error_memory(err, 1, "paths of the run folder"));
    }
    CASK_TRY(cask_folder_create(folder->path, err));
    CASK_TRY(take_lock(folder, err));
    CASK_TRY(cask_folder_sweep_temporaries(folder->path, err));
    CASK_TRY(cask_folder_sweep_temporaries(folder->checkpoints, err));
    CASK_TRY(check_settings(folder, err));
done:
    return st;
}

void cask_run_folder_close(struct cask_run_folder *folder)
{
    if (folder->path != NULL && folder->lock >= 0) { /* a zeroed struct has no path */
        close(folder->lock);
    }
    cask_free(folder->path);
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
