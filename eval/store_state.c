/* eval/store_state.c - the texts of a folder of embeddings: whose they are, which are done. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "eval/store_impl.h"

#define LARGEST_TEXT ((size_t)1 << 28)
enum { FORMAT = 1 };

bool cask_store_block_add(struct store_block *block, const char *reason)
{
    char *copy = cask_strdup(reason);
    char **bad =
        cask_grow(block->bad, (size_t)block->bad_count, (size_t)block->bad_count + 1, sizeof *bad);
    block->bad = bad != NULL ? bad : block->bad;
    if (copy == NULL || bad == NULL) {
        cask_free(copy);
        return false;
    }
    for (char *at = copy; *at != 0; at++) { /* file names may be any bytes, JSON may not */
        *at = *at >= ' ' && *at <= '~' ? *at : '?';
    }
    block->bad[block->bad_count++] = copy;
    return true;
}

void cask_store_block_release(struct store_block *block)
{
    for (int i = 0; i < block->bad_count; i++) {
        cask_free(block->bad[i]);
    }
    cask_free(block->bad);
    *block = (struct store_block){0};
}

void cask_store_npy_header(char header[CASK_STORE_HEADER], int64_t images, int columns)
{
    char text[CASK_STORE_HEADER - 9];
    int length = snprintf(text, sizeof text,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64 ", %d), }",
                          images, columns);
    memset(header, ' ', CASK_STORE_HEADER);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = CASK_STORE_HEADER - 10;
    header[9] = 0;
    memcpy(header + 10, text, (size_t)length);
    header[CASK_STORE_HEADER - 1] = '\n';
}

/* ------------------------------------------------------------------- state */

static struct cask_json *state_of(const struct cask_store_identity *identity)
{
    struct cask_json *json = cask_json_object();
    cask_json_set_int(json, "format", FORMAT);
    cask_json_set_text(json, "model", identity->model);
    cask_json_set_text(json, "list", identity->list);
    cask_json_set_text(json, "pixels", identity->pixels);
    cask_json_set_text(json, "precision", identity->precision);
    cask_json_set_int(json, "images", identity->images);
    cask_json_set_int(json, "columns", identity->columns);
    cask_json_set_int(json, "views", identity->views);
    return json;
}

static void value_text(const struct cask_json *value, char *buffer, size_t bytes)
{
    const char *text = NULL;
    int64_t number = 0;
    if (cask_json_as_text(value, &text)) {
        snprintf(buffer, bytes, "%s", text);
    } else if (cask_json_as_int(value, &number)) {
        snprintf(buffer, bytes, "%lld", (long long)number);
    } else {
        snprintf(buffer, bytes, "nothing");
    }
}

static enum cask_status compare_states(const char *path, const struct cask_json *wanted,
                                       const struct cask_json *found, struct cask_error *err)
{
    char list[1200] = "", want[160], have[160];
    const char *key;
    const struct cask_json *value;
    for (void *iter = cask_json_next(wanted, NULL, &key, &value); iter != NULL;
         iter = cask_json_next(wanted, iter, &key, &value)) {
        size_t used = strlen(list);
        value_text(value, want, sizeof want);
        value_text(cask_json_get(found, key), have, sizeof have);
        if (strcmp(want, have) != 0) {
            snprintf(list + used, sizeof list - used, "%s%s: expected %s, found %s",
                     used > 0 ? "; " : "", key, want, have);
        }
    }
    return list[0] == 0 ? CASK_OK
                        : cask_error_set(err, CASK_ERR_MISMATCH,
                                         "%s: these embeddings belong to something else: %s; "
                                         "remove the folder or name another",
                                         path, list);
}

enum cask_status cask_store_claim(const char *state_path, const char *data_path,
                                  const struct cask_store_identity *identity,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *found = NULL, *wanted = state_of(identity);
    if (wanted == NULL) {
        CASK_TRY(cask_error_memory(err, 1024, "the state of embeddings"));
    }
    if (cask_path_exists(state_path)) {
        CASK_TRY(cask_json_read(state_path, LARGEST_TEXT, &found, err));
        CASK_TRY(compare_states(state_path, wanted, found, err));
    } else if (cask_path_exists(data_path)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s: found without %s, so nobody knows whose it is; name another "
                                "folder",
                                data_path, state_path));
    } else {
        st = cask_json_write(state_path, wanted, err);
        wanted = NULL;
    }
done:
    cask_json_free(found);
    cask_json_free(wanted);
    return st;
}

/* ----------------------------------------------------------------- journal */

static bool parse_block(const char *line, size_t bytes, struct store_block *block)
{
    struct cask_error ignored;
    struct cask_json *json = NULL;
    const char *hash = "", *reason = "";
    char *end = NULL;
    bool good = cask_json_parse(line, bytes, &json, &ignored) == CASK_OK &&
                cask_json_as_int(cask_json_get(json, "block"), &block->number) &&
                cask_json_as_text(cask_json_get(json, "xxh3"), &hash) && strlen(hash) == 16;
    if (good) {
        block->xxh3 = strtoull(hash, &end, 16);
        good = *end == 0;
    }
    const struct cask_json *bad = cask_json_get(json, "bad");
    for (size_t i = 0; good && i < cask_json_size(bad); i++) {
        good =
            cask_json_as_text(cask_json_at(bad, i), &reason) && cask_store_block_add(block, reason);
    }
    cask_json_free(json);
    return good;
}

enum cask_status cask_store_read_journal(const char *path, cask_store_visit visit, void *user,
                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    struct store_block block = {0};
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, LARGEST_TEXT, &text, &bytes, err));
    for (const char *line = text, *end = text + bytes; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop != NULL ? stop : end;
        if (parse_block(line, (size_t)(stop - line), &block)) {
            CASK_TRY(visit(&block, user, err));
        }
        cask_store_block_release(&block);
        line = stop + 1;
    }
    if (bytes > 0 && text[bytes - 1] != '\n') { /* or the next line would grow onto a torn one */
        CASK_TRY(cask_file_append(path, "\n", 1, true, err));
    }
done:
    cask_store_block_release(&block);
    cask_free(text);
    return st;
}

enum cask_status cask_store_append_journal(const char *path, const struct store_block *block,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char hash[20];
    char *line = NULL, *text = NULL;
    struct cask_json *json = cask_json_object(), *bad = cask_json_array();
    snprintf(hash, sizeof hash, "%016" PRIx64, block->xxh3);
    cask_json_set_int(json, "block", block->number);
    cask_json_set_text(json, "xxh3", hash);
    for (int i = 0; i < block->bad_count; i++) {
        cask_json_append_text(bad, block->bad[i]);
    }
    cask_json_set(json, "bad", bad);
    text = cask_json_dump(json, CASK_JSON_COMPACT);
    line = text != NULL ? cask_format("%s\n", text) : NULL;
    if (line == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "a journal line"));
    }
    CASK_TRY(cask_file_append(path, line, strlen(line), true, err));
done:
    cask_free(line);
    cask_free(text);
    cask_json_free(json);
    return st;
}
