/* train/losses/class_products.c - the products of a chunk, planned for one batch size and again
 * when it changes. */
#include "train/losses/engine_inside.h"

void class_unplan(struct cask_engine *engine)
{
    for (int p = 0; p < PRODUCTS; p++) {
        cask_device_ops(engine->device)->product_close(engine->products.full[p]);
        cask_device_ops(engine->device)->product_close(engine->products.last[p]);
    }
    engine->products = (struct products){0};
}

static enum cask_status open_products(struct cask_engine *engine, int batch, int64_t classes,
                                      struct cask_planned_gemm **products, struct cask_error *err)
{
    const enum cask_dtype out = sizeof(real) == sizeof(float) ? CASK_F32 : CASK_F64;
    const int64_t dim = engine->facts.dim, stride = engine->x.width;
    const struct cask_gemm gemms[PRODUCTS] = {
        [COSINES] = {.trans_b = true, .m = batch, .n = classes, .k = dim, .ldc = stride},
        [TEACHER] = {.trans_b = true,
                     .m = batch,
                     .n = classes,
                     .k = engine->facts.teacher_dim,
                     .ldc = stride},
        [TO_UNIT] = {.m = batch, .n = dim, .k = classes, .lda = stride, .beta = 1},
        [TO_ROWS] = {.trans_a = true, .m = classes, .n = dim, .k = batch, .lda = stride},
    };
    const bool wanted[PRODUCTS] = {true, engine->rule_count > 0 && engine->facts.centers, true,
                                   engine->weight != NULL};
    enum cask_status st = CASK_OK;
    for (int p = 0; p < PRODUCTS; p++) {
        struct cask_gemm gemm = gemms[p];
        gemm.alpha = 1;
        gemm.packed_b = p == TEACHER;
        gemm.in_dtype = engine->half ? CASK_BF16 : out;
        gemm.out_dtype = out;
        if (wanted[p]) {
            CASK_TRY(cask_device_ops(engine->device)
                         ->product_open(engine->device, &gemm, &products[p], err));
        }
    }
done:
    return st;
}

enum cask_status class_plan(struct cask_engine *engine, int batch, struct cask_error *err)
{
    const int last = chunk_width(&engine->x, engine->x.chunks - 1);
    enum cask_status st = CASK_OK;
    if (engine->products.batch == batch) {
        return CASK_OK;
    }
    class_unplan(engine);
    CASK_TRY(open_products(engine, batch, engine->x.width, engine->products.full, err));
    if (last != engine->x.width) {
        CASK_TRY(open_products(engine, batch, last, engine->products.last, err));
    }
    engine->products.batch = batch;
done:
    return st;
}
