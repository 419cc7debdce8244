/* eval/embed.c - raw embeddings of a set's images, and of their mirrors, in memory. */
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "eval/faces.h"
#include "eval/views.h"

void views_mark_bad(struct cask_views *views, int64_t image, const char *reason)
{
    if (views->bad_count++ == 0) {
        snprintf(views->first_bad, sizeof views->first_bad, "%s", reason);
    }
    views->bad[image] = true;
    for (int v = 0; v < 2 && views->view[v] != NULL; v++) {
        memset(views->view[v] + (size_t)image * (size_t)views->dim, 0,
               (size_t)views->dim * sizeof(float));
    }
}

/* A row that is not a number would count as "different" and pass for an accuracy of 50 %. */
static bool row_is_good(const struct cask_views *views, int64_t image, double *length)
{
    for (int v = 0; v < 2 && views->view[v] != NULL; v++) {
        const float *row = views->view[v] + (size_t)image * (size_t)views->dim;
        double squares = 0;
        for (int i = 0; i < views->dim; i++) {
            squares += (double)row[i] * (double)row[i];
        }
        *length = sqrt(squares);
        if (!(isfinite(squares) && squares > 0)) {
            return false;
        }
    }
    return true;
}

void views_check(struct cask_views *views, const struct cask_pairs *pairs)
{
    for (int64_t i = 0; i < views->images; i++) {
        double length = 0;
        if (!views->bad[i] && !row_is_good(views, i, &length)) {
            char name[256], reason[512];
            cask_pairs_image_name(pairs, i, name, sizeof name);
            snprintf(reason, sizeof reason,
                     "%s: expected finite numbers that are not all zero, found an embedding of "
                     "length %g",
                     name, length);
            views_mark_bad(views, i, reason);
        }
    }
}

enum cask_status views_create(int64_t images, int dim, bool mirrors, struct cask_views *views,
                              struct cask_error *err)
{
    size_t values = (size_t)images * (size_t)dim;
    *views = (struct cask_views){.images = images, .dim = dim};
    views->bad = cask_alloc((size_t)images, sizeof *views->bad);
    views->view[0] = cask_alloc(values, sizeof(float));
    views->view[1] = mirrors ? cask_alloc(values, sizeof(float)) : NULL;
    if (views->bad == NULL || views->view[0] == NULL || (mirrors && views->view[1] == NULL)) {
        return cask_error_memory(err, values * 8, "embeddings");
    }
    return CASK_OK;
}

void cask_views_release(struct cask_views *views)
{
    cask_free(views->view[0]);
    cask_free(views->view[1]);
    cask_free(views->bad);
    *views = (struct cask_views){0};
}

/* The embedder's rows hold both views one behind the other. */
static void split(const float *rows, int64_t first, int64_t count, struct cask_views *views)
{
    size_t dim = (size_t)views->dim, columns = dim * (views->view[1] != NULL ? 2 : 1);
    for (int64_t i = 0; i < count; i++) {
        for (int v = 0; v < 2 && views->view[v] != NULL; v++) {
            memcpy(views->view[v] + (size_t)(first + i) * dim,
                   rows + (size_t)i * columns + (size_t)v * dim, dim * sizeof *rows);
        }
    }
}

static void note_bad(void *user, int64_t image, const char *reason)
{
    views_mark_bad(user, image, reason);
}

enum cask_status views_embed(const struct cask_pairs *pairs, const struct cask_faces *faces,
                             const struct cask_embed_options *options, bool mirrors,
                             struct cask_views *views, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_embedder_options embedder_options = {
        options->net, options->preprocess, mirrors ? 2 : 1, options->batch, options->threads};
    struct cask_embedder *embedder = NULL;
    struct cask_progress bar;
    float *rows = NULL;
    int64_t images = faces->count;
    CASK_TRY(views_create(images, cask_graph_embedding(cask_net_graph(options->net)), mirrors,
                          views, err));
    CASK_TRY(cask_embedder_open(faces, &embedder_options, &embedder, err));
    size_t columns = (size_t)cask_embedder_columns(embedder);
    rows = cask_alloc((size_t)options->batch * columns, sizeof *rows);
    if (rows == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)options->batch * columns * 4, "embeddings"));
    }
    cask_progress_begin(&bar, cask_pairs_name(pairs), "images", 0, images);
    for (int64_t first = 0; first < images; first += options->batch) {
        int64_t left = images - first, count = left < options->batch ? left : options->batch;
        CASK_TRY(cask_embedder_run(embedder, first, count, rows, note_bad, views, err));
        split(rows, first, count, views);
        cask_progress_update(&bar, first + count, "%s", "");
    }
    cask_progress_end(&bar);
    views_check(views, pairs);
done:
    cask_embedder_close(embedder);
    cask_free(rows);
    if (st != CASK_OK) {
        cask_views_release(views);
    }
    return st;
}

enum cask_status cask_embed_views(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, bool mirrors,
                                  struct cask_views *views, struct cask_error *err)
{
    struct cask_faces faces = cask_faces_of_pairs(pairs);
    return views_embed(pairs, &faces, options, mirrors, views, err);
}
