/* common/config_internal.h - shared by the config_*.c files and cli.c; nobody else includes it. */
#ifndef CASK_COMMON_CONFIG_INTERNAL_H
#define CASK_COMMON_CONFIG_INTERNAL_H

#include "common/config.h"
#include "common/mem.h"
#include "common/text.h"

struct config_entry {
    const struct cask_config_row *row;
    const char *key;    /* prefix and row key, owned by the arena */
    char *target;       /* the row's field in the caller's struct */
    const char *origin; /* "file.yaml:12", "--set"; NULL: default */
    bool left_out;      /* of the dump */
};

struct cask_config {
    struct cask_arena arena;
    struct config_entry *entries;
    size_t count;
};

/* Is the row's field a list of texts? */
static inline bool config_is_texts(enum cask_config_type type)
{
    return type == CASK_CONFIG_TEXTS || type == CASK_CONFIG_WORDS;
}

struct config_entry *config_find(const struct cask_config *config, const char *key);
/* CASK_ERR_USAGE: "ORIGIN: unknown key 'x'; did you mean 'y'?" */
enum cask_status config_unknown(const struct cask_config *config, const char *key, const char *what,
                                const char *origin, struct cask_error *err);

/* Parses texts into the entry's field, checking type and range. `append` adds to a TEXTS list. */
enum cask_status config_bind(struct cask_config *config, struct config_entry *entry,
                             const char *const *texts, int count, bool append, const char *origin,
                             struct cask_error *err);
/* Same for one text, where "[a, b]" and "a,b" are lists if the row is one. */
enum cask_status config_bind_text(struct cask_config *config, struct config_entry *entry,
                                  const char *text, const char *origin, struct cask_error *err);

/* Adds the value as YAML. */
void config_put_value(const struct config_entry *entry, struct cask_text *text);

#endif
