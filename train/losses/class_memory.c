/* train/losses/class_memory.c - what the B x C work needs: class rows, cosines, chunks; all of it
 * allocated once, counted, and logged by the criterion.
 */
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/engine_inside.h"

enum {
    /* Teacher cosines of all classes are kept if they fit in this, as at B = 128, C = 85742: one
     * matrix for all losses, and its product is not computed twice. */
    KEEP_BYTES = 48 * 1024 * 1024,
    CHUNK_BYTES = 4 * 1024 * 1024,
};

static int64_t fit(int64_t classes, int batch, int64_t bytes)
{
    int64_t width = bytes / (batch * (int64_t)sizeof(real)) / TILE * TILE;
    width = width < TILE ? TILE : width;
    return width < classes ? width : classes;
}

static int64_t chunk_width(const struct cask_engine_options *options)
{
    int64_t classes = options->facts.classes;
    if (options->teacher_chunk > 0) {
        return options->teacher_chunk < classes ? options->teacher_chunk : classes;
    }
    int64_t kept = fit(classes, options->facts.batch, KEEP_BYTES);
    return kept == classes ? classes : fit(classes, options->facts.batch, CHUNK_BYTES);
}

static enum cask_status create_weight(struct cask_engine *engine, struct cask_error *err)
{
    const size_t count = (size_t)engine->facts.classes * (size_t)engine->facts.dim;
    enum cask_status st = CASK_OK;
    if (engine->head_options.frozen || engine->head_options.kind == CASK_HEAD_MARGIN_DISTILLATION) {
        engine->head_options.frozen = true;
        engine->needs |= CASK_NEED_CENTERS;
        if (!engine->facts.centers || engine->facts.teacher_dim != engine->facts.dim) {
            CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                    "head: its class rows are the teacher's centres, so the "
                                    "teacher must have them in %d dimensions; it has %s of %d",
                                    engine->facts.dim,
                                    engine->facts.centers ? "centres" : "none, with embeddings",
                                    engine->facts.teacher_dim));
        }
        goto done;
    }
    CASK_TRY(engine_alloc(engine, count, sizeof(real), false, "class rows", &engine->weight, err));
    CASK_TRY(engine_alloc(engine, count, sizeof(real), false, "momentum of class rows",
                          &engine->momentum, err));
    CASK_TRY(engine_alloc(engine, count, sizeof(real), false, "gradient of class rows",
                          &engine->d_weight, err));
    for (size_t j = 0; j < count; j++) {
        engine->weight[j] =
            (real)(0.01 * cask_rng_normal(engine->seed, 0x57, j)); /* N(0, 0.01), insightface */
    }
    CASK_TRY(engine_alloc(engine, (size_t)engine->facts.classes, sizeof(real), true,
                          "norms of class rows", &engine->column_scale, err));
done:
    return st;
}

static enum cask_status create_teacher(struct cask_engine *engine,
                                       const struct cask_engine_options *options,
                                       struct cask_error *err)
{
    const size_t batch = (size_t)engine->facts.batch;
    bool selects = false;
    enum cask_status st = CASK_OK;
    for (int r = 0; r < engine->rule_count; r++) {
        selects |= engine->rules[r]->set == SET_CUT && !engine->rules[r]->by_teacher;
    }
    engine->teacher.capacity = chunk_width(options);
    CASK_TRY(engine_alloc(engine, batch * (size_t)engine->teacher.capacity, sizeof(real), true,
                          "chunk of teacher cosines", &engine->teacher.chunk, err));
    if (selects) {
        size_t threads = (size_t)engine->facts.threads;
        CASK_TRY(engine_alloc(engine, threads * (size_t)rank_scratch(engine->facts.classes),
                              sizeof *engine->scratch, true, "candidates of the selection",
                              &engine->scratch, err));
    }
done:
    return st;
}

enum cask_status class_create(struct cask_engine *engine, const struct cask_engine_options *options,
                              struct cask_error *err)
{
    const size_t batch = (size_t)engine->facts.batch;
    enum cask_status st = CASK_OK;
    engine->has_head = options->head != NULL;
    if (!engine->has_head && engine->rule_count == 0) {
        return CASK_OK;
    }
    if (engine->has_head) {
        engine->head_options = *options->head;
        engine->head = cask_head_of(options->head);
        engine->curricular_state = (float)options->head->t;
        engine->curricular_t = options->head->t;
        if (engine->head_options.kind == CASK_HEAD_MARGIN_DISTILLATION) {
            engine->needs |= CASK_NEED_UNIT;
        }
        CASK_TRY(create_weight(engine, err));
    }
    CASK_TRY(engine_alloc(engine, batch * (size_t)engine->facts.classes, sizeof(real), true,
                          "class cosines", &engine->x, err));
    CASK_TRY(
        engine_alloc(engine, batch, sizeof *engine->labels, true, "labels", &engine->labels, err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->ce, true, "rows", &engine->ce, err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->margins, true, "margins", &engine->margins,
                          err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->teacher_cosine, true, "label cosines",
                          &engine->teacher_cosine, err));
    if (engine->rule_count > 0) {
        CASK_TRY(create_teacher(engine, options, err));
    }
    engine->measure_width = fit(engine->facts.classes, engine->facts.batch, CHUNK_BYTES);
    CASK_TRY(engine_alloc(engine, batch * (size_t)engine->measure_width, sizeof(real), true,
                          "chunk of gradients", &engine->gradient_chunk, err));
done:
    return st;
}

void class_release(struct cask_engine *engine)
{
    void *const owned[] = {engine->weight,
                           engine->momentum,
                           engine->d_weight,
                           engine->column_scale,
                           engine->x,
                           engine->labels,
                           engine->ce,
                           engine->scratch,
                           engine->margins,
                           engine->teacher_cosine,
                           engine->gradient_chunk,
                           engine->teacher.chunk};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
}
