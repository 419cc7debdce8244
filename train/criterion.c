/* train/criterion.c - the criterion as the trainer sees it: float32, named terms, ramps, state.
 * The work is done by the engine of train/losses that fits the device.
 */
#include "train/criterion.h"

#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "train/criterion_config.h"

struct cask_criterion {
    const struct cask_criterion_config *config;
    const struct cask_engine_api *api;
    struct cask_engine *engine;
    struct cask_device *device;
    int head_rows, batch;   /* batch: the largest */
    int32_t (*triplets)[3]; /* [batch / 3]; NULL: rows are no triplets */
    struct cask_sgd update; /* of class rows, where it is fused; rate 0 until it is set */
    bool fused;
    uint64_t step;                              /* the next one's number */
    int term_loss[CASK_MAX_LOSSES], term_count; /* term t is config->losses[term_loss[t]] */
    double temperatures[CASK_CONFIG_LIST];
    int temperature_count;
    double *lse;
    struct cask_term terms[1 + CASK_MAX_LOSSES];
    struct cask_state_array arrays[CASK_CONFIG_LIST];
};

static void log_size(const struct cask_criterion *criterion,
                     const struct cask_criterion_options *options)
{
    size_t step, all = cask_criterion_bytes(criterion, &step);
    double matrix = (double)options->batch * (double)options->classes * sizeof(float);
    cask_log_info("criterion: %s, %d losses beside the head, %.1f MB; of these %.1f MB for a step, "
                  "%.2f of the B x C cosines",
                  criterion->api->name, criterion->term_count, (double)all / 1e6,
                  (double)step / 1e6, (double)step / matrix);
}

static enum cask_status create_engine(struct cask_criterion *criterion,
                                      const struct cask_criterion_options *options,
                                      struct cask_error *err)
{
    const struct cask_criterion_config *config = criterion->config;
    struct cask_engine_term terms[CASK_MAX_LOSSES];
    for (int i = 0; i < config->loss_count; i++) {
        if (config->losses[i].share.weight != 0) {
            criterion->term_loss[criterion->term_count] = i;
            terms[criterion->term_count++] =
                (struct cask_engine_term){i, config->losses[i].options};
        }
    }
    const struct cask_engine_options engine = {
        .device = options->device,
        .facts = {.classes = options->classes,
                  .batch = options->batch,
                  .dim = options->dim,
                  .teacher_dim = options->teacher_dim,
                  .topk = options->teacher_topk,
                  .centers = options->teacher_has_centers,
                  .teacher_scale = options->teacher_scale,
                  .temperatures = criterion->temperatures,
                  .temperature_count = criterion->temperature_count},
        .head = &config->head,
        .terms = terms,
        .term_count = criterion->term_count,
        .fused = options->fused,
        .seed = options->seed,
        .store = options->store,
    };
    return criterion->api->create(&engine, &criterion->engine, err);
}

enum cask_status cask_criterion_create(const struct cask_criterion_config *config,
                                       const struct cask_criterion_options *options,
                                       struct cask_criterion **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_criterion *criterion = cask_alloc(1, sizeof *criterion);
    if (criterion == NULL) {
        return cask_error_memory(err, sizeof *criterion, "criterion");
    }
    criterion->config = config;
    criterion->fused = options->fused;
    criterion->batch = options->batch;
    criterion->device = options->device;
    criterion->api = cask_engine_for(options->device);
    if (criterion->api->real_bytes != sizeof(float)) {
        CASK_TRY(
            cask_error_set(err, CASK_ERR_UNSUPPORTED,
                           "device ref64: training computes its losses in float; use cpu or ref"));
    }
    if (options->classes < 1 || options->dim < 1 || options->batch < 1 ||
        options->teacher_temperature_count > CASK_CONFIG_LIST) {
        CASK_TRY(cask_error_set(
            err, CASK_ERR_RANGE,
            "criterion: needs at least one class, dimension and image; found %lld, %d, %d",
            (long long)options->classes, options->dim, options->batch));
    }
    criterion->temperature_count = options->teacher_temperature_count;
    for (int t = 0; t < criterion->temperature_count; t++) {
        criterion->temperatures[t] = options->teacher_temperatures[t];
    }
    criterion->lse = cask_alloc((size_t)options->batch, (size_t)(criterion->temperature_count + 1) *
                                                            sizeof *criterion->lse);
    if (criterion->lse == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)options->batch * sizeof *criterion->lse,
                                   "log-sum-exps"));
    }
    CASK_TRY(create_engine(criterion, options, err));
    log_size(criterion, options);
    *out = criterion;
    criterion = NULL;
