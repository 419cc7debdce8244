/* train/student.h - one student's share of a run: its folder, network, metrics, checkpoints.
 *
 * It is fed batches and knows nothing of where they come from, so that several students can be
 * fed the same ones (train/run.c). The order of calls:
 *
 *     open_folder -> [finished? then close] -> open -> step ... step -> finish -> close
 *
 * A step is: update, metrics, validation if one is due, checkpoint if one is due. After an error
 * the state in memory is that of `steps_done`, except where the trainer says otherwise.
 */
#ifndef CASK_TRAIN_STUDENT_H
#define CASK_TRAIN_STUDENT_H

#include "train/checkpoint.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/trainer.h"
#include "train/validation.h"

struct cask_student {
    const struct cask_train_config *config; /* borrowed */
    struct cask_feed *feed;                 /* borrowed */
    struct cask_run_folder folder;
    struct cask_trainer *trainer;
    struct cask_metrics metrics;
    struct cask_validation validation;
    struct cask_state_list state;
    struct cask_checkpoint_note note; /* of the last checkpoint */
    int64_t steps_done;
    int64_t stop_step; /* where this call ends: the schedule's end, train.max_steps, patience */
    double seconds;    /* of its own steps and of waiting for batches, over all restarts */
    /* of this process: what steps waited for input, and what they took without it */
    double stalled, worked;
    bool stopped_early;
};

/* Opens and locks the run folder. *finished: there is nothing to do, as the folder alone says, so
 * that going through a list of finished runs takes no time. */
enum cask_status cask_student_open_folder(struct cask_student *student,
                                          const struct cask_train_config *config, bool *finished,
                                          struct cask_error *err);
/* What the students of a process have in common; borrowed. */
struct cask_student_shared {
    struct cask_feed *feed;
    struct cask_device *device;
    struct cask_step_memory *step_memory; /* they take turns */
    struct cask_teacher_store *store;     /* NULL: there is one student */
};
/* Creates or restores everything; `shows_progress` for one student of a process. */
enum cask_status cask_student_open(struct cask_student *student,
                                   const struct cask_student_shared *shared, bool shows_progress,
                                   struct cask_error *err);
void cask_student_close(struct cask_student *student); /* accepts a zeroed struct */

/* True while steps are to be made. */
bool cask_student_wants(const struct cask_student *student);
/* Seconds that a batch took before it was there. */
struct cask_batch_wait {
    double all;   /* with a student's work on a bag */
    double input; /* cask_feed_stall_seconds */
};
/* Step `steps_done`. */
enum cask_status cask_student_step(struct cask_student *student, const struct cask_batch *batch,
                                   const struct cask_teacher *teacher, struct cask_batch_wait wait,
                                   struct cask_error *err);
/* Writes a checkpoint of `steps_done`, unless that is the last one's. */
enum cask_status cask_student_save(struct cask_student *student, struct cask_error *err);
/* Checkpoint, last validation, student.safetensors, evaluation.json, result.json, report.html. */
enum cask_status cask_student_finish(struct cask_student *student, struct cask_error *err);
/* The run cannot go on: failure.json, and report.html with the reason on top. What cannot be
 * written is only logged. Close it after this. */
void cask_student_fail(struct cask_student *student, const struct cask_error *why);

#endif
