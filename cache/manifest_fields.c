/* cache/manifest_fields.c - one table row per field of the manifest: its name, kind, limits, and
 * whether it is part of the cache's identity. JSON, comparison and HDF5 attributes all walk this
 * table. */
#include "cache/manifest.h"

#include <inttypes.h>
#include <string.h>

#define FIELD(member, kind, use, min, max)                                                         \
    {                                                                                              \
#member, CASK_KIND_##kind, CASK_USE_##use, offsetof(struct cask_manifest, member),         \
            sizeof(((struct cask_manifest *)0)->member), min, max                                  \
    }
static const struct cask_manifest_field FIELDS[] = {
    FIELD(major, INT, IDENTITY, 0, 65535),
    FIELD(minor, INT, PEOPLE, 0, 65535),
    FIELD(images, INT64, IDENTITY, 1, 0x1p40),
    FIELD(classes, INT64, IDENTITY, 1, 0x1p31),
    FIELD(embedding, INT, IDENTITY, 1, 65536),
    FIELD(embedding_type, TYPE, IDENTITY, 0, 0),
    FIELD(topk, INT, IDENTITY, 1, 65536),
    FIELD(scale, REAL, IDENTITY, 1e-3, 1e6),
    FIELD(temperatures, REALS, IDENTITY, 1e-3, 1e6),
    FIELD(shard_images, INT64, IDENTITY, 1, 0x1p20),
    FIELD(teacher, TEXT, IDENTITY, 0, 0),
    FIELD(weights_sha256, TEXT, IDENTITY, 0, 0),
    FIELD(architecture_sha256, TEXT, IDENTITY, 0, 0),
    FIELD(centers_sha256, TEXT, IDENTITY, 0, 0),
    FIELD(centers_origin, TEXT, IDENTITY, 0, 0),
    FIELD(precision, TEXT, IDENTITY, 0, 0),
    FIELD(preprocess, PREPROCESS, IDENTITY, 0, 0),
    FIELD(decoder, TEXT, IDENTITY, 0, 0),
    FIELD(decoder_crc, U32, IDENTITY, 0, 4294967295.0),
    FIELD(dataset_sha256, TEXT, IDENTITY, 0, 0),
    FIELD(dataset_path, TEXT, PEOPLE, 0, 0),
    FIELD(probe, PROBE, IDENTITY, -1.001, 1.001),
    FIELD(created, TEXT, PEOPLE, 0, 0),
    FIELD(writer, TEXT, PEOPLE, 0, 0),
    FIELD(embedding_error_max, REAL, MEASURED, 0, 2),
    FIELD(cosine_error_max, REAL, MEASURED, 0, 2),
};
#undef FIELD

const struct cask_manifest_field *cask_manifest_fields(size_t *count)
{
    *count = sizeof FIELDS / sizeof FIELDS[0];
    return FIELDS;
}

const char *cask_embedding_type_name(enum cask_embedding_type type)
{
    return type == CASK_EMBEDDING_INT8 ? "int8" : "f16";
}

/* ---------------------------------------------------------------- limits */

double cask_manifest_number(const struct cask_manifest_field *field,
                            const struct cask_manifest *manifest)
{
    const char *at = (const char *)manifest + field->offset;
    switch (field->kind) {
    case CASK_KIND_INT: {
        int value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    case CASK_KIND_INT64: {
        int64_t value;
        memcpy(&value, at, sizeof value);
        return (double)value;
    }
    case CASK_KIND_U32: {
        uint32_t value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    case CASK_KIND_REAL: {
        double value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    default:
        return 0;
    }
}

static enum cask_status check_text(const struct cask_manifest_field *field, const char *text,
                                   struct cask_error *err)
{
    const char *end = memchr(text, '\0', field->bytes);
    if (end == NULL) {
        return cask_error_set(err, CASK_ERR_RANGE, "manifest: %s is longer than %zu bytes",
                              field->name, field->bytes - 1);
    }
    for (const char *at = text; at < end; at++) {
        if ((unsigned char)*at < 0x20) {
            return cask_error_set(err, CASK_ERR_RANGE, "manifest: %s holds a control character",
                                  field->name);
        }
    }
    return CASK_OK;
}

static enum cask_status check_number(const char *name, double value, double min, double max,
                                     struct cask_error *err)
{
    if (!(value >= min && value <= max)) {
        return cask_error_set(err, CASK_ERR_RANGE, "manifest: %s is %.17g, expected %.17g to %.17g",
                              name, value, min, max);
    }
    return CASK_OK;
}

static enum cask_status check_list(const struct cask_manifest_field *field, const double *values,
                                   int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < count; i++) {
        CASK_TRY(check_number(field->name, values[i], field->min, field->max, err));
    }
done:
    return st;
}

static enum cask_status check_field(const struct cask_manifest_field *field,
                                    const struct cask_manifest *manifest, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    switch (field->kind) {
    case CASK_KIND_TEXT:
        return check_text(field, (const char *)manifest + field->offset, err);
    case CASK_KIND_REALS:
        CASK_TRY(check_number("temperature_count", manifest->temperature_count, 1,
                              CASK_CACHE_TEMPERATURES, err));
        return check_list(field, manifest->temperatures, manifest->temperature_count, err);
    case CASK_KIND_PROBE:
        if (manifest->probe_count != 0) {
            CASK_TRY(check_number("probe_count", manifest->probe_count, CASK_PROBE_NUMBERS,
                                  CASK_PROBE_NUMBERS, err));
        }
        return check_list(field, manifest->probe, manifest->probe_count, err);
    case CASK_KIND_TYPE:
    case CASK_KIND_PREPROCESS:
        return CASK_OK;
    default:
        return check_number(field->name, cask_manifest_number(field, manifest), field->min,
                            field->max, err);
    }
done:
    return st;
}

enum cask_status cask_manifest_check(const struct cask_manifest *manifest, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        CASK_TRY(check_field(&FIELDS[i], manifest, err));
    }
    if (manifest->topk > manifest->classes) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "manifest: topk is %d, but there are only %" PRId64 " classes",
                                manifest->topk, manifest->classes));
    }
    if (manifest->embedding_type != CASK_EMBEDDING_F16 &&
        manifest->embedding_type != CASK_EMBEDDING_INT8) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "manifest: embedding_type is %d, expected f16 or int8",
                                (int)manifest->embedding_type));
    }
    const struct cask_preprocess *preprocess = &manifest->preprocess;
    CASK_TRY(check_number("preprocess width", preprocess->width, 1, 65536, err));
    CASK_TRY(check_number("preprocess height", preprocess->height, 1, 65536, err));
    CASK_TRY(check_number("preprocess scale", preprocess->scale, 1e-9, 1e9, err));
    CASK_TRY(check_number("preprocess mean", preprocess->mean, -1e9, 1e9, err));
done:
    return st;
}
