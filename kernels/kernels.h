/* kernels/kernels.h - the op interface: everything a network, a head or a loss asks of a device.
 *
 * Backends are equals behind one table of functions:
 *   "ref"    plain nested loops in float; "ref64" the same in double: the oracle
 *   "cpu"    oneDNN for dense convolution and matrix products, own vector kernels for the rest
 * Choose by name at cask_device_open(); nothing else in Cask knows which backend runs.
 *
 * Layout. Activations are NHWC, dense. A matrix of R rows and D columns is n=R, h=w=1, c=D.
 * Convolution weights are OIHW as in PyTorch files; the backend packs them. Pixels, weights and
 * gradients are device memory from cask_buffer_alloc() (host memory on every CPU backend).
 *
 * Types. Activations have cask_device_activation_dtype(): F32, F64 (ref64) or BF16 (cpu with
 * precision bf16). Parameters, their gradients and all statistics have
 * cask_device_parameter_dtype(): F32, or F64 on ref64. `void *` below is always of that type.
 *
 * Gradients. A parameter gradient is ADDED to its buffer. A data gradient is written, or added
 * where `accumulate` is true (a value with several consumers). At a kink the derivative is
 * PyTorch's.
 *
 * Aliasing. Outputs overlap no input except where a comment says "may be".
 * NaN. A NaN in an input reaches every output that depends on it (ReLU, too, keeps it); where an
 * activation is flat nothing goes back, and that may hold for a NaN.
 *
 * Shapes are checked by the caller once (kernels/shapes.h); kernels assert them.
 * Every function returns CASK_OK or CASK_ERR_DEVICE / CASK_ERR_UNSUPPORTED / CASK_ERR_MEMORY.
 * No op allocates after its open call. Thread rule: one device is used by one thread at a time;
 * the device spreads work over its own threads. Results do not depend on the thread count for own
 * kernels; oneDNN promises it only at a fixed count.
 */
#ifndef CASK_KERNELS_KERNELS_H
#define CASK_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "common/thread.h"

enum cask_dtype { CASK_F32, CASK_F64, CASK_BF16 };
size_t cask_dtype_size(enum cask_dtype dtype);
const char *cask_dtype_name(enum cask_dtype dtype);

struct cask_tensor {
    void *data;
    enum cask_dtype dtype;
    int n, h, w, c;
};
size_t cask_tensor_count(const struct cask_tensor *tensor); /* elements */
size_t cask_tensor_bytes(const struct cask_tensor *tensor);

/* ------------------------------------------------------------------ device */

enum cask_precision {
    CASK_PRECISION_AUTO, /* bf16 where the CPU has AMX, else fp32 */
    CASK_PRECISION_FP32,
    CASK_PRECISION_BF16, /* refused where the CPU has no bf16 instructions */
};

struct cask_device_options {
    const char *backend; /* "cpu", "ref", "ref64" */
    int threads;         /* 0: all CPUs this process may use */
    enum cask_precision precision;
};

struct cask_device;
enum cask_status cask_device_open(const struct cask_device_options *options,
                                  struct cask_device **device, struct cask_error *err);
void cask_device_close(struct cask_device *device); /* accepts NULL; close convs first */

const struct cask_ops *cask_device_ops(const struct cask_device *device);
enum cask_dtype cask_device_activation_dtype(const struct cask_device *device);
enum cask_dtype cask_device_parameter_dtype(const struct cask_device *device);
int cask_device_threads(const struct cask_device *device);
/* "cpu: oneDNN 2.6.3, avx512_core_bf16, 2 threads, fp32" */
void cask_device_describe(const struct cask_device *device, char *buffer, size_t bytes);

/* Zeroed, 64-byte aligned. NULL: no memory. */
void *cask_buffer_alloc(struct cask_device *device, size_t bytes);
void cask_buffer_free(struct cask_device *device, void *buffer); /* accepts NULL */
void cask_buffer_upload(struct cask_device *device, void *buffer, const void *host, size_t bytes);
void cask_buffer_download(struct cask_device *device, void *host, const void *buffer, size_t bytes);

/* ------------------------------------------------------------- descriptors */

