/* eval/name_list.c - MegaFace's lists of images, as text or as the devkit's JSON, and its lists of
 * noisy images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/json.h"
#include "common/lines.h"
#include "common/mem.h"
#include "eval/megaface.h"

#define LARGEST_JSON ((size_t)1 << 30)

/* A table of texts that were seen, for identities and for noise entries. */
struct table {
    const char **keys; /* [slots]; not terminated */
    size_t *lengths;
    uint32_t *values;
    size_t slots;
};

static enum cask_status table_open(struct table *table, int64_t most, struct cask_error *err)
{
    *table = (struct table){.slots = 16};
    while (table->slots < 2 * (size_t)most) {
        table->slots *= 2;
    }
    table->keys = cask_alloc(table->slots, sizeof *table->keys);
    table->lengths = cask_alloc(table->slots, sizeof *table->lengths);
    table->values = cask_alloc(table->slots, sizeof *table->values);
    return table->keys != NULL && table->lengths != NULL && table->values != NULL
               ? CASK_OK
               : cask_error_memory(err, table->slots * 20, "a table of names");
}

static void table_close(struct table *table)
{
    cask_free(table->keys);
    cask_free(table->lengths);
    cask_free(table->values);
}

static size_t table_slot(const struct table *table, const char *key, size_t length)
{
    size_t slot = (size_t)cask_xxh3(key, length) & (table->slots - 1);
    while (table->keys[slot] != NULL &&
           (table->lengths[slot] != length || memcmp(table->keys[slot], key, length) != 0)) {
        slot = (slot + 1) & (table->slots - 1);
    }
    return slot;
}

/* The value of the key; a new one gets `fresh`. */
static uint32_t table_add(struct table *table, const char *key, size_t length, uint32_t fresh)
{
    size_t slot = table_slot(table, key, length);
    if (table->keys[slot] == NULL) {
        table->keys[slot] = key;
        table->lengths[slot] = length;
        table->values[slot] = fresh;
    }
    return table->values[slot];
}

/* ------------------------------------------------------------------- lists */

/* Room for `count` paths of `bytes` characters with their ends. */
static enum cask_status reserve(struct cask_name_list *list, int64_t count, size_t bytes,
                                struct cask_error *err)
{
    list->path = cask_alloc((size_t)count + 1, sizeof *list->path);
    list->identity = cask_alloc((size_t)count + 1, sizeof *list->identity);
    list->text = cask_alloc(bytes + 1, 1);
    return list->path != NULL && list->identity != NULL && list->text != NULL
               ? CASK_OK
               : cask_error_memory(err, bytes + (size_t)count * 12, "a list of names");
}

/* Puts the path at *place in the list's text; the identity is that of `key`. */
static void add_name(struct cask_name_list *list, struct table *identities, char **place,
                     const char *path, size_t bytes, const char *key, size_t key_bytes)
{
    memcpy(*place, path, bytes);
    list->path[list->count] = *place;
    uint32_t fresh = (uint32_t)list->identities;
    list->identity[list->count] = table_add(identities, key, key_bytes, fresh);
    list->identities += list->identity[list->count] == fresh;
    list->count++;
    *place += bytes + 1;
}

static enum cask_status read_text(const char *file, int64_t limit, struct cask_name_list *list,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines lines;
    struct table identities = {0};
    struct cask_slice line;
    CASK_TRY(cask_lines_open(&lines, file, err));
    int64_t most = cask_lines_left(&lines);
    most = limit > 0 && limit < most ? limit : most;
    CASK_TRY(table_open(&identities, most, err));
    CASK_TRY(reserve(list, most, lines.map.bytes + 1, err));
    char *place = list->text;
    while (limit == 0 || list->count < limit) {
        CASK_TRY(cask_lines_next(&lines, &line, err));
        if (line.data == NULL) {
            break;
        }
        if (!cask_slice_is_below(line)) {
            CASK_TRY(cask_lines_refuse(
                &lines, line, "a relative path of at most 1024 bytes without \"..\"", err));
        }
        const char *slash = memchr(line.data, '/', line.bytes);
        size_t key = slash != NULL ? (size_t)(slash - line.data) : line.bytes;
        add_name(list, &identities, &place, line.data, line.bytes, line.data, key);
    }
done:
    table_close(&identities);
    cask_lines_close(&lines);
    return st;
}

static enum cask_status check_json(const char *file, const struct cask_json *json,
                                   const struct cask_json **paths, const struct cask_json **ids,
                                   struct cask_error *err)
{
    *paths = cask_json_get(json, "path");
    *ids = cask_json_get(json, "id");
    if (cask_json_kind(*paths) != CASK_JSON_ARRAY) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s: expected {\"path\": [...], \"id\": [...]}, found no list "
                              "\"path\"",
                              file);
    }
    if (*ids != NULL && cask_json_size(*ids) != cask_json_size(*paths)) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s: expected as many ids as paths, found %zu and %zu", file,
                              cask_json_size(*ids), cask_json_size(*paths));
    }
    return CASK_OK;
}

