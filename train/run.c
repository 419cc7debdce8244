#include "train/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/thread.h"
#include "train/checkpoint.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/result.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* Everything that lives as long as the run, in the order in which it is opened. */
struct run {
    const struct cask_train_config *config;
    struct cask_run_folder folder;
    struct cask_feed feed;
    struct cask_device *device;
    struct cask_trainer *trainer;
    struct cask_metrics metrics;
    struct cask_state_list state;
    struct cask_checkpoint_note note; /* of the last checkpoint */
    int64_t first_step, stop_step;
    double seconds_before, started;
};

/* -------------------------------------------------------------------- open */

static enum cask_status open_device(struct run *run, struct cask_error *err)
{
    const struct cask_train_options *train = &run->config->train;
    const struct cask_device_options options = {.backend = train->backend,
                                                .threads = (int)train->threads,
                                                .precision = (enum cask_precision)train->precision};
    enum cask_status st = cask_device_open(&options, &run->device, err);
    if (st == CASK_OK) {
        cask_device_describe(run->device, run->note.device, sizeof run->note.device);
        cask_log_info("device: %s", run->note.device);
    }
    return st;
}

static enum cask_status open_trainer(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_teacher_source *source = &run->feed.source;
    const struct cask_trainer_setting setting = {
        .device = run->device,
        .preprocess = run->feed.preprocess,
        .classes = run->feed.classes,
        .steps_per_epoch = run->feed.steps_per_epoch,
        .teacher = source->cache ? source->manifest : NULL,
        .teacher_has_centers = source->cache != NULL && source->mode == CASK_TEACHER_EXACT,
    };
    CASK_TRY(cask_trainer_create(run->config, &setting, &run->trainer, err));
    if (source->cache != NULL) {
        CASK_TRY(cask_teacher_source_prepare(source, cask_criterion_needs(run->trainer->criterion),
                                             (int)run->config->train.batch, err));
    }
done:
    return st;
}

static enum cask_status restore(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_checkpoint_note found_note = {0};
    bool found = false;
    CASK_TRY(cask_trainer_state(run->trainer, &run->state, err));
    CASK_TRY(cask_metrics_state(&run->metrics, &run->state, err));
    CASK_TRY(cask_checkpoint_restore_state(run->folder.checkpoints, run->folder.identity,
                                           &run->state, &found_note, &found, err));
    snprintf(run->note.identity, sizeof run->note.identity, "%s", run->folder.identity);
    run->note.step = -1;
    if (found) {
        cask_trainer_restored(run->trainer);
        run->note.step = run->first_step = found_note.step;
        run->note.seconds = run->seconds_before = found_note.seconds;
        cask_log_info("continuing after step %" PRId64 " of %s", run->first_step, run->folder.path);
        if (strcmp(found_note.device, run->note.device) != 0) {
            cask_log_warn("the checkpoint was made on \"%s\": the result will not have the same "
                          "bits as an uninterrupted run",
                          found_note.device);
        }
    }
done:
    return st;
}

static void log_plan(const struct run *run)
{
    const struct cask_train_options *train = &run->config->train;
    cask_log_info("run: %" PRId64 " epochs of %" PRId64 " steps of %" PRId64
                  " images; settings %.12s; %s/config.yaml",
                  train->epochs, run->feed.steps_per_epoch, train->batch, run->folder.identity,
                  run->folder.path);
}

static enum cask_status open_run(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_train_options *train = &run->config->train;
    CASK_TRY(cask_feed_open(&run->feed, run->config, err));
    CASK_TRY(open_device(run, err));
    CASK_TRY(open_trainer(run, err));
    run->stop_step = run->trainer->schedule.total_steps;
    if (train->max_steps > 0 && train->max_steps < run->stop_step) {
        run->stop_step = train->max_steps;
    }
    log_plan(run);
    CASK_TRY(restore(run, err));
    if (run->stop_step < run->first_step) {
        run->stop_step = run->first_step; /* train.max_steps was lowered: nothing is undone */
    }
    CASK_TRY(cask_metrics_open(&run->metrics, run->folder.path, run->trainer, run->first_step,
                               run->stop_step, err));
    run->metrics.epoch_lines = cask_feed_counts_draws(&run->feed);
    cask_feed_seek(&run->feed, run->first_step);
    CASK_TRY(cask_run_folder_claim(&run->folder, err));
done:
    return st;
}

static void close_run(struct run *run)
{
    cask_metrics_close(&run->metrics);
    cask_state_release(&run->state);
    cask_trainer_free(run->trainer);
    cask_device_close(run->device);
    cask_feed_close(&run->feed);
    cask_run_folder_close(&run->folder);
}

/* -------------------------------------------------------------------- loop */

static enum cask_status save(struct run *run, int64_t steps_done, struct cask_error *err)
{
    if (run->note.step == steps_done) {
        return CASK_OK;
    }
    struct cask_checkpoint_note note = run->note;
    note.step = steps_done;
    note.seconds = run->seconds_before + cask_now() - run->started;
    enum cask_status st =
        cask_checkpoint_save_state(run->folder.checkpoints, &note, &run->state, err);
    if (st != CASK_OK) {
        cask_error_prefix(err,
                          "the checkpoint of step %" PRId64
                          " could not be written, those before it are kept",
                          steps_done);
        return st;
    }
    run->note = note;
    cask_log_debug("checkpoint after step %" PRId64, steps_done);
    return CASK_OK;
}

