#include "train/student.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/report.h"
#include "train/result.h"

/* -------------------------------------------------------------------- open */

enum cask_status cask_student_open_folder(struct cask_student *student,
                                          const struct cask_train_config *config, bool *finished,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t wanted = config->train.max_steps;
    struct cask_result_summary found;
    *student = (struct cask_student){.config = config};
    CASK_TRY(cask_run_folder_open(&student->folder, config, err));
    CASK_TRY(cask_result_read(&student->folder, &found, err));
    *finished = found.steps >= 0 && (found.complete || (wanted > 0 && found.steps >= wanted)) &&
                cask_path_exists(student->folder.student) &&
                cask_validation_is_done(&config->valid, found.validation_settings);
    if (*finished) {
        cask_log_info("%s is finished: %" PRId64 " steps", student->folder.path, found.steps);
    } else { /* what they say is no longer so */
        remove(student->folder.result);
        remove(student->folder.failure);
        remove(student->folder.report);
    }
done:
    return st;
}

static enum cask_status create_trainer(struct cask_student *student,
                                       const struct cask_student_shared *shared,
                                       struct cask_error *err)
{
    const struct cask_feed *feed = student->feed;
    const struct cask_teacher_source *source = &feed->source;
    const struct cask_trainer_setting setting = {
        .device = shared->device,
        .step_memory = shared->step_memory,
        .store = shared->store,
        .preprocess = feed->preprocess,
        .classes = feed->classes,
        .steps_per_epoch = feed->steps_per_epoch,
        .teacher = source->cache ? source->manifest : NULL,
        .teacher_has_centers = source->cache != NULL && source->mode == CASK_TEACHER_EXACT,
    };
    return cask_trainer_create(student->config, &setting, &student->trainer, err);
}

static enum cask_status embed(void *user, const float *pixels, int count, float *embedding,
                              struct cask_error *err)
{
    return cask_trainer_embed(user, pixels, count, embedding, err);
}

static enum cask_status connect_feed(struct cask_student *student, struct cask_error *err)
{
    struct cask_trainer *trainer = student->trainer;
    const struct cask_bag_student who = {
        .embed = embed, .user = trainer, .device = trainer->device, .dim = trainer->dim};
    return cask_feed_connect(student->feed, &who, err);
}

/* Without any label there are no classes to speak of, and the head learns nothing. */
static enum cask_status check_losses(const struct cask_student *student, struct cask_error *err)
{
    const unsigned needs = cask_criterion_needs(student->trainer->criterion);
    const unsigned classes =
        CASK_NEED_CENTERS | CASK_NEED_TOPK | CASK_NEED_LABEL_COSINE | CASK_NEED_LSE;
    if (student->feed->labelled > 0 || (needs != 0 && (needs & classes) == 0)) {
        return CASK_OK;
    }
    return cask_error_set(err, CASK_ERR_MISMATCH,
                          "no image has a label: %s; use losses over embeddings (loss.embedding, "
                          "loss.sp, loss.rkd_d, ...)",
                          needs == 0 ? "the head alone has nothing to learn from"
                                     : "a loss is on that compares class logits");
}

static enum cask_status restore(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint_note found_note = {0};
    const struct cask_run_folder *folder = &student->folder;
    bool found = false;
    CASK_TRY(cask_trainer_state(student->trainer, &student->state, err));
    CASK_TRY(cask_metrics_state(&student->metrics, &student->state, err));
    CASK_TRY(cask_validation_state(&student->validation, &student->state, err));
    CASK_TRY(cask_feed_state(student->feed, &student->state, err));
    CASK_TRY(cask_checkpoint_restore_state(folder->checkpoints, folder->identity, &student->state,
                                           &found_note, &found, err));
    snprintf(student->note.identity, sizeof student->note.identity, "%s", folder->identity);
    student->note.step = -1;
    if (found) {
        cask_trainer_restored(student->trainer);
        cask_validation_restored(&student->validation);
        CASK_TRY(cask_feed_restored(student->feed, err));
        student->note.step = student->steps_done = found_note.step;
        student->note.seconds = student->seconds = found_note.seconds;
        cask_log_info("continuing after step %" PRId64 " of %s", student->steps_done, folder->path);
        if (strcmp(found_note.device, student->note.device) != 0) {
            cask_log_warn("the checkpoint was made on \"%s\": the result will not have the same "
                          "bits as an uninterrupted run",
                          found_note.device);
        }
    }
done:
    return st;
}

