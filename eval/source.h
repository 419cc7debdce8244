/* eval/source.h - where embeddings come from: a model that is run, a .npy matrix, a cask's rows.
 * Private to eval/. */
#ifndef CASK_EVAL_SOURCE_H
#define CASK_EVAL_SOURCE_H

#include "cache/cache.h"
#include "common/npy.h"
#include "eval/command.h"
#include "eval/eval.h"

struct source_options {
    const char *path;           /* a folder is a cache, *.npy a matrix, anything else a model */
    struct model_options model; /* its `model` is not looked at */
    const char *index;          /* list of names, line r is row r; "": none */
    const char *data;           /* dataset the rows were made of, for its names; "": none */
    int64_t columns;            /* views in a row of a matrix: 1, or 2: image and mirror */
};

struct source {
    enum source_kind { SOURCE_MODEL, SOURCE_NPY, SOURCE_CACHE } kind;
    struct source_options options;
    struct opened_model model;
    struct cask_npy npy;
    struct cask_cache *cache;
    char pixels[160]; /* end of the protocol line */
};

enum cask_status source_open(const struct source_options *options, struct source *source,
                             struct cask_error *err); /* begins zeroed; close in any case */
void source_close(struct source *source);

/* by_position: the pairs are a .bin set. */
enum cask_status source_embed(struct source *source, const struct cask_pairs *pairs,
                              bool by_position, bool mirrors, struct cask_views *views,
                              struct cask_error *err);

/* rows[images] of a matrix or a cache, -1 where there is none; see eval/names.h. */
enum cask_status source_resolve(const struct source *source, const struct cask_pairs *pairs,
                                bool by_position, int64_t *rows, struct cask_error *err);

#endif
