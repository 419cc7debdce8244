/* common/config.h - one table row per setting; the row is the whole truth about it.
 *
 * A row gives YAML binding, `--set a.b=c`, `--a.b c` on the command line where a program asks for
 * it, range errors with file:line, `--help` text and the resolved dump. Rows are grouped in
 * sections: a prefix ("loss.gkd."), a table, and the caller's struct that the values go to.
 *
 * YAML subset (common/yaml.h): maps, lists of scalars, scalars, one top-level `extends: other.yaml`
 * or `extends: [a.yaml, b.yaml]` (relative to the file, later ones win; at most eight deep and 256
 * in all, no circles). Anchors, tags and unknown or repeated keys are errors; an unknown key is
 * answered with the nearest known one. Texts are UTF-8 of at most 4096 bytes.
 */
#ifndef CASK_COMMON_CONFIG_H
#define CASK_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "common/yaml.h"

enum cask_config_type {
    CASK_CONFIG_BOOL,  /* bool */
    CASK_CONFIG_INT,   /* int64_t, min <= v <= max */
    CASK_CONFIG_REAL,  /* double, min <= v <= max */
    CASK_CONFIG_TEXT,  /* const char *, never NULL; "" where not given */
    CASK_CONFIG_ENUM,  /* int: index into `names` */
    CASK_CONFIG_REALS, /* struct cask_config_reals: YAML list, or "1,4" */
    CASK_CONFIG_TEXTS, /* struct cask_config_texts: YAML list, a repeated flag, or one text */
    CASK_CONFIG_WORD,  /* TEXT; on the command line also the word that stands without a flag */
    CASK_CONFIG_WORDS, /* TEXTS; on the command line also all words without a flag */
};

enum { CASK_CONFIG_LIST = 64 };
struct cask_config_reals {
    double values[CASK_CONFIG_LIST];
    int count;
};
struct cask_config_texts {
    const char *values[CASK_CONFIG_LIST];
    int count;
};

struct cask_config_row {
    const char *key; /* without the section's prefix: "weight" */
    enum cask_config_type type;
    size_t offset;            /* offsetof(struct ..., field) */
    const char *value;        /* default, as it would be written in YAML: "0.1", "[1, 4]", "" */
    double min, max;          /* INT and REAL and elements of REALS; both 0 means no limits */
    const char *const *names; /* ENUM: NULL-terminated */
    const char *metavar;      /* for --help: "FILE", "N"; may be NULL */
    const char *help;         /* one line: unit, meaning, source */
};

struct cask_config_section {
    const char *prefix; /* "" or "train." */
    const struct cask_config_row *rows;
    size_t row_count;
    void *target;
};

struct cask_config; /* owns the texts that bound values point to */

/* Binds all defaults. `sections` is copied; the targets are borrowed for the config's life. */
enum cask_status cask_config_create(const struct cask_config_section *sections, size_t count,
                                    struct cask_config **config, struct cask_error *err);
void cask_config_free(struct cask_config *config); /* accepts NULL; bound texts die with it */

enum cask_status cask_config_load_file(struct cask_config *config, const char *path,
                                       struct cask_error *err);
/* Binds a map of an open file as if it stood in a file of its own there, "extends" included. Keys
 * in `reserved` (NULL-terminated; may be NULL) belong to someone else and are passed over. */
enum cask_status cask_config_apply(struct cask_config *config, const struct cask_yaml *file,
                                   const struct cask_yaml_node *map, const char *const *reserved,
                                   struct cask_error *err);
/* `assignment` is "a.b=c"; origin is used in messages ("--set"). */
enum cask_status cask_config_set(struct cask_config *config, const char *assignment,
                                 const char *origin, struct cask_error *err);
enum cask_status cask_config_set_value(struct cask_config *config, const char *key,
                                       const char *value, const char *origin,
                                       struct cask_error *err);
/* True if the key was given by a file, --set or the command line, not only by its default. */
bool cask_config_given(const struct cask_config *config, const char *key);

/* The value of a REAL row; NaN if the table has no such row. */
double cask_config_real(const struct cask_config *config, const char *key);

/* Leaves a key out of the dump: one that is about this call and not about what it makes. */
void cask_config_leave_out(struct cask_config *config, const char *key);
/* Resolved YAML that loads back to the same values; caller frees. NULL: no memory. */
char *cask_config_dump(const struct cask_config *config);
/* Help text of all rows, one per line, wrapped at 100 columns; caller frees. */
char *cask_config_help(const struct cask_config *config);

/* Command line: every key without a dot is a flag `--key VALUE` or `--key=VALUE` (BOOL: `--key` or
 * `--no-key`; TEXTS: repeatable); underscores in keys are dashes in flags. `--set a.b=c` works on
 * every key; `--config FILE` loads a file at its place, if the table has a key "config".
 * `--help` and `--version` print to stdout and set *stop. Anything else is CASK_ERR_USAGE with the
 * nearest flag. Words without a flag go to the WORD or WORDS row, if there is one. `usage` is the
 * program's own help text, printed before the table. */
enum cask_status cask_cli_parse(struct cask_config *config, int argc, char **argv,
                                const char *usage, bool *stop, struct cask_error *err);

/* The life of a command: its sections are bound, the command line is read, and run(user) is called
 * unless only help was asked for. Texts in the sections' structs live until it returns. */
struct cask_cli_command {
    const char *usage;
    const struct cask_config_section *sections;
    size_t section_count;
    enum cask_status (*run)(void *user, struct cask_error *err);
    void *user;
};
enum cask_status cask_cli_run(const struct cask_cli_command *command, int argc, char **argv,
                              struct cask_error *err);
/* First in main. A program may be started with its standard streams closed: their numbers are
 * taken, so that no file that is opened later gets one of them and what was meant for a reader. */
void cask_cli_begin(void);
/* Last in main: prints the error, or finds out that what was printed did not arrive (a full disk, a
 * closed stream: CASK_ERR_IO). The exit code. */
int cask_cli_end(const char *program, enum cask_status st, struct cask_error *err);
/* All of it for a plain program, with the interrupt flag of common/thread.h. */
int cask_cli_main(const char *program, const struct cask_cli_command *command, int argc,
                  char **argv);

/* --- programs of several commands, `PROGRAM NAME ...` (cli_commands.c) --- */

/* What each row of such a program's table begins with. */
struct cask_cli_about {
    const char *name, *help; /* help: one line */
};
/* The row of this name in a table of `count` rows of `row_bytes`; where there is none,
 * CASK_ERR_USAGE with the names there are. */
enum cask_status cask_cli_find(const void *table, size_t count, size_t row_bytes, const char *name,
                               const void **row, struct cask_error *err);
/* A line for each, to stdout. */
void cask_cli_list(const void *table, size_t count, size_t row_bytes);

#endif
