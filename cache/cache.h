/* cache/cache.h - the cask: what the teacher said about every image and its mirror, once.
 *
 * On disk: cache/FORMAT.md. libhdf5 is used to write and by `cachetool`; the reader below maps the
 * shards through their sidecar indexes and never calls it.
 *
 * Row r is image r of the build, in storage order; each has two views: 0 as it is, 1 mirrored.
 * Cosines are unscaled and without margin. LSE_T = log sum_c exp(s cos_c / T), s from the manifest.
 */
#ifndef CASK_CACHE_CACHE_H
#define CASK_CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hash.h"
#include "common/preprocess.h"
#include "common/status.h"

enum {
    CASK_CACHE_VIEWS = 2,
    CASK_CACHE_TEMPERATURES = 8,
    CASK_CACHE_MAJOR = 1,
    CASK_CACHE_MINOR = 0
};
enum { CASK_CACHE_CENTERS = -1 }; /* centers.h5, where a shard's number is asked for */

/* The probe: what the teacher says about a few pictures that are made by formula (FORMAT.md 5.1).
 * Cosines between their unit embeddings, pair (i, j) with i < j at j (j - 1) / 2 + i, then the
 * first components of each. */
enum {
    CASK_PROBE_PICTURES = 6,
    CASK_PROBE_COSINES = CASK_PROBE_PICTURES * (CASK_PROBE_PICTURES - 1) / 2,
    CASK_PROBE_COMPONENTS = 8, /* of each picture; 0 past a shorter embedding's end */
    CASK_PROBE_NUMBERS = CASK_PROBE_COSINES + CASK_PROBE_PICTURES * CASK_PROBE_COMPONENTS
};
#define CASK_PROBE_TOLERANCE_FP32 2e-5
#define CASK_PROBE_TOLERANCE_BF16 2e-2

enum cask_embedding_type { CASK_EMBEDDING_F16, CASK_EMBEDDING_INT8 };

/* Everything that identifies a cache and shapes its rows. */
struct cask_manifest {
    int major, minor;
    /* shape */
    int64_t images, classes;
    int embedding; /* D */
    enum cask_embedding_type embedding_type;
    int topk;     /* k <= classes */
    double scale; /* s of the LSEs, 64 */
    double temperatures[CASK_CACHE_TEMPERATURES];
    int temperature_count;
    int64_t shard_images;
    /* teacher */
    char teacher[64]; /* "ir50", "onnx" */
    char weights_sha256[CASK_SHA256_HEX];
    char architecture_sha256[CASK_SHA256_HEX]; /* network, sizes, MACs, parameter names, shapes */
    char centers_sha256[CASK_SHA256_HEX];
    char centers_origin[16]; /* "classifier", "file", "mean" */
    char precision[8];       /* "fp32", "bf16" */
    struct cask_preprocess preprocess;
    /* pixels and data */
    char decoder[64];
    uint32_t decoder_crc; /* CRC32 of a built-in JPEG as decoded there */
    char dataset_sha256[CASK_SHA256_HEX];
    char dataset_path[1024]; /* for people; not compared */
    double probe[CASK_PROBE_NUMBERS];
    int probe_count;              /* CASK_PROBE_NUMBERS, or 0: none (Cask 0.1) */
    char created[32], writer[64]; /* for people; not compared */
    /* by the writer, largest over all rows: 1 - cos(given, stored) of embeddings, measured, and the
     * distance of a top-k cosine from the stored one: half a step of the grid at least, since
     * precompute gives cosines that lie on it */
    double embedding_error_max, cosine_error_max;
};

/* Flags. The writer itself sets the second, where the label is not in the top-k of one of the
 * views. */
enum { CASK_ROW_BAD = 1, CASK_ROW_LABEL_OUTSIDE_TOPK = 2 };