/* At the end of an epoch: what it drew, where images come more than once. */
static enum cask_status count_draws(struct run *run, int64_t steps_done, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t epoch = run->feed.steps_per_epoch;
    struct cask_coverage found;
    if (!cask_feed_counts_draws(&run->feed) || steps_done % epoch != 0) {
        return CASK_OK;
    }
    CASK_TRY(cask_feed_coverage(&run->feed, steps_done - epoch, steps_done, &found, err));
    cask_metrics_set_coverage(&run->metrics, &found);
    cask_log_info("epoch %" PRId64 " drew %" PRId64 " images, %" PRId64
                  " different ones of %" PRId64 " identities; %" PRId64
                  " came again in their batch, %" PRId64 " in the same view",
                  steps_done / epoch, found.draws, found.images, found.identities, found.in_batch,
                  found.same_view);
done:
    return st;
}

static enum cask_status one_step(struct run *run, int64_t step, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_batch *batch = NULL;
    const struct cask_teacher *teacher = NULL;
    struct cask_step_report report;
    const bool due = cask_metrics_due(&run->metrics, step, run->stop_step);
    CASK_TRY(cask_feed_next(&run->feed, &batch, &teacher, err));
    CASK_TRY(cask_trainer_step(run->trainer, step, batch, teacher, due, &report, err));
    CASK_TRY(count_draws(run, step + 1, err));
    CASK_TRY(
        cask_metrics_add(&run->metrics, &report, cask_feed_stall_seconds(&run->feed), due, err));
done:
    return st;
}

static enum cask_status loop(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int64_t every = run->config->train.checkpoint_steps;
    run->started = cask_now();
    for (int64_t step = run->first_step; step < run->stop_step; step++) {
        CASK_TRY(one_step(run, step, err));
        const bool interrupted = cask_interrupted();
        if (interrupted || (every > 0 && (step + 1) % every == 0)) {
            CASK_TRY(save(run, step + 1, err));
        }
        if (interrupted) {
            CASK_TRY(cask_error_set(err, CASK_ERR_INTERRUPTED,
                                    "interrupted after step %" PRId64
                                    "; a checkpoint is kept and the same command goes on from it",
                                    step + 1));
        }
    }
    CASK_TRY(save(run, run->stop_step, err));
done:
    return st;
}

/* --------------------------------------------------------------------- end */

static enum cask_status export_student(struct run *run, struct cask_error *err)
{
    const struct cask_teacher_source *source = &run->feed.source;
    char steps[32], classes[32];
    snprintf(steps, sizeof steps, "%" PRId64, run->stop_step);
    snprintf(classes, sizeof classes, "%" PRId64, run->feed.classes);
    const struct cask_metadata_entry entries[] = {
        {"training.steps", steps},
        {"training.classes", classes},
        {"training.settings_sha256", run->folder.identity},
        {"training.teacher", source->cache ? source->manifest->teacher : ""},
    };
    const int choice = run->config->train.save_head;
    const bool with_head =
        choice == CASK_CHOICE_YES || (choice == CASK_CHOICE_AUTO && source->cache == NULL);
    return cask_trainer_export(run->trainer, run->folder.student, &run->feed.preprocess, with_head,
                               entries, (int)(sizeof entries / sizeof entries[0]), err);
}

static enum cask_status finish(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_teacher_source *source = &run->feed.source;
    struct cask_coverage coverage;
    struct cask_result result = {
        .steps = run->stop_step,
        .batch = run->config->train.batch,
        .complete = run->stop_step == run->trainer->schedule.total_steps,
        .epochs = (double)run->stop_step / (double)run->feed.steps_per_epoch,
        .seconds = run->note.seconds,
        .bad_images = run->feed.bad_images,
        .network = run->config->student.net,
        .device = run->note.device,
        .cache = run->config->cache,
        .teacher = source->cache ? source->manifest : NULL,
        .teacher_mode = source->mode == CASK_TEACHER_EXACT ? "exact" : "topk",
        .accepted = source->accepted,
        .accepted_count = source->accepted_count,
    };
    cask_metrics_close(&run->metrics);
    CASK_TRY(export_student(run, err));
    if (cask_feed_counts_draws(&run->feed)) {
        CASK_TRY(cask_feed_coverage(&run->feed, 0, run->stop_step, &coverage, err));
        result.coverage = &coverage;
    }
    CASK_TRY(cask_result_write(&run->folder, &result, err));
    cask_log_info("done: %" PRId64 " steps in %.1f s (%.0f images/s)", result.steps, result.seconds,
                  (double)(result.steps * result.batch) / result.seconds);
done:
    return st;
}

/* Known from the folder alone, so that going through a list of finished runs takes no time. */
static enum cask_status is_finished(const struct run *run, bool *finished, struct cask_error *err)
{
    const int64_t wanted = run->config->train.max_steps;
    int64_t steps = -1;
    bool complete = false;
    enum cask_status st = cask_result_read(&run->folder, &steps, &complete, err);
    *finished = st == CASK_OK && steps >= 0 && (complete || (wanted > 0 && steps >= wanted)) &&
                cask_path_exists(run->folder.student);
    if (*finished) {
        cask_log_info("%s is finished: %" PRId64 " steps", run->folder.path, steps);
    }
    return st;
}

enum cask_status cask_run(const struct cask_train_config *config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct run run = {.config = config};
    bool finished = false;
    CASK_TRY(cask_run_folder_open(&run.folder, config, err));
    CASK_TRY(is_finished(&run, &finished, err));
    if (!finished) {
        remove(run.folder.result);
        CASK_TRY(open_run(&run, err));
        CASK_TRY(loop(&run, err));
        CASK_TRY(finish(&run, err));
    }
done:
    close_run(&run);
    return st;
}
