/* kernels/ref/serial.c - the ops that tasks may call, on the one thread there is. */
#include <string.h>

#include "common/mem.h"
#include "kernels/ref/ref.h"

struct cask_planned_gemm {
    struct cask_device *device;
    struct cask_gemm gemm;
};

void REF(parallel)(struct cask_device *device, int64_t count, cask_task task, void *user)
{
    (void)device;
    for (int64_t index = 0; index < count; index++) {
        task(user, index, 0);
    }
}

enum cask_status REF(product_open)(struct cask_device *device, const struct cask_gemm *gemm,
                                   struct cask_planned_gemm **result, struct cask_error *err)
{
    struct cask_planned_gemm *product = cask_alloc(1, sizeof *product);
    if (product == NULL) {
        return cask_error_memory(err, sizeof *product, "matrix product");
    }
    *product = (struct cask_planned_gemm){device, *gemm};
    *result = product;
    return CASK_OK;
}

void REF(product_close)(struct cask_planned_gemm *product)
{
    cask_free(product);
}

/* Here B is packed when its rows lie one behind the other. */
size_t REF(product_packed_bytes)(const struct cask_planned_gemm *product)
{
    return (size_t)(product->gemm.n * product->gemm.k) * sizeof(real);
}

bool REF(serial_pack)(struct cask_planned_gemm *product, int thread, const void *b, void *packed)
{
    const struct cask_gemm *gemm = &product->gemm;
    const int64_t rows = gemm->trans_b ? gemm->n : gemm->k;
    const int64_t columns = gemm->trans_b ? gemm->k : gemm->n;
    const int64_t stride = gemm->ldb != 0 ? gemm->ldb : columns;
    (void)thread;
    for (int64_t i = 0; i < rows; i++) {
        memcpy((real *)packed + i * columns, (const real *)b + i * stride,
               (size_t)columns * sizeof(real));
    }
    return true;
}

bool REF(serial_product)(struct cask_planned_gemm *product, int thread, const void *a,
                         const void *b, void *c, struct cask_soon *soon)
{
    struct cask_error ignored;
    struct cask_gemm gemm = product->gemm;
    (void)thread;
    (void)soon;
    gemm.ldb = gemm.packed_b ? 0 : gemm.ldb;
    return REF(gemm)(product->device, &gemm, a, b, c, &ignored) == CASK_OK;
}

void REF(serial_sgd)(struct cask_device *device, const struct cask_sgd *sgd, size_t count, void *w,
                     const void *g, void *v)
{
    struct cask_error ignored;
    (void)REF(sgd_step)(device, sgd, count, w, g, v, &ignored); /* cannot fail */
}

void REF(serial_round)(struct cask_device *device, size_t count, const void *from, void *to)
{
    (void)device;
    memcpy(to, from, count * sizeof(real)); /* parameters and activations have one type here */
}
