/* train-student: trains a student from a cask, or any network from labels alone. */
#include <stdio.h>

#include "common/mem.h"
#include "common/thread.h"
#include "models/models.h"
#include "train/options.h"
#include "train/run.h"

static const char usage[] =
    "usage: train-student --cache DIR [--data PATH] [--config FILE] [--set KEY=VALUE ...] --out "
    "RUN\n"
    "       train-student --data PATH [--config FILE] [--set KEY=VALUE ...] --out RUN\n"
    "\n"
    "Trains a face recognition network. With --cache it learns from what a teacher said about the\n"
    "images (see precompute); no teacher is run. Without, it learns from labels alone: that is how "
    "a\n"
    "teacher is made. RUN gets config.yaml, metrics.jsonl, checkpoints/, student.safetensors and\n"
    "result.json. A run that was stopped goes on when the same command is given again.\n"
    "\n"
    "Networks:\n";

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    struct cask_train_config *config = NULL;
    bool stop = false;
    char *help = cask_graph_network_help(usage);
    if (help == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof usage, "the help text"));
    }
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_cli_parse(config->rows, argc, argv, help, &stop, err));
    if (stop) {
        goto done;
    }
    CASK_TRY(cask_train_config_check(config, err));
    cask_interrupt_install();
    CASK_TRY(cask_run(config, err));
    printf("%s/student.safetensors\n", config->out);
done:
    if (st != CASK_OK) {
        cask_error_print(err, "train-student");
    }
    cask_train_config_free(config);
    cask_free(help);
    return cask_status_exit_code(st);
}
