/* One value of each type: from text, with its limits, and back to text. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_internal.h"

enum { MAX_TEXT = 4096 };

static bool limited(const struct cask_config_row *row)
{
    return row->min != 0 || row->max != 0;
}

static enum cask_status wrong(const struct config_entry *entry, const char *text,
                              const char *origin, const char *expected, struct cask_error *err)
{
    if (strncmp(origin, "--", 2) == 0 && strcmp(origin + 2, entry->key) == 0) {
        return cask_error_set(err, CASK_ERR_USAGE, "%s: expected %s, found '%.100s'", origin,
                              expected, text);
    }
    return cask_error_set(err, CASK_ERR_USAGE, "%s: %s: expected %s, found '%.100s'", origin,
                          entry->key, expected, text);
}

static enum cask_status parse_real(const struct config_entry *entry, const char *text,
                                   const char *origin, double *out, struct cask_error *err)
{
    const struct cask_config_row *row = entry->row;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(value)) {
        return wrong(entry, text, origin, "a number", err);
    }
    if (limited(row) && !(value >= row->min && value <= row->max)) {
        char expected[80];
        snprintf(expected, sizeof expected, "%g to %g", row->min, row->max);
        return wrong(entry, text, origin, expected, err);
    }
    *out = value;
    return CASK_OK;
}

static enum cask_status parse_int(const struct config_entry *entry, const char *text,
                                  const char *origin, struct cask_error *err)
{
    const struct cask_config_row *row = entry->row;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != 0 || errno != 0) {
        return wrong(entry, text, origin, "a whole number", err);
    }
    if (limited(row) && !((double)value >= row->min && (double)value <= row->max)) {
        char expected[80];
        snprintf(expected, sizeof expected, "%.0f to %.0f", row->min, row->max);
        return wrong(entry, text, origin, expected, err);
    }
    *(int64_t *)(void *)entry->target = value;
    return CASK_OK;
}

static enum cask_status parse_bool(const struct config_entry *entry, const char *text,
                                   const char *origin, struct cask_error *err)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "on") == 0;
    bool no = strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "off") == 0;
    if (!yes && !no) {
        return wrong(entry, text, origin, "true or false", err);
    }
    *(bool *)(void *)entry->target = yes;
    return CASK_OK;
}

static enum cask_status parse_enum(const struct config_entry *entry, const char *text,
                                   const char *origin, struct cask_error *err)
{
    char expected[400] = "one of";
    size_t used = strlen(expected);
    for (int i = 0; entry->row->names[i] != NULL; i++) {
        if (strcmp(text, entry->row->names[i]) == 0) {
            *(int *)(void *)entry->target = i;
            return CASK_OK;
        }
        int more = snprintf(expected + used, sizeof expected - used, "%s %s", i > 0 ? "," : "",
                            entry->row->names[i]);
        used += more > 0 && used + (size_t)more < sizeof expected ? (size_t)more : 0;
    }
    return wrong(entry, text, origin, expected, err);
}

static enum cask_status keep_text(struct cask_config *config, const char *text, const char **out,
                                  struct cask_error *err)
{
    *out = cask_arena_strdup(&config->arena, text);
    return *out != NULL ? CASK_OK : cask_error_memory(err, strlen(text), "a config value");
}

/* A value of a file or a flag. What is kept can be written to YAML and JSON, and is no longer than
 * a path may be. */
static enum cask_status keep_value(struct cask_config *config, const struct config_entry *entry,
                                   const char *text, const char *origin, const char **out,
                                   struct cask_error *err)
{
    for (const char *at = text; *at != 0; at += cask_utf8_length(at)) {
        if (cask_utf8_length(at) == 0) {
            return wrong(entry, text, origin, "text in UTF-8", err);
        }
    }
    if (strlen(text) > MAX_TEXT) {
        return wrong(entry, text, origin, "at most 4096 bytes", err);
    }
    return keep_text(config, text, out, err);
}

static enum cask_status bind_list(struct cask_config *config, struct config_entry *entry,
                                  const char *const *texts, int count, bool append,
                                  const char *origin, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_config_reals *reals = (void *)entry->target;
    struct cask_config_texts *list = (void *)entry->target;
    bool numbers = entry->row->type == CASK_CONFIG_REALS;
    int begin = append && !numbers ? list->count : 0;
    if (count > CASK_CONFIG_LIST - begin) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "%s: %s: expected at most %d values", origin,
                                entry->key, CASK_CONFIG_LIST));
    }
    for (int i = 0; i < count; i++) {
        if (numbers) {
            CASK_TRY(parse_real(entry, texts[i], origin, &reals->values[i], err));
        } else {
            CASK_TRY(keep_value(config, entry, texts[i], origin, &list->values[begin + i], err));
        }
    }
    *(numbers ? &reals->count : &list->count) = begin + count;
done:
    return st;
}

