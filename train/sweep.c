#include "train/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "train/report.h"
#include "train/run.h"
#include "train/run_folder.h"
#include "train/settings.h"
#include "train/sweep_jobs.h"
#include "train/sweep_plan.h"
#include "train/sweep_table.h"

enum { MAX_JOBS = 256, MESSAGE = 256 };

struct worker {
    struct cask_job job;
    int runs[CASK_RUN_TOGETHER]; /* of sweep.runs */
    int count;
};

struct state {
    const struct cask_train_config *call;
    struct cask_sweep sweep;
    int lock;                  /* file descriptor, or -1 */
    char (*messages)[MESSAGE]; /* [run_count] */
    struct worker workers[MAX_JOBS];
    bool started[CASK_SWEEP_RUNS];
};

/* -------------------------------------------------------------------- list */

static void add_difference(const char *key, const char *before, const char *now, void *user)
{
    struct cask_text *text = user;
    (void)before;
    if (strcmp(key, "out") != 0) {
        cask_text_format(text, " %s=%s", key, now);
    }
}

static void set_unless_given(const struct cask_sweep_run *run, const char *key, const char *value)
{
    struct cask_error ignored;
    if (!cask_config_given(run->config->rows, key)) {
        (void)cask_config_set_value(run->config->rows, key, value, run->folder, &ignored);
    }
}

/* A list needs no --cache: where none is given, or none is there, a run that was begun knows its
 * own. */
static void take_places(const struct cask_sweep_run *run)
{
    struct cask_error ignored;
    struct cask_train_config *there = NULL;
    char *path = cask_format("%s/config.yaml", run->config->out);
    if (path != NULL && cask_path_exists(path) &&
        cask_train_config_create(&there, &ignored) == CASK_OK &&
        cask_config_load_file(there->rows, path, &ignored) == CASK_OK) {
        set_unless_given(run, "cache", there->cache);
        set_unless_given(run, "data", there->data);
        (void)cask_run_pin_cache(run->config, &ignored);
        set_unless_given(run, "cache_sha256", there->cache_sha256);
    }
    cask_train_config_free(there);
    cask_free(path);
}

/* What would be done with a run, as far as its folder tells. */
static const char *state_of(const struct cask_sweep_run *run)
{
    struct cask_error ignored;
    take_places(run);
    char *identity = NULL, *result = cask_format("%s/result.json", run->config->out);
    bool there = false;
    enum cask_status st = cask_run_folder_compare(run->config, &there, &identity, &ignored);
    const bool ended = result != NULL && cask_path_exists(result);
    cask_free(identity);
    cask_free(result);
    return st == CASK_ERR_MISMATCH ? "changed"
           : st != CASK_OK         ? "unreadable"
           : ended                 ? "ended"
           : there                 ? "begun"
                                   : "new";
}

/* "FOLDER  new  loss.kd.weight=1 ...": the settings in which it differs from the base. */
static enum cask_status list(const struct state *state, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_sweep *sweep = &state->sweep;
    struct cask_text text = {0};
    for (int i = 0; i < sweep->run_count; i++) {
        const struct cask_sweep_run *run = &sweep->runs[i];
        char *dump = cask_config_dump(run->config->rows);
        if (dump == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "settings as text"));
        }
        cask_text_format(&text, "%-32s  %-8s  %s:", run->folder, state_of(run),
                         sweep->rows[run->row].name);
        cask_settings_compare(sweep->base, dump, add_difference, &text);
        cask_text_put(&text, "\n");
        cask_free(dump);
    }
    CASK_TRY(cask_text_check(&text, "the list of rows", err));
    fputs(text.data, stdout);
done:
    cask_text_release(&text);
    return st;
}

/* ----------------------------------------------------------------- prepare */

