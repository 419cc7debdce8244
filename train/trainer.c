#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "train/optimizer.h"

/* ------------------------------------------------------------------ create */

static void set_schedule(struct cask_trainer *trainer, int64_t steps_per_epoch)
{
    const struct cask_train_options *train = &trainer->config->train;
    trainer->schedule = (struct cask_schedule){
        .kind = (enum cask_schedule_kind)train->schedule,
        .rate = train->rate,
        .steps_per_epoch = steps_per_epoch,
        .total_steps = train->epochs * steps_per_epoch,
        .warmup_epochs = train->warmup_epochs,
        .warmup = (enum cask_warmup)train->warmup,
        .milestones = train->steps,
        .gamma = train->gamma,
        .power = train->poly_power,
    };
}

/* What the user should know about the weights that the student starts from. */
static void tell_start(const struct cask_trainer *trainer, const struct cask_preprocess *own,
                       const struct cask_start *start)
{
    char file[64], student[64];
    cask_log_info("student starts from %s", trainer->config->student.init);
    cask_preprocess_format(&start->pixels, file);
    cask_preprocess_format(own, student);
    if (start->knows_pixels && strcmp(file, student) != 0) {
        cask_log_warn("its weights were made for pixels %s, this student gets %s: set "
                      "student.preprocess",
                      file, student);
    }
    if (start->folded > 0) {
        cask_log_warn("%d batch norms of this ONNX file are folded into convolutions: each starts "
                      "with gamma 1 and the bias as beta, and training measures its statistics "
                      "anew; a .pth, a .safetensors or an ONNX file with its batch norms starts "
                      "where it was",
                      start->folded);
    }
}

static enum cask_status fill_network(struct cask_trainer *trainer,
                                     const struct cask_preprocess *pixels, struct cask_error *err)
{
    struct cask_start start = {.pixels = *pixels};
    const char *init = trainer->config->student.init;
    if (init[0] == '\0') {
        return cask_net_init(trainer->net, (uint64_t)trainer->config->train.seed, err);
    }
    const enum cask_status st = cask_net_start(trainer->net, init, &start, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "student.init");
        return st;
    }
    tell_start(trainer, pixels, &start);
    return CASK_OK;
}

static enum cask_status create_network(struct cask_trainer *trainer,
                                       const struct cask_trainer_setting *setting,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_student_options *student = &trainer->config->student;
    int frozen = 0;
    const struct cask_graph_options shape = {.embedding = (int)student->embedding,
                                             .width = setting->preprocess.width,
                                             .height = setting->preprocess.height};
    st = cask_graph_build(student->net, &shape, &trainer->graph, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "student.net %s", student->net);
        goto done;
    }
    trainer->dim = cask_graph_embedding(trainer->graph);
    CASK_TRY(cask_net_create(trainer->graph, trainer->device, true, &trainer->net, err));
    CASK_TRY(cask_optimizer_freeze(trainer->net, &trainer->config->train, &frozen, err));
    CASK_TRY(fill_network(trainer, &setting->preprocess, err));
    if (frozen > 0) {
        cask_log_info("student: %d parameters are frozen; batch norms below them still normalise "
                      "with the batch, and their statistics follow it",
                      frozen);
    }
    CASK_TRY(cask_plan_create_in(setting->step_memory, trainer->net,
                                 (int)trainer->config->train.batch, CASK_MODE_TRAIN, &trainer->plan,
                                 err));
    if (trainer->config->train.sampler == CASK_ORDER_TRIPLETS) {
        CASK_TRY(cask_plan_create_in(setting->step_memory, trainer->net,
                                     (int)trainer->config->train.batch, CASK_MODE_EVAL,
                                     &trainer->eval_plan, err));
    }
    cask_log_info("student: %s, %.2f M parameters, %.1f M multiply-adds an image, embedding of %d; "
                  "%.0f MiB to train a batch of %lld",
                  cask_graph_name(trainer->graph),
                  (double)cask_graph_parameters(trainer->graph) / 1e6,
                  (double)cask_graph_macs(trainer->graph) / 1e6, trainer->dim,
                  (double)cask_plan_bytes(trainer->plan) / (1024.0 * 1024.0),
                  (long long)trainer->config->train.batch);
done:
    return st;
}

