/* eval/embedder.c - batches of images through a network, each image also mirrored if asked for. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/faces.h"

struct cask_embedder {
    const struct cask_faces *faces;
    struct cask_embedder_options options;
    int threads, dim;
    struct cask_pool *pool;
    struct cask_plan *plan;
    struct cask_face_tools *tools; /* [threads] */
    uint8_t *rgb;                  /* [batch][h][w][3] */
    float *pixels;                 /* the same, normalised */
    float *output;                 /* [batch][dim] */
    struct cask_error *errors;     /* [batch] */
    int64_t first;                 /* image of the batch */
    bool mirror;
};

static size_t image_values(const struct cask_embedder *e)
{
    return (size_t)e->options.preprocess.width * (size_t)e->options.preprocess.height * 3;
}

static void load_task(void *user, int64_t index, int worker)
{
    struct cask_embedder *e = user;
    const struct cask_preprocess *shape = &e->options.preprocess;
    uint8_t *rgb = e->rgb + (size_t)index * image_values(e);
    struct cask_error *err = &e->errors[index];
    err->status = CASK_OK;
    if (e->faces->load(e->faces->user, e->first + index, &e->tools[worker], shape->width,
                       shape->height, rgb, err) != CASK_OK) {
        memset(rgb, 0, image_values(e));
    }
}

static void preprocess_task(void *user, int64_t index, int worker)
{
    struct cask_embedder *e = user;
    size_t at = (size_t)index * image_values(e);
    (void)worker;
    cask_preprocess_apply(&e->options.preprocess, e->rgb + at, e->mirror, e->pixels + at);
}

enum cask_status cask_embedder_open(const struct cask_faces *faces,
                                    const struct cask_embedder_options *options,
                                    struct cask_embedder **embedder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t batch = (size_t)options->batch;
    *embedder = NULL;
    struct cask_embedder *e = cask_alloc(1, sizeof *e);
    if (e == NULL) {
        return cask_error_memory(err, sizeof *e, "an embedder");
    }
    e->faces = faces;
    e->options = *options;
    e->threads = options->threads > 0 ? options->threads : cask_cpu_count();
    e->dim = cask_graph_embedding(cask_net_graph(options->net));
    CASK_TRY(cask_pool_create(e->threads, &e->pool, err));
    CASK_TRY(cask_plan_create(options->net, options->batch, CASK_MODE_EVAL, &e->plan, err));
    e->tools = cask_alloc((size_t)e->threads, sizeof *e->tools);
    e->rgb = cask_alloc(batch, image_values(e));
    e->pixels = cask_alloc(batch * image_values(e), sizeof *e->pixels);
    e->output = cask_alloc(batch * (size_t)e->dim, sizeof *e->output);
    e->errors = cask_alloc(batch, sizeof *e->errors);
    if (e->tools == NULL || e->rgb == NULL || e->pixels == NULL || e->output == NULL ||
        e->errors == NULL) {
        CASK_TRY(cask_error_memory(err, batch * image_values(e) * 5, "a batch of images"));
    }
    for (int i = 0; i < e->threads; i++) {
        CASK_TRY(cask_decoder_create(&e->tools[i].decoder, err));
    }
    *embedder = e;
    e = NULL;
done:
    cask_embedder_close(e);
    return st;
}

void cask_embedder_close(struct cask_embedder *e)
{
    if (e == NULL) {
        return;
    }
    for (int i = 0; e->tools != NULL && i < e->threads; i++) {
        cask_decoder_free(e->tools[i].decoder);
        cask_encoded_release(&e->tools[i].encoded);
    }
    cask_free(e->tools);
    cask_free(e->rgb);
    cask_free(e->pixels);
    cask_free(e->output);
    cask_free(e->errors);
    cask_plan_free(e->plan);
    cask_pool_free(e->pool);
    cask_free(e);
}

int cask_embedder_columns(const struct cask_embedder *embedder)
{
    return embedder->options.views * embedder->dim;
}

/* A row that is not finite, from one image, would poison every mean it enters. */
static void check_row(struct cask_embedder *e, int i, float *row, cask_bad_face bad, void *user)
{
    struct cask_error *err = &e->errors[i];
    int columns = cask_embedder_columns(e);
    bool finite = true;
    for (int d = 0; d < columns; d++) {
        finite &= isfinite(row[d]) != 0;
    }
    if (err->status == CASK_OK && !finite) {
        char name[256];
        e->faces->name(e->faces->user, e->first + i, name, sizeof name);
        cask_error_set(err, CASK_ERR_RANGE,
                       "%s: expected finite numbers, found an embedding that is not", name);
    }
    if (err->status != CASK_OK) {
        memset(row, 0, (size_t)columns * sizeof *row);
        bad(user, e->first + i, err->message);
    }
}

static enum cask_status run_batch(struct cask_embedder *e, int count, float *rows,
                                  cask_bad_face bad, void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int views = e->options.views;
    size_t dim = (size_t)e->dim, columns = dim * (size_t)views;
    cask_pool_run(e->pool, count, load_task, e);
    for (int i = 0; i < count; i++) {
        if (e->errors[i].status == CASK_ERR_MEMORY) {
            *err = e->errors[i];
            CASK_TRY(err->status);
        }
    }
    for (int view = 0; view < views; view++) {
        e->mirror = view == 1;
        cask_pool_run(e->pool, count, preprocess_task, e);
        CASK_TRY(cask_plan_forward(e->plan, e->pixels, count, e->output, err));
        for (int i = 0; i < count; i++) {
            memcpy(rows + (size_t)i * columns + (size_t)view * dim, e->output + (size_t)i * dim,
                   dim * sizeof *rows);
        }
    }
    for (int i = 0; i < count; i++) {
        check_row(e, i, rows + (size_t)i * columns, bad, user);
    }
done:
    return st;
}

enum cask_status cask_embedder_run(struct cask_embedder *e, int64_t first, int64_t count,
                                   float *rows, cask_bad_face bad, void *user,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int64_t done = 0; done < count;) {
        int64_t left = count - done;
        int now = left < e->options.batch ? (int)left : e->options.batch;
        e->first = first + done;
        CASK_TRY(cask_interrupt_check(err));
        CASK_TRY(run_batch(e, now, rows + done * cask_embedder_columns(e), bad, user, err));
        done += now;
    }
done:
    return st;
}