/* All rows are compared before the first one trains. */
static enum cask_status refuse_changed(const struct state *state, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < state->sweep.run_count; i++) {
        const struct cask_sweep_run *run = &state->sweep.runs[i];
        char *identity = NULL;
        bool there = false;
        st = cask_run_folder_compare(run->config, &there, &identity, err);
        cask_free(identity);
        if (st != CASK_OK) {
            cask_error_prefix(err, "%s: row \"%s\" was begun with other settings",
                              state->call->call.sweep, state->sweep.rows[run->row].name);
            return st;
        }
    }
    return st;
}

/* A row may have been taken out of the file, or renamed, since it was trained. */
static void tell_left_over(const struct state *state)
{
    struct cask_error ignored;
    char **names = NULL;
    size_t count = 0;
    if (state->call->call.only.count > 0 ||
        cask_folder_list(state->call->out, &names, &count, &ignored) != CASK_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *settings = cask_format("%s/%s/config.yaml", state->call->out, names[i]);
        bool known = settings == NULL || !cask_path_exists(settings);
        for (int r = 0; r < state->sweep.run_count && !known; r++) {
            known = strcmp(names[i], state->sweep.runs[r].folder) == 0;
        }
        if (!known) {
            cask_log_warn("%s/%s belongs to no row of %s: it is left alone and not in the table",
                          state->call->out, names[i], state->call->call.sweep);
        }
        cask_free(settings);
    }
    cask_folder_list_free(names, count);
}

/* What a job is told lies in a file, so that an edit of the sweep file changes nothing on the way.
 */
static enum cask_status write_settings(const struct state *state, int run, char **path,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *dump = cask_config_dump(state->sweep.runs[run].config->rows);
    *path = cask_format("%s/settings/%s.yaml", state->call->out, state->sweep.runs[run].folder);
    if (dump == NULL || *path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "settings of a row"));
    }
    CASK_TRY(cask_file_write_all(*path, dump, strlen(dump), err));
done:
    cask_free(dump);
    return st;
}

static enum cask_status prepare(struct state *state, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *settings = cask_format("%s/settings", state->call->out),
         *logs = cask_format("%s/logs", state->call->out);
    state->messages = cask_alloc((size_t)state->sweep.run_count, sizeof *state->messages);
    if (settings == NULL || logs == NULL || state->messages == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "a sweep"));
    }
    CASK_TRY(cask_folder_create(settings, err));
    if (state->call->call.jobs > 1) {
        CASK_TRY(cask_folder_create(logs, err));
    }
    CASK_TRY(cask_run_folder_lock(state->call->out, &state->lock, err));
    CASK_TRY(cask_folder_sweep_temporaries(state->call->out, err));
    CASK_TRY(cask_folder_sweep_temporaries(settings, err));
    CASK_TRY(refuse_changed(state, err));
    tell_left_over(state);
done:
    cask_free(settings);
    cask_free(logs);
    return st;
}

/* ------------------------------------------------------------------- table */

static enum cask_status write_text(const struct state *state, const char *name,
                                   const struct cask_text *text, struct cask_error *err)
{
    char *path = cask_format("%s/%s", state->call->out, name);
    enum cask_status st = path != NULL ? cask_file_write_all(path, text->data, text->length, err)
                                       : cask_error_memory(err, 1, "a path");
    cask_free(path);
    return st;
}

/* After every run, so that the table can be looked at while others train. */
static enum cask_status write_table(const struct state *state, bool print, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *table = NULL;
    struct cask_text text = {0}, csv = {0}, json = {0};
    CASK_TRY(cask_sweep_table(&state->sweep, state->call, (const char(*)[MESSAGE])state->messages,
                              &table, err));
    char *dump = cask_json_dump(table, CASK_JSON_PRETTY);
    cask_text_put(&json, dump != NULL ? dump : "");
    json.failed = json.failed || dump == NULL;
    cask_free(dump);
    cask_sweep_table_text(table, &text);
    cask_sweep_table_csv(table, &csv);
    CASK_TRY(cask_text_check(&json, "sweep.json", err));
    CASK_TRY(cask_text_check(&text, "the table", err));
    CASK_TRY(cask_text_check(&csv, "sweep.csv", err));
    CASK_TRY(write_text(state, "sweep.json", &json, err));
    CASK_TRY(write_text(state, "sweep.csv", &csv, err));
    CASK_TRY(write_text(state, "sweep.txt", &text, err));
    if (print) {
        struct cask_error problem;
        fputs(text.data, stdout);
        if (cask_sweep_report(state->call->out, &problem) != CASK_OK) {
            cask_log_warn("no report.html: %s", problem.message);
        }
    }
done:
    cask_text_release(&text);
    cask_text_release(&csv);
    cask_text_release(&json);
    cask_json_free(table);
    return st;
}