/* One image as the writer takes it; pointers borrow. Views: 0 as it is, 1 mirrored. */
struct cask_cache_row {
    uint64_t sample_id, source_offset;
    uint32_t label; /* UINT32_MAX: none */
    uint8_t flags;  /* BAD: everything below may be NULL; zeros are stored */
    struct cask_cache_view {
        const float *embedding;     /* [D], unit norm */
        float norm;                 /* of the raw embedding */
        const uint32_t *topk_index; /* [k], by cosine descending, ties by class id */
        const float *topk_cosine;   /* [k] */
        float label_cosine;
        const double *lse; /* [temperature_count] */
    } views[CASK_CACHE_VIEWS];
};

/* ------------------------------------------------------------------ writer */

/* Creates DIR or resumes in it: the manifest given must equal the one there field by field (else
 * CASK_ERR_MISMATCH with the difference). Shards are written whole: begin, append rows in order,
 * commit. Free space for what is missing
 * is checked at open. The open shard is held in memory, and at commit once more as the file that
 * libhdf5 composes: 2 x 40 MB for 16,384 images at D = 512, k = 32. A row that is refused (not unit
 * length, not finite, out of order, out of range) stores nothing. One writer, one thread; libhdf5
 * has global state, so one commit at a time in a process. */
struct cask_cache_writer;
enum cask_status cask_cache_writer_open(const char *folder, const struct cask_manifest *manifest,
                                        int threads, struct cask_cache_writer **writer,
                                        struct cask_error *err);
int64_t cask_cache_writer_shards(const struct cask_cache_writer *writer);
bool cask_cache_writer_has(const struct cask_cache_writer *writer,
                           int64_t shard); /* or centres: published and whole */
/* Learns what other builders have published since. */
enum cask_status cask_cache_writer_refresh(struct cask_cache_writer *writer,
                                           struct cask_error *err);
enum cask_status cask_cache_writer_begin(struct cask_cache_writer *writer, int64_t shard,
                                         struct cask_error *err);
/* Rows of the open shard, `count` at a time, in order. */
enum cask_status cask_cache_writer_append(struct cask_cache_writer *writer,
                                          const struct cask_cache_row *rows, int count,
                                          struct cask_error *err);
enum cask_status cask_cache_writer_commit(struct cask_cache_writer *writer, struct cask_error *err);
/* Commit in three steps, for a builder that makes the next shard while this one goes to disk: 40 MB
 * more. seal takes the open shard's rows out of the writer, which may begin another at once.
 * publish compresses, writes, syncs, renames and adds the line of the journal, on the calling
 * thread alone, which may be any; one at a time in a process (libhdf5), and the writer stays open
 * meanwhile. settle, on the writer's own thread: from then on the shard counts as published if
 * publish succeeded; the rows are freed either way. */
struct cask_sealed;
enum cask_status cask_cache_writer_seal(struct cask_cache_writer *writer,
                                        struct cask_sealed **sealed, struct cask_error *err);
enum cask_status cask_sealed_publish(struct cask_sealed *sealed, struct cask_error *err);
void cask_cache_writer_settle(struct cask_cache_writer *writer,
                              struct cask_sealed *sealed); /* accepts NULL */
void cask_cache_writer_abort(
    struct cask_cache_writer *writer); /* drops the open shard; accepts none open */
/* centers.h5, once: [classes][D] unit rows, float32. */
enum cask_status cask_cache_writer_centers(struct cask_cache_writer *writer, const float *centers,
                                           struct cask_error *err);
/* The centres that are published already, for a build that goes on: [classes][D]. *found is false
 * where there are none, or where they are damaged or not those of the manifest: that is logged, and
 * they count as missing from then on. */
enum cask_status cask_cache_writer_read_centers(struct cask_cache_writer *writer, float *centers,
                                                bool *found, struct cask_error *err);
/* The fingerprint of a centre matrix (manifest's centers_sha256): over the class count and the
 * floats. A manifest that comes with an empty one gets it from cask_cache_writer_centers. */
void cask_centers_sha256(const float *centers, int64_t classes, int embedding,
                         char hex[CASK_SHA256_HEX]);
/* Marks a published shard, or CASK_CACHE_CENTERS, as to be built anew. The old file stays until the
 * new one takes its place, and whoever builds gives the same bytes as the first time. */
enum cask_status cask_cache_writer_rebuild(struct cask_cache_writer *writer, int64_t shard,
                                           struct cask_error *err);
