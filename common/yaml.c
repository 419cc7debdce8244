/* libyaml's event stream to a tree, within bounds. */
#include "common/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/file.h"

enum { MAX_NESTING = 9, MAX_FILE_BYTES = 1 << 20, MAX_NODES = 10000 };

struct reader {
    struct cask_yaml *file;
    yaml_parser_t parser;
    yaml_event_t event;
};

static enum cask_status complain_at(const char *path, size_t line, const char *problem,
                                    struct cask_error *err)
{
    return cask_error_set(err, CASK_ERR_USAGE, "%s:%zu: %s", path, line, problem);
}

static enum cask_status complain(const struct reader *reader, const char *problem,
                                 struct cask_error *err)
{
    return complain_at(reader->file->path, reader->event.start_mark.line + 1, problem, err);
}

enum cask_status cask_yaml_complain(const struct cask_yaml *file, const struct cask_yaml_node *node,
                                    const char *problem, struct cask_error *err)
{
    return complain_at(file->path, (size_t)node->line, problem, err);
}

/* Next event; anchors, aliases and tags are refused here, so that nothing below meets them. */
static enum cask_status next(struct reader *reader, struct cask_error *err)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        const char *problem = reader->parser.problem != NULL ? reader->parser.problem : "?";
        const bool tab = strstr(problem, "cannot start any token") != NULL;
        return cask_error_set(err, CASK_ERR_USAGE, "%s:%zu: not YAML: %s%s", reader->file->path,
                              reader->parser.problem_mark.line + 1, problem,
                              tab ? " (YAML indents with blanks, never with tabs)" : "");
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

static enum cask_status copy_text(struct reader *reader, const char **out, struct cask_error *err)
{
    const char *text = (const char *)reader->event.data.scalar.value;
    size_t length = reader->event.data.scalar.length;
    if (memchr(text, 0, length) != NULL) {
        return complain(reader, "a text holds a zero byte", err);
    }
    char *copy = cask_arena_alloc(&reader->file->arena, length + 1, 1);
    if (copy == NULL) {
        return cask_error_memory(err, length, "a YAML text");
    }
    memcpy(copy, text, length);
    *out = copy;
    return CASK_OK;
}

static enum cask_status new_node(struct reader *reader, struct cask_yaml_node **node,
                                 struct cask_error *err)
{
    if (++reader->file->nodes > MAX_NODES) {
        return complain(reader, "more than 10000 values", err);
    }
    *node = cask_arena_alloc(&reader->file->arena, 1, sizeof **node);
    if (*node == NULL) {
        return cask_error_memory(err, sizeof **node, "a YAML value");
    }
    (*node)->line = (int)reader->event.start_mark.line + 1;
    return CASK_OK;
}

static enum cask_status read_key(struct reader *reader, const struct cask_yaml_node *map,
                                 const char **key, int *line, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (reader->event.type != YAML_SCALAR_EVENT || reader->event.data.scalar.length == 0) {
        CASK_TRY(complain(reader, "expected a key", err));
    }
    CASK_TRY(copy_text(reader, key, err));
    if (cask_yaml_find(map, *key) != NULL) {
        char problem[200];
        snprintf(problem, sizeof problem, "key '%.100s' is set twice in this file", *key);
        CASK_TRY(complain(reader, problem, err));
    }
    *line = (int)reader->event.start_mark.line + 1;
    CASK_TRY(next(reader, err));
done:
    return st;
}

/* The value whose first event is here; leaves the reader at its last one. */
static enum cask_status read_value(struct reader *reader, int nesting, struct cask_yaml_node **out,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_yaml_node *node = NULL;
    const struct cask_yaml_node **tail = NULL;
    const yaml_event_type_t type = reader->event.type;
    CASK_TRY(new_node(reader, &node, err));
    *out = node;
    if (type == YAML_SCALAR_EVENT) {
        CASK_TRY(copy_text(reader, &node->text, err));
        goto done;
    }
    if (nesting == MAX_NESTING) {
        CASK_TRY(complain(reader, "nested too deep", err));
    }
    node->kind = type == YAML_MAPPING_START_EVENT ? CASK_YAML_MAP : CASK_YAML_LIST;
    tail = &node->first;
    CASK_TRY(next(reader, err));
    while (reader->event.type != YAML_MAPPING_END_EVENT &&
           reader->event.type != YAML_SEQUENCE_END_EVENT) {
        struct cask_yaml_node *child = NULL;
        const char *key = NULL;
        int line = 0;
        if (node->kind == CASK_YAML_MAP) {
            CASK_TRY(read_key(reader, node, &key, &line, err));
        }
        CASK_TRY(read_value(reader, nesting + 1, &child, err));
        child->key = key;
        child->line = key != NULL ? line : child->line;
        *tail = child;
        tail = &child->next;
        CASK_TRY(next(reader, err));
    }
done:
    return st;
}

static enum cask_status read_document(struct reader *reader, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_yaml_node *root = NULL;
    CASK_TRY(next(reader, err)); /* stream start */
    CASK_TRY(next(reader, err));
    if (reader->event.type == YAML_DOCUMENT_START_EVENT) {
        CASK_TRY(next(reader, err));
        CASK_TRY(read_value(reader, 0, &root, err));
        if (root->kind == CASK_YAML_LIST || (root->kind == CASK_YAML_TEXT && root->text[0] != 0)) {
            CASK_TRY(complain(reader, "expected 'key: value' lines", err));
        }
        CASK_TRY(next(reader, err)); /* document end */
        CASK_TRY(next(reader, err));
    } else {
        CASK_TRY(new_node(reader, &root, err));
    }
    if (reader->event.type != YAML_STREAM_END_EVENT) {
        CASK_TRY(complain(reader, "expected one YAML document", err));
    }
    root->kind = CASK_YAML_MAP; /* nothing at all is a map without keys */
    reader->file->root = root;
done:
    return st;
}

enum cask_status cask_yaml_parse(const char *path, const char *text, size_t bytes,
                                 struct cask_yaml *file, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct reader reader = {.file = file};
    *file = (struct cask_yaml){.path = path};
    cask_arena_init(&file->arena);
    if (!yaml_parser_initialize(&reader.parser)) {
        return cask_error_memory(err, sizeof reader.parser, "the YAML parser");
    }
    file->path = cask_arena_strdup(&file->arena, path);
    if (file->path == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(path), "a YAML file's name"));
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, bytes);
    CASK_TRY(read_document(&reader, err));
done:
    yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    if (st != CASK_OK) {
        cask_yaml_close(file);
    }
    return st;
}

enum cask_status cask_yaml_open(const char *path, struct cask_yaml *file, struct cask_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    *file = (struct cask_yaml){0};
    enum cask_status st = cask_file_read_all(path, MAX_FILE_BYTES, &text, &bytes, err);
    if (st == CASK_OK) {
        st = cask_yaml_parse(path, text, bytes, file, err);
    }
    cask_free(text);
    return st;
}

void cask_yaml_close(struct cask_yaml *file)
{
    cask_arena_release(&file->arena);
    *file = (struct cask_yaml){0};
}

const struct cask_yaml_node *cask_yaml_find(const struct cask_yaml_node *map, const char *key)
{
    for (const struct cask_yaml_node *child = map->first; child != NULL; child = child->next) {
        if (child->key != NULL && strcmp(child->key, key) == 0) {
            return child;
        }
    }
    return NULL;
}
