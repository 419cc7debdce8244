/* tests/support/losses.h - one engine with one head and any losses, on made-up batches. */
#ifndef CASK_TESTS_SUPPORT_LOSSES_H
#define CASK_TESTS_SUPPORT_LOSSES_H

#include "common/mem.h"
#include "common/rng.h"
#include "tests/support/test.h"
#include "train/criterion_config.h"
#include "train/losses/engine.h"

enum { LOSSES_B = 9, LOSSES_C = 21, LOSSES_D = 6, LOSSES_DT = 7, LOSSES_K = 8 };

/* A batch in double; run() converts. Shapes are upper bounds, the actual ones stand in front. */
struct losses_batch {
    int batch, classes, dim, teacher_dim, topk;
    uint32_t labels[LOSSES_B];
    double f[LOSSES_B * LOSSES_D], w[LOSSES_C * LOSSES_D];
    double unit[LOSSES_B * LOSSES_DT], norm[LOSSES_B], centers[LOSSES_C * LOSSES_DT];
    uint32_t topk_index[LOSSES_B * LOSSES_C];
    double topk_cosine[LOSSES_B * LOSSES_C], label_cosine[LOSSES_B], lse[LOSSES_B * 2];
};

static const double losses_temperatures[2] = {1, 4};
enum { LOSSES_SCALE = 16 };

static inline void losses_unit(double *rows, double *norm, int count, int dim)
{
    for (int i = 0; i < count; i++) {
        double sum = 0;
        for (int j = 0; j < dim; j++) {
            sum += rows[i * dim + j] * rows[i * dim + j];
        }
        for (int j = 0; j < dim; j++) {
            rows[i * dim + j] /= sqrt(sum);
        }
        if (norm != NULL) {
            norm[i] = sqrt(sum);
        }
    }
}

/* What a cache would hold of this teacher: top-k by cosine, label cosine, LSE at both temperatures.
 */
static inline void losses_fill_topk(struct losses_batch *b, int k)
{
    b->topk = k;
    for (int i = 0; i < b->batch; i++) {
        double cosine[LOSSES_C], sum[2] = {0, 0};
        bool taken[LOSSES_C] = {false};
        for (int c = 0; c < b->classes; c++) {
            cosine[c] = 0;
            for (int j = 0; j < b->teacher_dim; j++) {
                cosine[c] += b->unit[i * b->teacher_dim + j] * b->centers[c * b->teacher_dim + j];
            }
            for (int t = 0; t < 2; t++) {
                sum[t] += exp(LOSSES_SCALE * cosine[c] / losses_temperatures[t]);
            }
        }
        for (int n = 0; n < k; n++) {
            int best = -1;
            for (int c = 0; c < b->classes; c++) {
                best = !taken[c] && (best < 0 || cosine[c] > cosine[best]) ? c : best;
            }
            taken[best] = true;
            b->topk_index[i * k + n] = (uint32_t)best;
            b->topk_cosine[i * k + n] = cosine[best];
        }
        b->label_cosine[i] = b->labels[i] == UINT32_MAX ? 0 : cosine[b->labels[i]];
        b->lse[i * 2] = log(sum[0]);
        b->lse[i * 2 + 1] = log(sum[1]);
    }
}

static inline void losses_draw(struct losses_batch *b, uint64_t seed, int batch, int classes,
                               int dim, int teacher_dim)
{
    memset(b, 0, sizeof *b);
    b->batch = batch;
    b->classes = classes;
    b->dim = dim;
    b->teacher_dim = teacher_dim;
    for (int i = 0; i < batch; i++) {
        b->labels[i] = (uint32_t)((i / 2 * 5 + 1) % classes);
    }
    for (int j = 0; j < batch * dim; j++) {
        b->f[j] = cask_rng_normal(seed, 1, (uint64_t)j);
    }
    for (int j = 0; j < classes * dim; j++) {
        b->w[j] = cask_rng_normal(seed, 2, (uint64_t)j);
    }
    for (int j = 0; j < batch * teacher_dim; j++) {
        b->unit[j] = cask_rng_normal(seed, 3, (uint64_t)j);
    }
    for (int j = 0; j < classes * teacher_dim; j++) {
        b->centers[j] = cask_rng_normal(seed, 4, (uint64_t)j);
    }
    losses_unit(b->unit, b->norm, batch, teacher_dim);
    losses_unit(b->centers, NULL, classes, teacher_dim);
    losses_fill_topk(b, classes < LOSSES_K ? classes : LOSSES_K);
}

/* Settings, device, engine: `set` is a NULL-terminated list of "key=value". */
struct losses_rig {
    struct cask_criterion_config *settings;
    struct cask_config *config;
    struct cask_device *device;
    const struct cask_engine_api *api;
    struct cask_engine *engine;
    double weights[CASK_MAX_LOSSES];
    int terms;
};

