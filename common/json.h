/* common/json.h - JSON values, read and written (libjansson behind it; no jansson type shows).
 *
 * Reading refuses duplicate keys, trailing text, nesting over 64 and NaN. Integers are int64.
 * Getters never fail hard: they return false / NULL where the value is absent or of another kind,
 * and leave *out alone. A child belongs to its parent; setters take ownership of the child.
 * Builders return false only when out of memory; it is safe to ignore that until
 * cask_json_dump, which then returns NULL.
 */
#ifndef CASK_COMMON_JSON_H
#define CASK_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct cask_json;

enum cask_json_kind {
    CASK_JSON_NULL,
    CASK_JSON_BOOL,
    CASK_JSON_INT,
    CASK_JSON_REAL,
    CASK_JSON_TEXT,
    CASK_JSON_ARRAY,
    CASK_JSON_OBJECT
};

enum cask_status cask_json_parse(const char *text, size_t bytes, struct cask_json **out,
                                 struct cask_error *err);
void cask_json_free(struct cask_json *value); /* accepts NULL; only for roots */

enum cask_json_kind cask_json_kind(
    const struct cask_json *value);                   /* NULL pointer gives CASK_JSON_NULL */
size_t cask_json_size(const struct cask_json *value); /* elements or keys */
const struct cask_json *cask_json_get(const struct cask_json *object, const char *key);
const struct cask_json *cask_json_at(const struct cask_json *array, size_t index);
/* Iterates an object in file order: start with iter = NULL; ends with NULL. */
void *cask_json_next(const struct cask_json *object, void *iter, const char **key,
                     const struct cask_json **value);

bool cask_json_as_int(const struct cask_json *value, int64_t *out);
bool cask_json_as_real(const struct cask_json *value, double *out); /* accepts integers */
bool cask_json_as_bool(const struct cask_json *value, bool *out);
bool cask_json_as_text(const struct cask_json *value, const char **out);

struct cask_json *cask_json_object(void);
struct cask_json *cask_json_array(void);
bool cask_json_set(struct cask_json *object, const char *key, struct cask_json *child);
bool cask_json_set_int(struct cask_json *object, const char *key, int64_t value);
bool cask_json_set_real(struct cask_json *object, const char *key,
                        double value); /* non-finite becomes null */
bool cask_json_set_bool(struct cask_json *object, const char *key, bool value);
bool cask_json_set_text(struct cask_json *object, const char *key, const char *value);
bool cask_json_append(struct cask_json *array, struct cask_json *child);
bool cask_json_append_int(struct cask_json *array, int64_t value);
bool cask_json_append_real(struct cask_json *array, double value);
bool cask_json_append_text(struct cask_json *array, const char *value);

enum cask_json_style {
    CASK_JSON_COMPACT,   /* one line, keys in insertion order */
    CASK_JSON_CANONICAL, /* one line, keys sorted: the form that is hashed */
    CASK_JSON_PRETTY,    /* indented, keys in insertion order */
};
char *cask_json_dump(const struct cask_json *value,
                     enum cask_json_style style); /* caller frees; NULL: no memory */

/* --- files (json_file.c); messages name them --- */
enum cask_status cask_json_read(const char *path, size_t most_bytes, struct cask_json **out,
                                struct cask_error *err);
/* The pretty form, whole or not at all; frees the value in any case. */
enum cask_status cask_json_write(const char *path, struct cask_json *value, struct cask_error *err);
/* The same to stdout, with a newline. */
enum cask_status cask_json_print(struct cask_json *value, struct cask_error *err);

#endif
