/* Command-line flags are the config rows whose key has no dot, plus --set, --help and --version. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/config_internal.h"
#include "common/thread.h"

static void print_help(const struct cask_config *config, const char *usage)
{
    char *rows = cask_config_help(config);
    bool dots = false;
    for (size_t i = 0; i < config->count; i++) {
        dots = dots || strchr(config->entries[i].key, '.') != NULL;
    }
    printf("%s\n%s%s  --help, --version\n", usage, rows != NULL ? rows : "",
           dots ? "  --set KEY=VALUE                 any of the keys with a dot\n" : "");
    cask_free(rows);
}

/* "--no-flip" or "--shard-images" to the entry of key "flip" or "shard_images". */
static struct config_entry *find_flag(const struct cask_config *config, const char *name,
                                      size_t length, bool *negated)
{
    char key[128];
    if (length >= sizeof key) {
        return NULL;
    }
    for (size_t i = 0; i < length; i++) {
        key[i] = name[i] == '-' ? '_' : name[i];
    }
    key[length] = 0;
    *negated = false;
    struct config_entry *entry = strchr(key, '.') == NULL ? config_find(config, key) : NULL;
    if (entry == NULL && strncmp(key, "no_", 3) == 0) {
        entry = config_find(config, key + 3);
        *negated = entry != NULL && entry->row->type == CASK_CONFIG_BOOL;
        entry = *negated ? entry : NULL;
    }
    return entry;
}

static enum cask_status apply(struct cask_config *config, struct config_entry *entry,
                              const char *value, const char *origin, struct cask_error *err)
{
    if (config_is_texts(entry->row->type)) {
        return config_bind(config, entry, &value, 1, entry->origin != NULL, origin, err);
    }
    if (strcmp(entry->key, "config") == 0) {
        enum cask_status st = cask_config_load_file(config, value, err);
        if (st != CASK_OK) {
            return st;
        }
    }
    return config_bind_text(config, entry, value, origin, err);
}

/* The row that takes words without a flag; NULL: none. */
static struct config_entry *find_word_row(const struct cask_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        const enum cask_config_type type = config->entries[i].row->type;
        if (type == CASK_CONFIG_WORD || type == CASK_CONFIG_WORDS) {
            return &config->entries[i];
        }
    }
    return NULL;
}

/* A word without a flag: one more in a list, or the only one there may be. */
static enum cask_status take_word(struct cask_config *config, struct config_entry *entry,
                                  const char *word, struct cask_error *err)
{
    const char *name = entry->row->metavar != NULL ? entry->row->metavar : entry->key;
    if (entry->row->type == CASK_CONFIG_WORD && entry->origin != NULL) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "expected one %s, found '%.100s' too; see --help", name, word);
    }
    return config_bind(config, entry, &word, 1, entry->origin != NULL, name, err);
}

/* One flag at argv[*at]; moves *at past what it used. */
static enum cask_status take(struct cask_config *config, int argc, char **argv, int *at,
                             struct cask_error *err)
{
    const char *flag = argv[*at];
    struct config_entry *words = find_word_row(config);
    if (words != NULL && flag[0] != '-') {
        ++*at;
        return take_word(config, words, flag, err);
    }
    if (strncmp(flag, "--", 2) != 0 || flag[2] == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "expected a flag, found '%.100s'; see --help",
                              flag);
    }
    const char *name = flag + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    bool set = length == 3 && strncmp(name, "set", 3) == 0, negated = false;
    struct config_entry *entry = set ? NULL : find_flag(config, name, length, &negated);
    char origin[160];
    snprintf(origin, sizeof origin, "--%.*s", (int)length, name);
    if (!set && entry == NULL) {
        return config_unknown(config, origin, "flag", "command line", err);
    }
    bool is_switch = !set && entry->row->type == CASK_CONFIG_BOOL && equals == NULL;
    const char *value = equals != NULL ? equals + 1
                        : is_switch    ? (negated ? "false" : "true")
                                       : NULL;
    if (value == NULL) {
        if (*at + 1 >= argc) {
            return cask_error_set(err, CASK_ERR_USAGE, "%s: expected a value after it", origin);
        }
        value = argv[++*at];
    }
    ++*at;
    return set ? cask_config_set(config, value, origin, err)
               : apply(config, entry, value, origin, err);
}

enum cask_status cask_cli_parse(struct cask_config *config, int argc, char **argv,
                                const char *usage, bool *stop, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *stop = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(config, usage);
            *stop = true;
            return CASK_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("cask %s\n", CASK_VERSION);
            *stop = true;
            return CASK_OK;
        }
    }
    for (int at = 1; at < argc;) {
        CASK_TRY(take(config, argc, argv, &at, err));
    }
done:
    return st;
}

enum cask_status cask_cli_run(const struct cask_cli_command *command, int argc, char **argv,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_config *config = NULL;
    bool stop = false;
    CASK_TRY(cask_config_create(command->sections, command->section_count, &config, err));
    CASK_TRY(cask_cli_parse(config, argc, argv, command->usage, &stop, err));
    if (!stop) {
        CASK_TRY(command->run(command->user, err));
    }
done:
    cask_config_free(config);
    return st;
}

void cask_cli_begin(void)
{
    int fd;
    do { /* read-only: what is written there fails as it did before */
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

int cask_cli_end(const char *program, enum cask_status st, struct cask_error *err)
{
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && st == CASK_OK) {
        st = cask_error_errno(err, errno != 0 ? errno : EIO, "standard output: writing");
    }
    if (st != CASK_OK) {
        cask_error_print(err, program);
    }
    return cask_status_exit_code(st);
}

int cask_cli_main(const char *program, const struct cask_cli_command *command, int argc,
                  char **argv)
{
    struct cask_error error = {0};
    cask_cli_begin();
    cask_interrupt_install();
    return cask_cli_end(program, cask_cli_run(command, argc, argv, &error), &error);
}
