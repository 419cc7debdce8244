/* cache/journal.c - see the header. A line is a JSON object in canonical form, closed by a last
 * member
 *     ,"xxh3":"<16 hex digits>"}
 * that hashes the object as it was without it. */
#include "cache/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

enum { JOURNAL_MAX_BYTES = 1 << 28, TAIL_BYTES = 27 };

struct cask_json *cask_record_to_json(const struct cask_record *record)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, record->index_xxh3);
    struct cask_json *json = cask_json_object();
    if (json == NULL) {
        return NULL;
    }
    bool ok = cask_json_set_int(json, "shard", record->shard) &&
              cask_json_set_int(json, "rows", record->rows) &&
              cask_json_set_int(json, "bytes", (int64_t)record->bytes) &&
              cask_json_set_int(json, "index_bytes", (int64_t)record->index_bytes) &&
              cask_json_set_text(json, "index_xxh3", hash) &&
              cask_json_set_real(json, "embedding_error", record->embedding_error) &&
              cask_json_set_real(json, "cosine_error", record->cosine_error);
    if (!ok) {
        cask_json_free(json);
        return NULL;
    }
    return json;
}

static bool parse_hash(const char *text, uint64_t *hash)
{
    *hash = 0;
    for (int i = 0; i < 16; i++) {
        int digit = text[i] >= '0' && text[i] <= '9'   ? text[i] - '0'
                    : text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10
                                                       : -1;
        if (digit < 0) {
            return false;
        }
        *hash = *hash << 4 | (uint64_t)digit;
    }
    return text[16] == '\0';
}

bool cask_record_from_json(const struct cask_json *json, struct cask_record *record)
{
    int64_t bytes, index_bytes;
    const char *hash;
    bool ok = cask_json_as_int(cask_json_get(json, "shard"), &record->shard) &&
              cask_json_as_int(cask_json_get(json, "rows"), &record->rows) &&
              cask_json_as_int(cask_json_get(json, "bytes"), &bytes) && bytes > 0 &&
              cask_json_as_int(cask_json_get(json, "index_bytes"), &index_bytes) &&
              index_bytes > 0 && cask_json_as_text(cask_json_get(json, "index_xxh3"), &hash) &&
              strlen(hash) == 16 && parse_hash(hash, &record->index_xxh3) &&
              cask_json_as_real(cask_json_get(json, "embedding_error"), &record->embedding_error) &&
              cask_json_as_real(cask_json_get(json, "cosine_error"), &record->cosine_error);
    record->bytes = ok ? (uint64_t)bytes : 0;
    record->index_bytes = ok ? (uint64_t)index_bytes : 0;
    return ok;
}

static void format_tail(char tail[TAIL_BYTES + 1], uint64_t hash)
{
    snprintf(tail, TAIL_BYTES + 1, ",\"xxh3\":\"%016" PRIx64 "\"}", hash);
}

/* `line` has no newline. True if its tail matches and the rest is a record. */
static bool parse_line(char *line, size_t bytes, struct cask_record *record)
{
    char tail[TAIL_BYTES + 1];
    struct cask_error ignored;
    struct cask_json *json = NULL;
    size_t tail_bytes = strlen(",\"xxh3\":\"0123456789abcdef\"}");
    if (bytes < tail_bytes + 2) {
        return false;
    }
    size_t body = bytes - tail_bytes;
    char kept = line[body];
    line[body] = '}';
    format_tail(tail, cask_xxh3(line, body + 1));
    bool ok = kept == tail[0] && memcmp(line + body + 1, tail + 1, tail_bytes - 1) == 0 &&
              cask_json_parse(line, body + 1, &json, &ignored) == CASK_OK &&
              cask_record_from_json(json, record);
    cask_json_free(json);
    return ok;
}

enum cask_status cask_journal_read(const char *path, cask_journal_visit visit, void *user,
                                   int64_t *bad_lines, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    *bad_lines = 0;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, JOURNAL_MAX_BYTES, &text, &bytes, err));
    for (char *line = text, *end = text + bytes; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop != NULL ? stop : end;
        struct cask_record record;
        if (stop > line && parse_line(line, (size_t)(stop - line), &record)) {
            CASK_TRY(visit(&record, user, err));
        } else if (stop > line) {
            ++*bad_lines;
        }
        line = stop + 1;
    }
done:
    cask_free(text);
    return st;
}

static bool ends_in_newline(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return true; /* nothing there yet */
    }
    char last = '\n';
    off_t bytes = lseek(fd, 0, SEEK_END);
    if (bytes > 0 && pread(fd, &last, 1, bytes - 1) != 1) {
        last = '\0';
    }
    close(fd);
    return last == '\n';
}

enum cask_status cask_journal_append(const char *path, const struct cask_record *record,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char tail[TAIL_BYTES + 1];
    char *body = NULL, *line = NULL;
    struct cask_json *json = cask_record_to_json(record);
    if (json == NULL || (body = cask_json_dump(json, CASK_JSON_CANONICAL)) == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "journal line"));
    }
    format_tail(tail, cask_xxh3(body, strlen(body)));
    line = cask_format("%s%.*s%s\n", ends_in_newline(path) ? "" : "\n", (int)strlen(body) - 1, body,
                       tail);
    if (line == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "journal line"));
    }
    CASK_TRY(cask_file_append(path, line, strlen(line), true, err));
done:
    cask_json_free(json);
    cask_free(body);
    cask_free(line);
    return st;
}
