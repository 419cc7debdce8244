/* precompute/precompute.h - the parts of stage one and how data goes through them.
 *
 *   dataset --loader--> teacher (image and mirror) --> struct shard_rows   (unit embeddings, norms)
 *   shard_rows + class centres --distil--> top-k cosines, label cosine, LSEs --> cache writer
 *
 * Class centres come from the teacher's classifier or a file before the first shard; or they are
 * the class means of the teacher's own embeddings, and then the embeddings of all shards are staged
 * on disk first (DIR/staging-*), so that a killed build resumes there too.
 *
 * Machines without a common disk each build a part (--shards) in a folder of their own. A part is
 * an unfinished cache like any other; `cachetool merge` joins parts that hold shards, --parts those
 * that hold staged embeddings.
 */
#ifndef CASK_PRECOMPUTE_PRECOMPUTE_H
#define CASK_PRECOMPUTE_PRECOMPUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"
#include "common/config.h"
#include "data/data.h"
#include "kernels/kernels.h"
#include "models/models.h"

/* ----------------------------------------------------------------- options */

struct precompute_options {
    const char *teacher, *weights, *data, *out, *centers, *preprocess, *backend;
    struct cask_config_reals temperatures;
    const char *shards; /* "FIRST:END"; "": all */
    struct cask_config_texts only, parts;
    int64_t topk, batch, threads, limit, shard_images;
    double scale, max_bad_percent;
    int embedding, precision;
};
extern const struct cask_config_row precompute_rows[];
extern const size_t precompute_row_count;

/* ----------------------------------------------------------------- teacher */

struct teacher {
    struct cask_device *device;
    struct cask_model model;
    struct cask_preprocess preprocess;
    struct cask_plan *plan;
    int batch, dim;
};
enum cask_status teacher_open(const struct precompute_options *options, struct teacher *teacher,
                              struct cask_error *err);
void teacher_close(struct teacher *teacher); /* accepts a zeroed struct */

/* What the teacher says about `count` images in storage order, both views. */
struct shard_rows {
    int64_t first, count, capacity;
    int dim;
    float *unit[CASK_CACHE_VIEWS]; /* [count][dim] */
    float *norm[CASK_CACHE_VIEWS]; /* [count] */
    uint8_t *bad;                  /* [count] 1: could not be decoded; its rows are zero */
};
enum cask_status shard_rows_create(struct shard_rows *rows, int64_t capacity, int dim,
                                   struct cask_error *err);
void shard_rows_release(struct shard_rows *rows); /* accepts a zeroed struct */

/* Called for every image that could not be decoded, in order; an error ends the pass. */
typedef enum cask_status (*bad_image)(void *user, int64_t index, const char *message,
                                      struct cask_error *err);

/* Fills rows with images [first, first + count), or with those of `subset` where it is not NULL. */
struct embed_request {
    const struct cask_dataset *dataset;
    const int64_t *subset; /* [count] image indices; then first is 0 */
    int64_t first, count;
    bad_image on_bad; /* may be NULL */
    /* asked before every batch: an error ends the pass; may be NULL */
    enum cask_status (*go_on)(void *user, struct cask_error *err);
    void *user;                /* of both */
    struct cask_progress *bar; /* may be NULL */
    int64_t bar_from;          /* what the bar shows before this pass */
    double waited;             /* out: seconds that the teacher stood still for images */
};
enum cask_status teacher_embed(struct teacher *teacher, struct embed_request *request,
                               struct shard_rows *rows, struct cask_error *err);

/* Unit length in place; false where the length, left in *norm, is no positive number: no loss could
 * use such a row. */
bool unit_row(float *row, int dim, double *norm);

/* The probe of cache.h: the pictures of FORMAT.md 5.1, one at a time, through the plan that embeds
 * the images. A product sums in the order that suits its number of rows, so the last digits depend
 * on --batch as they do on the instruction set; the comparison's tolerance covers both. Fills
 * manifest->probe. */
enum cask_status probe_teacher(struct teacher *teacher, struct cask_manifest *manifest,
                               struct cask_error *err);

/* ----------------------------------------------------------------- centres */

struct centers {
    float *rows; /* [classes][dim], unit; owned */
    int64_t classes;
    char origin[16]; /* "classifier", "file", "mean" */
};
/* Before the first shard: fills centers->rows if they come from a file or from the teacher's own
 * classifier, or leaves rows NULL where class means are to be taken. The reason is logged. `begun`
 * is the origin in the manifest of a cache that is resumed, or "": then --centers auto decides as
 * it did, without asking the teacher again. */
enum cask_status centers_find(const struct precompute_options *options, const char *begun,
                              struct teacher *teacher, const struct cask_dataset *dataset,
                              struct centers *centers, struct cask_error *err);
/* The origin that --centers asks for by name; "" where "auto" leaves it open. */
const char *centers_asked(const struct precompute_options *options);
void centers_release(struct centers *centers);

/* Share of tried classes whose own images lie nearest to the centre of their label (64 classes, up
 * to 4 images of each, both views). */
enum cask_status alignment_share(struct teacher *teacher, const struct cask_dataset *dataset,
                                 const struct centers *centers, double *share,
                                 struct cask_error *err);

/* Class means: normalised sum of the unit embeddings of both views of every image of a class. A
 * class without a readable image has a row of zeros: its cosine with everything is 0. */
