/* kernels/cpu/cpu.h - what the files of the cpu backend share. Private to this folder.
 *
 * How an op runs here: it is cut into blocks whose size depends on the shapes alone, the blocks are
 * spread over the threads by cask_cpu_for(), each block is done by a serial vector kernel
 * (kernel_table.h) or a serial oneDNN primitive (onednn.h), and partial sums meet in the order of
 * their blocks. So threads need no locks, and an op gives the same bits for any number of them.
 */
#ifndef CASK_KERNELS_CPU_CPU_H
#define CASK_KERNELS_CPU_CPU_H

#include "common/thread.h"
#include "kernels/backend.h"
#include "kernels/cpu/kernel_table.h"

enum cask_isa { CASK_ISA_SCALAR, CASK_ISA_AVX2, CASK_ISA_AVX512, CASK_ISA_AMX };

/* What this CPU has, lowered by CASK_CPU_ISA. A wrong value there is CASK_ERR_USAGE. */
enum cask_status cask_isa_detect(enum cask_isa *isa, struct cask_error *err);
bool cask_isa_has_bf16(enum cask_isa isa); /* avx512_bf16 or AMX, not lowered away */
const struct cask_cpu_kernels *cask_isa_kernels(enum cask_isa isa, enum cask_dtype dtype);

/* Memory that grows to the largest size ever asked for and is kept. */
struct cask_scratch {
    void *data;
    size_t bytes;
};
/* Contents are undefined. NULL: no memory. */
void *cask_scratch_take(struct cask_scratch *scratch, size_t bytes);

