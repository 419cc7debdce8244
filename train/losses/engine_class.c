/* train/losses/engine_class.c - everything B x C: cosines, head, class terms, gradient for W.
 *
 * W keeps its raw rows; nothing of size C x D is normalised in memory. With n_c = 1/|w_c|:
 *     c_ic = n_c e_i.w_c          G = dL/dc scaled by n_c per column
 *     dE = G W                    H = G^T E;  dW_c = H_c - (H_c.w_c) n_c^2 w_c
 * G overwrites the cosines. Teacher cosines exist a chunk at a time, shared by all class terms.
 */
#include "train/losses/engine_inside.h"

enum { ROWS_PER_TASK = 512 }; /* rows of W that a thread takes at once */

/* ----------------------------------------------------------- cosines, head */

static void column_task(void *user, int64_t task, int worker)
{
    struct cask_engine *engine = user;
    const int64_t dim = engine->facts.dim, first = task * ROWS_PER_TASK;
    const int64_t end = first + ROWS_PER_TASK < engine->facts.classes ? first + ROWS_PER_TASK
                                                                      : engine->facts.classes;
    (void)worker;
    for (int64_t c = first; c < end; c++) {
        const real *w = engine->weight + c * dim;
        engine->column_scale[c] = (real)(1 / fmax(sqrt(rows_dot(w, w, dim)), 1e-12));
    }
}

