#include "train/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "train/settings.h"
#include "train/student.h"

/* One student and how far it has come. */
struct place {
    struct cask_student student;
    enum { PLACE_EMPTY, PLACE_OPEN, PLACE_DONE } state; /* EMPTY: no folder of its own yet */
};

/* Everything that lives as long as the runs, in the order in which it is opened. */
struct run {
    const struct cask_train_config *const *configs;
    int count;
    struct cask_feed feed;
    struct cask_device *device;
    struct cask_step_memory *step_memory;
    struct cask_teacher_store *store; /* NULL: one student */
    struct place *places;             /* [count] */
    struct cask_error failure;        /* the first one */
    int failures;
};

/* -------------------------------------------------------------------- share */

/* Batches are a function of these, and what is computed on them of the device. */
static const char *const shared_keys[] = {
    "cache",
    "data",
    "student.input",
    "student.preprocess",
    "train.batch",
    "train.seed",
    "train.mirror",
    "train.sampler",
    "train.identities",
    "train.per_identity",
    "train.min_images",
    "train.bag",
    "train.teacher_mode",
    "train.accept_mismatch",
    "train.threads",
    "train.precision",
    "train.backend",
};

struct difference {
    char key[64], a[120], b[120];
};

static void note_difference(const char *key, const char *before, const char *now, void *user)
{
    struct difference *first = user;
    for (size_t i = 0; i < sizeof shared_keys / sizeof *shared_keys && first->key[0] == 0; i++) {
        if (strcmp(key, shared_keys[i]) == 0) {
            snprintf(first->key, sizeof first->key, "%s", key);
            snprintf(first->a, sizeof first->a, "%s", before);
            snprintf(first->b, sizeof first->b, "%s", now);
        }
    }
}

enum cask_status cask_run_can_share(const struct cask_train_config *a,
                                    const struct cask_train_config *b, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct difference first = {.key = ""};
    if (a->train.sampler == CASK_ORDER_TRIPLETS || b->train.sampler == CASK_ORDER_TRIPLETS) {
        return cask_error_set(err, CASK_ERR_MISMATCH,
                              "%s and %s cannot be trained together: train.sampler: triplets are "
                              "mined with one student and are no batches for another",
                              a->out, b->out);
    }
    char *dump_a = cask_config_dump(a->rows), *dump_b = cask_config_dump(b->rows);
    if (dump_a == NULL || dump_b == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "settings as text"));
    }
    cask_settings_compare(dump_a, dump_b, note_difference, &first);
    if (first.key[0] != 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                "%s and %s cannot be trained together: %s is %s in one and %s in "
                                "the other",
                                a->out, b->out, first.key, first.a, first.b));
    }
done:
    cask_free(dump_a);
    cask_free(dump_b);
    return st;
}

/* --------------------------------------------------------------------- open */

