/* evaluate - accuracy of a model on verification sets, with the protocol beside each number. */
#include <stdio.h>
#include <string.h>

#include "common/thread.h"
#include "eval/command.h"

/* The first row is what runs without a subcommand's name. */
static const struct command commands[] = {
    {"verify", "k-fold accuracy on pairs and .bin sets; may be left out", command_verify},
    {"ijb", "IJB-B and IJB-C: templates 1:1, and 1:N search in galleries", command_ijb},
    {"megaface", "rank-1, rank-10 and TPR at FAR among a million distractors", command_megaface},
    {"masked", "pairs with drawn masks: N-N, M-N, M-M; FMR100, FMR1000, EER, FDR", command_masked},
    {"pack", "writes pairs and their images as an insightface .bin", command_pack},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_commands(void)
{
    printf("evaluate [COMMAND] [options]; `evaluate COMMAND --help` tells more\n\n");
    for (int i = 0; i < COMMANDS; i++) {
        printf("  %-9s %s\n", commands[i].name, commands[i].help);
    }
    printf("\n");
}

static enum cask_status find_command(const char *name, const struct command **command,
                                     struct cask_error *err)
{
    char list[256] = "";
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            *command = &commands[i];
            return CASK_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", commands[i].name);
    }
    return cask_error_set(err, CASK_ERR_USAGE, "expected a command (%s) or a flag, found '%.100s'",
                          list, name);
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    const struct command *command = &commands[0];
    bool named = argc > 1 && argv[1][0] != '-';
    cask_cli_begin();
    cask_interrupt_install();
    if (named) {
        CASK_TRY(find_command(argv[1], &command, err));
    } else if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_commands();
    }
    CASK_TRY(command->run(argc - named, argv + named, err));
done:
    return cask_cli_end("evaluate", st, err);
}
