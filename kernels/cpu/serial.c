/* kernels/cpu/serial.c - products that tasks run, each on the thread of its caller. */
#include "common/mem.h"
#include "kernels/cpu/inner.h"

struct cask_planned_gemm {
    struct cask_inner inner;
};

CASK_OP(product_open)
(struct cask_device *device, const struct cask_gemm *gemm, struct cask_planned_gemm **result,
 struct cask_error *err)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_product_desc desc = cask_product_desc_of(gemm);
    struct cask_planned_gemm *planned = cask_alloc(1, sizeof *planned);
    enum cask_status st = CASK_OK;
    *result = NULL;
    if (planned == NULL) {
        return cask_error_memory(err, sizeof *planned, "matrix product");
    }
    desc.pack = gemm->packed_b;
    CASK_TRY(cask_inner_open(cpu, &desc, desc.m, cask_inner_suits(cpu, &desc), false, NULL,
                             &planned->inner, err));
    *result = planned;
    planned = NULL;
done:
    cask_cpu_product_close(planned);
    return st;
}

void cask_cpu_product_close(struct cask_planned_gemm *planned)
{
    if (planned != NULL) {
        cask_inner_close(&planned->inner);
        cask_free(planned);
    }
}

size_t cask_cpu_product_packed_bytes(const struct cask_planned_gemm *planned)
{
    return cask_inner_weight_bytes(&planned->inner);
}

bool cask_cpu_serial_pack(struct cask_planned_gemm *planned, int thread, const void *b,
                          void *packed)
{
    return cask_inner_pack(&planned->inner, thread, b, packed);
}

bool cask_cpu_serial_product(struct cask_planned_gemm *planned, int thread, const void *a,
                             const void *b, void *c, struct cask_soon *soon)
{
    const struct cask_inner *inner = &planned->inner;
    const char *packed = b;
    struct cask_ahead next = {soon != NULL ? soon->at : NULL, soon != NULL ? soon->end : NULL,
                              NULL};
    /* memory brings B's later strips while the first one is multiplied, and then what comes next */
    struct cask_ahead ahead = {packed, packed, &next};
    if (inner->own != NULL) {
        ahead.end += cask_inner_weight_bytes(inner);
    }
    const bool made =
        cask_inner_run(inner, thread,
                       (struct cask_inner_block){
                           .a = a, .rows = inner->desc.m, .weights = b, .y = c, .ahead = &ahead});
    if (soon != NULL) {
        soon->at = next.at < next.end ? next.at : next.end;
    }
    return made;
}
