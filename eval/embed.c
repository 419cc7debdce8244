/* eval/embed.c - raw embeddings of a set's images, and of their mirrors. */
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "eval/views.h"

/* A batch on its way: decoded in parallel, then run through the network once for each view.
 */
struct embedder {
    const struct cask_pairs *pairs;
    const struct cask_embed_options *options;
    struct cask_views *views;
    struct cask_pool *pool;
    struct cask_plan *plan;
    struct cask_decoder **decoders; /* one a worker */
    struct cask_encoded *encoded;   /* one a worker */
    uint8_t *rgb;                   /* [batch][h][w][3] */
    float *pixels;                  /* the same, normalised */
    int64_t first;                  /* image index of the batch */
    bool mirror;
    struct cask_error *errors; /* [batch] */
};

static size_t image_values(const struct embedder *e)
{
    return (size_t)e->options->preprocess.width * (size_t)e->options->preprocess.height * 3;
}

static void decode_task(void *user, int64_t index, int worker)
{
    struct embedder *e = user;
    struct cask_error *err = &e->errors[index];
    const struct cask_preprocess *shape = &e->options->preprocess;
    uint8_t *rgb = e->rgb + (size_t)index * image_values(e);
    err->status = CASK_OK;
    if (cask_pairs_read(e->pairs, e->first + index, &e->encoded[worker], err) == CASK_OK &&
        cask_decode(e->decoders[worker], e->encoded[worker].data, e->encoded[worker].bytes,
                    shape->width, shape->height, rgb, err) != CASK_OK) {
        char name[256];
        cask_pairs_image_name(e->pairs, e->first + index, name, sizeof name);
        cask_error_prefix(err, "%s", name);
    }
}

static void preprocess_task(void *user, int64_t index, int worker)
{
    struct embedder *e = user;
    (void)worker;
    size_t at = (size_t)index * image_values(e);
    cask_preprocess_apply(&e->options->preprocess, e->rgb + at, e->mirror, e->pixels + at);
}

static enum cask_status open_embedder(struct embedder *e, int threads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t batch = (size_t)e->options->batch, workers = (size_t)threads;
    CASK_TRY(cask_pool_create(threads, &e->pool, err));
    CASK_TRY(cask_plan_create(e->options->net, e->options->batch, CASK_MODE_EVAL, &e->plan, err));
    e->decoders = cask_alloc(workers, sizeof(struct cask_decoder *));
    e->encoded = cask_alloc(workers, sizeof *e->encoded);
    e->rgb = cask_alloc(batch, image_values(e));
    e->pixels = cask_alloc(batch * image_values(e), sizeof *e->pixels);
    e->errors = cask_alloc(batch, sizeof *e->errors);
    if (e->decoders == NULL || e->encoded == NULL || e->rgb == NULL || e->pixels == NULL ||
        e->errors == NULL) {
        CASK_TRY(cask_error_memory(err, batch * image_values(e) * 5, "an evaluation batch"));
    }
    for (int i = 0; i < threads; i++) {
        CASK_TRY(cask_decoder_create(&e->decoders[i], err));
    }
done:
    return st;
}

static void close_embedder(struct embedder *e, int threads)
{
    for (int i = 0; i < threads; i++) {
        if (e->decoders != NULL) {
            cask_decoder_free(e->decoders[i]);
        }
        if (e->encoded != NULL) {
            cask_encoded_release(&e->encoded[i]);
        }
    }
    cask_free(e->decoders);
    cask_free(e->encoded);
    cask_free(e->rgb);
    cask_free(e->pixels);
    cask_free(e->errors);
    cask_plan_free(e->plan);
    cask_pool_free(e->pool);
}

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

static enum cask_status embed_batch(struct embedder *e, int count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    cask_pool_run(e->pool, count, decode_task, e);
    for (int i = 0; i < count; i++) {
        const struct cask_error *failed = &e->errors[i];
        if (failed->status == CASK_ERR_MEMORY) {
            *err = *failed;
            CASK_TRY(err->status);
        }
        if (failed->status != CASK_OK) {
            memset(e->rgb + (size_t)i * image_values(e), 0, image_values(e));
        }
    }
    for (int pass = 0; pass < 2 && e->views->view[pass] != NULL; pass++) {
        size_t at = (size_t)e->first * (size_t)e->views->dim;
        e->mirror = pass == 1;
        cask_pool_run(e->pool, count, preprocess_task, e);
        CASK_TRY(cask_plan_forward(e->plan, e->pixels, count, e->views->view[pass] + at, err));
    }
    for (int i = 0; i < count; i++) {
        if (e->errors[i].status != CASK_OK) {
            views_mark_bad(e->views, e->first + i, e->errors[i].message);
        }
    }
done:
    return st;
}

enum cask_status cask_embed_views(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, bool mirrors,
                                  struct cask_views *views, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct embedder e = {.pairs = pairs, .options = options, .views = views};
    int threads = options->threads > 0 ? options->threads : cask_cpu_count();
    int64_t images = cask_pairs_image_count(pairs);
    struct cask_progress bar;
    CASK_TRY(views_create(images, cask_graph_embedding(cask_net_graph(options->net)), mirrors,
                          views, err));
    CASK_TRY(open_embedder(&e, threads, err));
    cask_progress_begin(&bar, cask_pairs_name(pairs), "images", 0, images);
    for (e.first = 0; e.first < images; e.first += options->batch) {
        int64_t left = images - e.first;
        int count = left < options->batch ? (int)left : options->batch;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(embed_batch(&e, count, err));
        cask_progress_update(&bar, e.first + count, "%s", "");
    }
    cask_progress_end(&bar);
    views_check(views, pairs);
done:
    close_embedder(&e, threads);
    if (st != CASK_OK) {
        cask_views_release(views);
    }
    return st;
}
