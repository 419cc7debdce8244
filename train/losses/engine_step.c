/* train/losses/engine_step.c - one step: normalise, the classes, the rows, come back to f. */
#include "train/losses/engine_inside.h"

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

enum cask_status engine_step(struct cask_engine *engine, const struct cask_engine_input *input,
                             struct cask_error *err)
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
