#include "train/losses/teacher_store.h"

#include "common/log.h"
#include "common/mem.h"
#include "train/criterion.h"

struct cask_teacher_store {
    struct cask_store_shape shape;
    struct cask_store_batch batch; /* serial 0: nothing is there */
    int64_t kept, found;
    void *memory; /* NULL: nobody has joined */
    void *packed; /* class centres; NULL: nobody has made them */
    const void *packed_of;
};

enum cask_status cask_teacher_store_create(struct cask_teacher_store **store,
                                           struct cask_error *err)
{
    *store = cask_alloc(1, sizeof **store);
    return *store != NULL ? CASK_OK : cask_error_memory(err, sizeof **store, "teacher's cosines");
}

void cask_teacher_store_free(struct cask_teacher_store *store)
{
    if (store != NULL) {
        cask_free(store->memory);
        cask_free(store->packed);
        cask_free(store);
    }
}

int64_t cask_teacher_store_found(const struct cask_teacher_store *store)
{
    return store->found;
}

static bool same_shape(const struct cask_store_shape *a, const struct cask_store_shape *b)
{
    return a->classes == b->classes && a->width == b->width && a->batch == b->batch &&
           a->dim == b->dim && a->real_bytes == b->real_bytes && a->half == b->half &&
           a->device == b->device;
}

enum cask_status cask_teacher_store_join(struct cask_teacher_store *store,
                                         const struct cask_store_shape *shape, int64_t *kept,
                                         void **memory, struct cask_error *err)
{
    *memory = NULL;
    if (store->memory == NULL && *kept > 0) {
        const size_t cells = (size_t)*kept * (size_t)shape->batch * (size_t)shape->width;
        store->memory = cask_alloc(cells, shape->real_bytes);
        if (store->memory == NULL) {
            return cask_error_memory(err, cells * shape->real_bytes, "the teacher's cosines");
        }
        store->shape = *shape;
        store->kept = *kept;
        cask_log_info("students share the teacher's cosines: %.1f MB for %lld of %lld classes",
                      (double)(cells * shape->real_bytes) / 1e6,
                      (long long)(*kept * shape->width < shape->classes ? *kept * shape->width
                                                                        : shape->classes),
                      (long long)shape->classes);
    }
    if (store->memory != NULL && same_shape(&store->shape, shape)) {
        *memory = store->memory;
        *kept = store->kept;
    }
    return CASK_OK;
}

bool cask_teacher_store_begin(struct cask_teacher_store *store,
                              const struct cask_store_batch *batch)
{
    const struct cask_store_batch *there = &store->batch;
    const bool known = batch->serial != 0 && batch->serial == there->serial &&
                       batch->rows == there->rows && batch->unit == there->unit &&
                       batch->centers == there->centers;
    if (known) {
        store->found++;
    } else {
        store->batch.serial = 0;
    }
    return known;
}

void cask_teacher_store_made(struct cask_teacher_store *store, const struct cask_store_batch *batch)
{
    store->batch = *batch;
}

void *cask_teacher_store_packed(const struct cask_teacher_store *store, const void *centers)
{
    return store->packed_of == centers ? store->packed : NULL;
}

bool cask_teacher_store_keep_packed(struct cask_teacher_store *store, const void *centers,
                                    void *packed)
{
    if (store->packed == NULL) {
        store->packed = packed;
        store->packed_of = centers;
    }
    return store->packed == packed;
}
