/* cache/tool/main.c - cachetool: looks at, checks and mends a cache. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cache/tool/tool.h"

#define ROW(field) offsetof(struct tool_arguments, field)
static const struct cask_config_row common_rows[] = {
    {"folder", CASK_CONFIG_WORDS, ROW(folders), "[]", 0, 0, NULL, "DIR", "a cache"},
    {"json", CASK_CONFIG_BOOL, ROW(json), "false", 0, 0, NULL, NULL,
     "one JSON object on stdout instead of text"},
};
static const struct cask_config_row dump_rows[] = {
    {"sample", CASK_CONFIG_TEXT, ROW(sample), "", 0, 0, NULL, "ID", "the image's sample id"},
};
static const struct cask_config_row export_rows[] = {
    {"npz", CASK_CONFIG_TEXT, ROW(npz), "", 0, 0, NULL, "FILE", "write what numpy.load reads"},
    {"h5", CASK_CONFIG_TEXT, ROW(h5), "", 0, 0, NULL, "FILE", "or HDF5 without filters"},
    {"rows", CASK_CONFIG_TEXT, ROW(rows), "", 0, 0, NULL, "A:B", "rows A to B-1 only"},
};
#undef ROW
#define ROWS(table) table, sizeof table / sizeof *table

struct command {
    struct cask_cli_about about;
    const char *words; /* what follows the name */
    int least, most;   /* folders */
    tool_command run;  /* NULL: retopk */
    const struct cask_config_row *rows;
    size_t row_count;
};
static const struct command commands[] = {
    {{"info", "what the cache is, from whom, mass captured, error budget, sizes"},
     "DIR",
     1,
     1,
     tool_info,
     NULL,
     0},
    {{"verify", "every checksum of every file; lists bad shards (for precompute --only), exit 3"},
     "DIR",
     1,
     1,
     tool_verify,
     NULL,
     0},
    {{"dump", "one image: both views, label, norm, LSEs, top 5"},
     "DIR --sample ID",
     1,
     1,
     tool_dump,
     ROWS(dump_rows)},
    {{"diff", "field by field, then the first row that differs; exit 3"},
     "A B",
     2,
     2,
     tool_diff,
     NULL,
     0},
    {{"repair-index", "makes lost or damaged .idx files again from their shards"},
     "DIR",
     1,
     1,
     tool_repair_index,
     NULL,
     0},
    {{"export", "plain arrays for numpy.load, or HDF5 without filters"},
     "DIR --npz|--h5 FILE",
     1,
     1,
     tool_export,
     ROWS(export_rows)},
    {{"merge", "one cache out of parts that precompute --shards built apart"},
     "OUT A B ...",
     2,
     CASK_CONFIG_LIST,
     tool_merge,
     NULL,
     0},
    {{"retopk", "new lists from embeddings and centres: another k, scale or temperatures"},
     "DIR --out NEW",
     0,
     0,
     NULL,
     NULL,
     0},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* A command at work. */
struct call {
    const struct command *command;
    struct tool_arguments arguments;
    int exit_code;
};

static enum cask_status run_call(void *user, struct cask_error *err)
{
    struct call *call = user;
    const struct command *command = call->command;
    const int count = call->arguments.folders.count;
    if (count < command->least || count > command->most) {
        return cask_error_set(
            err, CASK_ERR_USAGE, "usage: cachetool %s %s: expected %d%s folder%s, found %d",
            command->about.name, command->words, command->least,
            command->most > command->least ? " or more" : "", command->most > 1 ? "s" : "", count);
    }
    return command->run(&call->arguments, &call->exit_code, err);
}

static enum cask_status run_here(const struct command *command, int argc, char **argv,
                                 int *exit_code, struct cask_error *err)
{
    char usage[256];
    struct call call = {.command = command};
    const struct cask_config_section sections[] = {
        {"", ROWS(common_rows), &call.arguments},
        {"", command->rows, command->row_count, &call.arguments},
    };
    const struct cask_cli_command cli = {usage, sections, command->row_count > 0 ? 2 : 1, run_call,
                                         &call};
    snprintf(usage, sizeof usage, "usage: cachetool %s %s [--json]\n\n%s\n", command->about.name,
             command->words, command->about.help);
    const enum cask_status st = cask_cli_run(&cli, argc, argv, err);
    *exit_code = call.exit_code;
    return st;
}

/* The products of embeddings and centres are made by a program of their own, which stands beside
 * this one: the cache's code knows no kernels. Comes back only with an error. */
static enum cask_status run_retopk(int argc, char **argv, struct cask_error *err)
{
    enum { ARGUMENTS = 32 };
    char path[PATH_MAX], *arguments[ARGUMENTS + 3] = {path, (char[]){"--cache"}};
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "retopk");
    const bool help = argc > 1 && argv[1][0] == '-'; /* no folder before it */
    if (argc < 2 || argc > ARGUMENTS) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "usage: cachetool retopk DIR --out NEW [...]; see retopk --help");
    }
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    memcpy(slash != NULL ? slash + 1 : path, "retopk", sizeof "retopk");
    memcpy(arguments + (help ? 1 : 2), argv + 1, (size_t)(argc - 1) * sizeof *argv);
    execv(path, arguments);
    return cask_error_errno(err, errno, "%s: cannot be run", path);
}

static enum cask_status run(int argc, char **argv, int *exit_code, struct cask_error *err)
{
    const void *row = NULL;
    const enum cask_status st =
        cask_cli_find(commands, COMMANDS, sizeof *commands, argc > 1 ? argv[1] : "", &row, err);
    const struct command *command = row;
    return st != CASK_OK          ? st
           : command->run == NULL ? run_retopk(argc - 1, argv + 1, err)
                                  : run_here(command, argc - 1, argv + 1, exit_code, err);
}

static void print_help(void)
{
    printf("usage: cachetool COMMAND ... [--json]; `cachetool COMMAND --help` tells more\n\n");
    cask_cli_list(commands, COMMANDS, sizeof *commands);
    printf("\nExit codes: 0 ok, 2 usage, 3 damage or difference.\n");
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error err = {0};
    int exit_code = 0;
    cask_cli_begin();
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help();
    } else if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("cachetool %s, format %d.%d\n", CASK_VERSION, CASK_CACHE_MAJOR, CASK_CACHE_MINOR);
    } else {
        st = run(argc, argv, &exit_code, &err);
    }
    const int failed = cask_cli_end("cachetool", st, &err);
    return failed != 0 ? failed : exit_code;
}
