/* train/losses/check/run.c - one case through the engine of one device. */
#include "train/losses/check/run.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "train/losses/engine.h"

/* Arrays of the engine's number type, and the facts that go with them. */
struct typed {
    bool f32;
    void *inputs[CASE_INPUTS];
    void *teacher_unit, *teacher_norm, *centers;
    void *topk_cosine;
    uint32_t *topk_index;
    double *lse;
    void *d_student;
};

static double *get(void *memory)
{
    return memory;
}

static void *typed_copy(const double *values, size_t count, bool f32)
{
    void *copy = cask_alloc(count, f32 ? sizeof(float) : sizeof(double));
    for (size_t j = 0; copy != NULL && j < count; j++) {
        if (f32) {
            ((float *)copy)[j] = (float)values[j];
        } else {
            get(copy)[j] = values[j];
        }
    }
    return copy;
}

static enum cask_status unit_rows(const struct case_matrix *m, bool f32, void **unit, void **norm,
                                  struct cask_error *err)
{
    const size_t count = (size_t)(m->rows * m->columns);
    enum cask_status st = CASK_OK;
    double *rows = cask_alloc(count, sizeof *rows),
           *lengths = cask_alloc((size_t)m->rows, sizeof *lengths);
    if (rows == NULL || lengths == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *rows, "unit rows"));
    }
    for (int64_t i = 0; i < m->rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < m->columns; j++) {
            sum += m->values[i * m->columns + j] * m->values[i * m->columns + j];
        }
        lengths[i] = sqrt(sum);
        for (int64_t j = 0; j < m->columns; j++) {
            rows[i * m->columns + j] = m->values[i * m->columns + j] / fmax(lengths[i], 1e-12);
        }
    }
    *unit = typed_copy(rows, count, f32);
    if (norm != NULL) {
        *norm = typed_copy(lengths, (size_t)m->rows, f32);
    }
    if (*unit == NULL || (norm != NULL && *norm == NULL)) {
        CASK_TRY(cask_error_memory(err, count * sizeof *rows, "unit rows"));
    }
done:
    cask_free(rows);
    cask_free(lengths);
    return st;
}

/* kd_topk_tail: what a cache would have kept of dense teacher logits. */
static enum cask_status keep_topk(const struct check_case *check, struct typed *t,
                                  struct cask_error *err)
{
    const struct case_matrix *z = &check->inputs[INPUT_Z_TEACHER];
    const int k = check->topk < z->columns ? check->topk : (int)z->columns;
    const size_t count = (size_t)(z->rows * k);
    double *cosine = cask_alloc(count, sizeof *cosine);
    t->topk_index = cask_alloc(count, sizeof *t->topk_index);
    t->lse = cask_alloc((size_t)z->rows, sizeof *t->lse);
    if (cosine == NULL || t->topk_index == NULL || t->lse == NULL) {
        cask_free(cosine);
        return cask_error_memory(err, count * sizeof *cosine, "top-k");
    }
    for (int64_t i = 0; i < z->rows; i++) {
        const double *row = z->values + i * z->columns;
        int n = 0;
        double sum = 0, *best = cosine + i * k;
        uint32_t *index = t->topk_index + i * k;
        for (int64_t j = 0; j < z->columns; j++) {
            int at = n < k ? n++ : k;
            for (; at > 0 && best[at - 1] < row[j]; at--) {
                if (at < k) {
                    best[at] = best[at - 1];
                    index[at] = index[at - 1];
                }
            }
            if (at < k) {
                best[at] = row[j];
                index[at] = (uint32_t)j;
            }
        }
        for (int64_t j = 0; j < z->columns; j++) {
            sum += exp((row[j] - best[0]) / check->temperature);
        }
        t->lse[i] = best[0] / check->temperature + log(sum);
    }
    t->topk_cosine = typed_copy(cosine, count, t->f32);
    cask_free(cosine);
    return t->topk_cosine == NULL ? cask_error_memory(err, count * sizeof *cosine, "top-k")
                                  : CASK_OK;
}