static enum cask_status create_criterion(struct cask_trainer *trainer,
                                         const struct cask_trainer_setting *setting,
                                         struct cask_error *err)
{
    const struct cask_manifest *teacher = setting->teacher;
    struct cask_criterion_options options = {
        .device = trainer->device,
        .store = setting->store,
        .classes = setting->classes,
        .dim = trainer->dim,
        .batch = (int)trainer->config->train.batch,
        .seed = (uint64_t)trainer->config->train.seed,
        .fused = !cask_optimizer_wants_head(&trainer->config->train),
    };
    if (teacher != NULL) {
        options.teacher_dim = teacher->embedding;
        options.teacher_topk = teacher->topk;
        options.teacher_has_centers = setting->teacher_has_centers;
        options.teacher_scale = teacher->scale;
        options.teacher_temperatures = teacher->temperatures;
        options.teacher_temperature_count = teacher->temperature_count;
    }
    enum cask_status st =
        cask_criterion_create(trainer->config->criterion, &options, &trainer->criterion, err);
    if (st == CASK_OK && trainer->config->train.head_on == CASK_HEAD_ON_GENERAL) {
        cask_criterion_set_head_rows(trainer->criterion,
                                     (int)cask_train_general(&trainer->config->train));
    }
    if (st == CASK_OK && trainer->config->train.sampler == CASK_ORDER_TRIPLETS) {
        st = cask_criterion_set_triplets(trainer->criterion, err);
    }
    return st;
}

enum cask_status cask_trainer_create(const struct cask_train_config *config,
                                     const struct cask_trainer_setting *setting,
                                     struct cask_trainer **out, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_trainer *trainer = cask_alloc(1, sizeof *trainer);
    if (trainer == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *trainer, "trainer"));
    }
    trainer->config = config;
    trainer->device = setting->device;
    trainer->classes = setting->classes;
    set_schedule(trainer, setting->steps_per_epoch);
    CASK_TRY(create_network(trainer, setting, err));
    CASK_TRY(create_criterion(trainer, setting, err));
    size_t count = (size_t)config->train.batch * (size_t)trainer->dim;
    trainer->embedding = cask_alloc(count, sizeof(float));
    trainer->d_embedding = cask_alloc(count, sizeof(float));
    if (trainer->embedding == NULL || trainer->d_embedding == NULL) {
        CASK_TRY(cask_error_memory(err, 2 * count * sizeof(float), "embeddings of a batch"));
    }
    *out = trainer;
    trainer = NULL;
done:
    cask_trainer_free(trainer);
    return st;
}

void cask_trainer_free(struct cask_trainer *trainer)
{
    if (trainer == NULL) {
        return;
    }
    cask_free(trainer->embedding);
    cask_free(trainer->d_embedding);
    cask_criterion_free(trainer->criterion);
    cask_plan_free(trainer->plan);
    cask_plan_free(trainer->eval_plan);
    cask_net_free(trainer->net);
    cask_graph_free(trainer->graph);
    cask_free(trainer);
}

/* -------------------------------------------------------------------- step */

const char *const cask_stage_names[CASK_STAGES] = {"forward", "losses", "backward", "update"};

/* The time since *begin belongs to `stage`; the next one begins. */
static void end_stage(struct cask_step_report *report, enum cask_stage stage, double *begin)
{
    const double now = cask_now();
    report->seconds[stage] = now - *begin;
    *begin = now;
}

