/* YAML file to config entries. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_internal.h"
#include "common/file.h"
#include "common/yaml.h"

enum { MAX_EXTENDS = 8, MAX_FILES = 256, MAX_KEY = 128 };

/* The files that are being read, from the one that was asked for to the innermost. */
struct chain {
    const char *path;
    const struct chain *before;
    int depth;
    int *files; /* read so far: eight files that name each other many times are a very long list */
};

struct reader {
    struct cask_config *config;
    const struct cask_yaml *file;
    const struct chain *chain;
    char prefix[MAX_KEY];  /* "loss.gkd." while inside that map */
    const char *seen[512]; /* keys this map has set, to refuse a second time */
    int seen_count;
};

static enum cask_status load(struct cask_config *config, const char *path,
                             const struct chain *before, struct cask_error *err);

static bool is_extends(const struct cask_yaml_node *node)
{
    return node->key != NULL && strcmp(node->key, "extends") == 0;
}

static enum cask_status read_list(struct reader *reader, struct config_entry *entry,
                                  const struct cask_yaml_node *list, const char *origin,
                                  struct cask_error *err)
{
    const char *texts[CASK_CONFIG_LIST];
    int count = 0;
    for (const struct cask_yaml_node *item = list->first; item != NULL; item = item->next) {
        if (item->kind != CASK_YAML_TEXT || count == CASK_CONFIG_LIST) {
            return cask_yaml_complain(reader->file, item,
                                      "expected a list of at most 64 plain values", err);
        }
        texts[count++] = item->text;
    }
    return config_bind(reader->config, entry, texts, count, false, origin, err);
}

static enum cask_status read_value(struct reader *reader, const char *key,
                                   const struct cask_yaml_node *node, struct cask_error *err)
{
    char origin[PATH_MAX];
    snprintf(origin, sizeof origin, "%.3000s:%d", reader->file->path, node->line);
    struct config_entry *entry = config_find(reader->config, key);
    if (entry == NULL) {
        return config_unknown(reader->config, key, "key", origin, err);
    }
    for (int i = 0; i < reader->seen_count; i++) {
        if (strcmp(reader->seen[i], entry->key) == 0) {
            return cask_error_set(err, CASK_ERR_USAGE, "%s: key '%s' is set twice in this file",
                                  origin, key);
        }
    }
    if (reader->seen_count < (int)(sizeof reader->seen / sizeof *reader->seen)) {
        reader->seen[reader->seen_count++] = entry->key;
    }
    return node->kind == CASK_YAML_LIST
               ? read_list(reader, entry, node, origin, err)
               : config_bind_text(reader->config, entry, node->text, origin, err);
}

static enum cask_status read_map(struct reader *reader, const struct cask_yaml_node *map,
                                 const char *const *reserved, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const size_t prefix_length = strlen(reader->prefix);
    for (const struct cask_yaml_node *node = map->first; node != NULL; node = node->next) {
        char key[MAX_KEY];
        bool passed_over = prefix_length == 0 && is_extends(node);
        for (int i = 0; reserved != NULL && reserved[i] != NULL; i++) {
            passed_over = passed_over || strcmp(node->key, reserved[i]) == 0;
        }
        if (passed_over) {
            continue;
        }
        if (snprintf(key, sizeof key, "%s%s", reader->prefix, node->key) >= (int)sizeof key - 1) {
            CASK_TRY(cask_yaml_complain(reader->file, node, "expected a key", err));
        }
        if (node->kind == CASK_YAML_MAP) {
            snprintf(reader->prefix, sizeof reader->prefix, "%.*s.", MAX_KEY - 2, key);
            CASK_TRY(read_map(reader, node, NULL, err));
            reader->prefix[prefix_length] = 0;
        } else {
            CASK_TRY(read_value(reader, key, node, err));
        }
    }
done:
    return st;
}

/* ----------------------------------------------------------------- extends */

