/* cache/manifest.c - the manifest as JSON, written and read. */
#include "cache/manifest.h"

#include <inttypes.h>
#include <string.h>

#include "cache/layout.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

enum { MANIFEST_MAX_BYTES = 1 << 28 };

/* What a reader of 1.0 must know to read this cache right. */
static const char *const FEATURES[] = {"lz4-32004", "sidecar-1", "views-orig-hflip"};
enum { FEATURE_COUNT = sizeof FEATURES / sizeof FEATURES[0] };

/* ---------------------------------------------------------------- write */

static struct cask_json *preprocess_json(const struct cask_preprocess *preprocess)
{
    struct cask_json *json = cask_json_object();
    if (json != NULL) {
        cask_json_set_text(json, "order", preprocess->order == CASK_BGR ? "bgr" : "rgb");
        cask_json_set_real(json, "mean", preprocess->mean);
        cask_json_set_real(json, "scale", preprocess->scale);
        cask_json_set_int(json, "width", preprocess->width);
        cask_json_set_int(json, "height", preprocess->height);
    }
    return json;
}

static bool put_field(struct cask_json *json, const struct cask_manifest_field *field,
                      const struct cask_manifest *manifest)
{
    switch (field->kind) {
    case CASK_KIND_TEXT:
        return cask_json_set_text(json, field->name, (const char *)manifest + field->offset);
    case CASK_KIND_REAL:
        return cask_json_set_real(json, field->name, cask_manifest_number(field, manifest));
    case CASK_KIND_TYPE:
        return cask_json_set_text(json, field->name,
                                  cask_embedding_type_name(manifest->embedding_type));
    case CASK_KIND_PREPROCESS:
        return cask_json_set(json, field->name, preprocess_json(&manifest->preprocess));
    case CASK_KIND_REALS: {
        struct cask_json *list = cask_json_array();
        for (int i = 0; i < manifest->temperature_count; i++) {
            cask_json_append_real(list, manifest->temperatures[i]);
        }
        return cask_json_set(json, field->name, list);
    }
    case CASK_KIND_PROBE: {
        struct cask_json *list = cask_json_array();
        for (int i = 0; i < manifest->probe_count; i++) {
            cask_json_append_real(list, manifest->probe[i]);
        }
        return cask_json_set(json, field->name, list);
    }
    default:
        return cask_json_set_int(json, field->name, (int64_t)cask_manifest_number(field, manifest));
    }
}

static struct cask_json *file_json(const struct cask_manifest_file *file)
{
    size_t field_count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&field_count);
    struct cask_json *json = cask_json_object(), *features = cask_json_array(),
                     *shards = cask_json_array();
    if (json == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < field_count; i++) {
        put_field(json, &fields[i], &file->manifest);
    }
    for (int i = 0; i < FEATURE_COUNT; i++) {
        cask_json_append_text(features, FEATURES[i]);
    }
    cask_json_set(json, "requires", features);
    for (int64_t i = 0; file->complete && i < cask_layout_shards(&file->manifest); i++) {
        cask_json_append(shards, cask_record_to_json(&file->shards[i]));
    }
    cask_json_set(json, "shards", shards);
    cask_json_set_bool(json, "complete", file->complete);
    if (file->has_centers) {
        cask_json_set(json, "centers", cask_record_to_json(&file->centers));
    }
    cask_json_set_text(json, "format", "cask");
    return json;
}

static const char HASH_KEY[] = ",\"sha256\":\"";

static void hash_text(const char *text, size_t bytes, char hex[CASK_SHA256_HEX])
{
    struct cask_sha256 state;
    cask_sha256_init(&state);
    cask_sha256_update(&state, text, bytes);
    cask_sha256_final_hex(&state, hex);
}

enum cask_status cask_manifest_encode(struct cask_manifest_file *file, char **text,
                                      struct cask_error *err)
{
    struct cask_json *json = file_json(file);
    char *body = json != NULL ? cask_json_dump(json, CASK_JSON_CANONICAL) : NULL;
    cask_json_free(json);
    *text = NULL;
    if (body != NULL) {
        hash_text(body, strlen(body), file->sha256);
        *text = cask_format("%.*s%s%s\"}\n", (int)strlen(body) - 1, body, HASH_KEY, file->sha256);
    }
    cask_free(body);
    return *text != NULL ? CASK_OK : cask_error_memory(err, 65536, "manifest text");
}

enum cask_status cask_manifest_write(const char *path, struct cask_manifest_file *file,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    CASK_TRY(cask_manifest_check(&file->manifest, err));
    CASK_TRY(cask_manifest_encode(file, &text, err));
    CASK_TRY(cask_file_write_all(path, text, strlen(text), err));
done:
    cask_free(text);
    return st;
}

/* ---------------------------------------------------------------- read */

