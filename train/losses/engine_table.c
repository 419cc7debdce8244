/* train/losses/engine_table.c - the engine as one table of functions for each number type. */
#include "train/losses/engine_inside.h"

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