enum cask_status config_bind(struct cask_config *config, struct config_entry *entry,
                             const char *const *texts, int count, bool append, const char *origin,
                             struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum cask_config_type type = entry->row->type;
    if (type == CASK_CONFIG_REALS || config_is_texts(type)) {
        CASK_TRY(bind_list(config, entry, texts, count, append, origin, err));
    } else if (count != 1) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE,
                                "%s: %s: expected one value, found a list of %d", origin,
                                entry->key, count));
    } else if (type == CASK_CONFIG_BOOL) {
        CASK_TRY(parse_bool(entry, texts[0], origin, err));
    } else if (type == CASK_CONFIG_INT) {
        CASK_TRY(parse_int(entry, texts[0], origin, err));
    } else if (type == CASK_CONFIG_REAL) {
        CASK_TRY(parse_real(entry, texts[0], origin, (double *)(void *)entry->target, err));
    } else if (type == CASK_CONFIG_ENUM) {
        CASK_TRY(parse_enum(entry, texts[0], origin, err));
    } else {
        CASK_TRY(
            keep_value(config, entry, texts[0], origin, (const char **)(void *)entry->target, err));
    }
    CASK_TRY(keep_text(config, origin, &entry->origin, err));
done:
    return st;
}

enum cask_status config_bind_text(struct cask_config *config, struct config_entry *entry,
                                  const char *text, const char *origin, struct cask_error *err)
{
    enum cask_config_type type = entry->row->type;
    if (type != CASK_CONFIG_REALS && !config_is_texts(type)) {
        return config_bind(config, entry, &text, 1, false, origin, err);
    }
    /* "[a, b]", "a,b" or "" */
    const char *parts[CASK_CONFIG_LIST + 1];
    int count = 0;
    size_t length = strlen(text);
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    char *copy = cask_strdup(bracketed ? text + 1 : text);
    if (copy == NULL) {
        return cask_error_memory(err, length, "a config value");
    }
    copy[bracketed ? length - 2 : length] = 0;
    char *save = NULL;
    for (char *part = strtok_r(copy, ",", &save); part != NULL && count <= CASK_CONFIG_LIST;
         part = strtok_r(NULL, ",", &save)) {
        part += strspn(part, " ");
        for (char *end = part + strlen(part); end > part && end[-1] == ' ';) {
            *--end = 0;
        }
        parts[count++] = part;
    }
    enum cask_status st = config_bind(config, entry, parts, count, false, origin, err);
    cask_free(copy);
    return st;
}

/* Between double quotes, where YAML takes every character as it is but these: what ends the text,
 * line breaks, which it folds, and what it does not allow at all. */
static void put_quoted(struct cask_text *text, const char *value)
{
    cask_text_put(text, "\"");
    for (size_t length; *value != 0; value += length) {
        const unsigned char *c = (const unsigned char *)value;
        length = cask_utf8_length(value); /* not 0: keep_text saw to that */
        const unsigned code = length == 1   ? c[0]
                              : length == 2 ? (c[0] & 0x1fU) << 6 | (c[1] & 0x3fU)
                              : length == 3
                                  ? (c[0] & 0x0fU) << 12 | (c[1] & 0x3fU) << 6 | (c[2] & 0x3fU)
                                  : 0x10000;
        const bool line_break = code == 0x85 || code == 0x2028 || code == 0x2029,
                   forbidden = code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xfeff ||
                               code == 0xfffe || code == 0xffff;
        if (code == '"' || code == '\\') {
            cask_text_format(text, "\\%c", (int)code);
        } else if (line_break || forbidden) {
            cask_text_format(text, "\\u%04x", code);
        } else {
            cask_text_add(text, value, length);
        }
    }
    cask_text_put(text, "\"");
}

/* Shortest text that reads back as the same double. */
static void format_real(double value, char text[32])
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            return;
        }
    }
}

static void put_real(struct cask_text *text, double value)
{
    char number[32];
    format_real(value, number);
    cask_text_put(text, number);
}

static void put_list(struct cask_text *text, const struct config_entry *entry)
{
    const bool numbers = entry->row->type == CASK_CONFIG_REALS;
    const struct cask_config_reals *reals = (const void *)entry->target;
    const struct cask_config_texts *texts = (const void *)entry->target;
    const int count = numbers ? reals->count : texts->count;
    cask_text_put(text, "[");
    for (int i = 0; i < count; i++) {
        cask_text_put(text, i > 0 ? ", " : "");
        if (numbers) {
            put_real(text, reals->values[i]);
        } else {
            put_quoted(text, texts->values[i]);
        }
    }
    cask_text_put(text, "]");
}

void config_put_value(const struct config_entry *entry, struct cask_text *text)
{
    const void *target = entry->target;
    switch (entry->row->type) {
    case CASK_CONFIG_BOOL:
        cask_text_put(text, *(const bool *)target ? "true" : "false");
        break;
    case CASK_CONFIG_INT:
        cask_text_format(text, "%lld", (long long)*(const int64_t *)target);
        break;
    case CASK_CONFIG_REAL:
        put_real(text, *(const double *)target);
        break;
    case CASK_CONFIG_ENUM:
        cask_text_put(text, entry->row->names[*(const int *)target]);
        break;
    case CASK_CONFIG_TEXT:
    case CASK_CONFIG_WORD:
        put_quoted(text, *(const char *const *)target);
        break;
    case CASK_CONFIG_REALS:
    case CASK_CONFIG_TEXTS:
    case CASK_CONFIG_WORDS:
        put_list(text, entry);
        break;
    }
}