/* Convolution, cross-correlation as in PyTorch. out = (in + pad_begin + pad_end - kernel) / stride
 * + 1. in_c and out_c are multiples of groups. A linear layer on [C,H,W] is the convolution whose
 * kernel is the whole input: its OIHW weight has the bytes of PyTorch's [out, C*H*W] matrix. */
struct cask_conv_desc {
    int n, h, w; /* input; n is the plan's batch */
    int in_c, out_c;
    int kernel_h, kernel_w, stride;
    int pad_top, pad_left, pad_bottom, pad_right;
    int groups; /* 1 dense, in_c depthwise */
    bool bias;
    bool inference; /* backward calls will not come */
    bool whole;     /* measurements only: products over the batch as it is, not in pieces that fit a
                       cache; a backend without pieces ignores it */
    /* Inference, with bias: the bias is [regions][out_c], one row for each region of the output
     * (shapes.h). What folds into a convolution from in front of it needs that, because padding is
     * zero behind it. */
    bool border;
};
struct cask_conv; /* a planned convolution: primitives, packed weights, scratch */

enum cask_activation {
    CASK_ACT_NONE,
    CASK_ACT_RELU,
    CASK_ACT_PRELU, /* y = x if x > 0 else slope_c * x; slope gradient at x <= 0 is x*dy */
    CASK_ACT_SIGMOID,
    CASK_ACT_HARD_SIGMOID, /* relu6(x + 3) / 6 */
    CASK_ACT_HARD_SWISH,   /* x * relu6(x + 3) / 6 */
};

/* What inference does to the output of a convolution while it is still in the cache:
 *     y = activation(conv(x) + residual) */
struct cask_conv_finish {
    const struct cask_tensor *residual; /* of y's shape, not y; NULL: none */
    enum cask_activation activation;
    const void *slope; /* PRELU, per channel */
};

/* A square window of pixels that moves by `stride`; `pad` pixels of nothing all around, at most
 * half a window. out = (in + 2 pad - size) / stride + 1. */
struct cask_window {
    int size, stride, pad;
};

/* Batch normalisation with an activation behind it, one pass each way. `saved_*` are written by
 * train forward and read by backward, per channel. */
struct cask_batchnorm {
    double eps, momentum;            /* running = (1-momentum) * running + momentum * batch */
    enum cask_activation activation; /* NONE, RELU or PRELU */
    const void *gamma, *beta;        /* may be NULL: ones, zeros */
    const void *slope;               /* PRELU, per channel */
    /* Updated by train forward, with the UNBIASED variance (0 for a single value). */
    void *running_mean, *running_var;
    void *saved_mean, *saved_inv_std;
    /* Chains only, see below. Written by reduce, read by gradient: the means over the batch of dz
     * and of dz (x - mean) inv_std^2, where dz is the gradient before the activation. */
    void *saved_mean_dz, *saved_pull;
};
struct cask_batchnorm_grads {
    void *gamma, *beta, *slope; /* added to; NULL where not wanted */
};

/* Chains: a batch normalisation without passes of its own. In training it is four passes over
 * memory, and each can be done by a neighbour while the data is in cache anyway:
 *     statistics   by the op that makes x, as it writes it
 *     apply        by the ops that read y: y is never stored, they read x and compute f(BN(x))
 *     reduce       by the op that completes dy, as it writes it
 *     gradient     by the backward of the op that made x: dx is never stored, it reads x and dy
 * A train forward is statistics, then apply; backward is reduce, then gradient. */

/* What an op reads: x itself, or, if norm is not NULL, f(BN(x)) by the statistics saved there. */
struct cask_operand {
    const struct cask_tensor *x;
    const struct cask_batchnorm *norm;
};

/* "The gradient that is being written is that of f(BN(x)), and complete": adds to grads and writes
 * saved_mean_dz and saved_pull. */
struct cask_reduction {
    const struct cask_batchnorm *norm;
    const struct cask_tensor *x;
    struct cask_batchnorm_grads grads;
};

