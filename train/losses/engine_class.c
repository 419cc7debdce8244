/* train/losses/engine_class.c - the order of a step at the class attachment.
 *
 *   labels    their cosines in double, margins
 *   SAMPLE    a pass over some classes, where a rule guesses from them where its rows are cut
 *   SUM       a pass over all classes: both nets' log-sum-exps; others look where to cut
 *   AGAIN     more passes as long as a rule wishes for one, as those do that had to look first
 *   finish    values and gradient coefficients, row by row
 *   GRADIENT  a pass: gradient for e, and for W, which may be updated on the spot
 *
 * forward() ends with the values, so that nothing is changed by a step whose loss is no number.
 */
#include "train/losses/engine_inside.h"

/* ------------------------------------------------------------------ labels */

/* In double: its error would be multiplied by the scale and by the slope of the margin. */
static double cosine(const real *a, const real *b, int64_t dim)
{
    const double aa = rows_dot_double(a, a, dim), bb = rows_dot_double(b, b, dim);
    const double ab = rows_dot_double(a, b, dim) / (fmax(sqrt(aa), 1e-12) * fmax(sqrt(bb), 1e-12));
    return ab > 1 ? 1 : (ab < -1 ? -1 : ab);
}

static double student_label(const struct cask_engine *engine, const struct cask_engine_input *input,
                            int64_t row)
{
    const int64_t dim = engine->facts.dim, label = input->labels[row];
    const real *rows = engine->weight != NULL ? engine->weight : input->teacher_centers;
    if (input->logits != NULL) {
        return (double)((const real *)input->logits)[row * engine->facts.classes + label];
    }
    return cosine((const real *)input->embedding + row * dim, rows + label * dim, dim);
}

