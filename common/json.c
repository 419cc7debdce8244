#include "common/json.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "common/mem.h"

/* struct cask_json is never defined: it is jansson's json_t under another name. */
static json_t *real_of(const struct cask_json *value)
{
    return (json_t *)(uintptr_t)value;
}

static struct cask_json *ours(json_t *value)
{
    return (struct cask_json *)value;
}

enum { MAX_DEPTH = 64 };

/* jansson's own limit is 2048 levels; a flat scan refuses deeper text before it recurses. */
static bool too_deep(const char *text, size_t bytes)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH) {
                return true;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

enum cask_status cask_json_parse(const char *text, size_t bytes, struct cask_json **out,
                                 struct cask_error *err)
{
    json_error_t problem;
    if (too_deep(text, bytes)) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JSON: nested deeper than %d", MAX_DEPTH);
    }
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (root == NULL) {
        return cask_error_set(err, CASK_ERR_FORMAT, "JSON line %d column %d (byte %d): %s",
                              problem.line, problem.column, problem.position, problem.text);
    }
    *out = ours(root);
    return CASK_OK;
}

void cask_json_free(struct cask_json *value)
{
    json_decref(real_of(value));
}

enum cask_json_kind cask_json_kind(const struct cask_json *value)
{
    if (value == NULL) {
        return CASK_JSON_NULL;
    }
    switch (json_typeof(real_of(value))) {
    case JSON_TRUE:
    case JSON_FALSE:
        return CASK_JSON_BOOL;
    case JSON_INTEGER:
        return CASK_JSON_INT;
    case JSON_REAL:
        return CASK_JSON_REAL;
    case JSON_STRING:
        return CASK_JSON_TEXT;
    case JSON_ARRAY:
        return CASK_JSON_ARRAY;
    case JSON_OBJECT:
        return CASK_JSON_OBJECT;
    case JSON_NULL:
        break;
    }
    return CASK_JSON_NULL;
}

size_t cask_json_size(const struct cask_json *value)
{
    json_t *v = real_of(value);
    return json_is_array(v) ? json_array_size(v) : json_is_object(v) ? json_object_size(v) : 0;
}

const struct cask_json *cask_json_get(const struct cask_json *object, const char *key)
{
    return ours(json_object_get(real_of(object), key));
}

const struct cask_json *cask_json_at(const struct cask_json *array, size_t index)
{
    return ours(json_array_get(real_of(array), index));
}

void *cask_json_next(const struct cask_json *object, void *iter, const char **key,
                     const struct cask_json **value)
{
    json_t *v = real_of(object);
    iter = iter == NULL ? json_object_iter(v) : json_object_iter_next(v, iter);
    if (iter != NULL) {
        *key = json_object_iter_key(iter);
        *value = ours(json_object_iter_value(iter));
    }
    return iter;
}

bool cask_json_as_int(const struct cask_json *value, int64_t *out)
{
    json_t *v = real_of(value);
    if (!json_is_integer(v)) {
        return false;
    }
    *out = json_integer_value(v);
    return true;
}

bool cask_json_as_real(const struct cask_json *value, double *out)
{
    json_t *v = real_of(value);
    if (!json_is_number(v)) {
        return false;
    }
    *out = json_number_value(v);
    return true;
}

bool cask_json_as_bool(const struct cask_json *value, bool *out)
{
    json_t *v = real_of(value);
    if (!json_is_boolean(v)) {
        return false;
    }
    *out = json_is_true(v);
    return true;
}

bool cask_json_as_text(const struct cask_json *value, const char **out)
{
    json_t *v = real_of(value);
    if (!json_is_string(v)) {
        return false;
    }
    *out = json_string_value(v);
    return true;
}

struct cask_json *cask_json_object(void)
{
    return ours(json_object());
}

struct cask_json *cask_json_array(void)
{
    return ours(json_array());
}

bool cask_json_set(struct cask_json *object, const char *key, struct cask_json *child)
{
    return json_object_set_new(real_of(object), key, real_of(child)) == 0;
}

bool cask_json_set_int(struct cask_json *object, const char *key, int64_t value)
{
    return cask_json_set(object, key, ours(json_integer(value)));
}

bool cask_json_set_real(struct cask_json *object, const char *key, double value)
{
    return cask_json_set(object, key, ours(isfinite(value) ? json_real(value) : json_null()));
}

bool cask_json_set_bool(struct cask_json *object, const char *key, bool value)
{
    return cask_json_set(object, key, ours(json_boolean(value)));
}

bool cask_json_set_text(struct cask_json *object, const char *key, const char *value)
{
    return cask_json_set(object, key, ours(json_string(value)));
}

bool cask_json_append(struct cask_json *array, struct cask_json *child)
{
    return json_array_append_new(real_of(array), real_of(child)) == 0;
}

bool cask_json_append_int(struct cask_json *array, int64_t value)
{
    return cask_json_append(array, ours(json_integer(value)));
}

bool cask_json_append_real(struct cask_json *array, double value)
{
    return cask_json_append(array, ours(isfinite(value) ? json_real(value) : json_null()));
}

bool cask_json_append_text(struct cask_json *array, const char *value)
{
    return cask_json_append(array, ours(json_string(value)));
}

char *cask_json_dump(const struct cask_json *value, enum cask_json_style style)
{
    size_t flags = style == CASK_JSON_COMPACT     ? JSON_COMPACT
                   : style == CASK_JSON_CANONICAL ? JSON_COMPACT | JSON_SORT_KEYS
                                                  : JSON_INDENT(2);
    if (value == NULL) {
        return NULL;
    }
    /* Two passes instead of json_dumps, so that the text comes from our allocator. */
    flags |= JSON_ENCODE_ANY;
    size_t bytes = json_dumpb(real_of(value), NULL, 0, flags);
    char *text = bytes > 0 ? cask_alloc(bytes + 1, 1) : NULL;
    if (text != NULL) {
        json_dumpb(real_of(value), text, bytes, flags);
    }
    return text;
}