/* Backward of a convolution inside a chain. */
struct cask_conv_chain {
    struct cask_operand x;             /* as in forward */
    const struct cask_batchnorm *norm; /* of y; NULL: dy is the gradient of y itself */
    const struct cask_tensor *y;       /* read where norm is not NULL */
    const struct cask_tensor *dy;      /* gradient of f(BN(y)), reduced before */
    const struct cask_tensor *dx;      /* gradient of the operand; NULL: not wanted */
    bool accumulate;
    void *dweight, *dbias;                   /* added to; may be NULL */
    const struct cask_reduction *reductions; /* made of dx */
    int reduction_count;
};

/* C[m,n] = alpha * op(A) op(B) + beta * C, row-major. A is [m,k], or [k,m] if trans_a; B is [k,n],
 * or [n,k] if trans_b. C is not read if beta is 0. */
struct cask_gemm {
    bool trans_a, trans_b;
    bool packed_b; /* products only: B comes as serial_pack leaves it */
    int64_t m, n, k;
    int64_t lda, ldb, ldc; /* row strides in elements; 0: dense */
    double alpha, beta;
    enum cask_dtype in_dtype, out_dtype; /* A and B; C */
};
/* Memory that is read soon. Who brings it into the cache moves `at`. */
struct cask_soon {
    const char *at, *end;
};
struct cask_planned_gemm; /* a planned gemm: primitive, scratch of each thread */

/* PyTorch's SGD:
 *     g' = g + decay*w;   v = momentum*v + g';   w -= rate * (nesterov ? g' + momentum*v : v) */
struct cask_sgd {
    double rate, momentum, decay;
    double gradient_scale; /* g is multiplied by this first (clipping); 1: as it is */
    bool nesterov;
};

/* --------------------------------------------------------------------- ops */

struct cask_ops {
    const char *name;

    /* Convolution and linear layers. set_weights copies and packs; call it after each update.
     * backward_weights adds; dbias may be NULL. describe names the implementation that runs, for
     * logs and tests. close accepts NULL. */
    enum cask_status (*conv_open)(struct cask_device *, const struct cask_conv_desc *,
                                  struct cask_conv **, struct cask_error *);
    void (*conv_close)(struct cask_conv *);
    enum cask_status (*conv_set_weights)(struct cask_conv *, const void *weight, const void *bias,
                                         struct cask_error *);
    enum cask_status (*conv_forward)(struct cask_conv *, const struct cask_tensor *x,
                                     const struct cask_tensor *y, struct cask_error *);
    enum cask_status (*conv_forward_finish)(struct cask_conv *, const struct cask_tensor *x,
                                            const struct cask_conv_finish *,
                                            const struct cask_tensor *y, struct cask_error *);
    enum cask_status (*conv_backward_data)(struct cask_conv *, const struct cask_tensor *dy,
                                           const struct cask_tensor *dx, bool accumulate,
                                           struct cask_error *);
    enum cask_status (*conv_backward_weights)(struct cask_conv *, const struct cask_tensor *x,
                                              const struct cask_tensor *dy, void *dweight,
                                              void *dbias, struct cask_error *);
    const char *(*conv_describe)(const struct cask_conv *);
    /* The same inside a chain. statistics: NULL, or a batch norm whose statistics of y are taken.
     * Equal to the calls they replace up to the rounding of what is no longer stored. */
    enum cask_status (*conv_forward_chained)(struct cask_conv *, const struct cask_operand *x,
                                             const struct cask_tensor *y,
                                             const struct cask_batchnorm *statistics,
                                             struct cask_error *);
    enum cask_status (*conv_backward_chained)(struct cask_conv *, const struct cask_conv_chain *,
                                              struct cask_error *);

    enum cask_status (*gemm)(struct cask_device *, const struct cask_gemm *, const void *a,
                             const void *b, void *c, struct cask_error *);