/* Channels filled up to whole vectors. */
static inline int cask_filled(const struct cask_cpu_kernels *kernels, int c)
{
    return (c + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
}

struct cask_dnnl;
struct cask_gemm_cache;

struct cask_cpu {
    int threads;
    struct cask_pool *pool;
    enum cask_isa isa;
    enum cask_dtype dtype; /* of activations */
    struct cask_dnnl *dnnl;
    struct cask_gemm_cache *gemms;
    /* Scratch of each thread, for oneDNN and for blocks; scratch that all threads of one op share.
     */
    struct cask_scratch *primitive_scratch, *block_scratch;
    struct cask_scratch shared;
    /* The same for chains (norm.h): rows made for reading, gradients made for reading, sums; the
     * parameters and the sums of an op's batch norms. */
    struct cask_scratch *read_scratch, *gradient_scratch, *sum_scratch;
    struct cask_scratch norms, norm_sums;
};

static inline struct cask_cpu *cask_cpu_of(const struct cask_device *device)
{
    return device->state;
}

static inline const struct cask_cpu_kernels *cask_cpu_kernels_of(const struct cask_cpu *cpu,
                                                                 enum cask_dtype dtype)
{
    return cask_isa_kernels(cpu->isa, dtype);
}

/* Whether the vector kernels may multiply matrices here; else oneDNN does. */
static inline bool cask_cpu_multiplies(const struct cask_cpu *cpu)
{
    return cpu->isa == CASK_ISA_AVX2 || cpu->isa == CASK_ISA_AVX512;
}

/* task(user, index, thread) for every index below count, in any order. What a task computes may not
 * depend on `thread`, which only chooses its scratch. */
void cask_cpu_for(const struct cask_cpu *cpu, int64_t count, cask_task task, void *user);

/* At least `bytes` for each thread, now; a smaller or equal take inside a task cannot fail then. */
enum cask_status cask_cpu_reserve(struct cask_cpu *cpu, struct cask_scratch *per_thread,
                                  size_t bytes, struct cask_error *err);

/* Blocks of rows: about `elements` each, the same for any thread count. */
struct cask_blocks {
    int64_t rows, per_block, count;
};
struct cask_blocks cask_blocks_of(int64_t rows, int64_t row_elements, int64_t elements,
                                  int64_t most);
static inline int64_t cask_block_begin(const struct cask_blocks *blocks, int64_t index)
{
    return index * blocks->per_block;
}
static inline int64_t cask_block_rows(const struct cask_blocks *blocks, int64_t index)
{
    int64_t left = blocks->rows - index * blocks->per_block;
    return left < blocks->per_block ? left : blocks->per_block;
}

/* Address of element `index` of an array of activations. */
static inline void *cask_at(const void *data, enum cask_dtype dtype, int64_t index)
{
    return (char *)(uintptr_t)data + index * (dtype == CASK_BF16 ? 2 : 4);
}

static inline int64_t cask_tensor_rows(const struct cask_tensor *tensor)
{
    return (int64_t)tensor->n * tensor->h * tensor->w;
}

/* ---------------------------------------------------------------- convolution */

struct cask_source; /* norm.h: the rows an op reads, and what is summed of those it writes */
struct cask_sink;

/* Either of dx and dweight may be NULL: not wanted. The sink is of dx. */
struct cask_conv_gradient {
    const struct cask_source *x, *dy;
    void *dx;
    bool accumulate;
    float *dweight;
    struct cask_sink *sink;
};

struct cask_border;
struct cask_finish; /* conv_finish.h */

struct cask_conv_kind {
    const char *name;
    enum cask_status (*open)(struct cask_conv *conv, struct cask_error *err);
    void (*close)(struct cask_conv *conv); /* also after a failed open */
    enum cask_status (*set_weights)(struct cask_conv *conv, const float *weight, const float *bias,
                                    struct cask_error *err);
    /* Both leave the sink finished. finish: NULL, or what is done to each block of rows at once. */
    enum cask_status (*forward)(struct cask_conv *conv, const struct cask_source *x, void *y,
                                struct cask_sink *sink, const struct cask_finish *finish,
                                struct cask_error *err);
    enum cask_status (*backward)(struct cask_conv *conv, const struct cask_conv_gradient *gradient,
                                 struct cask_error *err);
};

struct cask_conv {
    struct cask_cpu *cpu;
    const struct cask_conv_kind *kind;
    struct cask_conv_desc desc;
    int out_h, out_w;
    void *state;                /* of the kind */
    struct cask_border *border; /* NULL: one bias for all pixels */
    char description[96];
};

extern const struct cask_conv_kind cask_conv_matmul, cask_conv_depthwise;

/* ------------------------------------------------------------------------ ops */

#define CASK_OP(name) enum cask_status cask_cpu_##name
struct cask_ops;
extern const struct cask_ops cask_cpu_ops;

CASK_OP(conv_open)
(struct cask_device *, const struct cask_conv_desc *, struct cask_conv **, struct cask_error *);
void cask_cpu_conv_close(struct cask_conv *);
CASK_OP(conv_set_weights)(struct cask_conv *, const void *, const void *, struct cask_error *);
CASK_OP(conv_forward)
(struct cask_conv *, const struct cask_tensor *, const struct cask_tensor *, struct cask_error *);
CASK_OP(conv_forward_finish)
(struct cask_conv *, const struct cask_tensor *, const struct cask_conv_finish *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(conv_backward_data)
(struct cask_conv *, const struct cask_tensor *, const struct cask_tensor *, bool,
 struct cask_error *);
CASK_OP(conv_backward_weights)
(struct cask_conv *, const struct cask_tensor *, const struct cask_tensor *, void *, void *,
 struct cask_error *);
const char *cask_cpu_conv_describe(const struct cask_conv *);
CASK_OP(conv_forward_chained)
(struct cask_conv *, const struct cask_operand *, const struct cask_tensor *,
 const struct cask_batchnorm *, struct cask_error *);
CASK_OP(conv_backward_chained)
(struct cask_conv *, const struct cask_conv_chain *, struct cask_error *);

CASK_OP(gemm)
(struct cask_device *, const struct cask_gemm *, const void *, const void *, void *,
 struct cask_error *);
void cask_gemm_cache_free(struct cask_gemm_cache *cache);
void cask_cpu_parallel(struct cask_device *, int64_t count, cask_task task, void *user);
CASK_OP(product_open)
(struct cask_device *, const struct cask_gemm *, struct cask_planned_gemm **, struct cask_error *);
void cask_cpu_product_close(struct cask_planned_gemm *);
size_t cask_cpu_product_packed_bytes(const struct cask_planned_gemm *);
bool cask_cpu_serial_pack(struct cask_planned_gemm *, int thread, const void *b, void *packed);
bool cask_cpu_serial_product(struct cask_planned_gemm *, int thread, const void *a, const void *b,
                             void *c, struct cask_soon *soon);
void cask_cpu_serial_sgd(struct cask_device *, const struct cask_sgd *, size_t count, void *w,
                         const void *g, void *v);
void cask_cpu_serial_round(struct cask_device *, size_t count, const void *from, void *to);

CASK_OP(batchnorm_train)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(batchnorm_eval)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(batchnorm_backward)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 const struct cask_tensor *, const struct cask_tensor *, bool, const struct cask_batchnorm_grads *,
 struct cask_error *);
CASK_OP(batchnorm_statistics)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 struct cask_error *);
CASK_OP(batchnorm_apply)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(batchnorm_reduce)
(struct cask_device *, const struct cask_reduction *, const struct cask_tensor *,
 struct cask_error *);