done:
    cask_criterion_free(criterion);
    return st;
}

void cask_criterion_free(struct cask_criterion *criterion)
{
    if (criterion == NULL) {
        return;
    }
    criterion->api->free(criterion->engine);
    cask_free(criterion->lse);
    cask_free(criterion->triplets);
    cask_free(criterion);
}

enum cask_status cask_criterion_pack_centers(struct cask_criterion *criterion, const float *centers,
                                             struct cask_error *err)
{
    return criterion->api->pack_centers(criterion->engine, centers, err);
}

unsigned cask_criterion_needs(const struct cask_criterion *criterion)
{
    unsigned needs = criterion->api->needs(criterion->engine);
    if (needs & (CASK_NEED_TEACHER_RAW | CASK_NEED_RAW_GRAM)) {
        needs |= CASK_NEED_UNIT | CASK_NEED_NORM;
    }
    return needs & (CASK_NEED_UNIT | CASK_NEED_NORM | CASK_NEED_CENTERS | CASK_NEED_TOPK |
                    CASK_NEED_LABEL_COSINE | CASK_NEED_LSE);
}

size_t cask_criterion_bytes(const struct cask_criterion *criterion, size_t *step_bytes)
{
    return criterion->api->bytes(criterion->engine, step_bytes);
}

static double share_at(const struct cask_loss_share *share, struct cask_progress_point at)
{
    double weight = share->weight;
    if (share->ramp_epochs > 0) {
        weight *= fmin(at.epoch / share->ramp_epochs, 1);
    }
    if (share->ramp_fraction > 0) {
        weight *= fmin(at.fraction / share->ramp_fraction, 1);
    }
    return weight;
}

static void fill_terms(struct cask_criterion *criterion, const double *weights)
{
    const struct cask_engine_result *result = criterion->api->result(criterion->engine);
    for (int t = 0; t <= criterion->term_count; t++) {
        const char *name = t == 0 ? cask_head_of(&criterion->config->head)->name
                                  : criterion->config->losses[criterion->term_loss[t - 1]].name;
        criterion->terms[t] =
            (struct cask_term){.name = name,
                               .weight = t == 0 ? criterion->config->head.weight : weights[t - 1],
                               .value = result->value[t],
                               .gradient_norm = result->gradient_norm[t],
                               .gradient_cosine = result->gradient_cosine[t]};
    }
}

