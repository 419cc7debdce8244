/* cache/compare.c - do two manifests describe the same thing? Every difference is named. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/manifest.h"

enum { TEXT_MAX = 256 }; /* of one value in a message */

static void format_temperatures(const struct cask_manifest *manifest, char *buffer, size_t bytes)
{
    size_t used = 0;
    buffer[0] = '\0';
    for (int i = 0; i < manifest->temperature_count && used < bytes; i++) {
        int wrote = snprintf(buffer + used, bytes - used, "%s%.9g", i > 0 ? "," : "",
                             manifest->temperatures[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

void cask_manifest_field_format(const struct cask_manifest_field *field,
                                const struct cask_manifest *manifest, char *buffer, size_t bytes)
{
    const char *at = (const char *)manifest + field->offset;
    char text[64];
    int number;
    int64_t wide;
    uint32_t word;
    double real;
    switch (field->kind) {
    case CASK_KIND_INT:
        memcpy(&number, at, sizeof number);
        snprintf(buffer, bytes, "%d", number);
        return;
    case CASK_KIND_INT64:
        memcpy(&wide, at, sizeof wide);
        snprintf(buffer, bytes, "%" PRId64, wide);
        return;
    case CASK_KIND_U32:
        memcpy(&word, at, sizeof word);
        snprintf(buffer, bytes, "%08" PRIx32, word);
        return;
    case CASK_KIND_REAL:
        memcpy(&real, at, sizeof real);
        snprintf(buffer, bytes, "%.9g", real);
        return;
    case CASK_KIND_REALS:
        format_temperatures(manifest, buffer, bytes);
        return;
    case CASK_KIND_TYPE:
        snprintf(buffer, bytes, "%s", cask_embedding_type_name(manifest->embedding_type));
        return;
    case CASK_KIND_PREPROCESS:
        cask_preprocess_format(&manifest->preprocess, text);
        snprintf(buffer, bytes, "%s %dx%d", text, manifest->preprocess.width,
                 manifest->preprocess.height);
        return;
    case CASK_KIND_PROBE:
        if (manifest->probe_count == 0) {
            snprintf(buffer, bytes, "(none)");
        } else {
            int used = snprintf(buffer, bytes, "%d numbers, ", manifest->probe_count);
            cask_probe_format(manifest, 0, buffer + used, bytes - (size_t)used);
        }
        return;
    case CASK_KIND_TEXT:
        snprintf(buffer, bytes, "%s", at[0] != '\0' ? at : "(none)");
        return;
    }
}

/* Empty: no text, zero, no temperatures, a preprocess without a size. An embedding type is empty
 * where the embedding size is, and so is a scale of zero. */
static bool is_empty(const struct cask_manifest_field *field, const struct cask_manifest *manifest)
{
    static const char zeros[1024];
    const char *at = (const char *)manifest + field->offset;
    switch (field->kind) {
    case CASK_KIND_TYPE:
        return manifest->embedding == 0;
    case CASK_KIND_REALS:
        return manifest->temperature_count == 0;
    case CASK_KIND_PREPROCESS:
        return manifest->preprocess.width == 0 && manifest->preprocess.scale == 0;
    case CASK_KIND_PROBE:
        return manifest->probe_count == 0;
    case CASK_KIND_TEXT:
        return at[0] == '\0';
    default:
        return memcmp(at, zeros, field->bytes) == 0;
    }
}

static bool is_equal(const struct cask_manifest_field *field, const struct cask_manifest *a,
                     const struct cask_manifest *b)
{
    const char *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;
    double distance;
    switch (field->kind) {
    case CASK_KIND_TEXT:
        return strcmp(x, y) == 0;
    case CASK_KIND_PREPROCESS:
        return cask_preprocess_equal(&a->preprocess, &b->preprocess);
    case CASK_KIND_REALS:
        return a->temperature_count == b->temperature_count &&
               memcmp(a->temperatures, b->temperatures,
                      (size_t)a->temperature_count * sizeof(double)) == 0;
    case CASK_KIND_PROBE: /* other CPUs round otherwise */
        cask_probe_worst(a, b, &distance);
        return b->probe_count == 0 || distance <= cask_probe_tolerance(a);
    default:
        return memcmp(x, y, field->bytes) == 0;
    }
}

static void format_both(const struct cask_manifest_field *field, const struct cask_manifest *a,
                        const struct cask_manifest *b, char want[TEXT_MAX], char have[TEXT_MAX])
{
    if (field->kind != CASK_KIND_PROBE) {
        cask_manifest_field_format(field, a, want, TEXT_MAX);
        cask_manifest_field_format(field, b, have, TEXT_MAX);
        return;
    }
    double distance;
    int worst = cask_probe_worst(a, b, &distance);
    cask_probe_format(a, worst, want, TEXT_MAX);
    snprintf(have, TEXT_MAX, "%.7f (tolerance %g)", b->probe[worst], cask_probe_tolerance(a));
}

static bool is_accepted(const char *name, const char *const *accepted, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(accepted[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void cask_manifest_differences(const struct cask_manifest *expected,
                               const struct cask_manifest *found, cask_manifest_visit visit,
                               void *user)
{
    char want[TEXT_MAX], have[TEXT_MAX];
    size_t count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&count);
    for (size_t i = 0; i < count; i++) {
        const struct cask_manifest_field *field = &fields[i];
        if (field->use != CASK_USE_IDENTITY || is_empty(field, expected) ||
            is_equal(field, expected, found)) {
            continue;
        }
        format_both(field, expected, found, want, have);
        visit(field->name, want, have, user);
    }
}

/* What cask_manifest_compare makes of the differences. */
struct comparison {
    const char *const *accepted;
    int accepted_count, overrides, refused;
    char list[CASK_ERROR_MESSAGE - 256];
    size_t used;
};

static void judge(const char *field, const char *expected, const char *found, void *user)
{
    struct comparison *c = user;
    if (is_accepted(field, c->accepted, c->accepted_count)) {
        c->overrides++;
        return;
    }
    size_t room = sizeof c->list - c->used;
    int wrote = snprintf(c->list + c->used, room, "%s%s: expected %s, found %s",
                         c->refused > 0 ? "; " : "", field, expected, found);
    c->used += wrote > 0 && (size_t)wrote < room ? (size_t)wrote : room - 1;
    c->refused++;
}

/* A misspelt name would allow nothing, and nobody would hear of it. */
static enum cask_status check_names(const char *const *accepted, int accepted_count,
                                    struct cask_error *err)
{
    char list[CASK_ERROR_MESSAGE - 256] = "";
    size_t count;
    const struct cask_manifest_field *fields = cask_manifest_fields(&count);
    for (size_t i = 0, used = 0; i < count; i++) {
        if (fields[i].use == CASK_USE_IDENTITY && used < sizeof list) {
            const int wrote = snprintf(list + used, sizeof list - used, "%s%s",
                                       used > 0 ? ", " : "", fields[i].name);
            used += wrote > 0 ? (size_t)wrote : 0;
        }
    }
    for (int a = 0; a < accepted_count; a++) {
        bool known = false;
        for (size_t i = 0; i < count; i++) {
            known |= fields[i].use == CASK_USE_IDENTITY && strcmp(fields[i].name, accepted[a]) == 0;
        }
        if (!known) {
            return cask_error_set(err, CASK_ERR_USAGE,
                                  "expected fields of a cache, found \"%.80s\"; there are %s",
                                  accepted[a], list);
        }
    }
    return CASK_OK;
}

enum cask_status cask_manifest_compare(const struct cask_manifest *expected,
                                       const struct cask_manifest *found,
                                       const char *const *accepted, int accepted_count,
                                       int *overrides, struct cask_error *err)
{
    const enum cask_status names = check_names(accepted, accepted_count, err);
    if (names != CASK_OK) {
        return names;
    }
    struct comparison c = {.accepted = accepted, .accepted_count = accepted_count};
    cask_manifest_differences(expected, found, judge, &c);
    *overrides = c.overrides;
    if (c.refused == 0) {
        return CASK_OK;
    }
    return cask_error_set(err, CASK_ERR_MISMATCH, "the cache differs in %d field%s: %s", c.refused,
                          c.refused > 1 ? "s" : "", c.list);
}