static enum cask_status prepare(const struct check_case *check, struct typed *t,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < CASE_INPUTS; i++) {
        const struct case_matrix *m = &check->inputs[i];
        if (m->values != NULL && (t->inputs[i] = typed_copy(
                                      m->values, (size_t)(m->rows * m->columns), t->f32)) == NULL) {
            CASK_TRY(cask_error_memory(err, (size_t)(m->rows * m->columns), case_input_names[i]));
        }
    }
    if (check->inputs[INPUT_F_TEACHER].values != NULL) {
        CASK_TRY(unit_rows(&check->inputs[INPUT_F_TEACHER], t->f32, &t->teacher_unit,
                           &t->teacher_norm, err));
    }
    if (check->inputs[INPUT_W_TEACHER].values != NULL) {
        CASK_TRY(unit_rows(&check->inputs[INPUT_W_TEACHER], t->f32, &t->centers, NULL, err));
    }
    if (check->topk > 0) {
        CASK_TRY(keep_topk(check, t, err));
    }
    const struct case_matrix *student =
        &check->inputs[check->inputs[INPUT_Z].values ? INPUT_Z : INPUT_F];
    t->d_student = cask_alloc((size_t)(student->rows * student->columns), sizeof(double));
    if (t->d_student == NULL) {
        CASK_TRY(cask_error_memory(err, 0, "gradient"));
    }
done:
    return st;
}

static void typed_release(struct typed *t)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        cask_free(t->inputs[i]);
    }
    void *const owned[] = {t->teacher_unit, t->teacher_norm, t->centers,  t->topk_cosine,
                           t->topk_index,   t->lse,          t->d_student};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
}

static struct cask_engine_facts facts_of(const struct check_case *check)
{
    const struct case_matrix *m = check->inputs;
    const struct case_matrix *classes = m[INPUT_W].values ? &m[INPUT_W] : &m[INPUT_W_TEACHER];
    return (struct cask_engine_facts){
        .classes = m[INPUT_Z].values   ? m[INPUT_Z].columns
                   : classes->rows > 0 ? classes->rows
                                       : (int64_t)UINT32_MAX,
        .batch = check->batch,
        .dim = m[INPUT_F].values ? (int)m[INPUT_F].columns : 1,
        .teacher_dim = m[INPUT_F_TEACHER].values ? (int)m[INPUT_F_TEACHER].columns
                                                 : m[INPUT_Z_TEACHER].values != NULL,
        .topk = check->topk,
        .centers = check->topk == 0 &&
                   (m[INPUT_Z_TEACHER].values != NULL || m[INPUT_W_TEACHER].values != NULL),
        .teacher_scale = m[INPUT_Z].values ? 1 : check->settings->head.scale,
        .temperatures = &check->temperature,
        .temperature_count = check->topk > 0,
    };
}

static enum cask_status create(const struct check_case *check, struct cask_device *device,
                               const struct cask_engine_api *api, struct cask_engine **engine,
                               struct cask_error *err)
{
    struct cask_engine_term term = {.loss = -1};
    for (int i = 0; check->term != NULL && i < check->settings->loss_count; i++) {
        if (strcmp(check->settings->losses[i].name, check->term) == 0) {
            term = (struct cask_engine_term){i, check->settings->losses[i].options};
        }
    }
    const struct cask_engine_options options = {
        .device = device,
        .facts = facts_of(check),
        .head = check->head ? &check->settings->head : NULL,
        .terms = &term,
        .term_count = check->term != NULL,
        .seed = 1,
        .chunk = 8, /* several chunks even where classes are few */
    };
    return api->create(&options, engine, err);
}

/* The input that stands for what the engine trains under this name. */
static enum case_input input_of(const char *parameter)
{
    return strcmp(parameter, "head.weight") == 0 ? INPUT_W : INPUT_MAP;
}

static enum cask_status fill_parameters(const struct check_case *check, const struct typed *t,
                                        const struct cask_engine_api *api,
                                        struct cask_engine *engine, struct cask_error *err)
{
    struct cask_engine_parameter found[8];
    const int n = api->parameters(engine, found, 8);
    bool map = false;
    for (int i = 0; i < n; i++) {
        const enum case_input input = input_of(found[i].name);
        const struct case_matrix *given = &check->inputs[input];
        if (given->values == NULL || given->rows != found[i].rows ||
            given->columns != found[i].columns) {
            return cask_error_set(
                err, CASK_ERR_FORMAT, "inputs.%s: expected %lld x %lld, found %lld x %lld",
                case_input_names[input], (long long)found[i].rows, (long long)found[i].columns,
                (long long)given->rows, (long long)given->columns);
        }
        memcpy(found[i].value, t->inputs[input],
               (size_t)(found[i].rows * found[i].columns) * api->real_bytes);
        map = map || input == INPUT_MAP;
    }
    if (check->inputs[INPUT_MAP].values != NULL && !map) {
        return cask_error_set(err, CASK_ERR_FORMAT, "inputs.map: this loss has no linear map");
    }
    return CASK_OK;
}