static inline void losses_rig_close(struct losses_rig *rig)
{
    if (rig->api != NULL) {
        rig->api->free(rig->engine);
    }
    cask_device_close(rig->device);
    cask_config_free(rig->config);
    cask_criterion_config_free(rig->settings);
    memset(rig, 0, sizeof *rig);
}

static inline enum cask_status losses_rig_open(struct losses_rig *rig, const char *backend,
                                               int threads, const struct losses_batch *b,
                                               bool exact, int64_t chunk, const char *const *set,
                                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_config_section sections[80];
    struct cask_engine_term terms[CASK_MAX_LOSSES];
    const struct cask_device_options device = {
        .backend = backend, .threads = threads, .precision = CASK_PRECISION_FP32};
    memset(rig, 0, sizeof *rig);
    CASK_TRY(cask_criterion_config_create(&rig->settings, err));
    size_t count = cask_criterion_config_sections(rig->settings, sections, 80);
    CASK_TRY(cask_config_create(sections, count, &rig->config, err));
    CASK_TRY(cask_config_set(rig->config, "head.scale=16", "test", err));
    for (; set != NULL && *set != NULL; set++) {
        CASK_TRY(cask_config_set(rig->config, *set, "test", err));
    }
    for (int i = 0; i < rig->settings->loss_count; i++) {
        if (rig->settings->losses[i].share.weight != 0) {
            rig->weights[rig->terms] = rig->settings->losses[i].share.weight;
            terms[rig->terms++] = (struct cask_engine_term){i, rig->settings->losses[i].options};
        }
    }
    CASK_TRY(cask_device_open(&device, &rig->device, err));
    rig->api = cask_engine_for(rig->device);
    const struct cask_engine_options options = {
        .device = rig->device,
        .head = &rig->settings->head,
        .terms = terms,
        .term_count = rig->terms,
        .seed = 7,
        .chunk = chunk,
        .facts = {.classes = b->classes,
                  .batch = LOSSES_B,
                  .dim = b->dim,
                  .teacher_dim = b->teacher_dim,
                  .topk = b->topk,
                  .centers = exact,
                  .teacher_scale = LOSSES_SCALE,
                  .temperatures = losses_temperatures,
                  .temperature_count = 2},
    };
    CASK_TRY(rig->api->create(&options, &rig->engine, err));
done:
    return st;
}

static inline void losses_copy(void *to, const double *from, size_t count, size_t bytes)
{
    for (size_t j = 0; j < count; j++) {
        if (bytes == sizeof(float)) {
            ((float *)to)[j] = (float)from[j];
        } else {
            ((double *)to)[j] = from[j];
        }
    }
}

/* One step; gradients as double. d_w may be NULL. */
static inline enum cask_status losses_step(struct losses_rig *rig, const struct losses_batch *b,
                                           bool measure, double *total, double *d_f, double *d_w,
                                           struct cask_error *err)
{
    const size_t bytes = rig->api->real_bytes, B = (size_t)b->batch, C = (size_t)b->classes,
                 D = (size_t)b->dim, DT = (size_t)b->teacher_dim;
    double f[LOSSES_B * LOSSES_D], unit[LOSSES_B * LOSSES_DT], norm[LOSSES_B],
        centers[LOSSES_C * LOSSES_DT];
    double cosine[LOSSES_B * LOSSES_C], label_cosine[LOSSES_B], out[LOSSES_B * LOSSES_D];
    losses_copy(f, b->f, B * D, bytes);
    losses_copy(unit, b->unit, B * DT, bytes);
    losses_copy(norm, b->norm, B, bytes);
    losses_copy(centers, b->centers, C * DT, bytes);
    losses_copy(cosine, b->topk_cosine, B * (size_t)b->topk, bytes);
    losses_copy(label_cosine, b->label_cosine, B, bytes);
    if (rig->api->weight(rig->engine) != NULL) {
        losses_copy(rig->api->weight(rig->engine), b->w, C * D, bytes);
    }
    memset(out, 0x55, sizeof out); /* filled, not added to */
    const struct cask_engine_input input = {
        .batch = b->batch,
        .labels = b->labels,
        .embedding = f,
        .teacher_unit = unit,
        .teacher_norm = norm,
        .teacher_centers = centers,
        .topk_index = b->topk_index,
        .topk_cosine = cosine,
        .label_cosine = label_cosine,
        .lse = b->lse,
        .weights = rig->weights,
        .measure = measure,
        .d_embedding = out,
    };
    enum cask_status st = rig->api->step(rig->engine, &input, err);
    if (st != CASK_OK) {
        return st;
    }
    *total = rig->api->result(rig->engine)->total;
    const void *gradient = rig->api->gradient(rig->engine);
    for (size_t j = 0; j < B * D; j++) {
        d_f[j] = bytes == sizeof(float) ? (double)((float *)(void *)out)[j] : out[j];
    }
    for (size_t j = 0; d_w != NULL && gradient != NULL && j < C * D; j++) {
        d_w[j] = bytes == sizeof(float) ? (double)((const float *)gradient)[j]
                                        : ((const double *)gradient)[j];
    }
    return CASK_OK;
}

#endif