CASK_OP(batchnorm_gradient)
(struct cask_device *, const struct cask_batchnorm *, const struct cask_tensor *,
 const struct cask_tensor *, const struct cask_tensor *, bool, const struct cask_reduction *, int,
 struct cask_error *);
CASK_OP(activation_forward)
(struct cask_device *, enum cask_activation, const void *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(activation_backward)
(struct cask_device *, enum cask_activation, const void *, const struct cask_tensor *,
 const struct cask_tensor *, const struct cask_tensor *, bool, void *, struct cask_error *);
CASK_OP(add)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(add_chained)
(struct cask_device *, const struct cask_operand *, const struct cask_operand *,
 const struct cask_tensor *, const struct cask_batchnorm *, struct cask_error *);
CASK_OP(subsample_forward)
(struct cask_device *, int, const struct cask_tensor *, const struct cask_tensor *,
 struct cask_error *);
CASK_OP(subsample_backward)
(struct cask_device *, int, const struct cask_tensor *, const struct cask_tensor *, bool,
 struct cask_error *);
CASK_OP(average_pool_forward)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *, struct cask_error *);
CASK_OP(average_pool_backward)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *, bool,
 struct cask_error *);
CASK_OP(max_pool_forward)
(struct cask_device *, const struct cask_window *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(max_pool_backward)
(struct cask_device *, const struct cask_window *, const struct cask_tensor *,
 const struct cask_tensor *, const struct cask_tensor *, bool, struct cask_error *);
CASK_OP(scale_forward)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *,
 const struct cask_tensor *, struct cask_error *);
CASK_OP(scale_backward)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *,
 const struct cask_tensor *, const struct cask_tensor *, bool, const struct cask_tensor *,
 struct cask_error *);
CASK_OP(convert)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *, struct cask_error *);
CASK_OP(l2norm_forward)
(struct cask_device *, const struct cask_tensor *, const struct cask_tensor *, void *,
 struct cask_error *);
CASK_OP(l2norm_backward)
(struct cask_device *, const struct cask_tensor *, const void *, const struct cask_tensor *,
 const struct cask_tensor *, bool, struct cask_error *);
CASK_OP(softmax_cross_entropy)
(struct cask_device *, const struct cask_tensor *, const uint32_t *, const struct cask_tensor *,
 double *, struct cask_error *);
CASK_OP(sgd_step)
(struct cask_device *, const struct cask_sgd *, size_t, void *, const void *, void *,
 struct cask_error *);
CASK_OP(sum_squares)(struct cask_device *, size_t, const void *, double *, struct cask_error *);

#endif
