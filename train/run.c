#include "train/run.h"

#include <inttypes.h>

#include "common/log.h"
#include "common/thread.h"
#include "train/result.h"
#include "train/student.h"

/* Everything that lives as long as the run, in the order in which it is opened. */
struct run {
    const struct cask_train_config *config;
    struct cask_feed feed;
    struct cask_device *device;
    struct cask_student student;
};

static enum cask_status open_device(struct run *run, struct cask_error *err)
{
    const struct cask_train_options *train = &run->config->train;
    const struct cask_device_options options = {.backend = train->backend,
                                                .threads = (int)train->threads,
                                                .precision = (enum cask_precision)train->precision};
    char about[128];
    enum cask_status st = cask_device_open(&options, &run->device, err);
    if (st == CASK_OK) {
        cask_device_describe(run->device, about, sizeof about);
        cask_log_info("device: %s", about);
    }
    return st;
}

static enum cask_status open_run(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_feed_open(&run->feed, run->config, err));
    CASK_TRY(open_device(run, err));
    CASK_TRY(cask_student_open(&run->student, &run->feed, run->device, true, err));
    if (run->feed.source.cache != NULL) {
        CASK_TRY(cask_teacher_source_prepare(&run->feed.source,
                                             cask_criterion_needs(run->student.trainer->criterion),
                                             (int)run->config->train.batch, err));
    }
    cask_feed_seek(&run->feed, run->student.steps_done);
done:
    return st;
}

static void close_run(struct run *run)
{
    cask_student_close(&run->student);
    cask_device_close(run->device);
    cask_feed_close(&run->feed);
}

static enum cask_status one_step(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_batch *batch = NULL;
    const struct cask_teacher *teacher = NULL;
    const double begin = cask_now();
    CASK_TRY(cask_feed_next(&run->feed, &batch, &teacher, err));
    CASK_TRY(cask_student_step(&run->student, batch, teacher, cask_now() - begin, err));
    CASK_TRY(cask_interrupt_check(err));
done:
    return st;
}

/* SIGINT and SIGTERM may come in a validation as well as between two steps; either way the state
 * is that of steps_done. */
static enum cask_status loop(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    while (st == CASK_OK && cask_student_wants(&run->student)) {
        st = one_step(run, err);
    }
    if (st == CASK_ERR_INTERRUPTED) {
        CASK_TRY(cask_student_save(&run->student, err));
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERRUPTED,
                                "interrupted after step %" PRId64
                                "; a checkpoint is kept and the same command goes on from it",
                                run->student.steps_done));
    }
done:
    return st;
}

enum cask_status cask_run(const struct cask_train_config *config, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct run run = {.config = config};
    bool finished = false, mine = false;
    CASK_TRY(cask_student_open_folder(&run.student, config, &finished, err));
    mine = true;
    if (!finished) {
        CASK_TRY(open_run(&run, err));
        CASK_TRY(loop(&run, err));
        CASK_TRY(cask_student_finish(&run.student, err));
    }
done:
    if (mine && st != CASK_OK && st != CASK_ERR_INTERRUPTED) {
        cask_result_write_failure(&run.student.folder, run.student.steps_done, err);
    }
    close_run(&run);
    return st;
}