/* --------------------------------------------------------------------- run */

/* A row may start from what another one ends with. */
static bool starts_from(const struct cask_sweep_run *run, const struct cask_sweep_run *other)
{
    const char *init = run->config->student.init, *out = other->config->out;
    const size_t length = strlen(out);
    return strncmp(init, out, length) == 0 && init[length] == '/' && !cask_path_exists(init);
}

/* The other one may be at work right now. */
static bool must_wait(const struct state *state, const struct cask_sweep_run *run)
{
    for (int i = 0; i < (int)state->call->call.jobs; i++) {
        const struct worker *worker = &state->workers[i];
        for (int j = 0; worker->job.pid > 0 && j < worker->count; j++) {
            if (starts_from(run, &state->sweep.runs[worker->runs[j]])) {
                return true;
            }
        }
    }
    return false;
}

/* The next run, and up to --together others that can be fed the same batches; none if all have been
 * started, or the next one has to wait. */
static void choose_runs(const struct state *state, struct worker *worker)
{
    const struct cask_sweep_run *runs = state->sweep.runs;
    worker->count = 0;
    for (int i = 0; i < state->sweep.run_count; i++) {
        struct cask_error ignored;
        bool fits = !state->started[i];
        for (int j = 0; fits && j < worker->count; j++) {
            fits = !starts_from(&runs[i], &runs[worker->runs[j]]);
        }
        if (fits && worker->count == 0 && must_wait(state, &runs[i])) {
            return;
        }
        if (fits && worker->count > 0) {
            fits = !must_wait(state, &runs[i]) &&
                   cask_run_can_share(runs[worker->runs[0]].config, runs[i].config, &ignored) ==
                       CASK_OK;
        }
        if (fits && worker->count < (int)state->call->call.together) {
            worker->runs[worker->count++] = i;
        }
    }
}

static enum cask_status start(struct state *state, struct worker *worker, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const bool alone = state->call->call.jobs == 1;
    char *settings[CASK_RUN_TOGETHER] = {0}, *log = NULL;
    for (int i = 0; i < worker->count; i++) {
        const struct cask_sweep_run *run = &state->sweep.runs[worker->runs[i]];
        CASK_TRY(write_settings(state, worker->runs[i], &settings[i], err));
        cask_log_info("row \"%s\", seed %lld (%d of %d): %s", state->sweep.rows[run->row].name,
                      (long long)run->seed, worker->runs[i] + 1, state->sweep.run_count,
                      run->config->out);
        state->started[worker->runs[i]] = true;
    }
    if (!alone) {
        log = cask_format("%s/logs/%s.log", state->call->out,
                          state->sweep.runs[worker->runs[0]].folder);
    }
    CASK_TRY(cask_job_start(settings, worker->count, log, &worker->job, err));
done:
    for (int i = 0; i < worker->count; i++) {
        cask_free(settings[i]);
    }
    cask_free(log);
    return st;
}

