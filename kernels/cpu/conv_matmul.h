/* kernels/cpu/conv_matmul.h - dense convolution as matrix products; shared by conv_matmul*.c */
#ifndef CASK_KERNELS_CPU_CONV_MATMUL_H
#define CASK_KERNELS_CPU_CONV_MATMUL_H

#include "kernels/cpu/lowering.h"
#include "kernels/cpu/onednn.h"

/* One product over all rows of a lowering, in chunks of rows and blocks of columns. Forward is one
 * pass. Backward data is one pass for each phase of the stride: the input pixels (h, w) with equal
 * (h mod stride, w mod stride) see the same taps, so they are a stride-1 convolution over dy. */
struct cask_matmul_pass {
    struct cask_lowering lowering;
    struct cask_placing placing;
    bool input_as_is; /* no gathering */
    bool dense;       /* product rows are output rows, no placing */
    int64_t rows, chunk, chunks;
    int64_t k, n, block_n;
    int64_t weight_strides[2]; /* of the plain weight [k][n] that is packed */
    int blocks;
    struct cask_product *write[2], *add[2]; /* of full chunks, of the last one */
    const void *plain;                      /* not NULL: weights that are used unpacked */
    void *weights;                          /* else: packed, block after block */
    size_t block_bytes;
    int taps[2][32]; /* backward data: kernel row (0) and column (1) behind each tap */
};

/* dW in tiles of whole taps, each summed over groups of row chunks. */
struct cask_matmul_gradient {
    struct cask_lowering lowering;
    bool input_as_is;
    int64_t rows, chunk, chunks;
    int tile_taps, tiles, groups;
    bool swapped;                /* partial sums are [tap, in][out], not [out][tap, in] */
    struct cask_product *sum[2]; /* of full chunks, of the last one */
    size_t partial_bytes;        /* of one tile and group */
};

struct cask_matmul_conv {
    struct cask_matmul_pass forward;
    struct cask_matmul_pass *data;
    int data_passes;
    bool data_is_ohwi;
    struct cask_matmul_gradient gradient;
    void *ohwi;  /* weights as [out][tap][in], activation dtype */
    float *bias; /* NULL: none */
};

enum cask_status cask_matmul_gradient_open(struct cask_conv *conv,
                                           struct cask_matmul_gradient *gradient,
                                           struct cask_error *err);
void cask_matmul_gradient_close(struct cask_matmul_gradient *gradient);
enum cask_status cask_matmul_gradient_run(struct cask_conv *conv,
                                          const struct cask_matmul_gradient *gradient,
                                          const void *x, const void *dy, float *dweight,
                                          struct cask_error *err);

enum cask_status cask_matmul_pass_open(struct cask_cpu *cpu, struct cask_matmul_pass *pass,
                                       bool bias, bool add, struct cask_error *err);
void cask_matmul_pass_close(struct cask_matmul_pass *pass);
/* Packs one column block from the plain weight. False: oneDNN failed. */
bool cask_matmul_pass_pack(const struct cask_matmul_pass *pass, int thread, int64_t block,
                           const void *plain);
enum cask_status cask_matmul_pass_run(struct cask_cpu *cpu, const struct cask_matmul_pass *pass,
                                      const void *src, const float *bias, void *dst,
                                      bool accumulate, struct cask_error *err);

#endif
