/* train/losses/class_chunks.c - one chunk of classes: sums, gradient, update.
 *
 * W keeps its raw rows. With n_c = 1/|w_c|:
 *     c_ic = n_c e_i.w_c          G = dL/dc scaled by n_c per column
 *     dE = G W                    H = G^T E;  dW_c = H_c - (H_c.w_c) n_c^2 w_c
 * A thread does all of this to a chunk while it lies in its core's cache; class rows come from
 * memory once a pass, and their gradient never gets there if the update is fused.
 */
#include "train/losses/engine_inside.h"

/* ------------------------------------------------------------------ chunks */

/* The chunk that the lane works on behind this one. */
static int64_t next_chunk(const struct pass *pass, int64_t chunk)
{
    const struct cask_engine *engine = pass->engine;
    do {
        chunk += engine->lane_count;
    } while (pass->stage == SAMPLE && chunk < engine->x.chunks && !class_in_sample(engine, chunk));
    return chunk;
}

static struct cask_soon soon_of(const real *from, int64_t count)
{
    return (struct cask_soon){(const char *)from, (const char *)(from + count)};
}

/* While arithmetic keeps the core busy, memory brings what comes after it into the second cache: a
 * part of it in each of so many turns that are left. */
static void fetch(struct cask_soon *soon, int64_t turns)
{
    const char *const end = soon->at + (soon->end - soon->at) / turns;
    for (; soon->at < end; soon->at += 64) {
        __builtin_prefetch(soon->at, 0, 2);
    }
}

/* -------------------------------------------------------------------- sums */

static bool is_summed(const struct pass *pass, const struct two_group *rule)
{
    return pass->stage != SAMPLE && rule->wish == SUMS;
}

static bool watches(const struct pass *pass, const struct two_group *rule)
{
    return rule->wish == (pass->stage == SAMPLE ? A_SAMPLE : A_LOOK);
}

static bool needs_teacher(const struct pass *pass)
{
    const struct cask_engine *engine = pass->engine;
    for (int r = 0; r < engine->rule_count; r++) {
        const bool asked = pass->stage == GRADIENT ? (pass->mask >> (1 + r) & 1) != 0
                                                   : is_summed(pass, engine->rules[r]) ||
                                                         (watches(pass, engine->rules[r]) &&
                                                          engine->rules[r]->by_teacher);
        if (asked) {
            return true;
        }
    }
    return false;
}

/* What the lane's next chunk reads: its class rows, which the product in front of the sums may
 * bring, and packed centres, of which later ones come while the first are multiplied. */
struct next {
    struct cask_soon rows, centers;
};
static struct next next_of(const struct pass *pass, const struct chunk *chunk)
{
    const struct cask_engine *engine = pass->engine;
    const int64_t chunks = engine->x.chunks, number = next_chunk(pass, chunk->number);
    struct next next = {{NULL, NULL}, {NULL, NULL}};
    if (number >= chunks || pass->input->logits != NULL) {
        return next;
    }
    if (number >= engine->x.kept || !class_known(engine, &engine->x, number)) {
        next.rows = soon_of(class_rows(pass, number * engine->x.width),
                            chunk_width(&engine->x, number) * (int64_t)engine->facts.dim);
    }
    if (needs_teacher(pass) && engine->packed.of != NULL &&
        (number >= engine->y.kept || !class_known(engine, &engine->y, number))) {
        next.centers.at = centers_chunk(engine, NULL, number, 0);
        next.centers.end = next.centers.at + engine->packed.stride / 4;
    }
    return next;
}

