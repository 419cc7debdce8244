/* train-student: trains a student from a cask, or any network from labels alone. */
#include <stdio.h>

#include "common/mem.h"
#include "common/thread.h"
#include "models/models.h"
#include "train/options.h"
#include "train/report.h"
#include "train/run.h"
#include "train/run_folder.h"
#include "train/sweep.h"

static const char usage[] =
    "usage: train-student --cache DIR [--data PATH] [--config FILE] [--set KEY=VALUE ...] --out "
    "RUN\n"
    "       train-student --data PATH [--config FILE] [--set KEY=VALUE ...] --out RUN\n"
    "       train-student --cache DIR --sweep FILE [--jobs N] [--together N] [--only ROW ...] "
    "--out "
    "RUNS\n"
    "       train-student --sweep FILE --list\n"
    "       train-student --report RUN | --report RUNS\n"
    "\n"
    "Trains a face recognition network. With --cache it learns from what a teacher said about the\n"
    "images (see precompute); no teacher is run. Without, it learns from labels alone: that is how "
    "a\n"
    "teacher is made. RUN gets config.yaml, metrics.jsonl, checkpoints/, student.safetensors,\n"
    "result.json and report.html. A run that was stopped goes on when the same command is given\n"
    "again.\n"
    "\n"
    "Networks:\n";

static enum cask_status check_sweep_call(const struct cask_train_config *config,
                                         struct cask_error *err)
{
    if (config->out[0] == '\0' && !config->call.list) {
        return cask_error_set(err, CASK_ERR_USAGE, "--out: a folder for the runs is needed");
    }
    if (config->config_file[0] != '\0') {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "--config %s: a sweep names its base itself, by \"extends: FILE\"",
                              config->config_file);
    }
    return CASK_OK;
}

static enum cask_status check_plain_call(const struct cask_train_config *config,
                                         struct cask_error *err)
{
    const bool given = config->call.list || cask_config_given(config->rows, "jobs") ||
                       cask_config_given(config->rows, "together") || config->call.only.count > 0;
    return given ? cask_error_set(err, CASK_ERR_USAGE,
                                  "--list, --jobs, --together and --only need --sweep FILE")
                 : CASK_OK;
}

/* This run and those of --also. */
static enum cask_status train(struct cask_train_config *config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_config_texts *also = &config->call.also;
    struct cask_train_config *others[CASK_CONFIG_LIST] = {0};
    const struct cask_train_config *all[1 + CASK_CONFIG_LIST] = {config};
    CASK_TRY(cask_train_config_check(config, err));
    CASK_TRY(cask_run_pin_cache(config, err));
    for (int i = 0; i < also->count; i++) {
        CASK_TRY(cask_train_config_create(&others[i], err));
        CASK_TRY(cask_config_load_file(others[i]->rows, also->values[i], err));
        CASK_TRY(cask_train_config_check(others[i], err));
        CASK_TRY(cask_run_pin_cache(others[i], err));
        all[1 + i] = others[i];
    }
    CASK_TRY(cask_run_together(all, 1 + also->count, err));
    for (int i = 0; i <= also->count; i++) {
        printf("%s/student.safetensors\n", all[i]->out);
    }
done:
    for (int i = 0; i < also->count; i++) {
        cask_train_config_free(others[i]);
    }
    return st;
}

static enum cask_status write_report(const struct cask_train_config *config, struct cask_error *err)
{
    char *page = NULL;
    const enum cask_status st = cask_report_folder(config->call.report, &page, err);
    if (st == CASK_OK) {
        printf("%s\n", page);
    }
    cask_free(page);
    return st;
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct cask_train_config *config = NULL;
    bool stop = false;
    char *help = cask_graph_network_help(usage);
    cask_cli_begin();
    if (help == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof usage, "the help text"));
    }
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_cli_parse(config->rows, argc, argv, help, &stop, err));
    if (stop) {
        goto done;
    }
    cask_interrupt_install();
    if (config->call.report[0] != '\0') {
        CASK_TRY(write_report(config, err));
    } else if (config->call.sweep[0] != '\0') {
        CASK_TRY(check_sweep_call(config, err));
        CASK_TRY(cask_sweep(config, argc, argv, err));
    } else {
        CASK_TRY(check_plain_call(config, err));
        CASK_TRY(train(config, err));
    }
done:
    cask_train_config_free(config);
    cask_free(help);
    return cask_cli_end("train-student", st, err);
}
