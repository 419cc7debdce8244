/* train/losses/class_cosines.c - the cosines of a chunk of classes, of both nets: made, or kept
 * from an earlier pass of the step. With n_c = 1/|w_c|: c_ic = n_c e_i.w_c; W keeps its raw rows.
 */
#include "train/losses/engine_inside.h"

bool class_in_sample(const struct cask_engine *engine, int64_t chunk)
{
    return (chunk / engine->lane_count + chunk % engine->lane_count) % 4 == 0;
}

bool class_known(const struct cask_engine *engine, const struct cosines *cosines, int64_t chunk)
{
    return cosines->known || (cosines->sampled && class_in_sample(engine, chunk));
}

/* ---------------------------------------------------------------- products */

bool class_product(const struct pass *pass, enum product which, bool full, int thread,
                   const void *a, const void *b, void *c, struct cask_soon *soon)
{
    const struct cask_engine *engine = pass->engine;
    return cask_device_ops(engine->device)
        ->serial_product((full ? engine->products.full : engine->products.last)[which], thread, a,
                         b, c, soon);
}

const void *class_operand(const struct cask_engine *engine, const real *from, int64_t count,
                          void *copy)
{
    if (!engine->half) {
        return from;
    }
    cask_device_ops(engine->device)->serial_round(engine->device, (size_t)count, from, copy);
    return copy;
}

const real *class_rows(const struct pass *pass, int64_t first)
{
    const struct cask_engine *engine = pass->engine;
    return (engine->weight != NULL ? engine->weight : (const real *)pass->input->teacher_centers) +
           first * engine->facts.dim;
}

/* ----------------------------------------------------------------- student */

static void column_norms(struct cask_engine *engine, const struct chunk *chunk)
{
    const int64_t dim = engine->facts.dim;
    for (int64_t c = chunk->first; c < chunk->first + chunk->width; c++) {
        const real *w = engine->weight + c * dim;
        engine->column_scale[c] = (real)(1 / fmax(sqrt(rows_dot(w, w, dim)), 1e-12));
    }
}

static void copy_logits(const real *from, int64_t count, const struct chunk *chunk, int batch,
                        real *to)
{
    for (int64_t i = 0; i < batch; i++) {
        memcpy(to + i * chunk->stride, from + i * count + chunk->first,
               (size_t)chunk->width * sizeof *to);
    }
}

bool class_student(const struct pass *pass, struct chunk *chunk, int thread)
{
    struct cask_engine *engine = pass->engine;
    struct workspace *work = &engine->workspaces[thread];
    const bool keep = chunk->number < engine->x.kept;
    const int64_t dim = engine->facts.dim;
    real *x = keep ? cosines_row(&engine->x, chunk->number, 0) : work->x;
    chunk->x = x;
    if (keep && class_known(engine, &engine->x, chunk->number)) {
        return true;
    }
    if (pass->input->logits != NULL) {
        copy_logits(pass->input->logits, engine->facts.classes, chunk, pass->input->batch, x);
        return true;
    }
    const real *rows = class_rows(pass, chunk->first);
    if (engine->weight != NULL && (pass->stage == SAMPLE || pass->stage == SUM)) {
        column_norms(engine, chunk);
    }
    if (!class_product(pass, COSINES, chunk->width == chunk->stride, thread,
                       engine->half ? engine->unit16 : engine->unit,
                       class_operand(engine, rows, chunk->width * dim, work->rows16), x, NULL)) {
        return false;
    }
    for (int64_t i = 0; i < pass->input->batch && engine->weight != NULL; i++) {
        rows_scale_clip(x + i * chunk->stride, engine->column_scale + chunk->first, chunk->width);
    }
    return true;
}

/* ----------------------------------------------------------------- teacher */

/* Cosines at the teacher's top-k, REAL_NONE elsewhere. */
static void spread_topk(const struct teacher_rows *teacher, const struct chunk *chunk, int batch,
                        real *y)
{
    for (int64_t i = 0; i < batch; i++) {
        real *row = y + i * chunk->stride;
        for (int64_t j = 0; j < chunk->width; j++) {
            row[j] = REAL_NONE;
        }
        for (int j = 0; j < teacher->k; j++) {
            const int64_t at = (int64_t)teacher->index[i * teacher->k + j] - chunk->first;
            if (at >= 0 && at < chunk->width) {
                row[at] = teacher->cosine[i * teacher->k + j];
            }
        }
    }
}

static bool teacher_product(const struct pass *pass, const struct chunk *chunk, int thread, real *y,
                            struct cask_soon *soon)
{
    const struct cask_engine *engine = pass->engine;
    const void *unit = engine->half ? engine->teacher_unit16 : (const void *)engine->teacher.unit;
    const void *rows = centers_chunk(engine, engine->teacher.centers, chunk->number, thread);
    return rows != NULL &&
           class_product(pass, TEACHER, chunk->width == chunk->stride, thread, unit, rows, y, soon);
}

bool class_teacher(const struct pass *pass, struct chunk *chunk, int thread, struct cask_soon *soon)
{
    struct cask_engine *engine = pass->engine;
    const struct teacher_rows *rows = &engine->teacher;
    struct workspace *work = &engine->workspaces[thread];
    const bool keep = chunk->number < engine->y.kept;
    real *y = keep ? cosines_row(&engine->y, chunk->number, 0) : work->y;
    chunk->y = y;
    if (keep && class_known(engine, &engine->y, chunk->number)) {
        return true;
    }
    switch (rows->kind) {
    case TEACHER_CENTERS:
        return teacher_product(pass, chunk, thread, y, soon);
    case TEACHER_DENSE:
        copy_logits(rows->dense, engine->facts.classes, chunk, pass->input->batch, y);
        return true;
    case TEACHER_TOPK:
        spread_topk(rows, chunk, pass->input->batch, y);
        return true;
    case TEACHER_NONE:
        break;
    }
    return true;
}
