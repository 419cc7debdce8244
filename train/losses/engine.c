/* train/losses/engine.c - one step: normalise, attach every loss at its place, come back to f. */
#include "train/losses/engine_inside.h"

#include "common/mem.h"

enum cask_status engine_alloc(struct cask_engine *engine, size_t count, size_t size, bool step,
                              const char *what, void *slot, struct cask_error *err)
{
    void *memory = cask_alloc(count, size);
    if (memory == NULL) {
        return cask_error_memory(err, count * size, what);
    }
    engine->bytes += count * size;
    engine->step_bytes += step ? count * size : 0;
    memcpy(slot, &memory, sizeof memory);
    return CASK_OK;
}

void engine_measure(struct cask_engine *engine, int at, const real *d_unit, int batch)
{
    /* The radial part of a gradient at e moves nothing: compare what is tangential. */
    double own = 0, head = 0, both = 0;
    const int dim = engine->facts.dim;
    const real *reference = at == 0 ? d_unit : engine->head_unit;
    for (int64_t i = 0; i < batch; i++) {
        const real *e = engine->unit + i * dim, *g = d_unit + i * dim, *h = reference + i * dim;
        double ge = rows_dot(g, e, dim), he = rows_dot(h, e, dim);
        own += rows_dot(g, g, dim) - ge * ge;
        head += rows_dot(h, h, dim) - he * he;
        both += rows_dot(g, h, dim) - ge * he;
    }
    engine->gradient_norm[at] = sqrt(fmax(own, 0));
    engine->gradient_cosine[at] = own > 0 && head > 0 ? both / sqrt(own * head) : NAN;
}

/* ------------------------------------------------------------ create, free */

static void engine_free(struct cask_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    for (int t = 0; t < engine->term_count; t++) {
        if (engine->terms[t].loss->free != NULL) {
            engine->terms[t].loss->free(engine->terms[t].state);
        }
    }
    class_release(engine);
    void *const owned[] = {engine->unit,     engine->norm,         engine->d_unit,
                           engine->d_raw,    engine->teacher_raw,  engine->term_unit,
                           engine->term_raw, engine->head_unit,    engine->gram,
                           engine->raw_gram, engine->teacher_gram, engine->teacher_raw_gram,
                           engine->d_gram,   engine->d_raw_gram,   engine->length};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
    cask_free(engine);
}

static enum cask_status check_needs(const struct term *term, const struct cask_engine_facts *facts,
                                    struct cask_error *err)
{
    const unsigned from_teacher = CASK_NEED_UNIT | CASK_NEED_NORM | CASK_NEED_CENTERS |
                                  CASK_NEED_TOPK | CASK_NEED_LABEL_COSINE | CASK_NEED_LSE |
                                  CASK_NEED_TEACHER_RAW;
    const char *name = term->loss->name;
    if ((term->needs & from_teacher) != 0 && facts->teacher_dim == 0) {
        return cask_error_set(
            err, CASK_ERR_MISMATCH,
            "loss.%s: needs a teacher, and there is none. Give a cache, or set loss.%s.weight to 0",
            name, name);
    }
    return CASK_OK;
}

static enum cask_status create_terms(struct cask_engine *engine,
                                     const struct cask_engine_options *options,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (options->term_count > MAX_TERMS) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "at most %d losses at once, found %d",
                                MAX_TERMS, options->term_count));
    }
    for (int t = 0; t < options->term_count; t++) {
        struct term *term = &engine->terms[t];
        term->loss = NAME(cask_loss_at)(options->terms[t].loss);
        if (term->loss == NULL) {
            CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "loss %d is not in the registry",
                                    options->terms[t].loss));
        }
        term->options = options->terms[t].options;
        engine->term_count++;
        term->needs = term->loss->needs(term->options, &engine->facts);
        engine->needs |= term->needs;
        CASK_TRY(check_needs(term, &engine->facts, err));
        if (term->loss->create != NULL) {
            CASK_TRY(term->loss->create(term->options, &engine->facts, &term->state, err));
        }
        if (term->loss->place == CASK_AT_LOGITS) {
            engine->rule_term[engine->rule_count] = t;
            engine->rules[engine->rule_count++] = term->loss->rule(term->state);
        }
    }
