#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "precompute/precompute.h"

enum cask_status teacher_open(const struct precompute_options *options, struct teacher *teacher,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool known = false;
    char about[160], pixels[64];
    struct cask_device_options device = {options->backend, (int)options->threads,
                                         (enum cask_precision)options->precision};
    CASK_TRY(cask_device_open(&device, &teacher->device, err));
    teacher->preprocess = cask_preprocess_default();
    CASK_TRY(cask_model_open(teacher->device, options->teacher, options->weights,
                             &teacher->preprocess, &known, &teacher->model, err));
    if (options->preprocess[0] != 0) {
        CASK_TRY(cask_preprocess_parse(options->preprocess, &teacher->preprocess, err));
    }
    cask_preprocess_format(&teacher->preprocess, pixels);
    if (options->preprocess[0] == 0 && !known) {
        cask_log_warn(
            "%s says nothing about its pixels: taking %s; set --preprocess if it wants others",
            options->weights, pixels);
    }
    teacher->preprocess.width = cask_graph_input_width(teacher->model.graph);
    teacher->preprocess.height = cask_graph_input_height(teacher->model.graph);
    teacher->batch = (int)options->batch;
    teacher->dim = cask_graph_embedding(teacher->model.graph);
    CASK_TRY(
        cask_plan_create(teacher->model.net, teacher->batch, CASK_MODE_EVAL, &teacher->plan, err));
    cask_device_describe(teacher->device, about, sizeof about);
    cask_log_info("teacher %s: %d-d, %dx%d pixels, %s, %.2f GMAC an image, on %s",
                  cask_graph_name(teacher->model.graph), teacher->dim, teacher->preprocess.width,
                  teacher->preprocess.height, pixels,
                  1e-9 * (double)cask_graph_macs(teacher->model.graph), about);
done:
    return st;
}

void teacher_close(struct teacher *teacher)
{
    cask_plan_free(teacher->plan);
    cask_model_close(&teacher->model);
    cask_device_close(teacher->device);
    *teacher = (struct teacher){0};
}

enum cask_status shard_rows_create(struct shard_rows *rows, int64_t capacity, int dim,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = (size_t)capacity;
    *rows = (struct shard_rows){.capacity = capacity, .dim = dim};
    rows->bad = cask_alloc(count, 1);
    bool complete = rows->bad != NULL;
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        rows->unit[v] = cask_alloc(count * (size_t)dim, sizeof(float));
        rows->norm[v] = cask_alloc(count, sizeof(float));
        complete = complete && rows->unit[v] != NULL && rows->norm[v] != NULL;
    }
    if (!complete) {
        CASK_TRY(cask_error_memory(err, 2 * count * (size_t)dim * sizeof(float),
                                   "a shard's embeddings; a smaller --shard-images needs less"));
    }
done:
    if (st != CASK_OK) {
        shard_rows_release(rows);
    }
    return st;
}

void shard_rows_release(struct shard_rows *rows)
{
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        cask_free(rows->unit[v]);
        cask_free(rows->norm[v]);
    }
    cask_free(rows->bad);
    *rows = (struct shard_rows){0};
}

bool unit_row(float *row, int dim, double *norm)
{
    double squares = 0;
    for (int i = 0; i < dim; i++) {
        squares += (double)row[i] * (double)row[i];
    }
    *norm = sqrt(squares);
    if (!(squares > 1e-24 && isfinite(squares))) {
        return false;
    }
    for (int i = 0; i < dim; i++) {
        row[i] = (float)((double)row[i] / *norm);
    }
    return true;
}

static enum cask_status take_unit(const struct cask_dataset *dataset, int64_t index, float *row,
                                  int dim, float *norm, struct cask_error *err)
{
    double length;
    if (!unit_row(row, dim, &length)) {
        char name[256];
        cask_dataset_name(dataset, index, name, sizeof name);
        return cask_error_set(err, CASK_ERR_RANGE,
                              "%s (image %lld): the teacher gave an embedding of norm %g, expected "
                              "a positive number; its weights or --preprocess are wrong",
                              name, (long long)index, length);
    }
    *norm = (float)length;
    return CASK_OK;
}

/* Runs one loaded batch through the teacher, view by view, into rows at `at`. */
static enum cask_status embed_batch(struct teacher *teacher, const struct cask_dataset *dataset,
                                    const struct cask_batch *batch, struct shard_rows *rows,
                                    int64_t at, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t image = (size_t)teacher->preprocess.width * (size_t)teacher->preprocess.height * 3;
    size_t dim = (size_t)teacher->dim;
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        const float *pixels = batch->pixels + (size_t)(v * batch->count) * image;
        float *unit = rows->unit[v] + (size_t)at * dim;
        CASK_TRY(cask_plan_forward(teacher->plan, pixels, batch->count, unit, err));
        for (int i = 0; i < batch->count; i++) {
            rows->bad[at + i] = batch->bad[i];
            if (batch->bad[i]) {
                memset(unit + (size_t)i * dim, 0, dim * sizeof *unit);
                rows->norm[v][at + i] = 0;
            } else {
                CASK_TRY(take_unit(dataset, batch->samples[i].index, unit + (size_t)i * dim,
                                   teacher->dim, &rows->norm[v][at + i], err));
            }
        }
    }
done:
    return st;
}

/* Hands over the bad images that this batch added. The loader keeps only the first thousand
 * reasons; the images themselves are all reported. */
static enum cask_status report_bad(const struct embed_request *request,
                                   const struct cask_loader *loader, const struct cask_batch *batch,
                                   int64_t *reported, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < batch->count && request->on_bad != NULL; i++) {
        if (!batch->bad[i]) {
            continue;
        }
        int64_t index = batch->samples[i].index;
        const char *message = cask_loader_bad_message(loader, (*reported)++, &index);
        CASK_TRY(request->on_bad(request->user, index,
                                 message != NULL ? message : "could not be decoded", err));
    }
done:
    return st;
}

enum cask_status teacher_embed(struct teacher *teacher, struct embed_request *request,
                               struct shard_rows *rows, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_loader *loader = NULL;
    struct cask_batch *batch = NULL;
    int64_t bad = 0;
    struct cask_loader_options options = {
        .dataset = request->dataset,
        .sampler = {.kind = CASK_SAMPLER_STORAGE,
                    .count = request->subset != NULL ? request->count
                                                     : cask_dataset_count(request->dataset),
                    .subset = request->subset},
        .preprocess = teacher->preprocess,
        .batch = teacher->batch,
        .begin = request->first,
        .end = request->first + request->count,
        .both_views = true,
    };
    rows->first = request->first;
    rows->count = request->count;
    CASK_TRY(cask_loader_start(&options, &loader, err));
    for (int64_t done_images = 0; done_images < request->count;) {
        CASK_TRY(cask_interrupt_check(err));
        if (request->go_on != NULL) {
            CASK_TRY(request->go_on(request->user, err));
        }
        double asked = cask_now();
        CASK_TRY(cask_loader_next(loader, &batch, err));
        request->waited += cask_now() - asked;
        if (batch == NULL) {
            CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "the loader ended early"));
        }
        CASK_TRY(report_bad(request, loader, batch, &bad, err));
        CASK_TRY(embed_batch(teacher, request->dataset, batch, rows, done_images, err));
        done_images += batch->count;
        cask_loader_give_back(loader, batch);
        if (request->bar != NULL) {
            cask_progress_update(request->bar, request->bar_from + done_images, "%s", "");
        }
    }
done:
    cask_loader_stop(loader);
    return st;
}
