#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "eval/eval.h"

/* A batch on its way: decoded in parallel, then run through the network twice if flips are summed.
 */
struct embedder {
    const struct cask_pairs *pairs;
    const struct cask_embed_options *options;
    struct cask_pool *pool;
    struct cask_plan *plan;
    struct cask_decoder **decoders; /* one a worker */
    struct cask_encoded *encoded;   /* one a worker */
    uint8_t *rgb;                   /* [batch][h][w][3] */
    float *pixels;                  /* the same, normalised */
    float *output;                  /* [batch][D] */
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
    err->status = CASK_OK;
    if (cask_pairs_read(e->pairs, e->first + index, &e->encoded[worker], err) != CASK_OK) {
        return;
    }
    uint8_t *rgb = e->rgb + (size_t)index * image_values(e);
    if (cask_decode(e->decoders[worker], e->encoded[worker].data, e->encoded[worker].bytes,
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
    size_t dim = (size_t)cask_graph_embedding(cask_net_graph(e->options->net));
    CASK_TRY(cask_pool_create(threads, &e->pool, err));
    CASK_TRY(cask_plan_create(e->options->net, e->options->batch, CASK_MODE_EVAL, &e->plan, err));
    e->decoders = cask_alloc(workers, sizeof(struct cask_decoder *));
    e->encoded = cask_alloc(workers, sizeof *e->encoded);
    e->rgb = cask_alloc(batch, image_values(e));
    e->pixels = cask_alloc(batch * image_values(e), sizeof *e->pixels);
    e->output = cask_alloc(batch * dim, sizeof *e->output);
    e->errors = cask_alloc(batch, sizeof *e->errors);
    if (e->decoders == NULL || e->encoded == NULL || e->rgb == NULL || e->pixels == NULL ||
        e->output == NULL || e->errors == NULL) {
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
    cask_free(e->output);
    cask_free(e->errors);
    cask_plan_free(e->plan);
    cask_pool_free(e->pool);
}

/* One batch of `count` images; adds its raw embeddings to rows. */
static enum cask_status embed_batch(struct embedder *e, int count, double *rows, size_t dim,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int passes = e->options->flip == CASK_FLIP_SUM ? 2 : 1;
    cask_pool_run(e->pool, count, decode_task, e);
    for (int i = 0; i < count; i++) {
        if (e->errors[i].status != CASK_OK) {
            *err = e->errors[i];
            CASK_TRY(err->status);
        }
    }
    for (int pass = 0; pass < passes; pass++) {
        e->mirror = pass == 1;
        cask_pool_run(e->pool, count, preprocess_task, e);
        CASK_TRY(cask_plan_forward(e->plan, e->pixels, count, e->output, err));
        for (size_t i = 0; i < (size_t)count * dim; i++) {
            rows[i] += (double)e->output[i];
        }
    }
done:
    return st;
}

/* A row that is not a number would count as "different" and pass for an accuracy of 50 %. */
static enum cask_status normalise_rows(const struct cask_pairs *pairs, double *rows, int64_t count,
                                       size_t dim, struct cask_error *err)
{
    for (int64_t r = 0; r < count; r++) {
        double *row = rows + (size_t)r * dim, squares = 0;
        for (size_t i = 0; i < dim; i++) {
            squares += row[i] * row[i];
        }
        if (!isfinite(squares)) {
            char name[256];
            cask_pairs_image_name(pairs, r, name, sizeof name);
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "%s: expected finite numbers from the model, found an embedding "
                                  "of length %g; its weights or --preprocess are wrong",
                                  name, sqrt(squares));
        }
        double scale = squares > 0 ? 1 / sqrt(squares) : 0;
        for (size_t i = 0; i < dim; i++) {
            row[i] *= scale;
        }
    }
    return CASK_OK;
}

enum cask_status cask_embed_pairs(const struct cask_pairs *pairs,
                                  const struct cask_embed_options *options, double **embeddings,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct embedder e = {.pairs = pairs, .options = options};
    int threads = options->threads > 0 ? options->threads : cask_cpu_count();
    int64_t images = cask_pairs_image_count(pairs);
    size_t dim = (size_t)cask_graph_embedding(cask_net_graph(options->net));
    struct cask_progress bar;
    double *rows = cask_alloc((size_t)images * dim, sizeof *rows);
    if (rows == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)images * dim * sizeof *rows, "embeddings"));
    }
    CASK_TRY(open_embedder(&e, threads, err));
    cask_progress_begin(&bar, cask_pairs_name(pairs), "images", 0, images);
    for (e.first = 0; e.first < images; e.first += options->batch) {
        int64_t left = images - e.first;
        int count = left < options->batch ? (int)left : options->batch;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(embed_batch(&e, count, rows + (size_t)e.first * dim, dim, err));
        cask_progress_update(&bar, e.first + count, "%s", "");
    }
    cask_progress_end(&bar);
    CASK_TRY(normalise_rows(pairs, rows, images, dim, err));
    *embeddings = rows;
    rows = NULL;
done:
    close_embedder(&e, threads);
    cask_free(rows);
    return st;
}