static bool get_preprocess(const struct cask_json *json, struct cask_preprocess *preprocess)
{
    const char *order = "";
    int64_t width = 0, height = 0;
    bool ok = cask_json_as_text(cask_json_get(json, "order"), &order) &&
              cask_json_as_real(cask_json_get(json, "mean"), &preprocess->mean) &&
              cask_json_as_real(cask_json_get(json, "scale"), &preprocess->scale) &&
              cask_json_as_int(cask_json_get(json, "width"), &width) && width >= 1 &&
              width <= 65536 && cask_json_as_int(cask_json_get(json, "height"), &height) &&
              height >= 1 && height <= 65536 &&
              (strcmp(order, "rgb") == 0 || strcmp(order, "bgr") == 0);
    preprocess->order = strcmp(order, "bgr") == 0 ? CASK_BGR : CASK_RGB;
    preprocess->width = (int)width;
    preprocess->height = (int)height;
    return ok;
}

static bool get_temperatures(const struct cask_json *json, struct cask_manifest *manifest)
{
    size_t count = cask_json_size(json);
    if (cask_json_kind(json) != CASK_JSON_ARRAY || count < 1 || count > CASK_CACHE_TEMPERATURES) {
        return false;
    }
    manifest->temperature_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        if (!cask_json_as_real(cask_json_at(json, i), &manifest->temperatures[i])) {
            return false;
        }
    }
    return true;
}

/* None, or all of its numbers. Cask 0.1 wrote no such member. */
static bool get_probe(const struct cask_json *json, struct cask_manifest *manifest)
{
    size_t count = cask_json_size(json);
    if (json == NULL) {
        return true;
    }
    if (cask_json_kind(json) != CASK_JSON_ARRAY || (count != 0 && count != CASK_PROBE_NUMBERS)) {
        return false;
    }
    manifest->probe_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        if (!cask_json_as_real(cask_json_at(json, i), &manifest->probe[i])) {
            return false;
        }
    }
    return true;
}

/* Integers are checked against the field's limits before they are narrowed. */
static bool get_integer(const struct cask_json *json, const struct cask_manifest_field *field,
                        void *at)
{
    int64_t value;
    if (!cask_json_as_int(json, &value) ||
        !((double)value >= field->min && (double)value <= field->max)) {
        return false;
    }
    if (field->kind == CASK_KIND_INT64) {
        memcpy(at, &value, sizeof value);
    } else {
        uint32_t narrow = (uint32_t)value; /* same four bytes for int and uint32_t */
        memcpy(at, &narrow, sizeof narrow);
    }
    return true;
}

static bool get_field(const struct cask_json *json, const struct cask_manifest_field *field,
                      struct cask_manifest *manifest)
{
    char *at = (char *)manifest + field->offset;
    const char *text;
    switch (field->kind) {
    case CASK_KIND_TEXT:
        if (!cask_json_as_text(json, &text) || strlen(text) >= field->bytes) {
            return false;
        }
        memcpy(at, text, strlen(text) + 1);
        return true;
    case CASK_KIND_REAL: {
        double value;
        bool ok = cask_json_as_real(json, &value);
        memcpy(at, &value, ok ? sizeof value : 0);
        return ok;
    }
    case CASK_KIND_TYPE:
        if (!cask_json_as_text(json, &text) ||
            (strcmp(text, "f16") != 0 && strcmp(text, "int8") != 0)) {
            return false;
        }
        manifest->embedding_type =
            strcmp(text, "int8") == 0 ? CASK_EMBEDDING_INT8 : CASK_EMBEDDING_F16;
        return true;
    case CASK_KIND_PREPROCESS:
        return get_preprocess(json, &manifest->preprocess);
    case CASK_KIND_REALS:
        return get_temperatures(json, manifest);
    case CASK_KIND_PROBE:
        return get_probe(json, manifest);
    default:
        return get_integer(json, field, at);
    }
}

static enum cask_status check_features(const struct cask_json *list, struct cask_error *err)
{
    if (cask_json_kind(list) != CASK_JSON_ARRAY) {
        return cask_error_set(err, CASK_ERR_FORMAT, "no list \"requires\"");
    }
    for (size_t i = 0; i < cask_json_size(list); i++) {
        const char *name = "?";
        bool known = false;
        cask_json_as_text(cask_json_at(list, i), &name);
        for (int j = 0; j < FEATURE_COUNT; j++) {
            known = known || strcmp(name, FEATURES[j]) == 0;
        }
        if (!known) {
            return cask_error_set(
                err, CASK_ERR_UNSUPPORTED,
                "the cache requires \"%s\", which Cask %s does not know: use a newer Cask", name,
                CASK_VERSION);
        }
    }
    return CASK_OK;
}

static enum cask_status get_record(const struct cask_json *json, const char *what, int64_t number,
                                   int64_t shard, int64_t rows, struct cask_record *record,
                                   struct cask_error *err)
{
    if (!cask_record_from_json(json, record) || record->shard != shard || record->rows != rows) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s %" PRId64 " is not described as expected (%" PRId64 " rows)",
                              what, number, rows);
    }
    return CASK_OK;
}

