/* eval/ijb_pool.c - from the embeddings of images to one unit vector a template. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/thread.h"
#include "eval/ijb.h"

struct pooling {
    const struct cask_ijb *set;
    const struct cask_rows *rows;
    struct cask_ijb_switches switches;
    int views, dim, threads;
    struct cask_ijb_templates *out;
    float *raw;     /* [threads][views * dim] */
    double *image;  /* [threads][dim] */
    double *medium; /* [threads][dim] */
    struct worker {
        struct cask_error error;
        int64_t zero_images, first_zero; /* smallest index */
    } * workers;
};

/* The embedding of one image under the switches; *usable is false for a zero row. */
static enum cask_status image_feature(const struct pooling *p, int64_t image, int worker,
                                      bool *usable, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_ijb_image *about = &p->set->image[image];
    float *raw = p->raw + (size_t)worker * (size_t)(p->views * p->dim);
    double *feature = p->image + (size_t)worker * (size_t)p->dim, squares = 0;
    CASK_TRY(p->rows->read(p->rows->user, image, 1, raw, err));
    for (int d = 0; d < p->dim; d++) {
        feature[d] = (double)raw[d] + (p->switches.flip ? (double)raw[p->dim + d] : 0);
        squares += feature[d] * feature[d];
    }
    if (!isfinite(squares)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "%.*s: expected a finite embedding, found one of length %g; the "
                                "model or its preprocessing is wrong",
                                CASK_SLICE_SHOWN(about->name), sqrt(squares)));
    }
    *usable = squares > 0;
    double scale = p->switches.norm || !*usable ? 1 : 1 / sqrt(squares);
    scale *= p->switches.detector ? (double)about->score : 1;
    for (int d = 0; d < p->dim; d++) {
        feature[d] *= scale;
    }
done:
    return st;
}

/* Adds the mean of the images order[begin..end), all of one medium, to the template. */
static enum cask_status add_medium(const struct pooling *p, int64_t begin, int64_t end, int worker,
                                   double *sum, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const double *feature = p->image + (size_t)worker * (size_t)p->dim;
    double *medium = p->medium + (size_t)worker * (size_t)p->dim;
    struct worker *mine = &p->workers[worker];
    int64_t used = 0;
    memset(medium, 0, (size_t)p->dim * sizeof *medium);
    for (int64_t i = begin; i < end; i++) {
        int64_t image = p->set->order[i];
        bool usable;
        CASK_TRY(image_feature(p, image, worker, &usable, err));
        if (!usable) {
            mine->first_zero =
                mine->zero_images == 0 || image < mine->first_zero ? image : mine->first_zero;
            mine->zero_images++;
            continue;
        }
        used++;
        for (int d = 0; d < p->dim; d++) {
            medium[d] += feature[d];
        }
    }
    for (int d = 0; used > 0 && d < p->dim; d++) {
        sum[d] += medium[d] / (double)used;
    }
done:
    return st;
}

static void pool_template(void *user, int64_t index, int worker)
{
    enum cask_status st = CASK_OK;
    struct pooling *p = user;
    struct cask_error *err = &p->workers[worker].error;
    double *sum = p->out->rows + (size_t)index * (size_t)p->dim, squares = 0;
    int64_t begin = p->set->begin[index], end = p->set->begin[index + 1];
    if (err->status != CASK_OK || cask_interrupted()) {
        return;
    }
    while (begin < end) {
        int64_t stop = begin;
        uint32_t media = p->set->image[p->set->order[begin]].media;
        while (stop < end && p->set->image[p->set->order[stop]].media == media) {
            stop++;
        }
        CASK_TRY(add_medium(p, begin, stop, worker, sum, err));
        begin = stop;
    }
    for (int d = 0; d < p->dim; d++) {
        squares += sum[d] * sum[d];
    }
    for (int d = 0; squares > 0 && d < p->dim; d++) {
        sum[d] /= sqrt(squares);
    }
done:
    (void)st;
}

static void gather_findings(struct pooling *p)
{
    struct cask_ijb_templates *out = p->out;
    int64_t first = -1;
    for (int w = 0; w < p->threads; w++) {
        const struct worker *worker = &p->workers[w];
        if (worker->zero_images > 0 && (first < 0 || worker->first_zero < first)) {
            first = worker->first_zero;
        }
        out->zero_images += worker->zero_images;
    }
    if (first >= 0) {
        struct cask_slice name = p->set->image[first].name;
        snprintf(out->first_zero, sizeof out->first_zero, "%.*s", (int)name.bytes, name.data);
    }
    for (int64_t t = out->count - 1; t >= 0; t--) {
        const double *row = out->rows + (size_t)t * (size_t)p->dim;
        if (!(cask_dot(row, row, p->dim) > 0)) {
            out->empty_templates++;
            out->first_empty = p->set->template_id[t];
        }
    }
}

static enum cask_status prepare(struct pooling *p, struct cask_error *err)
{
    size_t threads = (size_t)p->threads, dim = (size_t)p->dim;
    size_t templates = (size_t)p->set->templates;
    if (p->rows->count != p->set->images || p->rows->columns != p->views * p->dim || p->dim < 1 ||
        (p->switches.flip && p->views != 2)) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "embeddings: expected %lld rows of %d view(s)%s, found %lld rows of "
                              "%d numbers",
                              (long long)p->set->images, p->views,
                              p->switches.flip ? " (flip needs 2)" : "", (long long)p->rows->count,
                              p->rows->columns);
    }
    p->out->rows = cask_alloc(templates * dim, sizeof(double));
    p->raw = cask_alloc(threads * dim * (size_t)p->views, sizeof(float));
    p->image = cask_alloc(threads * dim, sizeof(double));
    p->medium = cask_alloc(threads * dim, sizeof(double));
    p->workers = cask_alloc(threads, sizeof *p->workers);
    if (p->out->rows == NULL || p->raw == NULL || p->image == NULL || p->medium == NULL ||
        p->workers == NULL) {
        return cask_error_memory(err, templates * dim * sizeof(double), "templates");
    }
    return CASK_OK;
}

enum cask_status cask_ijb_pool(const struct cask_ijb *set, const struct cask_rows *rows, int views,
                               struct cask_ijb_switches switches, int threads,
                               struct cask_ijb_templates *out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_pool *pool = NULL;
    threads = threads > 0 ? threads : cask_cpu_count();
    struct pooling p = {set,  rows, switches, views, rows->columns / views, threads, out,
                        NULL, NULL, NULL,     NULL};
    *out = (struct cask_ijb_templates){.count = set->templates, .dim = p.dim};
    CASK_TRY(prepare(&p, err));
    CASK_TRY(cask_pool_create(threads, &pool, err));
    cask_pool_run(pool, set->templates, pool_template, &p);
    CASK_TRY(cask_interrupt_check(err));
    for (int w = 0; w < threads; w++) {
        if (p.workers[w].error.status != CASK_OK) {
            *err = p.workers[w].error;
            CASK_TRY(err->status);
        }
    }
    gather_findings(&p);
done:
    cask_pool_free(pool);
    cask_free(p.raw);
    cask_free(p.image);
    cask_free(p.medium);
    cask_free(p.workers);
    if (st != CASK_OK) {
        cask_ijb_templates_release(out);
    }
    return st;
}

void cask_ijb_templates_release(struct cask_ijb_templates *templates)
{
    cask_free(templates->rows);
    *templates = (struct cask_ijb_templates){0};
}
