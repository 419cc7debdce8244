/* precompute/build.h - private: one run of precompute, shared by run.c (opens, agrees, closes),
 * build_plan.c (which shards), build_embed.c (the teacher), build_stage.c (class means) and
 * build_write.c (the shards).
 *
 * A run makes some of the shards of a cache: all that are missing, those of --shards, or those of
 * --only. Whatever it is asked for, a shard is made by the same code and has the same bytes.
 */
#ifndef CASK_PRECOMPUTE_BUILD_H
#define CASK_PRECOMPUTE_BUILD_H

#include "common/log.h"
#include "precompute/publisher.h"

/* Everything one build needs at once; opened in order, closed in reverse. */
struct build {
    const struct precompute_options *options;
    struct teacher teacher;
    struct cask_dataset *dataset;
    struct cask_manifest manifest;
    char begun[16]; /* origin of centres in the manifest that is already there, or "" */
    bool complete;  /* that manifest says so */
    struct centers centers;
    struct shard_rows rows;
    struct cask_cache_writer *writer;
    struct distiller *distiller;
    struct staging staging; /* folder "": nothing is staged */
    struct publisher publisher;
    struct cask_progress bar;
    int64_t shards;
    bool *mine;        /* [shards]: what this run is asked for */
    int64_t seen, bad; /* images embedded or staged so far, and those of them without pixels */
    int64_t fresh;     /* images embedded by this run */
    bool finished_elsewhere; /* another process brought the cache to its end */
    double teacher_seconds, image_seconds, topk_seconds; /* the second: of the first, waiting */
};

int64_t build_shard_first(const struct build *b, int64_t shard);
int64_t build_shard_count(const struct build *b, int64_t shard);
/* Images in shards that are published; in shards of this run that are not. */
int64_t build_written(const struct build *b);
int64_t build_missing(const struct build *b);
bool build_all_there(const struct build *b); /* centres too */

/* build_plan.c: fills b->mine from --shards and --only, and marks what is to be built anew. */
enum cask_status build_plan(struct build *b, struct cask_error *err);
/* Which options go together; before anything is opened. */
enum cask_status build_check_options(const struct precompute_options *options,
                                     struct cask_error *err);

/* build_embed.c: runs the teacher over one shard; `shown` is what the bar shows before it. */
enum cask_status build_embed(struct build *b, int64_t shard, int64_t shown, struct cask_error *err);
/* A stage file that is whole is read into b->rows; one that is damaged counts as missing. */
enum cask_status build_load_stage(struct build *b, int64_t shard, bool *loaded,
                                  struct cask_error *err);
/* Has another process brought this cache to its end in the meantime? What is staged is gone then.
 */
enum cask_status build_ask_finished(struct build *b, struct cask_error *err);

/* build_stage.c: centres out of the embeddings of all shards, staged by this process or by others.
 * b->centers stays empty where shards are missing that this run is not asked for. */
enum cask_status build_take_means(struct build *b, struct cask_error *err);

/* build_write.c: until every shard of this run is published, by this process or by others. */
enum cask_status build_write_shards(struct build *b, struct cask_error *err);

#endif