/* EKD's thresholds before the step. */
static void restore(const struct check_case *check, const struct cask_engine_api *api,
                    struct cask_engine *engine)
{
    struct cask_engine_array arrays[16];
    int n = api->arrays(engine, arrays, 16);
    for (int i = 0; i < n; i++) {
        if (check->threshold_count == 0 || strstr(arrays[i].name, "thresholds") == NULL ||
            arrays[i].rows != 2 || arrays[i].columns != check->threshold_count) {
            continue;
        }
        for (int j = 0; j < 2 * check->threshold_count; j++) {
            double value =
                check->thresholds[j / check->threshold_count][j % check->threshold_count];
            if (api->real_bytes == sizeof(float)) {
                ((float *)arrays[i].values)[j] = (float)value;
            } else {
                get(arrays[i].values)[j] = value;
            }
        }
    }
}

static enum cask_status take_gradient(const struct case_matrix *like, const void *values, bool f32,
                                      struct case_matrix *out, struct cask_error *err)
{
    const size_t count = (size_t)(like->rows * like->columns);
    out->rows = like->rows;
    out->columns = like->columns;
    out->values = cask_alloc(count, sizeof *out->values);
    if (out->values == NULL) {
        return cask_error_memory(err, count * sizeof *out->values, "gradient");
    }
    for (size_t j = 0; j < count; j++) {
        out->values[j] = f32 ? (double)((const float *)values)[j] : ((const double *)values)[j];
    }
    return CASK_OK;
}

static enum cask_status step(const struct check_case *check, const struct typed *t,
                             const struct cask_engine_api *api, struct cask_engine *engine,
                             struct check_run *run, struct cask_error *err)
{
    const struct case_matrix *m = check->inputs;
    const enum case_input student = m[INPUT_Z].values ? INPUT_Z : INPUT_F;
    const struct cask_engine_input input = {
        .batch = check->batch,
        .labels = check->labels,
        .embedding = t->inputs[INPUT_F],
        .logits = t->inputs[INPUT_Z],
        .teacher_logits = check->topk > 0 ? NULL : t->inputs[INPUT_Z_TEACHER],
        .teacher_unit = t->teacher_unit,
        .teacher_norm = t->teacher_norm,
        .teacher_centers = t->centers,
        .topk_index = t->topk_index,
        .topk_cosine = t->topk_cosine,
        .lse = t->lse,
        .triplets = (const int32_t(*)[3])check->triplets,
        .triplet_count = check->triplet_count,
        .weights = &check->weight,
        .d_embedding = t->d_student,
        .d_logits = t->d_student,
    };
    enum cask_status st = CASK_OK;
    CASK_TRY(fill_parameters(check, t, api, engine, err));
    restore(check, api, engine);
    CASK_TRY(api->step(engine, &input, err));
    run->loss = api->result(engine)->total;
    CASK_TRY(take_gradient(&m[student], t->d_student, t->f32, &run->gradient[student], err));
    struct cask_engine_parameter found[8];
    const int n = api->parameters(engine, found, 8);
    for (int i = 0; i < n; i++) {
        const enum case_input at = input_of(found[i].name);
        CASK_TRY(take_gradient(&m[at], found[i].gradient, t->f32, &run->gradient[at], err));
    }
done:
    return st;
}

enum cask_status check_run(const struct check_case *check, struct cask_device *device,
                           struct check_run *run, struct cask_error *err)
{
    const struct cask_engine_api *api = cask_engine_for(device);
    struct typed typed = {.f32 = api->real_bytes == sizeof(float)};
    struct cask_engine *engine = NULL;
    enum cask_status st = CASK_OK;
    memset(run, 0, sizeof *run);
    CASK_TRY(prepare(check, &typed, err));
    CASK_TRY(create(check, device, api, &engine, err));
    CASK_TRY(step(check, &typed, api, engine, run, err));
done:
    api->free(engine);
    typed_release(&typed);
    return st;
}

void check_run_release(struct check_run *run)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        cask_free(run->gradient[i].values);
    }
}