/* For rows whose embeddings were read from another cache: they were rounded there by as much as
 * `embedding_error`, and no shard of this one will claim less. Before the first begin. */
void cask_cache_writer_inherit(struct cask_cache_writer *writer, double embedding_error);
/* bad.csv: one line per image that could not be decoded. The file of another part of the same build
 * can be taken over; rows that are listed twice are listed once in the end. */
enum cask_status cask_cache_writer_take_bad(struct cask_cache_writer *writer, const char *folder,
                                            struct cask_error *err);
enum cask_status cask_cache_writer_bad(struct cask_cache_writer *writer, int64_t row,
                                       const char *name, const char *reason,
                                       struct cask_error *err);
/* All shards and centres there: folds the journal into the final manifest. */
enum cask_status cask_cache_writer_finish(struct cask_cache_writer *writer, struct cask_error *err);
void cask_cache_writer_close(
    struct cask_cache_writer *writer); /* accepts NULL; keeps what is published */

/* ------------------------------------------------------------------ leases */

/* Several processes, on one machine or on many that share the folder, may build one cache. Who
 * takes the lease of a piece of work does it; the others leave it alone or wait. A lease ends with
 * drop, with its process, or a minute after its machine fell silent. It saves work and is not
 * needed for correctness: the same piece made twice has the same bytes, and is published by rename.
 */
struct cask_lease;
/* FOLDER/lease-WHAT-00012. *lease is NULL where another holds it. */
enum cask_status cask_lease_take(const char *folder, const char *what, int64_t number,
                                 struct cask_lease **lease, struct cask_error *err);
/* Waits for it. CASK_ERR_INTERRUPTED on a signal. */
enum cask_status cask_lease_wait(const char *folder, const char *what, int64_t number,
                                 struct cask_lease **lease, struct cask_error *err);
void cask_lease_drop(struct cask_lease *lease); /* accepts NULL */
/* A tenth of a second, for loops that wait for other builders; CASK_ERR_INTERRUPTED on a signal. */
enum cask_status cask_lease_pause(struct cask_error *err);
/* Removes leases and temporary files of processes that are gone. Temporary files stay where another
 * machine is at work: its processes cannot be asked. */
enum cask_status cask_lease_sweep(const char *folder, struct cask_error *err);

/* ------------------------------------------------------------------ reader */

enum cask_verify {
    CASK_VERIFY_FIRST,
    CASK_VERIFY_ALWAYS,
    CASK_VERIFY_OFF
}; /* chunk checksums: at first touch, ... */

struct cask_cache;
enum cask_status cask_cache_open(const char *folder, enum cask_verify verify,
                                 struct cask_cache **cache, struct cask_error *err);
void cask_cache_close(struct cask_cache *cache); /* accepts NULL */
const struct cask_manifest *cask_cache_manifest(const struct cask_cache *cache);
int64_t cask_cache_rows(const struct cask_cache *cache);
uint32_t cask_cache_label(const struct cask_cache *cache, int64_t row);
uint64_t cask_cache_sample_id(const struct cask_cache *cache, int64_t row);
uint64_t cask_cache_source_offset(const struct cask_cache *cache, int64_t row);
uint8_t cask_cache_flags(const struct cask_cache *cache, int64_t row);
const char *cask_cache_sha256(
    const struct cask_cache *cache); /* the manifest's own hash: this very cache */
/* The same from manifest.json alone, of a finished cache: which cache a folder holds, wherever it
 * lies. */
enum cask_status cask_cache_identify(const char *folder, char hex[CASK_SHA256_HEX],
                                     struct cask_error *err);
size_t cask_cache_resident_bytes(const struct cask_cache *cache); /* labels, ids, LSEs, index */
uint64_t cask_cache_file_bytes(const struct cask_cache *cache);   /* all files of the cache */

/* What to gather; NULL members are not read. Caller's memory, [count][...]. */
struct cask_cache_gather {
    float *embedding;     /* [count][D], renormalised to unit length */
    float *norm;          /* [count] */
    uint32_t *topk_index; /* [count][k] */
    float *topk_cosine;   /* [count][k] */
    float *label_cosine;  /* [count] */
    float *lse;           /* [count][temperature_count] */
};
/* Rows in any order, view 1 where mirror[i]. Damage is CASK_ERR_FORMAT with shard, dataset, rows.
 * Thread-safe. */