/* A code of 130 means that somebody stopped the process; that is for its own log to tell. */
static enum cask_status take_end(struct state *state, const struct worker *worker,
                                 struct cask_error *err)
{
    const int code = worker->job.code;
    const bool ended = code == 0 || code == cask_status_exit_code(CASK_ERR_INTERRUPTED);
    for (int i = 0; i < worker->count && !ended; i++) {
        const struct cask_sweep_run *run = &state->sweep.runs[worker->runs[i]];
        char *result = cask_format("%s/result.json", run->config->out);
        const bool whole = result != NULL && cask_path_exists(result);
        cask_free(result);
        if (!whole) { /* others of its process may have ended well */
            char *message = state->messages[worker->runs[i]];
            snprintf(message, MESSAGE,
                     code > 128 ? "its process was killed by signal %d"
                                : "its process ended with %d",
                     code > 128 ? code - 128 : code);
            cask_log_warn("row \"%s\", seed %lld: %s; the others go on",
                          state->sweep.rows[run->row].name, (long long)run->seed, message);
        }
    }
    return write_table(state, false, err);
}

static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
}

/* Ends when all runs have, or, after SIGINT or SIGTERM, when those at work have. */
static enum cask_status run_all(struct state *state, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool busy = true;
    while (busy) {
        const bool stop = cask_interrupted() || st != CASK_OK;
        busy = false;
        for (int i = 0; i < (int)state->call->call.jobs; i++) {
            struct worker *worker = &state->workers[i];
            struct cask_error later; /* the first error is the one that is told */
            if (worker->job.pid > 0 && stop) {
                cask_job_interrupt(&worker->job);
            }
            if (worker->job.pid > 0 && cask_job_ended(&worker->job)) {
                enum cask_status ended = take_end(state, worker, st == CASK_OK ? err : &later);
                st = st == CASK_OK ? ended : st;
            }
            if (worker->job.pid == 0 && !stop && st == CASK_OK) {
                choose_runs(state, worker);
                st = worker->count > 0 ? start(state, worker, err) : CASK_OK;
            }
            busy = busy || worker->job.pid > 0;
        }
        pause_briefly();
    }
    return st != CASK_OK ? st : cask_interrupt_check(err);
}

static enum cask_status count_failures(const struct state *state, struct cask_error *err)
{
    int failed = 0;
    for (int i = 0; i < state->sweep.run_count; i++) {
        failed += state->messages[i][0] != 0;
    }
    return failed == 0 ? CASK_OK
                       : cask_error_set(err, CASK_ERR_RANGE,
                                        "%d of %d runs failed; the table says why, and the same "
                                        "command tries them again",
                                        failed, state->sweep.run_count);
}

enum cask_status cask_sweep(const struct cask_train_config *call, int argc, char **argv,
                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct state *state = cask_alloc(1, sizeof *state);
    if (state == NULL) {
        return cask_error_memory(err, sizeof *state, "a sweep");
    }
    state->call = call;
    state->lock = -1;
    CASK_TRY(cask_sweep_open(call, argc, argv, &state->sweep, err));
    if (call->call.list) {
        CASK_TRY(list(state, err));
        goto done;
    }
    for (int i = 0; i < state->sweep.run_count; i++) {
        CASK_TRY(cask_train_config_check(state->sweep.runs[i].config, err));
        CASK_TRY(cask_run_pin_cache(state->sweep.runs[i].config, err));
    }
    CASK_TRY(prepare(state, err));
    st = run_all(state, err);
    if (st == CASK_ERR_INTERRUPTED) {
        cask_error_set(err, st, "interrupted; the same command goes on with the sweep");
    }
    if (st == CASK_OK || st == CASK_ERR_INTERRUPTED) {
        struct cask_error table_err;
        const enum cask_status table = write_table(state, true, &table_err);
        if (st == CASK_OK && table != CASK_OK) {
            *err = table_err;
            st = table;
        }
    }
    CASK_TRY(st);
    CASK_TRY(count_failures(state, err));
done:
    if (state->lock >= 0) {
        close(state->lock);
    }
    cask_sweep_close(&state->sweep);
    cask_free(state->messages);
    cask_free(state);
    return st;
}