    /* Work of the caller's own: task(user, index, thread) for every index below count, in any
     * order, on the device's threads. A chunk's data then stays in the cache of one core. Inside a
     * task nothing but the serial functions may be called; those touch no other thread's scratch.
     * product: a gemm of fixed shape, planned once, run by many threads at once; false: the library
     * ran out of memory. close accepts NULL. soon: NULL, or what a product that can brings into the
     * cache while it multiplies; the rest is left to the caller.
     * pack: a B that many products take is brought into the order they want once, by a product that
     * was opened with packed_b, into packed_bytes of memory. It serves every such product of the
     * same n, k, in_dtype, trans_a, trans_b, alpha and beta on this device, whatever its m. */
    void (*parallel)(struct cask_device *, int64_t count, cask_task task, void *user);
    enum cask_status (*product_open)(struct cask_device *, const struct cask_gemm *,
                                     struct cask_planned_gemm **, struct cask_error *);
    void (*product_close)(struct cask_planned_gemm *);
    size_t (*product_packed_bytes)(const struct cask_planned_gemm *);
    bool (*serial_pack)(struct cask_planned_gemm *, int thread, const void *b, void *packed);
    bool (*serial_product)(struct cask_planned_gemm *, int thread, const void *a, const void *b,
                           void *c, struct cask_soon *soon);
    void (*serial_sgd)(struct cask_device *, const struct cask_sgd *, size_t count, void *w,
                       const void *g, void *v);
    /* Parameters to the type of activations. */
    void (*serial_round)(struct cask_device *, size_t count, const void *from, void *to);

    /* In eval y may be x. In backward dx may be dy if not accumulate. */
    enum cask_status (*batchnorm_train)(struct cask_device *, const struct cask_batchnorm *,
                                        const struct cask_tensor *x, const struct cask_tensor *y,
                                        struct cask_error *);
    enum cask_status (*batchnorm_eval)(struct cask_device *, const struct cask_batchnorm *,
                                       const struct cask_tensor *x, const struct cask_tensor *y,
                                       struct cask_error *);
    enum cask_status (*batchnorm_backward)(struct cask_device *, const struct cask_batchnorm *,
                                           const struct cask_tensor *x,
                                           const struct cask_tensor *dy,
                                           const struct cask_tensor *dx, bool accumulate,
                                           const struct cask_batchnorm_grads *,
                                           struct cask_error *);

    /* The four passes, for those that no neighbour takes. y may be x. dx may be dy if not
     * accumulate; reductions are made of dx. */
    enum cask_status (*batchnorm_statistics)(struct cask_device *, const struct cask_batchnorm *,
                                             const struct cask_tensor *x, struct cask_error *);
    enum cask_status (*batchnorm_apply)(struct cask_device *, const struct cask_batchnorm *,
                                        const struct cask_tensor *x, const struct cask_tensor *y,
                                        struct cask_error *);
    enum cask_status (*batchnorm_reduce)(struct cask_device *, const struct cask_reduction *,
                                         const struct cask_tensor *dy, struct cask_error *);
    enum cask_status (*batchnorm_gradient)(struct cask_device *, const struct cask_batchnorm *,
                                           const struct cask_tensor *x,
                                           const struct cask_tensor *dy,
                                           const struct cask_tensor *dx, bool accumulate,
                                           const struct cask_reduction *reductions,
                                           int reduction_count, struct cask_error *);

    /* y may be x; dx may be dy if not accumulate. slope and dslope are read and added to by PRELU
     * only; dslope may be NULL. */
    enum cask_status (*activation_forward)(struct cask_device *, enum cask_activation,
                                           const void *slope, const struct cask_tensor *x,
                                           const struct cask_tensor *y, struct cask_error *);
    enum cask_status (*activation_backward)(struct cask_device *, enum cask_activation,
                                            const void *slope, const struct cask_tensor *x,
                                            const struct cask_tensor *dy,
                                            const struct cask_tensor *dx, bool accumulate,
                                            void *dslope, struct cask_error *);