static enum cask_status extend_one(const struct reader *reader, const struct cask_yaml_node *name,
                                   struct cask_error *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(reader->file->path, '/');
    if (name->kind != CASK_YAML_TEXT || name->text[0] == 0) {
        return cask_yaml_complain(reader->file, name, "extends: expected a file name", err);
    }
    int folder = slash != NULL && name->text[0] != '/' ? (int)(slash - reader->file->path) + 1 : 0;
    if (snprintf(path, sizeof path, "%.*s%s", folder, reader->file->path, name->text) >=
        (int)sizeof path) {
        return cask_yaml_complain(reader->file, name, "extends: the path is too long", err);
    }
    if (!cask_path_exists(path)) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s:%d: extends: there is no file %s",
                              reader->file->path, name->line, path);
    }
    return load(reader->config, path, reader->chain, err);
}

/* One name, or a list of which later ones win. It must stand before the settings that it could
 * otherwise seem to overrule. */
static enum cask_status extend(const struct reader *reader, const struct cask_yaml_node *map,
                               const char *const *reserved, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool settings = false;
    for (const struct cask_yaml_node *node = map->first; node != NULL; node = node->next) {
        bool is_reserved = false;
        for (int i = 0; reserved != NULL && reserved[i] != NULL; i++) {
            is_reserved = is_reserved || strcmp(node->key, reserved[i]) == 0;
        }
        if (!is_extends(node)) {
            settings = settings || !is_reserved;
            continue;
        }
        if (settings || node->kind == CASK_YAML_MAP) {
            CASK_TRY(cask_yaml_complain(
                reader->file, node, "extends: expected file names, before every other key", err));
        }
        if (node->kind == CASK_YAML_TEXT) {
            CASK_TRY(extend_one(reader, node, err));
        }
        for (const struct cask_yaml_node *name = node->first; name != NULL; name = name->next) {
            CASK_TRY(extend_one(reader, name, err));
        }
    }
done:
    return st;
}

static enum cask_status apply(struct cask_config *config, const struct cask_yaml *file,
                              const struct cask_yaml_node *map, const char *const *reserved,
                              const struct chain *chain, struct cask_error *err)
{
    struct reader reader = {.config = config, .file = file, .chain = chain};
    enum cask_status st = extend(&reader, map, reserved, err);
    return st == CASK_OK ? read_map(&reader, map, reserved, err) : st;
}

/* The same file by another name is the same file. */
static bool same_file(const char *a, const char *b)
{
    char *full_a = realpath(a, NULL), *full_b = realpath(b, NULL);
    bool same = full_a != NULL && full_b != NULL && strcmp(full_a, full_b) == 0;
    free(full_a);
    free(full_b);
    return same;
}

static enum cask_status check_chain(const struct chain *chain, struct cask_error *err)
{
    for (const struct chain *link = chain->before; link != NULL; link = link->before) {
        if (same_file(link->path, chain->path)) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "%s: these files extend one another: %s is reached again from %s",
                                  link->path, chain->path, chain->before->path);
        }
    }
    if (chain->depth > MAX_EXTENDS) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: more than %d files extend one another",
                              chain->path, MAX_EXTENDS);
    }
    if (++*chain->files > MAX_FILES) {
        return cask_error_set(err, CASK_ERR_USAGE,
                              "%s: \"extends\" names more than %d files in all", chain->path,
                              MAX_FILES);
    }
    return CASK_OK;
}

static enum cask_status load(struct cask_config *config, const char *path,
                             const struct chain *before, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_yaml file = {0};
    int files = 0;
    const struct chain chain = {path, before, before != NULL ? before->depth + 1 : 0,
                                before != NULL ? before->files : &files};
    CASK_TRY(check_chain(&chain, err));
    CASK_TRY(cask_yaml_open(path, &file, err));
    CASK_TRY(apply(config, &file, file.root, NULL, &chain, err));
done:
    cask_yaml_close(&file);
    return st;
}

enum cask_status cask_config_load_file(struct cask_config *config, const char *path,
                                       struct cask_error *err)
{
    return load(config, path, NULL, err);
}

enum cask_status cask_config_apply(struct cask_config *config, const struct cask_yaml *file,
                                   const struct cask_yaml_node *map, const char *const *reserved,
                                   struct cask_error *err)
{
    int files = 0;
    const struct chain chain = {file->path, NULL, 0, &files};
    return apply(config, file, map, reserved, &chain, err);
}