static void add_sums(const struct pass *pass, const struct chunk *chunk, struct next *next,
                     struct lane *lane, int thread)
{
    const struct cask_engine *engine = pass->engine;
    const struct classes *k = &engine->classes;
    for (int r = 0; r < engine->rule_count; r++) {
        if (watches(pass, engine->rules[r])) {
            engine->rules[r]->watch(engine->rules[r], k, chunk, thread);
        }
    }
    for (int64_t i = 0; i < k->batch; i++) {
        fetch(&next->rows, k->batch - i);
        fetch(&next->centers, k->batch - i);
        if (pass->stage == SUM && k->cross_entropy) {
            ce_add(k, i, chunk, &lane->ce[i]);
        }
        for (int r = 0; r < engine->rule_count; r++) {
            struct two_group *rule = engine->rules[r];
            if (is_summed(pass, rule)) {
                two_group_add(rule, k, i, chunk, thread, &lane->sums[r * engine->facts.batch + i]);
            }
        }
    }
    for (int r = 0; r < engine->rule_count; r++) {
        if (is_summed(pass, engine->rules[r])) {
            two_group_put_aside(engine->rules[r], chunk, thread);
        }
    }
}

static void clear_lane(const struct pass *pass, struct lane *lane)
{
    const struct cask_engine *engine = pass->engine;
    if (pass->stage == GRADIENT) {
        memset(lane->d_unit, 0,
               (size_t)pass->input->batch * (size_t)engine->facts.dim * sizeof(real));
        return;
    }
    for (int i = 0; i < pass->input->batch; i++) {
        ce_clear(&lane->ce[i]);
        for (int r = 0; r < engine->rule_count; r++) {
            two_group_clear(engine->rules[r], &lane->sums[r * engine->facts.batch + i]);
        }
    }
}

/* ---------------------------------------------------------------- gradient */

static void gradient_rows(const struct pass *pass, const struct chunk *chunk, real *gradient)
{
    const struct cask_engine *engine = pass->engine;
    const struct classes *k = &engine->classes;
    const bool product = pass->input->logits == NULL;
    struct cask_soon rows = {NULL, NULL};
    if (product) {
        rows = soon_of(class_rows(pass, chunk->first), (int64_t)chunk->width * engine->facts.dim);
    }
    for (int64_t i = 0; i < k->batch; i++) {
        fetch(&rows, k->batch - i);
        real *g = gradient + i * chunk->stride;
        memset(g, 0, (size_t)chunk->width * sizeof *g);
        if (k->cross_entropy && (pass->mask & 1)) {
            ce_gradient(k, i, chunk, g);
        }
        for (int r = 0; r < engine->rule_count; r++) {
            if (pass->mask >> (1 + r) & 1) {
                two_group_gradient(engine->rules[r], k, i, chunk, g);
            }
        }
        if (k->column_scale != NULL) {
            const real *scale = k->column_scale + chunk->first;
            SIMD()
            for (int64_t j = 0; j < chunk->width; j++) {
                g[j] *= scale[j];
            }
        }
    }
}

/* H_c -> H_c - (H_c.w_c) n_c^2 w_c */
static void project(const struct cask_engine *engine, const struct chunk *chunk, real *d_rows)
{
    const int64_t dim = engine->facts.dim;
    struct cask_soon momentum =
        soon_of(engine->momentum + chunk->first * dim, engine->fused ? chunk->width * dim : 0);
    for (int64_t c = 0; c < chunk->width; c++) {
        const real *w = engine->weight + (chunk->first + c) * dim;
        fetch(&momentum, chunk->width - c);
        const double n = (double)engine->column_scale[chunk->first + c];
        real *h = d_rows + c * dim;
        const real radial = (real)(rows_dot(h, w, dim) * n * n);
        SIMD()
        for (int64_t j = 0; j < dim; j++) {
            h[j] -= radial * w[j];
        }
    }
}