    /* y = a + b; y may be a or b. */
    enum cask_status (*add)(struct cask_device *, const struct cask_tensor *a,
                            const struct cask_tensor *b, const struct cask_tensor *y,
                            struct cask_error *);
    /* Inside a chain; y may be the tensor of an operand. */
    enum cask_status (*add_chained)(struct cask_device *, const struct cask_operand *a,
                                    const struct cask_operand *b, const struct cask_tensor *y,
                                    const struct cask_batchnorm *statistics, struct cask_error *);
    /* Every stride-th pixel from (0,0): [n,h,w,c] > [n,ceil(h/stride),ceil(w/stride),c]. */
    enum cask_status (*subsample_forward)(struct cask_device *, int stride,
                                          const struct cask_tensor *x, const struct cask_tensor *y,
                                          struct cask_error *);
    enum cask_status (*subsample_backward)(struct cask_device *, int stride,
                                           const struct cask_tensor *dy,
                                           const struct cask_tensor *dx, bool accumulate,
                                           struct cask_error *);
    /* Mean over all pixels: [n,h,w,c] > [n,1,1,c]. */
    enum cask_status (*average_pool_forward)(struct cask_device *, const struct cask_tensor *x,
                                             const struct cask_tensor *y, struct cask_error *);
    enum cask_status (*average_pool_backward)(struct cask_device *, const struct cask_tensor *dy,
                                              const struct cask_tensor *dx, bool accumulate,
                                              struct cask_error *);
    /* The largest pixel of each window, channel by channel; a NaN wins. Backward finds the winner
     * in x again: the first in row order where several are equal. */
    enum cask_status (*max_pool_forward)(struct cask_device *, const struct cask_window *,
                                         const struct cask_tensor *x, const struct cask_tensor *y,
                                         struct cask_error *);
    enum cask_status (*max_pool_backward)(struct cask_device *, const struct cask_window *,
                                          const struct cask_tensor *x, const struct cask_tensor *dy,
                                          const struct cask_tensor *dx, bool accumulate,
                                          struct cask_error *);
    /* y = x * gate[n,1,1,c]. accumulate is about dx; dgate is written. */
    enum cask_status (*scale_forward)(struct cask_device *, const struct cask_tensor *x,
                                      const struct cask_tensor *gate, const struct cask_tensor *y,
                                      struct cask_error *);
    enum cask_status (*scale_backward)(struct cask_device *, const struct cask_tensor *x,
                                       const struct cask_tensor *gate, const struct cask_tensor *dy,
                                       const struct cask_tensor *dx, bool accumulate,
                                       const struct cask_tensor *dgate, struct cask_error *);
    /* Change of type. cpu: F32 and BF16; ref: every pair. */
    enum cask_status (*convert)(struct cask_device *, const struct cask_tensor *x,
                                const struct cask_tensor *y, struct cask_error *);

    /* Rows of a matrix, parameter dtype. unit = x / max(|x|, 1e-12); norm[n] = |x|, may be NULL. */
    enum cask_status (*l2norm_forward)(struct cask_device *, const struct cask_tensor *x,
                                       const struct cask_tensor *unit, void *norm,
                                       struct cask_error *);
    /* dx (+)= (G - (G.e) e) / max(norm, 1e-12) with G = dunit, e = unit */
    enum cask_status (*l2norm_backward)(struct cask_device *, const struct cask_tensor *unit,
                                        const void *norm, const struct cask_tensor *dunit,
                                        const struct cask_tensor *dx, bool accumulate,
                                        struct cask_error *);
    /* Mean over the labelled rows of LSE(z_i) - z_i,label; writes dz (may be z). Rows with label
     * UINT32_MAX are not counted and get zero gradient; no labelled row at all: loss 0. *loss is a
     * host double. */
    enum cask_status (*softmax_cross_entropy)(struct cask_device *, const struct cask_tensor *z,
                                              const uint32_t *labels, const struct cask_tensor *dz,
                                              double *loss, struct cask_error *);

    /* count elements of parameter dtype; sum_squares adds in an order that is always the same. */
    enum cask_status (*sgd_step)(struct cask_device *, const struct cask_sgd *, size_t count,
                                 void *w, const void *g, void *v, struct cask_error *);
    enum cask_status (*sum_squares)(struct cask_device *, size_t count, const void *x, double *sum,
                                    struct cask_error *);
};

/* SIMD level the cpu backend's own kernels use: "scalar", "avx2", "avx512". From cpuid, lowered by
 * CASK_CPU_ISA=ref|avx2|avx512|amx (which lowers oneDNN's too). */
const char *cask_cpu_isa(void);

#endif