enum cask_status cask_cache_gather(struct cask_cache *cache, const int64_t *rows,
                                   const bool *mirror, int count,
                                   const struct cask_cache_gather *out, struct cask_error *err);
/* Threads that run ahead of the training order: they touch the file pages of rows that are coming,
 * so that cask_cache_gather finds them in memory. A disk answers one request at a time slowly and
 * many at once fast; a row takes about five. No byte that is read depends on it, and a warm cache
 * loses next to nothing. */
struct cask_prefetch;
enum { CASK_PREFETCH_ROWS = 8192 }; /* that may wait; 128 KB */
/* `wanted` as for cask_cache_gather, of which only NULL or not matters. The cache is borrowed. */
enum cask_status cask_prefetch_start(struct cask_cache *cache,
                                     const struct cask_cache_gather *wanted, int threads,
                                     struct cask_prefetch **prefetch, struct cask_error *err);
/* Names rows that gather will be asked for. Never waits: what finds no room is left to gather. One
 * caller at a time. */
void cask_prefetch_rows(struct cask_prefetch *prefetch, const int64_t *rows, const bool *mirror,
                        int count);
void cask_prefetch_stop(struct cask_prefetch *prefetch); /* accepts NULL; before cask_cache_close */

/* Class centres [classes][D] unit float32, loaded once and owned by the cache; thread-safe. */
enum cask_status cask_cache_centers(struct cask_cache *cache, const float **centers,
                                    struct cask_error *err);
/* They have been read and will hardly be read again: their pages are no longer this process's
 * memory. What is read nevertheless comes back by itself. */
void cask_cache_centers_idle(struct cask_cache *cache);

/* ------------------------------------------------------------ verification */

struct cask_verify_counts {
    int64_t shards, bad_shards;
    bool centers_bad;
    uint64_t bytes; /* read */
};
/* Called once per damaged file; shard is CASK_CACHE_CENTERS for the centres. `damage` says file,
 * array and rows. */
typedef void (*cask_verify_report)(int64_t shard, const struct cask_error *damage, void *user);

/* Is every byte of a finished cache what was published? Checks sidecars, every span of every array,
 * that every chunk decodes to indices in range, and the whole-file hashes. Fails only where there
 * is nothing to check (no readable, finished manifest). */
enum cask_status cask_verify_folder(const char *folder, cask_verify_report report, void *user,
                                    struct cask_verify_counts *counts, struct cask_error *err);

/* -------------------------------------------------------------- comparison */

/* What the manifest in `folder` says, finished or not; *found is false where there is none. For a
 * builder that wants to know before it does any work. */
enum cask_status cask_manifest_peek(const char *folder, struct cask_manifest *manifest, bool *found,
                                    bool *complete, struct cask_error *err);

/* Calls `visit` for every identity field in which `found` differs from `expected`; fields that are
 * empty in `expected` are not compared, nor is a probe that either side lacks. Probes are equal
 * within a tolerance: CASK_PROBE_TOLERANCE_FP32, or ..._BF16 where `precision` says so. The texts
 * live as long as the call. */
typedef void (*cask_manifest_visit)(const char *field, const char *expected, const char *found,
                                    void *user);
void cask_manifest_differences(const struct cask_manifest *expected,
                               const struct cask_manifest *found, cask_manifest_visit visit,
                               void *user);

/* Compares what `found` says with `expected`, field by field; fields that are empty in `expected`
 * are not compared. CASK_ERR_MISMATCH lists every difference as "field: expected ..., found ...". A
 * difference whose field name is in `accepted` is allowed and counted in *overrides.
 * CASK_ERR_USAGE: a name there is no field's. */
enum cask_status cask_manifest_compare(const struct cask_manifest *expected,
                                       const struct cask_manifest *found,
                                       const char *const *accepted, int accepted_count,
                                       int *overrides, struct cask_error *err);

#endif