enum cask_status cask_criterion_step(struct cask_criterion *criterion, const float *embedding,
                                     const uint32_t *labels, int batch,
                                     const struct cask_teacher *teacher,
                                     struct cask_progress_point at, bool measure,
                                     float *d_embedding, double *total, struct cask_error *err)
{
    double weights[CASK_MAX_LOSSES];
    enum cask_status st = CASK_OK;
    for (int t = 0; t < criterion->term_count; t++) {
        weights[t] = share_at(&criterion->config->losses[criterion->term_loss[t]].share, at);
    }
    struct cask_engine_input input = {.batch = batch,
                                      .step = criterion->step,
                                      .head_rows = criterion->head_rows,
                                      .labels = labels,
                                      .embedding = embedding,
                                      .triplets = (const int32_t(*)[3])criterion->triplets,
                                      .triplet_count = batch / 3,
                                      .weights = weights,
                                      .measure = measure,
                                      .update = criterion->fused ? &criterion->update : NULL,
                                      .d_embedding = d_embedding};
    if (teacher != NULL) {
        input.teacher_serial = teacher->serial;
        input.teacher_unit = teacher->unit;
        input.teacher_norm = teacher->norm;
        input.teacher_centers = teacher->centers;
        input.topk_index = teacher->topk_index;
        input.topk_cosine = teacher->topk_cosine;
        input.label_cosine = teacher->label_cosine;
    }
    if (teacher != NULL && teacher->lse != NULL) {
        for (int64_t j = 0; j < (int64_t)batch * criterion->temperature_count; j++) {
            criterion->lse[j] = (double)teacher->lse[j];
        }
        input.lse = criterion->lse;
    }
    CASK_TRY(criterion->api->step(criterion->engine, &input, err));
    criterion->step++;
    fill_terms(criterion, weights);
    *total = criterion->api->result(criterion->engine)->total;
done:
    return st;
}

void cask_criterion_set_step(struct cask_criterion *criterion, int64_t step)
{
    criterion->step = (uint64_t)step;
}

void cask_criterion_set_update(struct cask_criterion *criterion, const struct cask_sgd *sgd)
{
    criterion->update = *sgd;
}

void cask_criterion_set_head_rows(struct cask_criterion *criterion, int rows)
{
    criterion->head_rows = rows;
}

enum cask_status cask_criterion_set_triplets(struct cask_criterion *criterion,
                                             struct cask_error *err)
{
    const size_t count = (size_t)criterion->batch / 3;
    cask_free(criterion->triplets);
    criterion->triplets = cask_alloc(count + 1, sizeof *criterion->triplets);
    if (criterion->triplets == NULL) {
        return cask_error_memory(err, (count + 1) * sizeof *criterion->triplets, "triplets");
    }
    for (int32_t i = 0; i < 3 * (int32_t)count; i++) {
        criterion->triplets[i / 3][i % 3] = i;
    }
    return CASK_OK;
}

int cask_criterion_terms(const struct cask_criterion *criterion, const struct cask_term **terms)
{
    *terms = criterion->terms;
    return 1 + criterion->term_count;
}

double cask_criterion_accuracy(const struct cask_criterion *criterion)
{
    return criterion->api->result(criterion->engine)->accuracy;
}

double cask_criterion_captured(const struct cask_criterion *criterion)
{
    return criterion->api->result(criterion->engine)->captured;
}

double cask_criterion_gradient_squares(const struct cask_criterion *criterion)
{
    struct cask_error err;
    struct cask_engine_parameter found[CASK_CONFIG_LIST];
    double sum = 0;
    int n = criterion->api->parameters(criterion->engine, found, CASK_CONFIG_LIST);
    for (int i = 0; i < n; i++) {
        double squares;
        if (found[i].gradient == NULL) {
            return NAN; /* fused: it was never whole */
        }
        if (cask_device_ops(criterion->device)
                ->sum_squares(criterion->device, (size_t)(found[i].rows * found[i].columns),
                              found[i].gradient, &squares, &err) != CASK_OK) {
            return NAN;
        }
        sum += squares;
    }
    return sum;
}

enum cask_status cask_criterion_update(struct cask_criterion *criterion, const struct cask_sgd *sgd,
                                       struct cask_error *err)
{
    return criterion->api->update(criterion->engine, sgd, err);
}

int cask_criterion_state(struct cask_criterion *criterion, const struct cask_state_array **arrays)
{
    struct cask_engine_array found[CASK_CONFIG_LIST];
    int n = criterion->api->arrays(criterion->engine, found, CASK_CONFIG_LIST);
    for (int i = 0; i < n; i++) {
        criterion->arrays[i] = (struct cask_state_array){found[i].name, found[i].values,
                                                         found[i].rows, found[i].columns};
    }
    *arrays = criterion->arrays;
    return n;
}
