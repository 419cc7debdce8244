/* train/losses/engine_create.c - every loss at its place, and memory for rows of a batch. */
#include "train/losses/engine_inside.h"

#include "common/mem.h"

void engine_free(struct cask_engine *engine)
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
    const size_t batch = (size_t)engine->facts.batch, rows = batch * (size_t)engine->facts.dim;
    const size_t teacher_rows = batch * (size_t)engine->facts.teacher_dim, gram = batch * batch;
    const bool pairs = has_pairs(engine), raw_gram = (engine->needs & CASK_NEED_RAW_GRAM) != 0;
    const bool teacher_raw = (engine->needs & CASK_NEED_TEACHER_RAW) != 0;
    const struct {
        bool wanted;
        size_t count, size;
        const char *what;
        void *slot;
    } arrays[] = {
        {true, rows, sizeof(real), "unit rows", &engine->unit},
        {true, batch, sizeof(real), "norms", &engine->norm},
        {true, rows, sizeof(real), "gradient rows", &engine->d_unit},
        {true, rows, sizeof(real), "gradient rows", &engine->d_raw},
        {true, rows, sizeof(real), "gradient rows", &engine->term_unit},
        {true, rows, sizeof(real), "gradient rows", &engine->term_raw},
        {true, rows, sizeof(real), "gradient rows", &engine->head_unit},
        {teacher_raw, teacher_rows, sizeof(real), "teacher rows", &engine->teacher_raw},
        {pairs, batch, sizeof(double), "lengths", &engine->length},
        {pairs, gram, sizeof(double), "Gram matrix", &engine->gram},
        {pairs, gram, sizeof(double), "Gram matrix", &engine->teacher_gram},
        {pairs, gram, sizeof(double), "Gram matrix", &engine->d_gram},
        {raw_gram, gram, sizeof(double), "Gram matrix", &engine->raw_gram},
        {raw_gram, gram, sizeof(double), "Gram matrix", &engine->teacher_raw_gram},
        {raw_gram, gram, sizeof(double), "Gram matrix", &engine->d_raw_gram},
    };
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (arrays[i].wanted) {
            CASK_TRY(engine_alloc(engine, arrays[i].count, arrays[i].size, false, arrays[i].what,
                                  arrays[i].slot, err));
        }
    }
done:
    return st;
}

enum cask_status engine_create(const struct cask_engine_options *options, struct cask_engine **out,
                               struct cask_error *err)
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
