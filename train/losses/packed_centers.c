/* train/losses/packed_centers.c - the teacher's class centres as product TEACHER takes them.
 *
 * They are the same in every step. So they are rounded (on devices that compute in bf16) and packed
 * once, a chunk of classes behind the other, in memory of large pages; steps read the caller's rows
 * at labels only. Where no such copy is kept, a chunk is packed whenever it is multiplied: slower,
 * and with the same bits.
 */
#include "common/log.h"
#include "common/mem.h"
#include "train/losses/engine_inside.h"

static struct cask_planned_gemm *product_of(const struct cask_engine *engine, int64_t chunk)
{
    const bool full = chunk_width(&engine->y, chunk) == engine->y.width;
    return (full ? engine->products.full : engine->products.last)[TEACHER];
}

static size_t packed_bytes(const struct cask_engine *engine, int64_t chunk)
{
    enum { LINE = 64 };
    const size_t bytes =
        cask_device_ops(engine->device)->product_packed_bytes(product_of(engine, chunk));
    return (bytes + LINE - 1) / LINE * LINE;
}

enum cask_status centers_create(struct cask_engine *engine,
                                const struct cask_engine_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct packed_centers *packed = &engine->packed;
    if (engine->rule_count == 0 || !engine->facts.centers) {
        return CASK_OK;
    }
    /* of students that take turns those who share the first one's copy */
    packed->wanted = (options->head == NULL || options->head->pack_centers) &&
                     (options->store == NULL || engine->store != NULL);
    CASK_TRY(class_plan(engine, engine->facts.batch, err));
    const size_t full = packed_bytes(engine, 0), last = packed_bytes(engine, engine->y.chunks - 1);
    packed->stride = full > last ? full : last;
    for (int t = 0; t < engine->facts.threads; t++) {
        CASK_TRY(engine_alloc(engine, packed->stride, 1, true, "packed class centres",
                              &engine->workspaces[t].packed, err));
    }
done:
    return st;
}

static bool pack(const struct cask_engine *engine, const real *centers, int64_t chunk, int thread,
                 void *packed)
{
    const struct cask_ops *ops = cask_device_ops(engine->device);
    const int64_t dim = engine->facts.teacher_dim;
    const void *rows = centers + chunk * engine->y.width * dim;
    if (engine->half) {
        void *rounded = engine->workspaces[thread].teacher16;
        const size_t count = (size_t)(chunk_width(&engine->y, chunk) * dim);
        ops->serial_round(engine->device, count, rows, rounded);
        rows = rounded;
    }
    return ops->serial_pack(product_of(engine, chunk), thread, rows, packed);
}

const void *centers_chunk(const struct cask_engine *engine, const real *centers, int64_t chunk,
                          int thread)
{
    void *packed = engine->workspaces[thread].packed;
    if (engine->packed.of != NULL) {
        return engine->packed.memory + (size_t)chunk * engine->packed.stride;
    }
    return pack(engine, centers, chunk, thread, packed) ? packed : NULL;
}

/* -------------------------------------------------------------------- copy */

struct packing {
    const struct cask_engine *engine;
    const real *centers;
    char *memory;
    bool failed;
};

static void pack_task(void *user, int64_t chunk, int thread)
{
    struct packing *packing = user;
    if (!pack(packing->engine, packing->centers, chunk, thread,
              packing->memory + (size_t)chunk * packing->engine->packed.stride)) {
        __atomic_store_n(&packing->failed, true, __ATOMIC_RELAXED);
    }
}

static enum cask_status make_copy(struct cask_engine *engine, const void *centers, char **memory,
                                  struct cask_error *err)
{
    const size_t bytes = engine->packed.stride * (size_t)engine->y.chunks;
    struct packing packing = {engine, centers, cask_alloc(bytes, 1), false};
    enum cask_status st = CASK_OK;
    if (packing.memory == NULL) {
        CASK_TRY(cask_error_memory(err, bytes,
                                   "packed class centres (head.pack_centers: false does without)"));
    }
    loss_parallel(engine->device, engine->y.chunks, pack_task, &packing);
    if (packing.failed) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "packing the class centres failed"));
    }
    cask_log_info("class centres: packed once%s, %.1f MB", engine->half ? " in bf16" : "",
                  (double)bytes / 1e6);
    *memory = packing.memory;
    packing.memory = NULL;
done:
    cask_free(packing.memory);
    return st;
}

enum cask_status centers_keep(struct cask_engine *engine, const void *centers,
                              struct cask_error *err)
{
    struct packed_centers *packed = &engine->packed;
    enum cask_status st = CASK_OK;
    if (!packed->wanted || packed->of != NULL) {
        return CASK_OK;
    }
    if (engine->store != NULL) {
        packed->memory = cask_teacher_store_packed(engine->store, centers);
        packed->borrowed = packed->memory != NULL;
    }
    if (packed->memory == NULL) {
        CASK_TRY(class_plan(engine, engine->facts.batch, err));
        CASK_TRY(make_copy(engine, centers, &packed->memory, err));
        packed->borrowed = engine->store != NULL &&
                           cask_teacher_store_keep_packed(engine->store, centers, packed->memory);
    }
    packed->of = centers;
done:
    return st;
}

void centers_release(struct cask_engine *engine)
{
    if (!engine->packed.borrowed) {
        cask_free(engine->packed.memory);
    }
}
