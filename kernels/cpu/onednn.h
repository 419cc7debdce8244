/* kernels/cpu/onednn.h - the little of oneDNN 2.6 that Cask needs. Only onednn*.c include its
 * header.
 *
 * A product is one planned matrix multiplication, dst[m,n] = src[m,k] * weight[k,n]. It is
 * created for ONE thread and run by many at once: each thread has its own memory handles and its
 * own scratchpad (with the library's default scratchpad, concurrent runs silently give wrong
 * results).
 */
#ifndef CASK_KERNELS_CPU_ONEDNN_H
#define CASK_KERNELS_CPU_ONEDNN_H

#include "kernels/cpu/cpu.h"

enum cask_status cask_dnnl_open(struct cask_cpu *cpu, struct cask_error *err);
void cask_dnnl_close(struct cask_dnnl *dnnl);
const char *cask_dnnl_describe(const struct cask_dnnl *dnnl); /* "oneDNN 2.6.3, avx512_core_bf16" */

struct cask_product_desc {
    int64_t m, n, k;
    /* Strides in elements, of (row, column). One of the two is 1. */
    int64_t src_strides[2], dst_strides[2];
    int64_t weight_strides[2]; /* of the plain weight */
    bool pack;                 /* oneDNN chooses the weight's layout; see cask_product_pack */
    bool bias;                 /* f32 [n] */
    bool accumulate;           /* dst = alpha * src * weight + beta * dst; else beta is ignored */
    float alpha, beta;
    enum cask_dtype in_dtype, out_dtype;
};

/* Of a gemm as the ops know it (gemm.c). */
struct cask_product_desc cask_product_desc_of(const struct cask_gemm *gemm);

struct cask_product;
/* `like`, if not NULL, is a product whose packed weight this one must accept. */
enum cask_status cask_product_open(struct cask_cpu *cpu, const struct cask_product_desc *desc,
                                   const struct cask_product *like, struct cask_product **product,
                                   struct cask_error *err);
void cask_product_close(struct cask_product *product);             /* accepts NULL */
const char *cask_product_name(const struct cask_product *product); /* oneDNN's implementation */

size_t cask_product_weight_bytes(const struct cask_product *product); /* packed */
/* From a plain weight of in_dtype with weight_strides into `packed`. False: oneDNN failed. */
bool cask_product_pack(struct cask_product *product, int thread, const void *plain, void *packed);

/* False: oneDNN failed (out of memory inside it). weight: packed if `pack`, else plain. */
bool cask_product_run(struct cask_product *product, int thread, const void *src, const void *weight,
                      const void *bias, void *dst);

#endif
