/* cache/manifest.h - private: manifest.json, what the whole cache is.
 *
 * One line of canonical JSON: the fields of struct cask_manifest by their C names, then the list of
 * shards, and as the very last member the SHA-256 of the text without it.
 */
#ifndef CASK_CACHE_MANIFEST_H
#define CASK_CACHE_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"
#include "cache/journal.h"

/* The manifest and its list of files. `shards` is empty until the cache is complete. */
struct cask_manifest_file {
    struct cask_manifest manifest;
    bool complete;
    struct cask_record *shards; /* [shards of the manifest] if complete; owned */
    struct cask_record centers;
    bool has_centers;
    char sha256[CASK_SHA256_HEX];
};

/* Every number within its limits, every text printable; the limits are in FORMAT.md. */
enum cask_status cask_manifest_check(const struct cask_manifest *manifest, struct cask_error *err);

/* *text is the caller's; ends in a newline. file->sha256 is filled. */
enum cask_status cask_manifest_encode(struct cask_manifest_file *file, char **text,
                                      struct cask_error *err);
/* Refuses damage, unknown major versions and unknown required features (by name). */
enum cask_status cask_manifest_decode(const char *text, size_t bytes,
                                      struct cask_manifest_file *file, struct cask_error *err);
void cask_manifest_file_release(struct cask_manifest_file *file);

enum cask_status cask_manifest_write(const char *path, struct cask_manifest_file *file,
                                     struct cask_error *err);
enum cask_status cask_manifest_read(const char *path, struct cask_manifest_file *file,
                                    struct cask_error *err);

/* --- the table of fields, shared by manifest.c and compare.c --- */

enum cask_field_kind {
    CASK_KIND_INT,
    CASK_KIND_INT64,
    CASK_KIND_U32,
    CASK_KIND_REAL,
    CASK_KIND_TEXT,
    CASK_KIND_TYPE,
    CASK_KIND_PREPROCESS,
    CASK_KIND_REALS,
    CASK_KIND_PROBE
};
enum cask_field_use {
    CASK_USE_IDENTITY,
    CASK_USE_PEOPLE,
    CASK_USE_MEASURED
}; /* only identity is compared */
struct cask_manifest_field {
    const char *name;
    enum cask_field_kind kind;
    enum cask_field_use use;
    size_t offset;
    size_t bytes;    /* TEXT: buffer */
    double min, max; /* numbers */
};
const struct cask_manifest_field *cask_manifest_fields(size_t *count);
/* The value of an INT, INT64, U32 or REAL field; 0 for other kinds. */
double cask_manifest_number(const struct cask_manifest_field *field,
                            const struct cask_manifest *manifest);
/* The number in which two probes differ most; *distance is how much. NaN differs from everything.
 */
int cask_probe_worst(const struct cask_manifest *a, const struct cask_manifest *b,
                     double *distance);
double cask_probe_tolerance(const struct cask_manifest *manifest);
/* "cosine of pictures 0 and 3 = 0.1234567" */
void cask_probe_format(const struct cask_manifest *manifest, int number, char *buffer,
                       size_t bytes);
const char *cask_embedding_type_name(enum cask_embedding_type type);
/* The field's value for a message: "85742", "ir50", "(none)". `buffer` of at least 256 bytes. */
void cask_manifest_field_format(const struct cask_manifest_field *field,
                                const struct cask_manifest *manifest, char *buffer, size_t bytes);

#endif
