/* kernels/cpu/inner.h - y[rows][n] (+)= a[rows][k] W + bias for chunks of rows in cache, the same
 * weights for all of them: what a convolution's forward and its data gradient are made of.
 *
 * With AVX2 or AVX-512 and packed weights of which a strip fits a cache by an own kernel
 * (vector/inner.c), which lets memory bring the next chunk meanwhile; else by oneDNN, which alone
 * knows AMX.
 */
#ifndef CASK_KERNELS_CPU_INNER_H
#define CASK_KERNELS_CPU_INNER_H

#include "kernels/cpu/onednn.h"

struct cask_inner {
    struct cask_cpu *cpu;
    const struct cask_cpu_kernels *own;     /* NULL: oneDNN */
    struct cask_product_desc desc;          /* of full chunks */
    struct cask_product *write[2], *add[2]; /* of full chunks, of the last one */
};

/* Whether the own kernel can; m and n do not matter. */
bool cask_inner_suits(const struct cask_cpu *cpu, const struct cask_product_desc *desc);
/* Chunks of desc->m rows, or of `last`. own: by the own kernel, which suits. accumulate: y will
 * also be added to. like: NULL, or whose packed weights must serve here too; it decides by whom. */
enum cask_status cask_inner_open(struct cask_cpu *cpu, const struct cask_product_desc *desc,
                                 int64_t last, bool own, bool accumulate,
                                 const struct cask_inner *like, struct cask_inner *inner,
                                 struct cask_error *err);
void cask_inner_close(struct cask_inner *inner);
const char *cask_inner_name(const struct cask_inner *inner);
size_t cask_inner_weight_bytes(const struct cask_inner *inner);
/* False: oneDNN failed. */
bool cask_inner_pack(const struct cask_inner *inner, int thread, const void *plain, void *packed);
/* k, n, the steps and `wide` of the block are the product's. False: oneDNN failed. */
bool cask_inner_run(const struct cask_inner *inner, int thread, struct cask_inner_block block);

#endif