struct class_means {
    double *sums; /* [classes][dim] */
    int64_t classes;
    int dim;
};
enum cask_status class_means_create(struct class_means *means, int64_t classes, int dim,
                                    struct cask_error *err);
void class_means_add(struct class_means *means, const struct cask_dataset *dataset,
                     const struct shard_rows *rows);
enum cask_status class_means_finish(const struct class_means *means, struct centers *centers,
                                    struct cask_error *err);
void class_means_release(struct class_means *means);

/* ------------------------------------------------------------------ distil */

/* From unit embeddings and centres to what a cache row holds. Cosines are compared as the int16
 * fixed-point values that the cache stores, so that "descending, ties by class id" is true of the
 * file itself. */
struct distiller;
enum cask_status distiller_create(struct cask_device *device, const struct cask_manifest *manifest,
                                  const struct centers *centers, int threads,
                                  struct distiller **distiller, struct cask_error *err);
void distiller_free(struct distiller *distiller); /* accepts NULL */
/* Appends the shard's rows to the writer's open shard. `identify` says who row `row` of the build
 * is; rows of a dataset know themselves. */
struct row_identity {
    uint64_t sample_id, source_offset;
    uint32_t label; /* CASK_NO_LABEL: none */
};
typedef void (*row_identify)(const void *user, int64_t row, struct row_identity *who);
enum cask_status distiller_write_rows(struct distiller *distiller, row_identify identify,
                                      const void *user, const struct shard_rows *rows,
                                      struct cask_cache_writer *writer, struct cask_error *err);
enum cask_status distiller_write(struct distiller *distiller, const struct cask_dataset *dataset,
                                 const struct shard_rows *rows, struct cask_cache_writer *writer,
                                 struct cask_error *err);

/* What is done to every cosine of a row, at one instruction set; the bits are the same at all. */
enum { CLASS_BLOCK = 32 };
struct class_scan {
    /* Sum of exp(factor (cosine - most)) over `count` cosines that are at most `most`. */
    double (*exponentials)(const float *cosines, int64_t count, double factor, double most);
    /* The largest of each CLASS_BLOCK cosines, the last of which may be fewer. */
    void (*maxima)(const float *cosines, int64_t count, float *most);
};
/* isa: a level that the CPU has, as cask_cpu_isa() names it. */
const struct class_scan *class_scan_at(const char *isa);

/* ----------------------------------------------------------------- staging */

/* DIR/staging-<identity>/stage-00000.bin holds one shard_rows each, whole or absent. The name binds
 * it to teacher, preprocessing and data. */
struct staging {
    char folder[3968];                   /* leaves room for a file name in PATH_MAX; "": none */
    const char *name;                    /* the last part of it */
    const char *parts[CASK_CONFIG_LIST]; /* other builds' DIR, read from; borrowed */
    int part_count;
};
/* Makes the folder, or finds it; it is gone once the cache is finished. Several builders share it,
 * by leases (cache.h) named "stage" in it. */
enum cask_status staging_open(const char *out, const struct cask_manifest *manifest,
                              struct staging *staging, struct cask_error *err);
/* What was staged in the folder of another part of this build counts as staged here. */
enum cask_status staging_add_part(struct staging *staging, const char *part,
                                  struct cask_error *err);
/* CASK_ERR_NO_SPACE if the disk has no room for the images that are not staged yet. */
enum cask_status staging_check_space(const struct staging *staging, const char *out,
                                     const struct cask_manifest *manifest, int64_t missing,
                                     struct cask_error *err);
bool staging_has(const struct staging *staging, int64_t shard);
enum cask_status staging_save(const struct staging *staging, int64_t shard,
                              const struct shard_rows *rows, struct cask_error *err);
/* Damage of any byte is CASK_ERR_FORMAT; rows then hold nothing of use. */
enum cask_status staging_load(const struct staging *staging, int64_t shard, int64_t first,
                              int64_t count, struct shard_rows *rows, struct cask_error *err);
/* Accepts a zeroed struct and a folder that is not there. */
void staging_remove(const struct staging *staging, int64_t shards);

/* --------------------------------------------------------------------- run */

/* The manifest as far as it is known before any embedding; centres are added later. */
enum cask_status manifest_begin(const struct precompute_options *options, struct teacher *teacher,
                                const struct cask_dataset *dataset, struct cask_manifest *manifest,
                                struct cask_error *err);

enum cask_status precompute_run(const struct precompute_options *options, struct cask_error *err);

/* ------------------------------------------------------------------ retopk */

/* A cache of other top-k size, temperatures or scale out of the embeddings and class centres of one
 * that is there: no teacher, no images. Cosines are those of the stored embeddings, so they differ
 * from the first cache's by its rounding (manifest: embedding_error_max); embeddings, norms, ids
 * and fingerprints are carried over, and doing it twice gives the same bytes as once. */
struct retopk_options {
    const char *cache, *out, *backend;
    struct cask_config_reals temperatures; /* none: those of the cache */
    int64_t topk, threads;                 /* 0: the cache's; all */
    double scale;                          /* 0: the cache's */
    bool json;                             /* the result as one JSON object on stdout */
};
extern const struct cask_config_row retopk_rows[];
extern const size_t retopk_row_count;
enum cask_status retopk_run(const struct retopk_options *options, struct cask_error *err);

#endif