static double teacher_label(const struct cask_engine *engine, const struct cask_engine_input *input,
                            int64_t row)
{
    const int64_t dim = engine->facts.teacher_dim, label = input->labels[row];
    if (input->teacher_logits != NULL) {
        return (double)((const real *)input->teacher_logits)[row * engine->facts.classes + label];
    }
    if (input->teacher_unit != NULL && input->teacher_centers != NULL && engine->facts.centers) {
        return cosine((const real *)input->teacher_unit + row * dim,
                      (const real *)input->teacher_centers + label * dim, dim);
    }
    if (input->label_cosine != NULL) {
        return (double)((const real *)input->label_cosine)[row];
    }
    for (int64_t j = 0; input->topk_index != NULL && j < engine->facts.topk; j++) {
        const int64_t at = row * engine->facts.topk + j;
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
    k->labelled = 0;
    for (int i = 0; i < input->batch; i++) {
        struct label *label = &k->labels[i];
        *label = (struct label){.known = input->labels[i] != UINT32_MAX,
                                .at = input->labels[i],
                                .slope = 1,
                                .hard = INFINITY,
                                .teacher = NAN};
        label->head = label->known && (input->head_rows == 0 || i < input->head_rows);
        k->labelled += label->head;
        if (label->known) {
            label->plain = label->margin = student_label(engine, input, i);
            label->teacher = teacher_label(engine, input, i);
        }
        engine->teacher_cosine[i] = label->teacher;
    }
    if (engine->has_head && input->embedding != NULL) {
        apply_head(engine, input->batch);
    }
}

/* ------------------------------------------------------------------- begin */

static void prepare_teacher_rows(struct cask_engine *engine, const struct cask_engine_input *input)
{
    struct teacher_rows *teacher = &engine->teacher;
    *teacher = (struct teacher_rows){
        .scale = engine->facts.teacher_scale,
        .dim = engine->facts.teacher_dim,
        .dense = input->teacher_logits,
        .unit = input->teacher_unit,
        .centers = input->teacher_centers,
        .k = engine->facts.topk,
        .index = input->topk_index,
        .cosine = input->topk_cosine,
        .lse = input->lse,
        .temperatures = engine->facts.temperatures,
        .temperature_count = input->lse != NULL ? engine->facts.temperature_count : 0,
    };
    if (engine->rule_count == 0) {
        teacher->kind = TEACHER_NONE;
    } else if (!engine->facts.centers) {
        teacher->kind = TEACHER_TOPK;
    } else {
        teacher->kind = input->teacher_logits != NULL ? TEACHER_DENSE : TEACHER_CENTERS;
    }
}

static enum cask_status begin(struct cask_engine *engine, const struct cask_engine_input *input,
                              struct cask_error *err)
{
    const bool from_logits = input->logits != NULL;
    enum cask_status st = CASK_OK;
    prepare_teacher_rows(engine, input);
    engine->x.known = engine->y.known = engine->x.sampled = engine->y.sampled = false;
    engine->store_batch = (struct cask_store_batch){input->teacher_serial, input->batch,
                                                    input->teacher_unit, input->teacher_centers};
    if (engine->store != NULL) {
        engine->y.known = cask_teacher_store_begin(engine->store, &engine->store_batch);
    }
    engine->classes = (struct classes){
        .device = engine->device,
        .batch = input->batch,
        .count = engine->facts.classes,
        .scale = from_logits ? 1 : engine->head_options.scale,
        .bounded = !from_logits && engine->weight != NULL, /* frozen rows are not clipped */
        .column_scale = from_logits ? NULL : engine->column_scale,
        .labels = engine->labels,
        .teacher = &engine->teacher,
        .head = engine->head,
        .head_options = &engine->head_options,
        .cross_entropy = engine->has_head,
        .ce = engine->ce,
        .logits = input->logits,
    };
    prepare_labels(engine, input);
    for (int r = 0; r < engine->rule_count; r++) {
        struct two_group *rule = engine->rules[r];
        rule->weight = input->weights[engine->rule_term[r]];
        rule->wish = SUMS;
        for (int i = 0; i < input->batch; i++) {
            two_group_begin(rule, &engine->classes, i);
        }
        if (rule->start != NULL) {
            rule->start(rule, &engine->classes);
        }
    }
    if (!from_logits) {
        CASK_TRY(class_plan(engine, input->batch, err));
    }
    if (engine->half && !from_logits) {
        const struct cask_ops *ops = cask_device_ops(engine->device);
        const size_t batch = (size_t)input->batch;
        ops->serial_round(engine->device, batch * (size_t)engine->facts.dim, engine->unit,
                          engine->unit16);
        if (engine->teacher.kind == TEACHER_CENTERS) {
            ops->serial_round(engine->device, batch * (size_t)engine->facts.teacher_dim,
                              input->teacher_unit, engine->teacher_unit16);
        }
    }
done:
    return st;
}

/* ----------------------------------------------------------------- forward */

/* Adds the lanes' sums to the rows of cross-entropy and rules, lane by lane. */
static void merge_row(void *user, int64_t i, int thread)
{
    const struct pass *pass = user;
    struct cask_engine *engine = pass->engine;
    (void)thread;
    if (pass->stage == SUM) {
        ce_clear(&engine->ce[i].sums);
    }
    for (int l = 0; l < engine->lane_count; l++) {
        const struct lane *lane = &engine->lanes[l];
        if (pass->stage == SUM) {
            ce_merge(&engine->classes, &engine->ce[i].sums, &lane->ce[i]);
        }
        for (int r = 0; r < engine->rule_count; r++) {
            if (engine->rules[r]->wish == SUMS) {
                two_group_merge(engine->rules[r], &engine->classes, i,
                                &lane->sums[r * engine->facts.batch + i]);
            }
        }
    }
}

static bool wished(const struct cask_engine *engine, enum wish wish)
{
    bool any = false;
    for (int r = 0; r < engine->rule_count; r++) {
        any |= engine->rules[r]->wish == wish;
    }
    return any;
}

/* A pass, and what the rules that took part in it want next. */
static enum cask_status run(struct cask_engine *engine, const struct cask_engine_input *input,
                            enum stage stage, struct cask_error *err)
{
    struct pass pass = {.engine = engine, .input = input, .stage = stage};
    enum cask_status st = CASK_OK;
    CASK_TRY(class_pass(&pass, err));
    if (stage != SAMPLE) {
        loss_parallel(engine->device, input->batch, merge_row, &pass);
    }
    for (int r = 0; r < engine->rule_count; r++) {
        struct two_group *rule = engine->rules[r];
        if ((stage == SAMPLE) == (rule->wish == A_SAMPLE)) {
            rule->wish = rule->next != NULL ? rule->next(rule, &engine->classes) : NOTHING;
        }
    }
done:
    return st;
}

static enum cask_status sum_up(struct cask_engine *engine, const struct cask_engine_input *input,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (wished(engine, A_SAMPLE)) {
        CASK_TRY(run(engine, input, SAMPLE, err));
    }
    CASK_TRY(run(engine, input, SUM, err));
    while (wished(engine, A_LOOK) || wished(engine, SUMS)) {
        CASK_TRY(run(engine, input, AGAIN, err));
    }
done:
    return st;
}

static void finish(struct cask_engine *engine)
{
    const struct classes *k = &engine->classes;
    double sum = 0, right = 0;
    for (int i = 0; i < k->batch && k->cross_entropy; i++) {
        const struct label *label = &k->labels[i];
        sum += ce_finish(k, i);
        right += label->head && (real)label->plain > k->ce[i].sums.largest;
    }
    engine->value[0] = k->labelled > 0 ? sum / k->labelled : 0;
    engine->result.accuracy = k->labelled > 0 ? right / k->labelled : 0;
    engine->result.captured = NAN;
    for (int r = 0; r < engine->rule_count; r++) {
        double captured = 0;
        sum = 0;
        for (int i = 0; i < k->batch; i++) {
            sum += two_group_finish(engine->rules[r], k, i);
            captured += engine->rules[r]->rows[i].captured / k->batch;
        }
        engine->value[1 + engine->rule_term[r]] = sum / k->batch;
        engine->result.captured = captured;
    }
}

static void add_lanes(const struct cask_engine *engine, int batch, real *d_unit)
{
    const int64_t count = (int64_t)batch * engine->facts.dim;
    for (int l = 0; l < engine->lane_count; l++) {
        const real *lane = engine->lanes[l].d_unit;
        SIMD()
        for (int64_t j = 0; j < count; j++) {
            d_unit[j] += lane[j];
        }
    }
}

/* One more pass and product for each class term: only on steps that are logged. */
static enum cask_status measure_terms(struct cask_engine *engine,
                                      const struct cask_engine_input *input, struct cask_error *err)
{
    const size_t bytes = (size_t)input->batch * (size_t)engine->facts.dim * sizeof(real);
    enum cask_status st = CASK_OK;
    for (int r = 0; r <= engine->rule_count; r++) {
        real *d_unit = r == 0 ? engine->head_unit : engine->term_unit;
        struct pass pass = {
            .engine = engine, .input = input, .stage = GRADIENT, .mask = UINT64_C(1) << r};
        CASK_TRY(class_pass(&pass, err));
        memset(d_unit, 0, bytes);
        add_lanes(engine, input->batch, d_unit);
        engine_measure(engine, r == 0 ? 0 : 1 + engine->rule_term[r - 1], d_unit, input->batch);
    }
done:
    return st;
}

enum cask_status class_forward(struct cask_engine *engine, const struct cask_engine_input *input,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (engine->lane_count == 0) {
        return CASK_OK;
    }
    CASK_TRY(begin(engine, input, err));
    CASK_TRY(sum_up(engine, input, err));
    if (engine->store != NULL && engine->y.known) {
        cask_teacher_store_made(engine->store, &engine->store_batch);
    }
    finish(engine);
    if (input->measure && input->logits == NULL) {
        CASK_TRY(measure_terms(engine, input, err));
    }
done:
    return st;
}

/* ---------------------------------------------------------------- backward */

enum cask_status class_backward(struct cask_engine *engine, const struct cask_engine_input *input,
                                struct cask_error *err)
{
    /* a head that is logged only moves nothing but what momentum and decay move */
    const bool idle = engine->rule_count == 0 && engine->head_options.weight == 0;
    struct pass pass = {.engine = engine,
                        .input = input,
                        .stage = GRADIENT,
                        .mask = idle ? 0 : UINT64_MAX,
                        .rows = engine->weight != NULL};
    enum cask_status st = CASK_OK;
    if (engine->lane_count == 0 || (idle && engine->weight == NULL)) {
        return CASK_OK;
    }
    CASK_TRY(class_pass(&pass, err));
    if (input->logits == NULL) {
        add_lanes(engine, input->batch, engine->d_unit);
    }
done:
    return st;
}