static void find_stop(struct cask_student *student)
{
    const struct cask_train_options *train = &student->config->train;
    student->stop_step = student->trainer->schedule.total_steps;
    if (train->max_steps > 0 && train->max_steps < student->stop_step) {
        student->stop_step = train->max_steps;
    }
    student->stopped_early = cask_validation_exhausted(&student->validation);
    if (student->stopped_early || student->stop_step < student->steps_done) {
        student->stop_step = student->steps_done; /* nothing is undone */
    }
}

static void log_plan(const struct cask_student *student)
{
    const struct cask_train_options *train = &student->config->train;
    cask_log_info("run: %" PRId64 " epochs of %" PRId64 " steps of %" PRId64
                  " images; settings %.12s; %s/config.yaml",
                  train->epochs, student->feed->steps_per_epoch, train->batch,
                  student->folder.identity, student->folder.path);
}

static enum cask_status validate_if_due(struct cask_student *student, struct cask_error *err);

enum cask_status cask_student_open(struct cask_student *student,
                                   const struct cask_student_shared *shared, bool shows_progress,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_train_config *config = student->config;
    const struct cask_feed *feed = student->feed = shared->feed;
    cask_device_describe(shared->device, student->note.device, sizeof student->note.device);
    CASK_TRY(create_trainer(student, shared, err));
    CASK_TRY(check_losses(student, err));
    CASK_TRY(connect_feed(student, err));
    CASK_TRY(cask_validation_open(&student->validation, &config->valid, &feed->preprocess,
                                  (int)config->train.loader_threads, err));
    log_plan(student);
    CASK_TRY(restore(student, err));
    find_stop(student);
    const struct cask_metrics_options metrics = {
        .folder = student->folder.path,
        .train = &config->train,
        .schedule = &student->trainer->schedule,
        .first_step = student->steps_done,
        .stop_step = student->stop_step,
        .validated_step = (int64_t)student->validation.state[CASK_VALID_STEP],
        .epoch_lines = cask_feed_counts_draws(feed),
        .shows_progress = shows_progress,
    };
    CASK_TRY(cask_metrics_open(&student->metrics, &metrics, err));
    CASK_TRY(cask_run_folder_claim(&student->folder, err));
    const double begin =
        cask_now(); /* the last process may have been stopped in the middle of one */
    CASK_TRY(validate_if_due(student, err));
    student->seconds += cask_now() - begin;
done:
    return st;
}

void cask_student_close(struct cask_student *student)
{
    cask_metrics_close(&student->metrics);
    cask_state_release(&student->state);
    cask_validation_close(&student->validation);
    cask_trainer_free(student->trainer);
    cask_run_folder_close(&student->folder);
    *student = (struct cask_student){0};
}

bool cask_student_wants(const struct cask_student *student)
{
    return student->steps_done < student->stop_step;
}

/* -------------------------------------------------------------------- step */

/* `best`: the file also says how good it is. The final one does not, so that its bytes are the same
 * whether somebody looked or not. */
static enum cask_status export_to(struct cask_student *student, const char *path, bool best,
                                  struct cask_error *err)
{
    const struct cask_teacher_source *source = &student->feed->source;
    char steps[32], classes[32], accuracy[32];
    snprintf(steps, sizeof steps, "%" PRId64, student->steps_done);
    snprintf(classes, sizeof classes, "%" PRId64, student->feed->classes);
    snprintf(accuracy, sizeof accuracy, "%.4f",
             best ? cask_validation_mean(&student->validation) : 0);
    const struct cask_metadata_entry entries[] = {
        {"training.steps", steps},
        {"training.classes", classes},
        {"training.settings_sha256", student->folder.identity},
        {"training.teacher", source->cache ? source->manifest->teacher : ""},
        {"training.validation_accuracy", accuracy},
    };
    const int choice = student->config->train.save_head,
              count = (int)(sizeof entries / sizeof entries[0]);
    const bool with_head =
        choice == CASK_CHOICE_YES || (choice == CASK_CHOICE_AUTO && source->cache == NULL);
    return cask_trainer_export(student->trainer, path, &student->feed->preprocess, with_head,
                               entries, best ? count : count - 1, err);
}