static enum cask_status open_device(struct run *run, struct cask_error *err)
{
    const struct cask_train_options *train = &run->configs[0]->train;
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

/* Ends a student's part with an error: told, and remembered if it is the first. */
static void give_up(struct run *run, struct place *place, const struct cask_error *why)
{
    if (place->state == PLACE_OPEN) {
        cask_student_fail(&place->student, why);
    }
    if (run->count > 1) {
        cask_log_warn("%s: %s; the others go on", place->student.config->out, why->message);
    }
    if (run->failures++ == 0) {
        run->failure = *why;
    }
    cask_student_close(&place->student);
    place->state = PLACE_DONE;
}

/* Interrupts concern all; anything else one student. */
static enum cask_status settle(struct run *run, struct place *place, enum cask_status st,
                               struct cask_error *err)
{
    if (st == CASK_OK || st == CASK_ERR_INTERRUPTED) {
        return st;
    }
    give_up(run, place, err);
    return CASK_OK;
}

static enum cask_status open_folders(struct run *run, int *open, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *open = 0;
    for (int i = 0; i < run->count; i++) {
        struct place *place = &run->places[i];
        bool finished = false;
        place->student.config = run->configs[i];
        st = cask_student_open_folder(&place->student, run->configs[i], &finished, err);
        place->state = st == CASK_OK ? PLACE_OPEN : PLACE_EMPTY;
        if (st == CASK_OK && finished) {
            cask_student_close(&place->student);
            place->state = PLACE_DONE;
        }
        CASK_TRY(settle(run, place, st, err));
        *open += place->state == PLACE_OPEN;
    }
done:
    return st;
}

/* From here on steps read copies of the centres, where there are any, and hardly the file. */
static enum cask_status pack_centers(struct run *run, struct cask_error *err)
{
    const struct cask_teacher_source *source = &run->feed.source;
    enum cask_status st = CASK_OK;
    for (int i = 0; source->teacher.centers != NULL && i < run->count; i++) {
        struct place *place = &run->places[i];
        if (place->state == PLACE_OPEN) {
            st = cask_criterion_pack_centers(place->student.trainer->criterion,
                                             source->teacher.centers, err);
            CASK_TRY(settle(run, place, st, err));
        }
    }
    if (source->teacher.centers != NULL) {
        cask_cache_centers_idle(source->cache);
    }
done:
    return st;
}

static enum cask_status open_students(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    unsigned needs = 0;
    bool shows_progress = true;
    const struct cask_student_shared shared = {&run->feed, run->device, run->step_memory,
                                               run->store};
    for (int i = 0; i < run->count; i++) {
        struct place *place = &run->places[i];
        if (place->state != PLACE_OPEN) {
            continue;
        }
        st = cask_student_open(&place->student, &shared, shows_progress, err);
        CASK_TRY(settle(run, place, st, err));
        if (place->state == PLACE_OPEN) {
            needs |= cask_criterion_needs(place->student.trainer->criterion);
            shows_progress = false;
        }
    }
    if (run->feed.source.cache != NULL) {
        CASK_TRY(cask_teacher_source_prepare(&run->feed.source, needs,
                                             (int)run->configs[0]->train.batch, err));
        CASK_TRY(pack_centers(run, err));
    }
done:
    return st;
}

static void close_run(struct run *run)
{
    for (int i = 0; run->places != NULL && i < run->count; i++) {
        cask_student_close(&run->places[i].student);
    }
    cask_free(run->places);
    cask_teacher_store_free(run->store);
    cask_step_memory_free(run->step_memory);
    cask_device_close(run->device);
    cask_feed_close(&run->feed);
}

/* --------------------------------------------------------------------- loop */

/* The step that the student furthest behind stands before; -1: none wants any. */
static int64_t next_step(const struct run *run)
{
    int64_t next = -1;
    for (int i = 0; i < run->count; i++) {
        const struct cask_student *student = &run->places[i].student;
        if (run->places[i].state == PLACE_OPEN && cask_student_wants(student) &&
            (next < 0 || student->steps_done < next)) {
            next = student->steps_done;
        }
    }
    return next;
}

static bool takes_part(const struct place *place, int64_t step)
{
    return place->state == PLACE_OPEN && cask_student_wants(&place->student) &&
           place->student.steps_done == step;
}

/* One batch for every student that stands before it; one that has made its last step is finished at
 * once, so that its memory is free for the rest. */
static enum cask_status one_step(struct run *run, int64_t step, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_batch *batch = NULL;
    const struct cask_teacher *teacher = NULL;
    const double begin = cask_now(), stalled = cask_feed_stall_seconds(&run->feed);
    int sharers = 0;
    CASK_TRY(cask_feed_next(&run->feed, &batch, &teacher, err));
    struct cask_batch_wait wait = {cask_now() - begin,
                                   cask_feed_stall_seconds(&run->feed) - stalled};
    for (int i = 0; i < run->count; i++) {
        sharers += takes_part(&run->places[i], step);
    }
    wait.all /= sharers;
    wait.input /= sharers;
    for (int i = 0; i < run->count; i++) {
        struct place *place = &run->places[i];
        if (takes_part(place, step)) {
            st = cask_student_step(&place->student, batch, teacher, wait, err);
            CASK_TRY(settle(run, place, st, err));
        }
    }
    CASK_TRY(cask_interrupt_check(err));
done:
    return st;
}

static enum cask_status finish_those_at_the_end(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < run->count; i++) {
        struct place *place = &run->places[i];
        if (place->state != PLACE_OPEN || cask_student_wants(&place->student)) {
            continue;
        }
        st = cask_student_finish(&place->student, err);
        if (st == CASK_OK) {
            cask_student_close(&place->student);
            place->state = PLACE_DONE;
        }
        CASK_TRY(settle(run, place, st, err));
    }
done:
    return st;
}