done:
    return st;
}

static bool has_pairs(const struct cask_engine *engine)
{
    for (int t = 0; t < engine->term_count; t++) {
        if (engine->terms[t].loss->place == CASK_AT_PAIRS) {
            return true;
        }
    }
    return false;
}

static enum cask_status create_rows(struct cask_engine *engine, struct cask_error *err)
{
    const size_t batch = (size_t)engine->facts.batch, dim = (size_t)engine->facts.dim;
    enum cask_status st = CASK_OK;
    CASK_TRY(
        engine_alloc(engine, batch * dim, sizeof(real), false, "unit rows", &engine->unit, err));
    CASK_TRY(engine_alloc(engine, batch, sizeof(real), false, "norms", &engine->norm, err));
    CASK_TRY(engine_alloc(engine, batch * dim, sizeof(real), false, "gradient rows",
                          &engine->d_unit, err));
    CASK_TRY(engine_alloc(engine, batch * dim, sizeof(real), false, "gradient rows", &engine->d_raw,
                          err));
    CASK_TRY(engine_alloc(engine, batch * dim, sizeof(real), false, "gradient rows",
                          &engine->term_unit, err));
    CASK_TRY(engine_alloc(engine, batch * dim, sizeof(real), false, "gradient rows",
                          &engine->term_raw, err));
    CASK_TRY(engine_alloc(engine, batch * dim, sizeof(real), false, "gradient rows",
                          &engine->head_unit, err));
    if (engine->needs & CASK_NEED_TEACHER_RAW) {
        CASK_TRY(engine_alloc(engine, batch * (size_t)engine->facts.teacher_dim, sizeof(real),
                              false, "teacher rows", &engine->teacher_raw, err));
    }
    if (has_pairs(engine)) {
        CASK_TRY(
            engine_alloc(engine, batch, sizeof(double), false, "lengths", &engine->length, err));
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->gram, err));
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->teacher_gram, err));
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->d_gram, err));
    }
    if (engine->needs & CASK_NEED_RAW_GRAM) {
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->raw_gram, err));
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->teacher_raw_gram, err));
        CASK_TRY(engine_alloc(engine, batch * batch, sizeof(double), false, "Gram matrix",
                              &engine->d_raw_gram, err));
    }
done:
    return st;
}

static enum cask_status engine_create(const struct cask_engine_options *options,
                                      struct cask_engine **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_engine *engine = cask_alloc(1, sizeof *engine);
    if (engine == NULL) {
        return cask_error_memory(err, sizeof *engine, "criterion");
    }
    engine->device = options->device;
    engine->facts = options->facts;
    engine->facts.threads = cask_device_threads(options->device);
    engine->facts.chunk = class_chunk(&engine->facts, options->chunk);
    engine->seed = engine->facts.seed = options->seed;
    engine->bytes = sizeof *engine;
    CASK_TRY(create_terms(engine, options, err));
    CASK_TRY(create_rows(engine, err));
    CASK_TRY(class_create(engine, options, err));
    engine->result = (struct cask_engine_result){.value = engine->value,
                                                 .gradient_norm = engine->gradient_norm,
                                                 .gradient_cosine = engine->gradient_cosine};
    *out = engine;
    engine = NULL;
done:
    engine_free(engine);
    return st;
}

/* -------------------------------------------------------------------- step */