/* What was just evaluated becomes a validation of the run. */
static enum cask_status take_up(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_validation *validation = &student->validation;
    const bool best = cask_validation_accept(validation);
    cask_log_info("step %" PRId64 ": mean accuracy %.2f %%%s", student->steps_done,
                  cask_validation_mean(validation), best ? ", the best so far" : "");
    CASK_TRY(cask_metrics_add_validation(&student->metrics, student->steps_done,
                                         cask_validation_json(validation, best), err));
    if (best) {
        CASK_TRY(export_to(student, student->folder.best, true, err));
    }
done:
    return st;
}

static enum cask_status validate_if_due(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_validation *validation = &student->validation;
    if (!cask_validation_due(validation, student->steps_done)) {
        return CASK_OK;
    }
    CASK_TRY(cask_validation_evaluate(validation, student->trainer->net, student->steps_done, err));
    CASK_TRY(take_up(student, err));
    if (cask_validation_exhausted(validation) && cask_student_wants(student)) {
        cask_log_info("no new best in %" PRId64 " validations: the run ends here (valid.patience)",
                      validation->options->patience);
        student->stopped_early = true;
        student->stop_step = student->steps_done;
    }
done:
    return st;
}

/* At the end of an epoch: what it drew, where images come more than once. */
static enum cask_status count_draws(struct cask_student *student, int64_t steps_done,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t epoch = student->feed->steps_per_epoch;
    struct cask_coverage found;
    if (!cask_feed_counts_draws(student->feed) || steps_done % epoch != 0) {
        return CASK_OK;
    }
    CASK_TRY(cask_feed_coverage(student->feed, steps_done - epoch, steps_done, &found, err));
    cask_metrics_set_coverage(&student->metrics, &found);
    cask_log_info("epoch %" PRId64 " drew %" PRId64 " images, %" PRId64
                  " different ones of %" PRId64 " identities; %" PRId64
                  " came again in their batch, %" PRId64 " in the same view",
                  steps_done / epoch, found.draws, found.images, found.identities, found.in_batch,
                  found.same_view);
done:
    return st;
}

enum cask_status cask_student_step(struct cask_student *student, const struct cask_batch *batch,
                                   const struct cask_teacher *teacher, struct cask_batch_wait wait,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const double begin = cask_now();
    const int64_t step = student->steps_done, every = student->config->train.checkpoint_steps;
    const bool due = cask_metrics_due(&student->metrics, step, student->stop_step);
    struct cask_step_report report;
    CASK_TRY(cask_trainer_step(student->trainer, step, batch, teacher, due, &report, err));
    CASK_TRY(count_draws(student, step + 1, err));
    student->stalled += wait.input;
    student->worked += cask_now() - begin;
    CASK_TRY(cask_metrics_add(&student->metrics, &report, student->stalled, due, err));
    student->steps_done = step + 1;
    st = validate_if_due(student, err);
    student->seconds += wait.all + cask_now() - begin;
    CASK_TRY(st);
    if (every > 0 && student->steps_done % every == 0) {
        CASK_TRY(cask_student_save(student, err));
    }
done:
    return st;
}

enum cask_status cask_student_save(struct cask_student *student, struct cask_error *err)
{
    if (student->note.step == student->steps_done) {
        return CASK_OK;
    }
    struct cask_checkpoint_note note = student->note;
    note.step = student->steps_done;
    note.seconds = student->seconds;
    enum cask_status st =
        cask_checkpoint_save_state(student->folder.checkpoints, &note, &student->state, err);
    if (st != CASK_OK) {
        cask_error_prefix(err,
                          "the checkpoint of step %" PRId64
                          " could not be written, those before it are kept",
                          student->steps_done);
        return st;
    }
    student->note = note;
    cask_log_debug("checkpoint after step %" PRId64, student->steps_done);
    return CASK_OK;
}

