/* cache/tool/main.c - cachetool: looks at, checks and mends a cache. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/tool/tool.h"
#include "common/config.h"

static const struct {
    const char *name;
    tool_command run;
    int folders, more; /* exactly `folders`, or up to `more` where that is not 0 */
    const char *help;
} COMMANDS[] = {
    {"info", tool_info, 1, 0,
     "info DIR             what the cache is, from whom, mass captured, error budget, sizes"},
    {"verify", tool_verify, 1, 0,
     "verify DIR           every checksum of every file; lists bad shards (for precompute --only), "
     "exit 3"},
    {"dump", tool_dump, 1, 0,
     "dump DIR --sample ID one image: both views, label, norm, LSEs, top 5"},
    {"diff", tool_diff, 2, 0,
     "diff A B             field by field, then the first row that differs; exit 3"},
    {"repair-index", tool_repair_index, 1, 0,
     "repair-index DIR     makes lost or damaged .idx files again from their shards"},
    {"export", tool_export, 1, 0,
     "export DIR --npz|--h5 FILE [--rows A:B] plain arrays for numpy.load, or HDF5 without "
     "filters"},
    {"merge", tool_merge, 2, TOOL_POSITIONAL,
     "merge OUT A B ...    one cache out of parts that precompute --shards built apart"},
    {"retopk", NULL, 1, 0,
     "retopk DIR --out NEW [--topk N] [--temperatures T,...] new lists from embeddings and "
     "centres"},
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof COMMANDS[0] };

static void print_help(FILE *to)
{
    fprintf(to, "usage: cachetool COMMAND ... [--json]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "  %s\n", COMMANDS[i].help);
    }
    fprintf(to, "\n--json prints one JSON object instead of text. Exit codes: 0 ok, 2 usage, 3 "
                "damage or difference.\n");
}

static bool parse_u64(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end > text && *end == '\0' && text[0] != '-';
}

static bool parse_rows(const char *text, struct tool_arguments *arguments)
{
    char *end, *last;
    errno = 0;
    arguments->first_row = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != ':') {
        return false;
    }
    arguments->end_row = strtoll(end + 1, &last, 10);
    arguments->has_rows = true;
    return errno == 0 && last > end + 1 && *last == '\0' && arguments->first_row >= 0 &&
           arguments->end_row > arguments->first_row;
}

static enum cask_status parse(int argc, char **argv, struct tool_arguments *arguments,
                              struct cask_error *err)
{
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char *flag = argv[i], *expected = NULL; /* of a value that is not understood */
        bool good = true;
        if (strcmp(argv[i], "--json") == 0) {
            arguments->json = true;
        } else if (strcmp(argv[i], "--sample") == 0 && value != NULL) {
            good = arguments->has_sample = parse_u64(value, &arguments->sample);
            expected = "a sample id, a number from 0";
            i++;
        } else if (strcmp(argv[i], "--rows") == 0 && value != NULL) {
            good = parse_rows(value, arguments);
            expected = "FIRST:END, as 0:10 for the first ten";
            i++;
        } else if (strcmp(argv[i], "--npz") == 0 && value != NULL) {
            arguments->npz = value;
            i++;
        } else if (strcmp(argv[i], "--h5") == 0 && value != NULL) {
            arguments->h5 = value;
            i++;
        } else if (argv[i][0] != '-' && arguments->count < TOOL_POSITIONAL) {
            arguments->positional[arguments->count++] = argv[i];
        } else {
            good = false;
        }
        if (!good && expected != NULL) {
            return cask_error_set(err, CASK_ERR_USAGE, "%s: expected %s, found \"%s\"", flag,
                                  expected, argv[i]);
        }
        if (!good) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "\"%s\" is not understood here; see cachetool --help", argv[i]);
        }
    }
    return CASK_OK;
}

/* The products of embeddings and centres are made by a program of their own, which stands beside
 * this one: the cache's code knows no kernels. Comes back only with an error. */
static enum cask_status run_retopk(int argc, char **argv, struct cask_error *err)
{
    enum { ARGUMENTS = 32 };
    char path[PATH_MAX], *arguments[ARGUMENTS + 3] = {path, (char[]){"--cache"}};
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "retopk");
    if (argc < 3 || argc > ARGUMENTS) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "usage: cachetool retopk DIR --out NEW [...]; see retopk --help");
    }
    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    memcpy(slash != NULL ? slash + 1 : path, "retopk", sizeof "retopk");
    memcpy(arguments + 2, argv + 2, (size_t)(argc - 2) * sizeof *argv);
    execv(path, arguments);
    return cask_error_errno(err, errno, "%s: cannot be run", path);
}

static enum cask_status run(int argc, char **argv, int *exit_code, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct tool_arguments arguments = {0};
    if (strcmp(argv[1], "retopk") == 0) {
        return run_retopk(argc, argv, err);
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], COMMANDS[i].name) == 0) {
            CASK_TRY(parse(argc, argv, &arguments, err));
            if (arguments.count < COMMANDS[i].folders ||
                (arguments.count > COMMANDS[i].folders && COMMANDS[i].more == 0)) {
                CASK_TRY(
                    cask_error_set(err, CASK_ERR_USAGE, "usage: cachetool %s", COMMANDS[i].help));
            }
            CASK_TRY(COMMANDS[i].run(&arguments, exit_code, err));
            return CASK_OK;
        }
    }
    CASK_TRY(
        cask_error_set(err, CASK_ERR_USAGE, "no command \"%s\"; see cachetool --help", argv[1]));
done:
    return st;
}

/* retopk has a help text of its own. */
static bool asks_help(int argc, char **argv)
{
    bool asked = false;
    for (int i = 1; i < argc && strcmp(argv[1], "retopk") != 0; i++) {
        asked = asked || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    }
    return asked;
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error err = {0};
    int exit_code = 0;
    cask_cli_begin();
    if (argc < 2) {
        print_help(stderr);
        exit_code = cask_status_exit_code(CASK_ERR_USAGE);
    } else if (asks_help(argc, argv)) {
        print_help(stdout);
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("cachetool %s, format %d.%d\n", CASK_VERSION, CASK_CACHE_MAJOR, CASK_CACHE_MINOR);
    } else {
        st = run(argc, argv, &exit_code, &err);
    }
    const int failed = cask_cli_end("cachetool", st, &err);
    return failed != 0 ? failed : exit_code;
}
