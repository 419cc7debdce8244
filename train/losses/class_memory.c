/* train/losses/class_memory.c - what the B x C work needs: class rows, cosines that are kept,
 * chunks of threads, sums of lanes. All of it is allocated once, counted, and logged by the
 * criterion.
 */
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/engine_inside.h"

enum {
    ROWS_BYTES = 512 * 1024,       /* class rows of a chunk: with its cosines, half of a 1 MB L2 */
    LANES_BYTES = 8 * 1024 * 1024, /* of the lanes' d_unit */
    LEAST_LANES = 8,
    MOST_LANES = 32,
    KEEP_MB = 96, /* without a head, whose option says so otherwise */
};

/* ------------------------------------------------------------------- sizes */

static int64_t between(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t class_chunk(const struct cask_engine_facts *facts, int64_t wanted)
{
    const int64_t dim = facts->dim > facts->teacher_dim ? facts->dim : facts->teacher_dim;
    const int64_t fitting = ROWS_BYTES / (dim * (int64_t)sizeof(real)) / 64 * 64;
    return between(wanted > 0 ? wanted : between(fitting, 64, TILE), 1,
                   facts->classes < TILE ? facts->classes : TILE);
}

static int64_t chunks_within(const struct cask_engine_options *options, double chunk_mb)
{
    const double keep_mb = options->head != NULL ? options->head->keep_mb : KEEP_MB;
    return (int64_t)fmin(floor(keep_mb / chunk_mb), 1e15);
}

static void set_sizes(struct cask_engine *engine, const struct cask_engine_options *options)
{
    const struct cask_engine_facts *facts = &engine->facts;
    const int64_t width = facts->chunk;
    const double chunk_mb = (double)(facts->batch * width * (int64_t)sizeof(real)) / 1e6;
    const int64_t fits = chunks_within(options, chunk_mb);
    struct cosines *x = &engine->x;
    *x = (struct cosines){.batch = facts->batch, .classes = facts->classes, .width = width};
    x->chunks = (facts->classes + width - 1) / width;
    engine->y = *x;
    x->kept = fits < x->chunks ? fits : x->chunks;
    /* the teacher's as a whole or not at all */
    engine->y.kept =
        engine->rule_count > 0 && facts->centers && fits >= 2 * x->chunks ? x->chunks : 0;
    engine->lane_count =
        (int)between(LANES_BYTES / ((int64_t)facts->batch * facts->dim * (int64_t)sizeof(real)),
                     LEAST_LANES, MOST_LANES);
    engine->lane_count = (int)between(engine->lane_count, 1, x->chunks);
}

/* ------------------------------------------------------------------ memory */

struct init {
    struct cask_engine *engine;
    int64_t rows_per_task;
};

/* N(0, 0.01), insightface */
static void init_rows(void *user, int64_t task, int thread)
{
    const struct init *init = user;
    const struct cask_engine *engine = init->engine;
    const int64_t first = task * init->rows_per_task, left = engine->facts.classes - first;
    const int64_t count = (left < init->rows_per_task ? left : init->rows_per_task);
    const int64_t from = first * engine->facts.dim, end = from + count * engine->facts.dim;
    (void)thread;
    for (int64_t j = from; j < end; j++) {
        engine->weight[j] = (real)(0.01 * cask_rng_normal(engine->seed, 0x57, (uint64_t)j));
    }
}

static enum cask_status create_weight(struct cask_engine *engine, struct cask_error *err)
{
    const size_t count = (size_t)engine->facts.classes * (size_t)engine->facts.dim;
    struct init init = {engine, 1024};
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
    if (!engine->fused) {
        CASK_TRY(engine_alloc(engine, count, sizeof(real), false, "gradient of class rows",
                              &engine->d_weight, err));
    }
    loss_parallel(engine->device, (engine->facts.classes + 1023) / 1024, init_rows, &init);
    CASK_TRY(engine_alloc(engine, (size_t)engine->facts.classes, sizeof(real), true,
                          "norms of class rows", &engine->column_scale, err));
done:
    return st;
}

static enum cask_status create_workspaces(struct cask_engine *engine, struct cask_error *err)
{
    const size_t threads = (size_t)engine->facts.threads, width = (size_t)engine->x.width;
    const size_t cells = (size_t)engine->facts.batch * width;
    const size_t rows = width * (size_t)engine->facts.dim;
    enum cask_status st = CASK_OK;
    CASK_TRY(engine_alloc(engine, threads, sizeof *engine->workspaces, true, "chunks",
                          &engine->workspaces, err));
    for (size_t t = 0; t < threads; t++) {
        struct workspace *w = &engine->workspaces[t];
        CASK_TRY(engine_alloc(engine, cells, sizeof(real), true, "cosines", &w->x, err));
        CASK_TRY(engine_alloc(engine, cells, sizeof(real), true, "cosines", &w->y, err));
        CASK_TRY(engine_alloc(engine, cells, sizeof(real), true, "gradient", &w->gradient, err));
        CASK_TRY(engine_alloc(engine, rows, sizeof(real), true, "gradient", &w->d_rows, err));
        if (engine->half) {
            const size_t teacher = width * (size_t)(engine->facts.teacher_dim + 1);
            CASK_TRY(engine_alloc(engine, rows, 2, true, "rounded rows", &w->rows16, err));
            CASK_TRY(engine_alloc(engine, teacher, 2, true, "rounded rows", &w->teacher16, err));
            CASK_TRY(engine_alloc(engine, cells, 2, true, "gradient", &w->gradient16, err));
        }
    }
done:
    return st;
}

static enum cask_status create_lanes(struct cask_engine *engine, struct cask_error *err)
{
    const size_t batch = (size_t)engine->facts.batch, rules = (size_t)engine->rule_count;
    enum cask_status st = CASK_OK;
    CASK_TRY(engine_alloc(engine, (size_t)engine->lane_count, sizeof *engine->lanes, true, "lanes",
                          &engine->lanes, err));
    for (int l = 0; l < engine->lane_count; l++) {
        struct lane *lane = &engine->lanes[l];
        CASK_TRY(engine_alloc(engine, batch * (size_t)engine->facts.dim, sizeof(real), true,
                              "gradient of a lane", &lane->d_unit, err));
        CASK_TRY(engine_alloc(engine, batch, sizeof *lane->ce, true, "sums", &lane->ce, err));
        CASK_TRY(engine_alloc(engine, batch * rules, sizeof *lane->sums, true, "sums", &lane->sums,
                              err));
    }
done:
    return st;
}

static enum cask_status keep(struct cask_engine *engine, struct cosines *cosines,
                             struct cask_error *err)
{
    const size_t cells = (size_t)(cosines->kept * cosines->batch * cosines->width);
    return cells == 0 ? CASK_OK
                      : engine_alloc(engine, cells, sizeof(real), true, "class cosines",
                                     &cosines->memory, err);
}

/* Cosines of the teacher: in the memory of all students, if there is one and it fits. */
static enum cask_status keep_teacher(struct cask_engine *engine,
                                     const struct cask_engine_options *options,
                                     struct cask_error *err)
{
    struct cosines *y = &engine->y;
    const struct cask_store_shape shape = {.classes = y->classes,
                                           .width = y->width,
                                           .batch = y->batch,
                                           .dim = engine->facts.teacher_dim,
                                           .real_bytes = sizeof(real),
                                           .half = engine->half,
                                           .device = engine->device};
    const double chunk_mb = (double)(y->batch * y->width * (int64_t)sizeof(real)) / 1e6;
    int64_t kept = between(chunks_within(options, chunk_mb), 0, y->chunks);
    void *memory = NULL;
    enum cask_status st = CASK_OK;
    if (options->store != NULL && engine->rule_count > 0 && engine->facts.centers) {
        CASK_TRY(cask_teacher_store_join(options->store, &shape, &kept, &memory, err));
    }
    if (memory == NULL) {
        return keep(engine, y, err);
    }
    engine->store = options->store;
    y->memory = memory;
    y->kept = kept;
done:
    return st;
}

static enum cask_status create_rows(struct cask_engine *engine, struct cask_error *err)
{
    const size_t batch = (size_t)engine->facts.batch, dim = (size_t)engine->facts.dim;
    enum cask_status st = CASK_OK;
    CASK_TRY(
        engine_alloc(engine, batch, sizeof *engine->labels, true, "labels", &engine->labels, err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->ce, true, "rows", &engine->ce, err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->margins, true, "margins", &engine->margins,
                          err));
    CASK_TRY(engine_alloc(engine, batch, sizeof *engine->teacher_cosine, true, "label cosines",
                          &engine->teacher_cosine, err));
    if (engine->half) {
        const size_t teacher = batch * (size_t)(engine->facts.teacher_dim + 1);
        CASK_TRY(engine_alloc(engine, batch * dim, 2, true, "unit rows", &engine->unit16, err));
        CASK_TRY(engine_alloc(engine, teacher, 2, true, "unit rows", &engine->teacher_unit16, err));
    }
done:
    return st;
}

enum cask_status class_create(struct cask_engine *engine, const struct cask_engine_options *options,
                              struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    engine->has_head = options->head != NULL;
    if (!engine->has_head && engine->rule_count == 0) {
        return CASK_OK;
    }
    engine->half = cask_device_activation_dtype(engine->device) == CASK_BF16;
    engine->fused = options->fused;
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
    for (int r = 0; r < engine->rule_count; r++) {
        engine->bytes += engine->rules[r]->bytes;
        engine->step_bytes += engine->rules[r]->bytes;
    }
    set_sizes(engine, options);
    CASK_TRY(create_rows(engine, err));
    CASK_TRY(create_workspaces(engine, err));
    CASK_TRY(create_lanes(engine, err));
    CASK_TRY(keep(engine, &engine->x, err));
    CASK_TRY(keep_teacher(engine, options, err));
    CASK_TRY(centers_create(engine, options, err));
done:
    return st;
}

/* ----------------------------------------------------------------- release */

void class_release(struct cask_engine *engine)
{
    class_unplan(engine);
    centers_release(engine);
    for (int t = 0; engine->workspaces != NULL && t < engine->facts.threads; t++) {
        const struct workspace *w = &engine->workspaces[t];
        void *const owned[] = {w->x,      w->y,         w->gradient,   w->d_rows,
                               w->rows16, w->teacher16, w->gradient16, w->packed};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
            cask_free(owned[i]);
        }
    }
    for (int l = 0; engine->lanes != NULL && l < engine->lane_count; l++) {
        cask_free(engine->lanes[l].d_unit);
        cask_free(engine->lanes[l].ce);
        cask_free(engine->lanes[l].sums);
    }
    void *const y_memory = engine->store == NULL ? engine->y.memory : NULL;
    void *const owned[] = {
        engine->weight,         engine->momentum, engine->d_weight, engine->labels,
        engine->column_scale,   engine->x.memory, engine->ce,       y_memory,
        engine->workspaces,     engine->lanes,    engine->unit16,   engine->teacher_unit16,
        engine->teacher_cosine, engine->margins};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
}