static int64_t weight_tasks(const struct cask_engine *engine)
{
    return (engine->facts.classes + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
}

/* The label's cosine, and whether it is the row's largest (in `hard`, until the head fills that).
 */
static void label_task(void *user, int64_t row, int worker)
{
    struct cask_engine *engine = user;
    struct classes *k = &engine->classes;
    struct label *label = &k->labels[row];
    real *x = k->x + row * k->count;
    (void)worker;
    if (k->column_scale != NULL) {
        rows_scale_clip(x, k->column_scale, k->count);
    }
    if (!label->known) {
        return;
    }
    real low = 0, high = REAL_NONE;
    rows_range(x, label->at, &low, &high);
    rows_range(x + label->at + 1, k->count - label->at - 1, &low, &high);
    label->plain = label->margin = (double)x[label->at];
    label->slope = 1;
    label->hard = x[label->at] > high ? 1 : 0;
}

static double teacher_label_cosine(const struct cask_engine *engine,
                                   const struct cask_engine_input *input, int row)
{
    const int64_t dim = engine->facts.teacher_dim;
    const uint32_t label = input->labels[row];
    if (input->teacher_unit != NULL && input->teacher_centers != NULL) {
        return rows_dot((const real *)input->teacher_unit + row * dim,
                        (const real *)input->teacher_centers + label * dim, dim);
    }
    if (input->label_cosine != NULL) {
        return (double)((const real *)input->label_cosine)[row];
    }
    for (int j = 0; input->topk_index != NULL && j < engine->facts.topk; j++) {
        int64_t at = (int64_t)row * engine->facts.topk + j;
        if (input->topk_index[at] == label) {
            return (double)((const real *)input->topk_cosine)[at];
        }
    }
    return NAN;
}

static void apply_head(struct cask_engine *engine, int batch)
{
    const struct cask_head_options *options = &engine->head_options;
    struct classes *k = &engine->classes;
    const double fixed = cask_head_margin(options);
    double mean = 0;
    if (options->kind == CASK_HEAD_MARGIN_DISTILLATION) {
        cask_head_sample_margins(options, engine->teacher_cosine, batch, engine->margins);
    }
    for (int i = 0; i < batch; i++) {
        struct label *label = &k->labels[i];
        if (!label->known) {
            continue;
        }
        /* rounding of a product; frozen rows are not clipped with their scaling */
        label->plain = label->plain > 1 ? 1 : (label->plain < -1 ? -1 : label->plain);
        mean += label->head ? label->plain / k->labelled : 0;
        label->sample_margin =
            options->kind == CASK_HEAD_MARGIN_DISTILLATION ? engine->margins[i] : fixed;
        engine->head->label(options, label->sample_margin, label->plain, &label->margin,
                            &label->slope);
        label->hard = engine->head->hard != NULL
                          ? engine->head->hard(label->sample_margin, label->plain)
                          : INFINITY;
    }
    if (engine->head->hard != NULL && k->labelled > 0) {
        /* t follows the mean label cosine, updated before use and kept as the float that is saved
         */
        engine->curricular_t = options->t_momentum * (double)engine->curricular_state +
                               (1 - options->t_momentum) * mean;
        engine->curricular_t = options->t_momentum == 1 ? options->t : engine->curricular_t;
        engine->curricular_state = (float)engine->curricular_t;
    }
    k->curricular_t = engine->curricular_t;
}

static void prepare_labels(struct cask_engine *engine, const struct cask_engine_input *input)
{
    struct classes *k = &engine->classes;
    int right = 0;
    k->labelled = 0;
    for (int i = 0; i < input->batch; i++) {
        k->labels[i] = (struct label){.known = input->labels[i] != UINT32_MAX,
                                      .at = input->labels[i],
                                      .hard = INFINITY,
                                      .teacher = NAN};
        k->labels[i].head = k->labels[i].known && (input->head_rows == 0 || i < input->head_rows);
        k->labelled += k->labels[i].head;
        engine->teacher_cosine[i] =
            k->labels[i].known ? teacher_label_cosine(engine, input, i) : NAN;
    }
    loss_parallel(engine->pool, input->batch, label_task, engine);
    for (int i = 0; i < input->batch; i++) {
        if (k->labels[i].known) {
            right += k->labels[i].head && k->labels[i].hard == 1;
            k->labels[i].hard = INFINITY;
            k->labels[i].teacher =
                engine->teacher.kind == TEACHER_TOPK ? engine->teacher_cosine[i] : NAN;
        }
    }
    engine->result.accuracy = k->labelled > 0 ? (double)right / k->labelled : 0;
    if (engine->has_head && input->embedding != NULL) {
        apply_head(engine, input->batch);
    }
}

static void prepare_teacher_rows(struct cask_engine *engine, const struct cask_engine_input *input)
{
    struct teacher_rows *teacher = &engine->teacher;
    teacher->loaded = false;
    teacher->device = engine->device;
    teacher->scale = engine->facts.teacher_scale;
    teacher->dim = engine->facts.teacher_dim;
    teacher->dense = input->teacher_logits;
    teacher->unit = input->teacher_unit;
    teacher->centers = input->teacher_centers;
    teacher->k = engine->facts.topk;
    teacher->index = input->topk_index;
    teacher->cosine = input->topk_cosine;
    teacher->lse = input->lse;
    teacher->temperatures = engine->facts.temperatures;
    teacher->temperature_count = input->lse != NULL ? engine->facts.temperature_count : 0;
    if (engine->rule_count == 0) {
        teacher->kind = TEACHER_NONE;
    } else if (!engine->facts.centers) {
        teacher->kind = TEACHER_TOPK;
    } else {
        teacher->kind = input->teacher_logits != NULL ? TEACHER_DENSE : TEACHER_CENTERS;
    }
}

static const real *class_rows(const struct cask_engine *engine,
                              const struct cask_engine_input *input)
{
    return engine->weight != NULL ? engine->weight : input->teacher_centers;
}

static enum cask_status student_rows(struct cask_engine *engine,
                                     const struct cask_engine_input *input, struct cask_error *err)
{
    const int64_t classes = engine->facts.classes;
    if (input->logits != NULL) {
        memcpy(engine->x, input->logits, (size_t)input->batch * (size_t)classes * sizeof(real));
        return CASK_OK;
    }
    if (engine->weight != NULL) {
        loss_parallel(engine->pool, weight_tasks(engine), column_task, engine);
    }
    const struct cask_gemm gemm = {
        .trans_b = true, .m = input->batch, .n = classes, .k = engine->facts.dim, .alpha = 1};
    return engine_gemm(engine, gemm, engine->unit, class_rows(engine, input), engine->x, err);
}

/* -------------------------------------------------------------------- step */

static enum cask_status stream_stats(struct cask_engine *engine, struct cask_error *err)
{
    struct classes *k = &engine->classes;
    enum cask_status st = CASK_OK;
    for (int64_t first = 0; engine->rule_count > 0 && first < k->count;
         first += engine->teacher.capacity) {
        int64_t width = k->count - first < engine->teacher.capacity ? k->count - first
                                                                    : engine->teacher.capacity;
        CASK_TRY(teacher_load(k->teacher, k->batch, k->count, first, width, err));
        class_chunk_stats(k, engine->rules, engine->rule_count);
    }
done:
    return st;
}

/* The gradient of the terms in `mask`: over the cosines if d_unit is NULL, else a piece at a time
 * and on to d_unit, leaving the cosines as they are. */
static enum cask_status stream_gradient(struct cask_engine *engine, uint64_t mask, const real *rows,
                                        real *d_unit, struct cask_error *err)
{
    struct classes *k = &engine->classes;
    const int64_t capacity = engine->rule_count > 0 ? engine->teacher.capacity : k->count;
    enum cask_status st = CASK_OK;
    for (int64_t first = 0; first < k->count; first += capacity) {
        int64_t width = k->count - first < capacity ? k->count - first : capacity;
        if (mask >> 1 != 0) {
            CASK_TRY(teacher_load(k->teacher, k->batch, k->count, first, width, err));
        }
        if (d_unit == NULL) {
            class_gradient(k, engine->rules, engine->rule_count, mask, first, width, k->x + first,
                           k->count);
            continue;
        }
        for (int64_t at = first; at < first + width; at += engine->measure_width) {
            int64_t part = first + width - at < engine->measure_width ? first + width - at
                                                                      : engine->measure_width;
            class_gradient(k, engine->rules, engine->rule_count, mask, at, part,
                           engine->gradient_chunk, part);
            const struct cask_gemm gemm = {
                .m = k->batch, .n = engine->facts.dim, .k = part, .alpha = 1, .beta = 1};
            CASK_TRY(engine_gemm(engine, gemm, engine->gradient_chunk,
                                 rows + at * engine->facts.dim, d_unit, err));
        }
    }
done:
    return st;
}

/* One more pass and GEMM for each class term: only on steps that are logged. */
static enum cask_status measure_terms(struct cask_engine *engine,
                                      const struct cask_engine_input *input, struct cask_error *err)
{
    const size_t bytes = (size_t)engine->facts.batch * (size_t)engine->facts.dim * sizeof(real);
    enum cask_status st = CASK_OK;
    for (int r = 0; r <= engine->rule_count; r++) {
        real *d_unit = r == 0 ? engine->head_unit : engine->term_unit;
        memset(d_unit, 0, bytes);
        CASK_TRY(stream_gradient(engine, UINT64_C(1) << r, class_rows(engine, input), d_unit, err));
        engine_measure(engine, r == 0 ? 0 : 1 + engine->rule_term[r - 1], d_unit, input->batch);
    }
done:
    return st;
}

/* H_c -> H_c - (H_c.w_c) n_c^2 w_c */
static void weight_task(void *user, int64_t task, int worker)
{
    struct cask_engine *engine = user;
    const int64_t dim = engine->facts.dim, first = task * ROWS_PER_TASK;
    const int64_t end = first + ROWS_PER_TASK < engine->facts.classes ? first + ROWS_PER_TASK
                                                                      : engine->facts.classes;
    (void)worker;
    for (int64_t c = first; c < end; c++) {
        const real *w = engine->weight + c * dim;
        real *h = engine->d_weight + c * dim;
        double n = (double)engine->column_scale[c];
        real radial = (real)(rows_dot(h, w, dim) * n * n);
        SIMD()
        for (int64_t j = 0; j < dim; j++) {
            h[j] -= radial * w[j];
        }
    }
}

static enum cask_status backward(struct cask_engine *engine, const struct cask_engine_input *input,
                                 struct cask_error *err)
{
    const int64_t classes = engine->facts.classes, dim = engine->facts.dim;
    enum cask_status st = CASK_OK;
    const struct cask_gemm to_unit = {
        .m = input->batch, .n = dim, .k = classes, .alpha = 1, .beta = 1};
    CASK_TRY(
        engine_gemm(engine, to_unit, engine->x, class_rows(engine, input), engine->d_unit, err));
    if (engine->weight != NULL) {
        const struct cask_gemm to_weight = {
            .trans_a = true, .m = classes, .n = dim, .k = input->batch, .alpha = 1};
        CASK_TRY(engine_gemm(engine, to_weight, engine->x, engine->unit, engine->d_weight, err));
        loss_parallel(engine->pool, weight_tasks(engine), weight_task, engine);
    }
done:
    return st;
}

static enum cask_status clear_gradient(struct cask_engine *engine)
{
    if (engine->d_weight != NULL) {
        memset(engine->d_weight, 0,
               (size_t)engine->facts.classes * (size_t)engine->facts.dim * sizeof(real));
    }
    return CASK_OK;
}

static void collect(struct cask_engine *engine, const double *values)
{
    engine->value[0] = values[0];
    engine->result.captured = NAN;
    for (int r = 0; r < engine->rule_count; r++) {
        double captured = 0;
        for (int i = 0; i < engine->classes.batch; i++) {
            captured += engine->rules[r]->rows[i].captured / engine->classes.batch;
        }
        engine->value[1 + engine->rule_term[r]] = values[1 + r];
        engine->result.captured = captured;
    }
}

enum cask_status class_step(struct cask_engine *engine, const struct cask_engine_input *input,
                            struct cask_error *err)
{
    const bool from_logits = input->logits != NULL;
    double values[1 + MAX_TERMS];
    enum cask_status st = CASK_OK;
    if (engine->x == NULL) {
        return CASK_OK;
    }
    prepare_teacher_rows(engine, input);
    engine->classes = (struct classes){
        .batch = input->batch,
        .count = engine->facts.classes,
        .x = engine->x,
        .scale = from_logits ? 1 : engine->head_options.scale,
        .column_scale = from_logits ? NULL : engine->column_scale,
        .labels = engine->labels,
        .teacher = &engine->teacher,
        .head = engine->head,
        .head_options = &engine->head_options,
        .cross_entropy = engine->has_head,
        .ce = engine->ce,
        .pool = engine->pool,
        .scratch = engine->scratch,
    };
    CASK_TRY(student_rows(engine, input, err));
    prepare_labels(engine, input);
    for (int r = 0; r < engine->rule_count; r++) {
        engine->rules[r]->weight = input->weights[engine->rule_term[r]];
    }
    CASK_TRY(class_begin(&engine->classes, engine->rules, engine->rule_count, err));
    CASK_TRY(stream_stats(engine, err));
    class_finish(&engine->classes, engine->rules, engine->rule_count, values);
    collect(engine, values);
    if (input->measure && !from_logits) {
        CASK_TRY(measure_terms(engine, input, err));
    }
    if (engine->rule_count == 0 && engine->head_options.weight == 0) {
        return clear_gradient(engine); /* logged only */
    }
    CASK_TRY(stream_gradient(engine, UINT64_MAX, NULL, NULL, err));
    if (from_logits) {
        memcpy(input->d_logits, engine->x,
               (size_t)input->batch * (size_t)engine->facts.classes * sizeof(real));
    } else {
        CASK_TRY(backward(engine, input, err));
    }
done:
    return st;
}