/* --------------------------------------------------------------------- end */

static bool is_complete(const struct cask_student *student)
{
    return student->stopped_early || student->steps_done == student->trainer->schedule.total_steps;
}

/* The final student on every set. A run that train.max_steps cut short is judged too, but that is
 * no validation of the run: uncut, it would not have been there. */
static enum cask_status evaluate_final(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_validation *validation = &student->validation;
    if (validation->count == 0) {
        return CASK_OK;
    }
    if (validation->result_step != student->steps_done) {
        CASK_TRY(
            cask_validation_evaluate(validation, student->trainer->net, student->steps_done, err));
    }
    if (is_complete(student) && !cask_validation_taken_up(validation)) {
        CASK_TRY(take_up(student, err));
    }
    CASK_TRY(cask_json_write(
        student->folder.evaluation,
        cask_report_json(student->folder.student, validation->results, validation->count), err));
done:
    return st;
}

static double share_of_input(const struct cask_student *student)
{
    const double all = student->stalled + student->worked;
    return all > 0 ? student->stalled / all : 0;
}

static enum cask_status write_result(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_feed *feed = student->feed;
    const struct cask_teacher_source *source = &feed->source;
    const bool asks_teacher =
        source->cache != NULL && cask_criterion_needs(student->trainer->criterion) != 0;
    struct cask_coverage coverage;
    struct cask_result result = {
        .steps = student->steps_done,
        .batch = student->config->train.batch,
        .complete = is_complete(student),
        .stopped_early = student->stopped_early,
        .epochs = (double)student->steps_done / (double)feed->steps_per_epoch,
        .seconds = student->seconds,
        .stall_seconds = student->stalled,
        .stall_share = share_of_input(student),
        .teacher_passes_saved =
            asks_teacher ? student->steps_done * student->config->train.batch : 0,
        .bad_images = feed->bad_images,
        .network = student->config->student.net,
        .device = student->note.device,
        .cache = student->config->cache,
        .teacher = source->cache ? source->manifest : NULL,
        .teacher_mode = source->mode == CASK_TEACHER_EXACT ? "exact" : "topk",
        .validation = &student->validation,
        .accepted = source->accepted,
        .accepted_count = source->accepted_count,
    };
    if (cask_feed_counts_draws(feed)) {
        CASK_TRY(cask_feed_coverage(feed, 0, student->steps_done, &coverage, err));
        result.coverage = &coverage;
    }
    CASK_TRY(cask_result_write(&student->folder, &result, err));
    cask_log_info("done: %" PRId64 " steps in %.1f s (%.0f images/s); %.2f %% of the time was "
                  "waiting for images and teacher rows; %.0f MB at most",
                  result.steps, result.seconds,
                  (double)(result.steps * result.batch) / result.seconds, 100 * result.stall_share,
                  (double)cask_mem_peak_bytes() / 1e6);
done:
    return st;
}

/* A run does not fail for its page. */
static void write_report(const struct cask_student *student)
{
    struct cask_error problem;
    if (cask_run_report(student->folder.path, &problem) != CASK_OK) {
        cask_log_warn("no report.html: %s", problem.message);
    }
}

enum cask_status cask_student_finish(struct cask_student *student, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_student_save(student, err));
    const double begin = cask_now();
    CASK_TRY(evaluate_final(student, err));
    student->seconds += cask_now() - begin;
    cask_metrics_close(&student->metrics);
    CASK_TRY(export_to(student, student->folder.student, false, err));
    CASK_TRY(write_result(student, err));
    write_report(student);
done:
    return st;
}

void cask_student_fail(struct cask_student *student, const struct cask_error *why)
{
    cask_metrics_close(&student->metrics); /* the bar ends above the message */
    cask_result_write_failure(&student->folder, student->steps_done, why);
    if (cask_path_exists(student->folder.config)) { /* it was a run before it failed */
        write_report(student);
    }
}
