/* kernels/ref/serial.c - the ops that tasks may call, on the one thread there is. */
#include <string.h>

#include "common/mem.h"
#include "kernels/ref/ref.h"

struct cask_product {
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
                                   struct cask_product **result, struct cask_error *err)
{
    struct cask_product *product = cask_alloc(1, sizeof *product);
    if (product == NULL) {
        return cask_error_memory(err, sizeof *product, "matrix product");
    }
    *product = (struct cask_product){device, *gemm};
    *result = product;
    return CASK_OK;
}

void REF(product_close)(struct cask_product *product)
{
    cask_free(product);
}

bool REF(serial_product)(struct cask_product *product, int thread, const void *a, const void *b,
                         void *c)
{
    struct cask_error ignored;
    (void)thread;
    return REF(gemm)(product->device, &product->gemm, a, b, c, &ignored) == CASK_OK;
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
