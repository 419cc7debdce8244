/* YAML file to config entries, through libyaml's event stream. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/config_internal.h"
#include "common/file.h"

enum { MAX_NESTING = 8, MAX_FILE_BYTES = 1 << 20, MAX_EXTENDS = 8, MAX_KEY = 128 };

struct reader {
    struct cask_config *config;
    const char *path;
    int depth_of_extends;
    yaml_parser_t parser;
    yaml_event_t event;
    char prefix[MAX_KEY];  /* "loss.gkd." while inside that map */
    const char *seen[512]; /* keys this file has set, to refuse a second time */
    int seen_count;
};

static enum cask_status load(struct cask_config *config, const char *path, int depth,
                             struct cask_error *err);

static enum cask_status complain(const struct reader *reader, const char *problem,
                                 struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_USAGE, "%s:%zu: %s", reader->path,
                          reader->event.start_mark.line + 1, problem);
}

/* Next event; anchors, aliases and tags are refused here, so that nothing below meets them. */
static enum cask_status next(struct reader *reader, struct cask_error *err)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s:%zu: not YAML: %s", reader->path,
                              reader->parser.problem_mark.line + 1,
                              reader->parser.problem != NULL ? reader->parser.problem : "?");
    }
    const yaml_event_t *event = &reader->event;
    bool anchored =
        event->type == YAML_ALIAS_EVENT ||
        (event->type == YAML_SCALAR_EVENT &&
         (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)) ||
        (event->type == YAML_MAPPING_START_EVENT &&
         (event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL)) ||
        (event->type == YAML_SEQUENCE_START_EVENT &&
         (event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL));
    if (anchored) {
        return complain(reader, "anchors, aliases and tags are not part of Cask's YAML", err);
    }
    return CASK_OK;
}

static const char *scalar(const struct reader *reader)
{
    return (const char *)reader->event.data.scalar.value;
}

/* A list of scalars; the event is at its start, and left at its end. */
static enum cask_status read_list(struct reader *reader, struct config_entry *entry,
                                  const char *origin, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *texts[CASK_CONFIG_LIST] = {0};
    int count = 0;
    CASK_TRY(next(reader, err));
    while (reader->event.type != YAML_SEQUENCE_END_EVENT) {
        if (reader->event.type != YAML_SCALAR_EVENT || count == CASK_CONFIG_LIST) {
            CASK_TRY(complain(reader, "expected a list of at most 64 plain values", err));
        }
        texts[count] = cask_strdup(scalar(reader));
        if (texts[count] == NULL) {
            CASK_TRY(cask_error_memory(err, strlen(scalar(reader)), "a config value"));
        }
        count++;
        CASK_TRY(next(reader, err));
    }
    CASK_TRY(
        config_bind(reader->config, entry, (const char *const *)texts, count, false, origin, err));
done:
    for (int i = 0; i < count; i++) {
        cask_free(texts[i]);
    }
    return st;
}

static enum cask_status read_value(struct reader *reader, const char *key, size_t line,
                                   struct cask_error *err)
{
    char origin[PATH_MAX];
    snprintf(origin, sizeof origin, "%.3000s:%zu", reader->path, line);
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
    if (reader->event.type == YAML_SEQUENCE_START_EVENT) {
        return read_list(reader, entry, origin, err);
    }
    return config_bind_text(reader->config, entry, scalar(reader), origin, err);
}

static enum cask_status extend(struct reader *reader, struct cask_error *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(reader->path, '/');
    int folder = slash != NULL && scalar(reader)[0] != '/' ? (int)(slash - reader->path) + 1 : 0;
    if (reader->event.type != YAML_SCALAR_EVENT || reader->seen_count > 0) {
        return complain(reader, "extends: expected one file name, before every other key", err);
    }
    if (snprintf(path, sizeof path, "%.*s%s", folder, reader->path, scalar(reader)) >=
        (int)sizeof path) {
        return complain(reader, "extends: the path is too long", err);
    }
    return load(reader->config, path, reader->depth_of_extends + 1, err);
}

/* A map; the event is at its start, and left at its end. */
static enum cask_status read_map(struct reader *reader, int nesting, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t prefix_length = strlen(reader->prefix);
    if (nesting > MAX_NESTING) {
        CASK_TRY(complain(reader, "nested too deep", err));
    }
    CASK_TRY(next(reader, err));
    while (reader->event.type != YAML_MAPPING_END_EVENT) {
        char key[MAX_KEY];
        size_t line = reader->event.start_mark.line + 1;
        if (reader->event.type != YAML_SCALAR_EVENT ||
            snprintf(key, sizeof key, "%s%s", reader->prefix, scalar(reader)) >=
                (int)sizeof key - 1) {
            CASK_TRY(complain(reader, "expected a key", err));
        }
        CASK_TRY(next(reader, err));
        if (strcmp(key, "extends") == 0) {
            CASK_TRY(extend(reader, err));
        } else if (reader->event.type == YAML_MAPPING_START_EVENT) {
            snprintf(reader->prefix, sizeof reader->prefix, "%.*s.", MAX_KEY - 2, key);
            CASK_TRY(read_map(reader, nesting + 1, err));
            reader->prefix[prefix_length] = 0;
        } else {
            CASK_TRY(read_value(reader, key, line, err));
        }
        CASK_TRY(next(reader, err));
    }
done:
    return st;
}

static enum cask_status load(struct cask_config *config, const char *path, int depth,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct reader reader = {.config = config, .path = path, .depth_of_extends = depth};
    char *text = NULL;
    size_t bytes = 0;
    if (!yaml_parser_initialize(&reader.parser)) {
        return cask_error_memory(err, sizeof reader.parser, "the YAML parser");
    }
    if (depth > MAX_EXTENDS) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "%s: more than %d files extend one another",
                                path, MAX_EXTENDS));
    }
    CASK_TRY(cask_file_read_all(path, MAX_FILE_BYTES, &text, &bytes, err));
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, bytes);
    CASK_TRY(next(&reader, err)); /* stream start */
    CASK_TRY(next(&reader, err));
    if (reader.event.type == YAML_DOCUMENT_START_EVENT) {
        CASK_TRY(next(&reader, err));
        if (reader.event.type == YAML_MAPPING_START_EVENT) {
            CASK_TRY(read_map(&reader, 0, err));
        } else if (reader.event.type != YAML_SCALAR_EVENT || *scalar(&reader) != 0) {
            CASK_TRY(complain(&reader, "expected 'key: value' lines", err));
        }
        CASK_TRY(next(&reader, err)); /* document end */
        CASK_TRY(next(&reader, err));
    }
    if (reader.event.type != YAML_STREAM_END_EVENT) {
        CASK_TRY(complain(&reader, "expected one YAML document", err));
    }
done:
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    cask_free(text);
    return st;
}

enum cask_status cask_config_load_file(struct cask_config *config, const char *path,
                                       struct cask_error *err)
{
    return load(config, path, 0, err);
}
