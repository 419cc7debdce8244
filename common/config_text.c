/* The config as text: the resolved dump of a run folder, and --help. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_internal.h"

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

/* open_memstream's buffer is malloc's; hand out a copy from our allocator. */
static char *adopt(FILE *stream, char **buffer)
{
    char *text = fclose(stream) == 0 ? cask_strdup(*buffer) : NULL;
    free(*buffer);
    return text;
}

/* Bytes of the shared dotted prefix of two keys, whole segments only. */
static size_t shared_prefix(const char *a, const char *b)
{
    size_t shared = 0;
    for (size_t i = 0; a[i] != 0 && a[i] == b[i]; i++) {
        if (a[i] == '.') {
            shared = i + 1;
        }
    }
    return shared;
}

static void put_key(struct cask_text *text, const char *key, const char *previous)
{
    size_t at = shared_prefix(key, previous);
    int level = 0;
    for (size_t i = 0; i < at; i++) {
        level += key[i] == '.';
    }
    for (const char *dot; (dot = strchr(key + at, '.')) != NULL; level++) {
        cask_text_format(text, "%*s%.*s:\n", 2 * level, "", (int)(dot - key - (ptrdiff_t)at),
                         key + at);
        at = (size_t)(dot - key) + 1;
    }
    cask_text_format(text, "%*s%s: ", 2 * level, "", key + at);
}

char *cask_config_dump(const struct cask_config *config)
{
    struct cask_text text = {0};
    const char *previous = "";
    for (size_t i = 0; i < config->count; i++) {
        if (config->entries[i].left_out) {
            continue;
        }
        put_key(&text, config->entries[i].key, previous);
        config_put_value(&config->entries[i], &text);
        cask_text_put(&text, "\n");
        previous = config->entries[i].key;
    }
    if (text.failed) {
        cask_text_release(&text);
    }
    return text.data;
}

/* Text in the right-hand column, wrapped at spaces. */
static void print_wrapped(FILE *stream, const char *text)
{
    int width = HELP_WIDTH - HELP_COLUMN;
    while ((int)strlen(text) > width) {
        int cut = width;
        while (cut > 0 && text[cut] != ' ') {
            cut--;
        }
        if (cut == 0) {
            break;
        }
        fprintf(stream, "%.*s\n%*s", cut, text, HELP_COLUMN, "");
        text += cut + 1;
    }
    fprintf(stream, "%s\n", text);
}

static void print_row(FILE *stream, const struct config_entry *entry)
{
    const struct cask_config_row *row = entry->row;
    char left[128], help[1024];
    bool flag = strchr(entry->key, '.') == NULL;
    int used = snprintf(left, sizeof left, "  %s%s%s%s", flag ? "--" : "", entry->key,
                        row->metavar != NULL ? " " : "", row->metavar != NULL ? row->metavar : "");
    for (char *c = left; flag && *c != 0; c++) {
        *c = *c == '_' ? '-' : *c;
    }
    const bool word = row->type == CASK_CONFIG_WORD || row->type == CASK_CONFIG_WORDS;
    int length =
        snprintf(help, sizeof help, "%s%s", row->help, word ? "; the flag may be left out" : "");
    for (int i = 0; row->type == CASK_CONFIG_ENUM && row->names[i] != NULL; i++) {
        length += snprintf(help + length, sizeof help - (size_t)length, "%s%s",
                           i == 0 ? ": " : " | ", row->names[i]);
    }
    if (row->value[0] != 0 && strcmp(row->value, "[]") != 0) {
        bool list = row->value[0] == '[';
        snprintf(help + length, sizeof help - (size_t)length, " %s%s%s", list ? "" : "[",
                 row->value, list ? "" : "]");
    }
    fprintf(stream, "%s%*s", left, used < HELP_COLUMN - 1 ? HELP_COLUMN - used : 2, "");
    print_wrapped(stream, help);
}

char *cask_config_help(const struct cask_config *config)
{
    char *buffer = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&buffer, &bytes);
    if (stream == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < config->count; i++) {
        print_row(stream, &config->entries[i]);
    }
    return adopt(stream, &buffer);
}