static enum cask_status check_input(const struct cask_engine *engine,
                                    const struct cask_engine_input *input, struct cask_error *err)
{
    const struct {
        unsigned bits;
        const void *given;
        const char *name;
    } wanted[] = {
        {CASK_NEED_UNIT, input->teacher_unit ? input->teacher_unit : input->teacher_logits,
         "embeddings"},
        {CASK_NEED_NORM | CASK_NEED_TEACHER_RAW, input->teacher_norm, "norms"},
        {CASK_NEED_CENTERS, input->teacher_centers ? input->teacher_centers : input->teacher_logits,
         "class centres"},
        {CASK_NEED_TOPK, input->topk_index, "top-k"},
        {CASK_NEED_LSE, input->lse, "log-sum-exps"},
    };
    if (input->batch < 1 || input->batch > engine->facts.batch) {
        return cask_error_set(err, CASK_ERR_RANGE, "batch: expected 1 to %d, found %d",
                              engine->facts.batch, input->batch);
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if ((engine->needs & wanted[i].bits) != 0 && wanted[i].given == NULL) {
            return cask_error_set(err, CASK_ERR_MISMATCH,
                                  "the losses need the teacher's %s, and the batch has none",
                                  wanted[i].name);
        }
    }
    if (engine->packed.of != NULL && input->teacher_logits == NULL &&
        input->teacher_centers != engine->packed.of) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "the class centres of a step are not those that were packed before");
    }
    for (int i = 0; i < input->batch; i++) {
        if (input->labels[i] != UINT32_MAX && input->labels[i] >= (uint64_t)engine->facts.classes &&
            (engine->has_head || engine->rule_count > 0)) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "label of image %d of the batch: expected below %lld, found %u",
                                  i, (long long)engine->facts.classes, input->labels[i]);
        }
    }
    return CASK_OK;
}

/* Rows that no class term and no cross-entropy counts need no cosines to the classes. */
static struct cask_engine_input class_input(const struct cask_engine *engine,
                                            const struct cask_engine_input *input)
{
    struct cask_engine_input side = *input;
    const bool whole = engine->rule_count > 0 || !engine->has_head ||
                       engine->head_options.kind == CASK_HEAD_MARGIN_DISTILLATION;
    if (!whole && input->head_rows > 0 && input->head_rows < input->batch) {
        side.batch = input->head_rows;
    }
    return side;
}

static enum cask_status engine_step(struct cask_engine *engine,
                                    const struct cask_engine_input *input, struct cask_error *err)
{
    const int batch = input->batch, dim = engine->facts.dim;
    const size_t bytes = (size_t)batch * (size_t)dim * sizeof(real);
    enum cask_status st = CASK_OK;
    CASK_TRY(check_input(engine, input, err));
    for (int t = 0; t <= engine->term_count; t++) {
        engine->value[t] = 0;
        engine->gradient_norm[t] = engine->gradient_cosine[t] = NAN;
    }
    memset(engine->d_unit, 0, bytes);
    memset(engine->d_raw, 0, bytes);
    if (input->embedding != NULL) {
        rows_unit(input->embedding, batch, dim, engine->unit, engine->norm);
    }
    const struct cask_engine_input class_side = class_input(engine, input);
    CASK_TRY(class_forward(engine, &class_side, err));
    if (input->embedding != NULL) {
        rows_step(engine, input);
    }
    engine->result.total = engine->has_head ? engine->head_options.weight * engine->value[0] : 0;
    for (int t = 0; t < engine->term_count; t++) {
        engine->result.total += input->weights[t] * engine->value[1 + t];
    }
    if (engine->fused && !isfinite(engine->result.total)) {
        goto done; /* the caller refuses this step; class rows stay as they are */
    }
    CASK_TRY(class_backward(engine, &class_side, err));
    if (input->embedding != NULL) {
        rows_unit_backward(engine->unit, engine->norm, engine->d_unit, batch, dim, engine->d_raw);
        memcpy(input->d_embedding, engine->d_raw, bytes);
    }
done:
    return st;
}

/* ------------------------------------------------------------------- table */

