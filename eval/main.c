/* evaluate - accuracy of a model on verification sets, with the protocol beside each number. */
#include <stdio.h>
#include <string.h>

#include "common/thread.h"
#include "eval/command.h"

/* The first row is what runs without a subcommand's name. */
static const struct command commands[] = {
    {{"verify", "k-fold accuracy on pairs and .bin sets; may be left out"}, command_verify},
    {{"ijb", "IJB-B and IJB-C: templates 1:1, and 1:N search in galleries"}, command_ijb},
    {{"megaface", "rank-1, rank-10 and TPR at FAR among a million distractors"}, command_megaface},
    {{"masked", "pairs with drawn masks: N-N, M-N, M-M; FMR100, FMR1000, EER, FDR"},
     command_masked},
    {{"pack", "writes pairs and their images as an insightface .bin"}, command_pack},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error = {0}, *err = &error;
    const void *command = &commands[0];
    bool named = argc > 1 && argv[1][0] != '-';
    cask_cli_begin();
    cask_interrupt_install();
    if (named) {
        CASK_TRY(cask_cli_find(commands, COMMANDS, sizeof *commands, argv[1], &command, err));
    } else if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("evaluate [COMMAND] [options]; `evaluate COMMAND --help` tells more\n\n");
        cask_cli_list(commands, COMMANDS, sizeof *commands);
        printf("\n");
    }
    CASK_TRY(((const struct command *)command)->run(argc - named, argv + named, err));
done:
    return cask_cli_end("evaluate", st, err);
}