/* SIGINT and SIGTERM may come in a validation as well as between two steps; either way the state of
 * every student is that of its steps_done. */
static enum cask_status save_all(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t step = 0;
    for (int i = 0; i < run->count; i++) {
        if (run->places[i].state == PLACE_OPEN) {
            step = run->places[i].student.steps_done;
            CASK_TRY(cask_student_save(&run->places[i].student, err));
        }
    }
    CASK_TRY(cask_error_set(err, CASK_ERR_INTERRUPTED,
                            "interrupted after step %" PRId64
                            "; a checkpoint is kept and the same command goes on from it",
                            step));
done:
    return st;
}

static enum cask_status loop(struct run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t step = next_step(run);
    if (step >= 0) {
        cask_feed_seek(&run->feed, step);
    }
    CASK_TRY(finish_those_at_the_end(run, err));
    for (; next_step(run) >= 0; step++) {
        CASK_TRY(one_step(run, step, err));
        CASK_TRY(finish_those_at_the_end(run, err));
    }
done:
    return st;
}

/* An error that is nobody's own: of the data, of the device. */
static void give_up_all(struct run *run, const struct cask_error *why)
{
    for (int i = 0; i < run->count; i++) {
        if (run->places[i].state == PLACE_OPEN) {
            cask_student_fail(&run->places[i].student, why);
        }
    }
}

enum cask_status cask_run_together(const struct cask_train_config *const *configs, int count,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct run run = {.configs = configs, .count = count};
    int open = 0;
    if (count < 1 || count > CASK_RUN_TOGETHER) {
        return cask_error_set(err, CASK_ERR_USAGE, "expected 1 to %d runs together, found %d",
                              CASK_RUN_TOGETHER, count);
    }
    for (int i = 1; i < count; i++) {
        CASK_TRY(cask_run_can_share(configs[0], configs[i], err));
    }
    run.places = cask_alloc((size_t)count, sizeof *run.places);
    if (run.places == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *run.places, "students"));
    }
    CASK_TRY(open_folders(&run, &open, err));
    if (open > 0) {
        CASK_TRY(cask_feed_open(&run.feed, configs[0], err));
        CASK_TRY(open_device(&run, err));
        CASK_TRY(cask_step_memory_create(run.device, &run.step_memory, err));
        if (open > 1) {
            CASK_TRY(cask_teacher_store_create(&run.store, err));
        }
        CASK_TRY(open_students(&run, err));
        CASK_TRY(loop(&run, err));
    }
    if (run.failures > 0) {
        *err = run.failure;
        CASK_TRY(run.failure.status);
    }
done:
    if (st == CASK_ERR_INTERRUPTED && run.places != NULL) {
        st = save_all(&run, err);
    } else if (st != CASK_OK && run.failures == 0 && run.places != NULL) {
        give_up_all(&run, err);
    }
    close_run(&run);
    return st;
}

enum cask_status cask_run(const struct cask_train_config *config, struct cask_error *err)
{
    return cask_run_together(&config, 1, err);
}
