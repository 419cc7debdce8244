/* kernels/cpu/outer.h - sum[m][n] += a^T b for chunks of rows a [rows][m] and b [rows][n]: what a
 * weight gradient is made of.
 *
 * With AVX2 or AVX-512 and chunks that fit a cache by an own kernel (vector/outer.c), which needs
 * nothing transposed and lets memory bring the next rows meanwhile; else by oneDNN, which alone
 * knows AMX.
 */
#ifndef CASK_KERNELS_CPU_OUTER_H
#define CASK_KERNELS_CPU_OUTER_H

#include "kernels/cpu/cpu.h"

struct cask_product;
struct cask_outer {
    struct cask_cpu *cpu;
    const struct cask_cpu_kernels *own; /* NULL: oneDNN */
    int m, n;
    int width; /* row stride of the sum, at least n */
    int64_t chunk;
    struct cask_product *products[2]; /* of full chunks, of the last one */
};

/* Chunks of `chunk` rows, or of `last`. */
enum cask_status cask_outer_open(struct cask_cpu *cpu, int m, int n, int64_t chunk, int64_t last,
                                 struct cask_outer *outer, struct cask_error *err);
void cask_outer_close(struct cask_outer *outer);
const char *cask_outer_name(const struct cask_outer *outer);
/* Operands as the product takes them. Room for a thread's CASK_LEFT or CASK_RIGHT, for a caller who
 * has its rows in registers and writes them there as cells (kernel_table.h); NULL: as they lie. */
enum cask_operand_side { CASK_LEFT, CASK_RIGHT };
void *cask_outer_room(const struct cask_outer *outer, int thread, enum cask_operand_side side);
/* Rows as they lie, or as cells in that room. */
const void *cask_outer_pack(const struct cask_outer *outer, int thread, enum cask_operand_side side,
                            const void *rows, int64_t count);
/* fresh: the sum begins here. ahead: what will be read next, or NULL. False: oneDNN failed. */
bool cask_outer_add(const struct cask_outer *outer, int thread, const void *a, const void *b,
                    int64_t rows, bool fresh, float *sum, struct cask_ahead *ahead);

#endif