static bool describe(int index, const char **name, enum cask_place *place,
                     const struct cask_config_row **rows, size_t *row_count, size_t *option_bytes)
{
    const struct loss *loss = NAME(cask_loss_at)(index);
    if (loss == NULL) {
        return false;
    }
    *name = loss->name;
    *place = loss->place;
    *rows = loss->rows;
    *row_count = loss->row_count;
    *option_bytes = loss->option_bytes;
    return true;
}

static unsigned engine_needs(const struct cask_engine *engine)
{
    return engine->needs;
}

static const struct cask_engine_result *engine_result(const struct cask_engine *engine)
{
    return &engine->result;
}

static void *engine_weight(struct cask_engine *engine)
{
    return engine->weight;
}

static void *engine_gradient(struct cask_engine *engine)
{
    return engine->d_weight;
}

static int engine_parameters(struct cask_engine *engine, struct cask_engine_parameter *parameters,
                             int limit)
{
    int n = 0;
    if (engine->weight != NULL && n < limit) {
        parameters[n++] = (struct cask_engine_parameter){
            "head.weight",    "head.momentum",       engine->weight,   engine->momentum,
            engine->d_weight, engine->facts.classes, engine->facts.dim};
    }
    for (int t = 0; t < engine->term_count && n < limit; t++) {
        const struct loss *loss = engine->terms[t].loss;
        n += loss->parameter != NULL && loss->parameter(engine->terms[t].state, &parameters[n]);
    }
    return n;
}

static enum cask_status engine_update(struct cask_engine *engine, const struct cask_sgd *sgd,
                                      struct cask_error *err)
{
    struct cask_engine_parameter parameters[1 + MAX_TERMS];
    const int n = engine_parameters(engine, parameters, 1 + MAX_TERMS);
    enum cask_status st = CASK_OK;
    for (int i = 0; i < n; i++) {
        const struct cask_engine_parameter *p = &parameters[i];
        if (p->gradient == NULL) {
            continue; /* updated in the step */
        }
        CASK_TRY(cask_device_ops(engine->device)
                     ->sgd_step(engine->device, sgd, (size_t)(p->rows * p->columns), p->value,
                                p->gradient, p->momentum, err));
    }
done:
    return st;
}

static int engine_arrays(struct cask_engine *engine, struct cask_engine_array *arrays, int limit)
{
    struct cask_engine_parameter parameters[1 + MAX_TERMS];
    const int trained = engine_parameters(engine, parameters, 1 + MAX_TERMS);
    int n = 0;
    for (int i = 0; i < trained && n + 2 <= limit; i++) {
        const struct cask_engine_parameter *p = &parameters[i];
        arrays[n++] = (struct cask_engine_array){p->name, p->value, false, p->rows, p->columns};
        arrays[n++] =
            (struct cask_engine_array){p->momentum_name, p->momentum, false, p->rows, p->columns};
    }
    if (engine->has_head && engine->head->hard != NULL && n < limit) {
        arrays[n++] = (struct cask_engine_array){"head.t", &engine->curricular_state, true, 1, 1};
    }
    for (int t = 0; t < engine->term_count; t++) {
        if (engine->terms[t].loss->arrays != NULL) {
            n += engine->terms[t].loss->arrays(engine->terms[t].state, arrays + n, limit - n);
        }
    }
    return n;
}

static size_t engine_bytes(const struct cask_engine *engine, size_t *step_bytes)
{
    *step_bytes = engine->step_bytes;
    return engine->bytes;
}

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

const struct cask_engine_api NAME(cask_engine) = {
    .name = TEXT(CASK_VARIANT),
    .real_bytes = sizeof(real),
    .describe = describe,
    .create = engine_create,
    .free = engine_free,
    .needs = engine_needs,
    .pack_centers = centers_keep,
    .step = engine_step,
    .result = engine_result,
    .weight = engine_weight,
    .gradient = engine_gradient,
    .update = engine_update,
    .parameters = engine_parameters,
    .arrays = engine_arrays,
    .bytes = engine_bytes,
};
