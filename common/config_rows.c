#include "common/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/config_internal.h"

static enum cask_status add_section(struct cask_config *config,
                                    const struct cask_config_section *section,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < section->row_count; i++) {
        const struct cask_config_row *row = &section->rows[i];
        size_t bytes = strlen(section->prefix) + strlen(row->key) + 1;
        char *key = cask_arena_alloc(&config->arena, bytes, 1);
        if (key == NULL) {
            CASK_TRY(cask_error_memory(err, bytes, "config keys"));
        }
        snprintf(key, bytes, "%s%s", section->prefix, row->key);
        struct config_entry *entry = &config->entries[config->count++];
        *entry = (struct config_entry){
            .row = row, .key = key, .target = (char *)section->target + row->offset};
        CASK_TRY(config_bind_text(config, entry, row->value, "default", err));
        entry->origin = NULL;
    }
done:
    return st;
}

enum cask_status cask_config_create(const struct cask_config_section *sections, size_t count,
                                    struct cask_config **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t rows = 0;
    struct cask_config *config = cask_alloc(1, sizeof *config);
    if (config == NULL) {
        return cask_error_memory(err, sizeof *config, "config");
    }
    cask_arena_init(&config->arena);
    for (size_t i = 0; i < count; i++) {
        rows += sections[i].row_count;
    }
    config->entries = cask_alloc(rows, sizeof *config->entries);
    if (config->entries == NULL) {
        CASK_TRY(cask_error_memory(err, rows * sizeof *config->entries, "config"));
    }
    for (size_t i = 0; i < count; i++) {
        CASK_TRY(add_section(config, &sections[i], err));
    }
    *out = config;
    config = NULL;
done:
    cask_config_free(config);
    return st;
}

void cask_config_free(struct cask_config *config)
{
    if (config != NULL) {
        cask_arena_release(&config->arena);
        cask_free(config->entries);
        cask_free(config);
    }
}

struct config_entry *config_find(const struct cask_config *config, const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->entries[i].key, key) == 0) {
            return &config->entries[i];
        }
    }
    return NULL;
}

bool cask_config_given(const struct cask_config *config, const char *key)
{
    const struct config_entry *entry = config_find(config, key);
    return entry != NULL && entry->origin != NULL;
}

double cask_config_real(const struct cask_config *config, const char *key)
{
    const struct config_entry *entry = config_find(config, key);
    double value = NAN;
    if (entry != NULL && entry->row->type == CASK_CONFIG_REAL) {
        memcpy(&value, entry->target, sizeof value);
    }
    return value;
}

void cask_config_leave_out(struct cask_config *config, const char *key)
{
    struct config_entry *entry = config_find(config, key);
    if (entry != NULL) {
        entry->left_out = true;
    }
}

/* Levenshtein distance of two short texts. */
static int edit_distance(const char *a, const char *b)
{
    enum { LIMIT = 96 };
    int row[LIMIT + 1];
    int length_b = (int)strnlen(b, LIMIT);
    for (int j = 0; j <= length_b; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= LIMIT && a[i - 1] != 0; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= length_b; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            int change = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < change ? replace : change;
        }
    }
    return row[length_b];
}

enum cask_status config_unknown(const struct cask_config *config, const char *key, const char *what,
                                const char *origin, struct cask_error *err)
{
    const char *nearest = NULL;
    int best = 1 << 20;
    bool flag = strcmp(what, "flag") == 0;
    for (size_t i = 0; i < config->count; i++) {
        if (flag && strchr(config->entries[i].key, '.') != NULL) {
            continue; /* only --set takes keys with a dot */
        }
        int distance = edit_distance(key + (flag ? 2 : 0), config->entries[i].key);
        if (distance < best) {
            best = distance;
            nearest = config->entries[i].key;
        }
    }
    char shown[96];
    snprintf(shown, sizeof shown, "%s%s", flag ? "--" : "", nearest != NULL ? nearest : "");
    for (char *at = shown; flag && *at != 0; at++) {
        *at = *at == '_' ? '-' : *at; /* as find_flag reads them */
    }
    return cask_error_set(err, CASK_ERR_USAGE, "%s: unknown %s '%.80s'; did you mean '%s'?", origin,
                          what, key, shown);
}

enum cask_status cask_config_set_value(struct cask_config *config, const char *key,
                                       const char *value, const char *origin,
                                       struct cask_error *err)
{
    struct config_entry *entry = config_find(config, key);
    if (entry == NULL) {
        return config_unknown(config, key, "key", origin, err);
    }
    return config_bind_text(config, entry, value, origin, err);
}

enum cask_status cask_config_set(struct cask_config *config, const char *assignment,
                                 const char *origin, struct cask_error *err)
{
    char key[128];
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment || (size_t)(equals - assignment) >= sizeof key) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: expected key=value, found '%.100s'", origin,
                              assignment);
    }
    memcpy(key, assignment, (size_t)(equals - assignment));
    key[equals - assignment] = 0;
    return cask_config_set_value(config, key, equals + 1, origin, err);
}