/* The gradient of the chunk's class rows: into d_weight, or used up at once. */
static bool update_rows(const struct pass *pass, const struct chunk *chunk, const void *gradient,
                        int thread)
{
    struct cask_engine *engine = pass->engine;
    const int64_t dim = engine->facts.dim, first = chunk->first * dim;
    const size_t count = (size_t)(chunk->width * dim);
    real *d_rows = engine->fused ? engine->workspaces[thread].d_rows : engine->d_weight + first;
    if (gradient == NULL) {
        memset(d_rows, 0, count * sizeof *d_rows);
    } else {
        if (!class_product(pass, TO_ROWS, chunk->width == chunk->stride, thread, gradient,
                           engine->half ? engine->unit16 : engine->unit, d_rows, NULL)) {
            return false;
        }
        project(engine, chunk, d_rows);
    }
    if (engine->fused && pass->input->update != NULL) {
        cask_device_ops(engine->device)
            ->serial_sgd(engine->device, pass->input->update, count, engine->weight + first, d_rows,
                         engine->momentum + first);
    }
    return true;
}

static bool gradient(const struct pass *pass, struct chunk *chunk, struct lane *lane, int thread)
{
    struct cask_engine *engine = pass->engine;
    const struct cask_engine_input *input = pass->input;
    struct workspace *work = &engine->workspaces[thread];
    const bool full = chunk->width == chunk->stride;
    if (pass->mask == 0) {
        return update_rows(pass, chunk, NULL, thread);
    }
    if (!class_student(pass, chunk, thread) ||
        (needs_teacher(pass) && !class_teacher(pass, chunk, thread, NULL))) {
        return false;
    }
    gradient_rows(pass, chunk, work->gradient);
    if (input->logits != NULL) {
        for (int64_t i = 0; i < input->batch; i++) {
            memcpy((real *)input->d_logits + i * engine->facts.classes + chunk->first,
                   work->gradient + i * chunk->stride, (size_t)chunk->width * sizeof(real));
        }
        return true;
    }
    const void *rows = class_operand(engine, class_rows(pass, chunk->first),
                                     chunk->width * (int64_t)engine->facts.dim, work->rows16);
    const void *g =
        class_operand(engine, work->gradient, input->batch * chunk->stride, work->gradient16);
    return class_product(pass, TO_UNIT, full, thread, g, rows, lane->d_unit, NULL) &&
           (!pass->rows || update_rows(pass, chunk, g, thread));
}

/* -------------------------------------------------------------------- pass */

static void lane_task(void *user, int64_t turn, int thread)
{
    struct pass *pass = user;
    struct cask_engine *engine = pass->engine;
    /* backwards behind the sums: of what the last lanes read much is still in the last cache */
    const int64_t number = pass->stage == GRADIENT ? engine->lane_count - 1 - turn : turn;
    struct lane *lane = &engine->lanes[number];
    clear_lane(pass, lane);
    for (int64_t c = next_chunk(pass, number - engine->lane_count); c < engine->x.chunks;
         c = next_chunk(pass, c)) {
        struct chunk chunk = {.number = c,
                              .first = c * engine->x.width,
                              .width = chunk_width(&engine->x, c),
                              .stride = engine->x.width};
        bool ok = true;
        if (pass->stage == GRADIENT) {
            ok = gradient(pass, &chunk, lane, thread);
        } else {
            struct next next = next_of(pass, &chunk);
            ok = class_student(pass, &chunk, thread) &&
                 (!needs_teacher(pass) || class_teacher(pass, &chunk, thread, &next.rows));
            add_sums(pass, &chunk, &next, lane, thread);
        }
        if (!ok) {
            __atomic_store_n(&pass->failed, true, __ATOMIC_RELAXED);
            return;
        }
    }
}

enum cask_status class_pass(struct pass *pass, struct cask_error *err)
{
    struct cask_engine *engine = pass->engine;
    loss_parallel(engine->device, engine->lane_count, lane_task, pass);
    if (pass->failed) {
        return cask_error_set(err, CASK_ERR_DEVICE, "a matrix product of the head failed");
    }
    if (pass->stage == SAMPLE) {
        engine->x.sampled = true;
        engine->y.sampled = needs_teacher(pass);
    } else {
        engine->x.known = true;
        engine->y.known = engine->y.known || needs_teacher(pass);
    }
    return CASK_OK;
}