static enum cask_status read_json(const char *file, const char *text, size_t bytes, int64_t limit,
                                  struct cask_name_list *list, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *json = NULL;
    const struct cask_json *paths, *ids;
    struct table identities = {0};
    CASK_TRY(cask_json_parse(text, bytes, &json, err));
    CASK_TRY(check_json(file, json, &paths, &ids, err));
    int64_t most = (int64_t)cask_json_size(paths);
    most = limit > 0 && limit < most ? limit : most;
    CASK_TRY(table_open(&identities, most, err));
    CASK_TRY(reserve(list, most, bytes, err)); /* escapes make a text shorter, never longer */
    char *place = list->text;
    for (int64_t i = 0; i < most; i++) {
        const char *path = "", *id = NULL;
        cask_json_as_text(cask_json_at(paths, (size_t)i), &path);
        cask_json_as_text(cask_json_at(ids, (size_t)i), &id);
        if (!cask_slice_is_below(cask_slice_of(path)) || (ids != NULL && id == NULL)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: entry %lld: expected a relative path of at most 1024 "
                                    "bytes without \"..\" and an id in quotes, found \"%.80s\"",
                                    file, (long long)i, path));
        }
        const char *slash = strchr(path, '/');
        size_t key = slash != NULL ? (size_t)(slash - path) : strlen(path);
        add_name(list, &identities, &place, path, strlen(path), id != NULL ? id : path,
                 id != NULL ? strlen(id) : key);
    }
done:
    table_close(&identities);
    cask_json_free(json);
    return st;
}

enum cask_status cask_name_list_open(const char *path, int64_t limit, struct cask_name_list *list,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    *list = (struct cask_name_list){0};
    CASK_TRY(cask_map_open(&map, path, err));
    size_t at = 0;
    while (at < map.bytes && strchr(" \t\r\n", map.data[at]) != NULL && map.data[at] != 0) {
        at++;
    }
    if (at < map.bytes && map.data[at] == '{') {
        if (map.bytes > LARGEST_JSON) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "%s: expected JSON of at most %zu bytes, found %zu", path,
                                    LARGEST_JSON, map.bytes));
        }
        st = read_json(path, (const char *)map.data, map.bytes, limit, list, err);
        if (st != CASK_OK && strstr(err->message, path) == NULL) {
            cask_error_prefix(err, "%s", path);
        }
        CASK_TRY(st);
    } else {
        CASK_TRY(read_text(path, limit, list, err));
    }
    if (list->count == 0) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_FORMAT, "%s: expected paths, found an empty list", path));
    }
done:
    cask_map_close(&map);
    if (st != CASK_OK) {
        cask_name_list_close(list);
    }
    return st;
}

void cask_name_list_close(struct cask_name_list *list)
{
    cask_free(list->path);
    cask_free(list->identity);
    cask_free(list->text);
    *list = (struct cask_name_list){0};
}

/* ------------------------------------------------------------------- noise */

/* True if the path or what follows one of its slashes is in the table. */
static bool named(const struct table *entries, const char *path)
{
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        size_t slot = table_slot(entries, at, strlen(at));
        if (entries->keys[slot] != NULL) {
            return true;
        }
    }
    return false;
}

enum cask_status cask_noise_read(const char *path, const struct cask_name_list *list,
                                 struct cask_noise *noise, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_lines lines;
    struct table entries = {0};
    struct cask_slice line, fields[3];
    *noise = (struct cask_noise){0};
    CASK_TRY(cask_lines_open(&lines, path, err));
    CASK_TRY(table_open(&entries, cask_lines_left(&lines), err));
    for (;;) {
        CASK_TRY(cask_lines_next(&lines, &line, err));
        if (line.data == NULL) {
            break;
        }
        if (line.data[0] == '#') {
            continue;
        }
        int count = cask_slice_fields(line, '\t', fields, 3);
        if (count > 2 || fields[count - 1].bytes == 0) {
            CASK_TRY(cask_lines_refuse(&lines, line, "a path, or two columns with a TAB", err));
        }
        table_add(&entries, fields[count - 1].data, fields[count - 1].bytes, 1);
        noise->entries++;
    }
    noise->noisy = cask_alloc((size_t)list->count, sizeof *noise->noisy);
    if (noise->noisy == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)list->count, "noise marks"));
    }
    for (int64_t i = 0; i < list->count; i++) {
        noise->noisy[i] = named(&entries, list->path[i]);
        noise->images += noise->noisy[i];
    }
done:
    table_close(&entries);
    cask_lines_close(&lines);
    if (st != CASK_OK) {
        cask_free(noise->noisy);
        *noise = (struct cask_noise){0};
    }
    return st;
}
