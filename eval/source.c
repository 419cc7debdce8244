/* eval/source.c - raw embeddings of a set from wherever they are. */
#include "eval/source.h"

#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "common/text.h"
#include "eval/views.h"

enum { GATHER = 256 }; /* rows of a cache at a time */

static enum cask_status open_cache(struct source *source, struct cask_error *err)
{
    char pixels[64];
    enum cask_status st =
        cask_cache_open(source->options.path, CASK_VERIFY_FIRST, &source->cache, err);
    if (st == CASK_OK) {
        const struct cask_manifest *manifest = cask_cache_manifest(source->cache);
        cask_preprocess_format(&manifest->preprocess, pixels);
        snprintf(source->pixels, sizeof source->pixels, "%s, %s from a cache", pixels,
                 manifest->teacher);
    }
    return st;
}

static enum cask_status open_npy(struct source *source, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t views = source->options.columns;
    CASK_TRY(cask_npy_open(source->options.path, &source->npy, err));
    if (source->npy.columns % views != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "%s: expected image and mirror side by side in a row (--views 2), "
                                "found an odd number of columns: %lld",
                                source->options.path, (long long)source->npy.columns));
    }
    snprintf(source->pixels, sizeof source->pixels, "embeddings from a .npy");
done:
    return st;
}

enum cask_status source_open(const struct source_options *options, struct source *source,
                             struct cask_error *err)
{
    source->options = *options;
    source->options.model.model = options->path;
    if (cask_path_is_folder(options->path)) {
        source->kind = SOURCE_CACHE;
        return open_cache(source, err);
    }
    if (cask_ends_with(options->path, ".npy")) {
        source->kind = SOURCE_NPY;
        return open_npy(source, err);
    }
    source->kind = SOURCE_MODEL;
    enum cask_status st = model_open(&source->options.model, &source->model, err);
    if (st == CASK_OK) {
        cask_preprocess_format(&source->model.preprocess, source->pixels);
    }
    return st;
}

void source_close(struct source *source)
{
    model_close(&source->model);
    cask_npy_close(&source->npy);
    cask_cache_close(source->cache);
}

static enum cask_status mark_missing(const struct source *source, const struct cask_pairs *pairs,
                                     const int64_t *rows, struct cask_views *views,
                                     struct cask_error *err)
{
    char name[256], reason[512];
    for (int64_t i = 0; i < views->images; i++) {
        if (rows[i] < 0) {
            cask_pairs_image_name(pairs, i, name, sizeof name);
            snprintf(reason, sizeof reason, "%s: expected a row of this name in %s, found none",
                     name, source->options.path);
            views_mark_bad(views, i, reason);
        }
    }
    if (views->bad_count == views->images) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s; nor for any other image: the names in the pairs are %s (see "
                              "--index and --data)",
                              views->first_bad,
                              source->options.index[0] != 0 || source->options.data[0] != 0
                                  ? "not those of the rows"
                              : source->kind == SOURCE_CACHE ? "not the cache's sample ids"
                                                             : "not numbers of rows");
    }
    return CASK_OK;
}

static enum cask_status read_npy(const struct source *source, const int64_t *rows, bool mirrors,
                                 struct cask_views *views, struct cask_error *err)
{
    size_t dim = (size_t)views->dim;
    float *row = cask_alloc((size_t)source->npy.columns, sizeof *row);
    if (row == NULL) {
        return cask_error_memory(err, (size_t)source->npy.columns * sizeof *row, "a row");
    }
    for (int64_t i = 0; i < views->images; i++) {
        if (rows[i] >= 0) {
            cask_npy_read(&source->npy, rows[i], 1, row);
            memcpy(views->view[0] + (size_t)i * dim, row, dim * sizeof *row);
            if (mirrors) {
                memcpy(views->view[1] + (size_t)i * dim, row + dim, dim * sizeof *row);
            }
        }
    }
    cask_free(row);
    return CASK_OK;
}

/* Unit rows times their norms: the raw embeddings, as far as the cache keeps them. */
static enum cask_status gather(const struct source *source, const int64_t *rows, int64_t first,
                               int count, int view, struct cask_views *views,
                               struct cask_error *err)
{
    int64_t wanted[GATHER];
    bool mirror[GATHER];
    float norm[GATHER];
    size_t dim = (size_t)views->dim;
    float *out = views->view[view] + (size_t)first * dim;
    for (int i = 0; i < count; i++) {
        wanted[i] = rows[first + i] >= 0 ? rows[first + i] : 0;
        mirror[i] = view == 1;
    }
    struct cask_cache_gather what = {.embedding = out, .norm = norm};
    enum cask_status st = cask_cache_gather(source->cache, wanted, mirror, count, &what, err);
    for (int i = 0; st == CASK_OK && i < count; i++) {
        for (size_t d = 0; d < dim; d++) {
            out[(size_t)i * dim + d] *= rows[first + i] >= 0 ? norm[i] : 0;
        }
    }
    return st;
}

static enum cask_status read_cache(const struct source *source, const struct cask_pairs *pairs,
                                   const int64_t *rows, bool mirrors, struct cask_views *views,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int64_t first = 0; first < views->images; first += GATHER) {
        int64_t left = views->images - first;
        int count = left < GATHER ? (int)left : GATHER;
        for (int view = 0; view <= mirrors; view++) {
            CASK_TRY(gather(source, rows, first, count, view, views, err));
        }
    }
    for (int64_t i = 0; i < views->images; i++) {
        if (rows[i] >= 0 && (cask_cache_flags(source->cache, rows[i]) & CASK_ROW_BAD) != 0) {
            char name[256], reason[400];
            cask_pairs_image_name(pairs, i, name, sizeof name);
            snprintf(reason, sizeof reason, "%s: row %lld of the cache is of a bad image", name,
                     (long long)rows[i]);
            views_mark_bad(views, i, reason);
        }
    }
done:
    return st;
}

enum cask_status source_embed(struct source *source, const struct cask_pairs *pairs,
                              bool by_position, bool mirrors, struct cask_views *views,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t *rows = NULL;
    if (source->kind == SOURCE_MODEL) {
        const struct source_options *options = &source->options;
        struct cask_embed_options embed = {source->model.model.net, source->model.preprocess,
                                           CASK_FLIP_SUM, (int)options->model.batch,
                                           (int)options->model.threads};
        return cask_embed_views(pairs, &embed, mirrors, views, err);
    }
    int64_t images = cask_pairs_image_count(pairs);
    bool npy = source->kind == SOURCE_NPY;
    int dim = npy ? (int)(source->npy.columns / source->options.columns)
                  : cask_cache_manifest(source->cache)->embedding;
    mirrors = mirrors && (!npy || source->options.columns == 2);
    rows = cask_alloc((size_t)images, sizeof *rows);
    if (rows == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)images * sizeof *rows, "rows"));
    }
    CASK_TRY(source_resolve(source, pairs, by_position, rows, err));
    CASK_TRY(views_create(images, dim, mirrors, views, err));
    CASK_TRY(npy ? read_npy(source, rows, mirrors, views, err)
                 : read_cache(source, pairs, rows, mirrors, views, err));
    CASK_TRY(mark_missing(source, pairs, rows, views, err));
    views_check(views, pairs);
done:
    cask_free(rows);
    if (st != CASK_OK) {
        cask_views_release(views);
    }
    return st;
}