static enum cask_status get_files(const struct cask_json *json, struct cask_manifest_file *file,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_json *shards = cask_json_get(json, "shards"),
                           *centers = cask_json_get(json, "centers");
    int64_t count = cask_layout_shards(&file->manifest);
    if (!cask_json_as_bool(cask_json_get(json, "complete"), &file->complete)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "no member \"complete\""));
    }
    if (cask_json_kind(shards) != CASK_JSON_ARRAY ||
        cask_json_size(shards) != (file->complete ? (size_t)count : 0)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "lists %zu shards, expected %" PRId64,
                                cask_json_size(shards), file->complete ? count : 0));
    }
    file->has_centers = centers != NULL;
    if (file->has_centers) {
        CASK_TRY(get_record(centers, "centers", 0, CASK_CACHE_CENTERS, file->manifest.classes,
                            &file->centers, err));
    }
    if (file->complete) {
        file->shards = cask_alloc((size_t)count, sizeof *file->shards);
        if (file->shards == NULL) {
            CASK_TRY(
                cask_error_memory(err, (size_t)count * sizeof *file->shards, "list of shards"));
        }
        for (int64_t i = 0; i < count; i++) {
            CASK_TRY(get_record(cask_json_at(shards, (size_t)i), "shard", i, i,
                                cask_layout_shard_rows(&file->manifest, i), &file->shards[i], err));
        }
    }
done:
    return st;
}

/* Checks the hash that closes the text; *body_bytes is the length of the hashed object. The text's
 * copy in `body` is turned back into that object. */
static enum cask_status check_hash(char *body, size_t bytes, size_t *body_bytes,
                                   char hex[CASK_SHA256_HEX], struct cask_error *err)
{
    size_t tail = sizeof HASH_KEY - 1 + 64 + 3; /* ,"sha256":"..."}\n */
    if (bytes < tail + 2 || memcmp(body + bytes - tail, HASH_KEY, sizeof HASH_KEY - 1) != 0 ||
        memcmp(body + bytes - 3, "\"}\n", 3) != 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%zu bytes that do not end as a Cask manifest does: damaged, cut "
                              "short, or not a manifest",
                              bytes);
    }
    *body_bytes = bytes - tail + 1;
    body[*body_bytes - 1] = '}';
    hash_text(body, *body_bytes, hex);
    if (memcmp(body + bytes - 67, hex, 64) != 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "damaged: its SHA-256 is %.16s..., it says %.16s...", hex,
                              body + bytes - 67);
    }
    return CASK_OK;
}

enum cask_status cask_manifest_decode(const char *text, size_t bytes,
                                      struct cask_manifest_file *file, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *json = NULL;
    const char *format = "";
    int64_t major = -1;
    size_t body_bytes = 0, field_count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&field_count);
    memset(file, 0, sizeof *file);
    char *body = cask_alloc(bytes + 1, 1);
    if (body == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "manifest"));
    }
    memcpy(body, text, bytes);
    CASK_TRY(check_hash(body, bytes, &body_bytes, file->sha256, err));
    CASK_TRY(cask_json_parse(body, body_bytes, &json, err));
    if (!cask_json_as_text(cask_json_get(json, "format"), &format) || strcmp(format, "cask") != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "\"format\" is \"%.32s\", expected \"cask\"",
                                format));
    }
    if (!cask_json_as_int(cask_json_get(json, "major"), &major) || major != CASK_CACHE_MAJOR) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "cache format %" PRId64 ".x, this Cask reads %d.x", major,
                                CASK_CACHE_MAJOR));
    }
    CASK_TRY(check_features(cask_json_get(json, "requires"), err));
    for (size_t i = 0; i < field_count; i++) {
        if (!get_field(cask_json_get(json, fields[i].name), &fields[i], &file->manifest)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                    "field \"%s\" is missing, of another kind or out of range",
                                    fields[i].name));
        }
    }
    CASK_TRY(cask_manifest_check(&file->manifest, err));
    CASK_TRY(get_files(json, file, err));
done:
    cask_json_free(json);
    cask_free(body);
    if (st != CASK_OK) {
        cask_manifest_file_release(file);
    }
    return st;
}

void cask_manifest_file_release(struct cask_manifest_file *file)
{
    cask_free(file->shards);
    file->shards = NULL;
}

enum cask_status cask_manifest_read(const char *path, struct cask_manifest_file *file,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    memset(file, 0, sizeof *file);
    CASK_TRY(cask_file_read_all(path, MANIFEST_MAX_BYTES, &text, &bytes, err));
    st = cask_manifest_decode(text, bytes, file, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
        goto done;
    }
done:
    cask_free(text);
    return st;
}
