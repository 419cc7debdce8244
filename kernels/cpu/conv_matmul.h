/* kernels/cpu/conv_matmul.h - dense convolution as matrix products; shared by conv_matmul*.c */
#ifndef CASK_KERNELS_CPU_CONV_MATMUL_H
#define CASK_KERNELS_CPU_CONV_MATMUL_H

#include "kernels/cpu/inner.h"
#include "kernels/cpu/lowering.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/outer.h"

/* One product over all rows of a lowering, in chunks of rows and blocks of columns. Forward is one
 * pass. Backward data is one pass for each phase of the stride: the input pixels (h, w) with equal
 * (h mod stride, w mod stride) see the same taps, so they are a stride-1 convolution over dy. */
struct cask_matmul_pass {
    struct cask_lowering lowering;
    struct cask_placing placing;
    bool input_as_is; /* no gathering */
    bool dense;       /* product rows are output rows, no placing */
    int64_t rows, chunk, chunks;
    int64_t each, tasks; /* chunks that one thread makes one after the other; how often */
    int64_t k, n, block_n;
    int64_t weight_strides[2]; /* of the plain weight [k][n] that is packed */
    int blocks;
    struct cask_inner product;
    const void *plain; /* not NULL: weights that are used unpacked */
    void *weights;     /* else: packed, block after block */
    size_t block_bytes;
    int taps[2][32]; /* backward data: kernel row (0) and column (1) behind each tap */
};

/* dW in tiles of whole taps, each summed over groups of row chunks. */
struct cask_matmul_gradient {
    struct cask_lowering lowering;
    bool input_as_is;
    int64_t rows, chunk, chunks;
    int tile_taps, tiles, groups;
    bool swapped; /* partial sums are [tap, in][out], not [out][tap, in] */
    struct cask_outer sum;
    size_t partial_bytes;                /* of one tile and group */
    const struct cask_matmul_pass *data; /* 1x1 kernels: whose packed weights give dx, or NULL */
    struct cask_inner product;           /* gives it */
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

/* data: the backward-data pass of a 1x1 kernel, else NULL. */
enum cask_status cask_matmul_gradient_open(struct cask_conv *conv,
                                           struct cask_matmul_gradient *gradient,
                                           const struct cask_matmul_pass *data,
                                           struct cask_error *err);
void cask_matmul_gradient_close(struct cask_matmul_gradient *gradient);
/* dW, and for 1x1 kernels (`with_data`) dx of the same chunks while they are in cache. */
enum cask_status cask_matmul_gradient_run(struct cask_conv *conv,
                                          const struct cask_matmul_gradient *gradient,
                                          const struct cask_conv_gradient *what, bool with_data,
                                          struct cask_error *err);

enum cask_status cask_matmul_pass_open(struct cask_cpu *cpu, struct cask_matmul_pass *pass,
                                       bool bias, bool add, bool whole, struct cask_error *err);
void cask_matmul_pass_close(struct cask_matmul_pass *pass);
/* Packs one column block from the plain weight. False: oneDNN failed. */
bool cask_matmul_pass_pack(const struct cask_matmul_pass *pass, int thread, int64_t block,
                           const void *plain);
/* True if result rows come chunk by chunk, each once: then a sink can be filled on the way. */
bool cask_matmul_pass_fills(const struct cask_matmul_pass *pass);
/* sink: NULL, or open for pass->tasks parts. */
enum cask_status cask_matmul_pass_run(struct cask_cpu *cpu, const struct cask_matmul_pass *pass,
                                      const struct cask_source *src, const float *bias, void *dst,
                                      bool accumulate, const struct cask_sink *sink,
                                      const struct cask_finish *finish, struct cask_error *err);
/* What a chunk will read and write, for memory to bring while the chunk before it is made. */
enum { CASK_REGIONS = 8 };
struct cask_coming {
    struct cask_ahead regions[CASK_REGIONS];
    int count;
};
/* data: elements of dtype, or NULL: nothing */
void cask_comes(struct cask_coming *coming, const void *data, enum cask_dtype dtype, int64_t first,
                int64_t elements);

/* Source rows [row, row + rows) of a lowering as the product wants them: [rows][taps * src_c]. Made
 * in a thread's scratch unless they lie like that. */
const void *cask_lowered_rows(struct cask_cpu *cpu, int thread,
                              const struct cask_lowering *lowering, const struct cask_source *src,
                              int64_t row, int64_t rows, int first_tap, int taps, void *room);

#endif
