/* train/losses/teacher_store.h - the teacher's cosines to the classes, one copy for all students.
 *
 * Students that are fed the same batch ask for the same product E_T W_T^T. The first one of a step
 * makes it, chunk by chunk on its way through the classes; the others find it made. It is what each
 * would have made: same operands, same planned product, so the same bits. What does not fit into
 * the memory is made by each as without a store.
 *
 * Students take turns, so there are no locks. Create and free: train/criterion.h.
 */
#ifndef CASK_TRAIN_LOSSES_TEACHER_STORE_H
#define CASK_TRAIN_LOSSES_TEACHER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* What the product and its place in memory depend on. */
struct cask_store_shape {
    int64_t classes, width; /* of a chunk */
    int batch, dim;         /* most rows; D of the teacher */
    size_t real_bytes;
    bool half;                        /* operands are rounded to bf16 */
    const struct cask_device *device; /* whose product it is */
};

/* The batch whose cosines are there. serial 0: known to nobody else. */
struct cask_store_batch {
    uint64_t serial;
    int rows;
    const void *unit, *centers;
};

struct cask_teacher_store;
/* Memory for *kept chunks [*kept][batch][width], borrowed. The first one decides on the shape and
 * on how many chunks there are; *memory is NULL for a later one whose shape is another. */
enum cask_status cask_teacher_store_join(struct cask_teacher_store *store,
                                         const struct cask_store_shape *shape, int64_t *kept,
                                         void **memory, struct cask_error *err);
/* Begins a step: true if the batch's cosines are there; else they are about to be written. */
bool cask_teacher_store_begin(struct cask_teacher_store *store,
                              const struct cask_store_batch *batch);
/* All kept chunks are written. */
void cask_teacher_store_made(struct cask_teacher_store *store,
                             const struct cask_store_batch *batch);
/* The class centres as the product takes them, for those that have joined: what one of them made of
 * these rows, or NULL. The first copy becomes the store's; false: it has one of other rows. */
void *cask_teacher_store_packed(const struct cask_teacher_store *store, const void *centers);
bool cask_teacher_store_keep_packed(struct cask_teacher_store *store, const void *centers,
                                    void *packed);

#endif
