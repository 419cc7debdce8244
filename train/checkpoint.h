/* train/checkpoint.h - the state of a run on disk, so that a kill costs time and nothing else.
 *
 * RUN/checkpoints/step-000001000.safetensors holds every named array of the run's state, bit for
 * bit, and as metadata the step, the seconds trained so far, the identity of the run and the XXH3
 * of the arrays. A file is written whole (temporary name, fsync, rename); the last two are kept.
 * What needs no saving is a function of the step: learning rate, order of images, mirror coins.
 *
 * Arrays may be host or device memory; they are borrowed for the list's life.
 */
#ifndef CASK_TRAIN_CHECKPOINT_H
#define CASK_TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hash.h"
#include "common/status.h"
#include "kernels/kernels.h"

struct cask_state_entry {
    char *name;            /* owned */
    enum cask_dtype dtype; /* F32 or F64 */
    int64_t count;
    void *memory;
    struct cask_device *device; /* NULL: host memory */
};
struct cask_state_list {
    struct cask_state_entry *entries;
    int count;
};
/* Start from a zeroed list. `prefix` and `name` are joined: "momentum." "conv1.weight". */
enum cask_status cask_state_add(struct cask_state_list *list, const char *prefix, const char *name,
                                enum cask_dtype dtype, int64_t count, void *memory,
                                struct cask_device *device, struct cask_error *err);
void cask_state_release(struct cask_state_list *list);

struct cask_checkpoint_note {
    int64_t step;                   /* steps that are done */
    double seconds;                 /* trained so far, over all restarts */
    char identity[CASK_SHA256_HEX]; /* of the run's settings */
    char device[128];               /* cask_device_describe: another one gives other bits */
};

/* Publishes the state and removes all but the last two files. On failure what was there is kept. */
enum cask_status cask_checkpoint_save_state(const char *folder,
                                            const struct cask_checkpoint_note *note,
                                            const struct cask_state_list *state,
                                            struct cask_error *err);

/* Fills the state from the newest whole checkpoint. A damaged one is reported and passed over; if
 * there are files and none is whole: CASK_ERR_FORMAT. A run of other settings: CASK_ERR_MISMATCH.
 * *found is false in a fresh folder. Nothing is written to the state before a file has proved
 * whole. */
enum cask_status cask_checkpoint_restore_state(const char *folder, const char *identity,
                                               const struct cask_state_list *state,
                                               struct cask_checkpoint_note *note, bool *found,
                                               struct cask_error *err);

#endif