enum cask_status cask_trainer_step(struct cask_trainer *trainer, int64_t step,
                                   const struct cask_batch *batch,
                                   const struct cask_teacher *teacher, bool measure,
                                   struct cask_step_report *report, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_schedule *schedule = &trainer->schedule;
    const struct cask_progress_point at = {
        .epoch = (double)step / (double)schedule->steps_per_epoch,
        .fraction = (double)step / (double)schedule->total_steps};
    *report = (struct cask_step_report){.step = step,
                                        .epoch = at.epoch,
                                        .rate = cask_schedule_rate(schedule, step),
                                        .gradient_norm = NAN};
    const struct cask_watch_scene scene = {.step = step,
                                           .net = trainer->net,
                                           .plan = trainer->plan,
                                           .device = trainer->device,
                                           .criterion = trainer->criterion,
                                           .pixels = batch->pixels,
                                           .count = batch->count};
    double begin = cask_now();

    CASK_TRY(
        cask_plan_forward(trainer->plan, batch->pixels, batch->count, trainer->embedding, err));
    end_stage(report, CASK_STAGE_FORWARD, &begin);
    const struct cask_sgd head = cask_optimizer_head(&trainer->config->train, report->rate);
    cask_criterion_set_update(trainer->criterion, &head);
    cask_criterion_set_step(trainer->criterion, step);
    CASK_TRY(cask_criterion_step(trainer->criterion, trainer->embedding, batch->labels,
                                 batch->count, teacher, at, measure, trainer->d_embedding,
                                 &report->total, err));
    report->accuracy = cask_criterion_accuracy(trainer->criterion);
    report->captured = cask_criterion_captured(trainer->criterion);
    report->term_count = cask_criterion_terms(trainer->criterion, &report->terms);
    CASK_TRY(cask_watch_losses(&trainer->watch, &scene, report->total, err));
    end_stage(report, CASK_STAGE_LOSSES, &begin);
    CASK_TRY(cask_net_zero_grads(trainer->net, err));
    CASK_TRY(cask_plan_backward(trainer->plan, trainer->d_embedding, err));
    CASK_TRY(cask_watch_gradients(&scene, err));
    end_stage(report, CASK_STAGE_BACKWARD, &begin);
    CASK_TRY(cask_optimizer_step(trainer->net, trainer->device, trainer->criterion,
                                 &trainer->config->train, report->rate, &report->gradient_norm,
                                 err));
    end_stage(report, CASK_STAGE_UPDATE, &begin);
done:
    if (st != CASK_OK && strncmp(err->message, "step ", 5) != 0) {
        cask_error_prefix(err, "step %lld", (long long)step + 1);
    }
    return st;
}

enum cask_status cask_trainer_embed(struct cask_trainer *trainer, const float *pixels, int count,
                                    float *embedding, struct cask_error *err)
{
    return cask_plan_forward(trainer->eval_plan, pixels, count, embedding, err);
}

/* ------------------------------------------------------------------- state */

enum cask_status cask_trainer_state(struct cask_trainer *trainer, struct cask_state_list *state,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const enum cask_dtype dtype = cask_device_parameter_dtype(trainer->device);
    for (int i = 0; i < cask_graph_param_count(trainer->graph); i++) {
        const struct cask_param_info *info = cask_graph_param(trainer->graph, i);
        void *momentum = cask_net_momentum(trainer->net, i);
        CASK_TRY(cask_state_add(state, "value.", info->name, dtype, info->count,
                                cask_net_value(trainer->net, i), trainer->device, err));
        if (momentum != NULL) {
            CASK_TRY(cask_state_add(state, "momentum.", info->name, dtype, info->count, momentum,
                                    trainer->device, err));
        }
    }
    const struct cask_state_array *arrays = NULL;
    int count = cask_criterion_state(trainer->criterion, &arrays);
    for (int i = 0; i < count; i++) {
        CASK_TRY(cask_state_add(state, "criterion.", arrays[i].name, CASK_F32,
                                arrays[i].rows * arrays[i].columns, arrays[i].values, NULL, err));
    }
    CASK_TRY(cask_watch_state(&trainer->watch, state, err));
done:
    return st;
}

void cask_trainer_restored(struct cask_trainer *trainer)
{
    cask_net_changed(trainer->net);
}

enum cask_status cask_trainer_export(struct cask_trainer *trainer, const char *path,
                                     const struct cask_preprocess *preprocess, bool with_head,
                                     const struct cask_metadata_entry *entries, int entry_count,
                                     struct cask_error *err)
{
    const struct cask_state_array *arrays = NULL;
    int count = cask_criterion_state(trainer->criterion, &arrays);
    struct cask_file_tensor head = {.name = "head.weight", .dtype = CASK_FILE_F32, .rank = 2};
    for (int i = 0; i < count; i++) {
        if (strcmp(arrays[i].name, head.name) == 0) {
            head.shape[0] = arrays[i].rows;
            head.shape[1] = arrays[i].columns;
            head.count = arrays[i].rows * arrays[i].columns;
            head.data = arrays[i].values;
        }
    }
    with_head = with_head && head.data != NULL;
    return cask_net_save_with(trainer->net, path, preprocess, &head, with_head ? 1 : 0, entries,
                              entry_count, err);
}
