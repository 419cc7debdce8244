/* kernels/ref/ref.h - the oracle: every op as the plain loop that defines it.
 *
 * These files are written to be read. No threads, no vectors, no blocking; a loop nest follows the
 * formula in the comment above it. They are compiled twice:
 *     CASK_REAL = float,  CASK_REF = ref    -> backend "ref"
 *     CASK_REAL = double, CASK_REF = ref64  -> backend "ref64", what every other backend must match
 * Sums are kept in double in both, so that "ref" differs from "ref64" only by the rounding of
 * what is stored.
 *
 * Comparisons are written so that a NaN takes the branch that keeps it.
 */
#ifndef CASK_KERNELS_REF_REF_H
#define CASK_KERNELS_REF_REF_H

#include "kernels/backend.h"

typedef CASK_REAL real;

/* REF(gemm) is cask_ref_gemm or cask_ref64_gemm. */
#define REF_PASTE(backend, name) cask_##backend##_##name
#define REF_EXPAND(backend, name) REF_PASTE(backend, name)
#define REF(name) REF_EXPAND(CASK_REF, name)

/* The C channels of one pixel of an NHWC tensor. */
static inline real *ref_pixel(const struct cask_tensor *t, int n, int h, int w)
{
    return (real *)t->data +
           (((size_t)n * (size_t)t->h + (size_t)h) * (size_t)t->w + (size_t)w) * (size_t)t->c;
}

/* Pixels of all images: the rows of the tensor seen as a matrix with C columns. */
static inline size_t ref_rows(const struct cask_tensor *t)
{
    return (size_t)t->n * (size_t)t->h * (size_t)t->w;
}

/* A data gradient is written, or added where a value has several consumers. */
static inline void ref_give(real *target, bool accumulate, double value)
{
    *target = (real)(accumulate ? (double)*target + value : value);
}

/* activation.c, used by batchnorm.c too: f(z), and dy f'(z). */
double REF(activation_value)(enum cask_activation activation, double slope, double z);
double REF(activation_gradient)(enum cask_activation activation, double slope, double z, double dy);

/* conv.c */
enum cask_status REF(conv_open)(struct cask_device *, const struct cask_conv_desc *,
                                struct cask_conv **, struct cask_error *);
void REF(conv_close)(struct cask_conv *);
enum cask_status REF(conv_set_weights)(struct cask_conv *, const void *weight, const void *bias,
                                       struct cask_error *);
enum cask_status REF(conv_forward)(struct cask_conv *, const struct cask_tensor *x,
                                   const struct cask_tensor *y, struct cask_error *);
enum cask_status REF(conv_forward_finish)(struct cask_conv *, const struct cask_tensor *x,
                                          const struct cask_conv_finish *,
                                          const struct cask_tensor *y, struct cask_error *);
enum cask_status REF(conv_backward_data)(struct cask_conv *, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         struct cask_error *);
enum cask_status REF(conv_backward_weights)(struct cask_conv *, const struct cask_tensor *x,
                                            const struct cask_tensor *dy, void *dweight,
                                            void *dbias, struct cask_error *);
const char *REF(conv_describe)(const struct cask_conv *);

/* gemm.c */
enum cask_status REF(gemm)(struct cask_device *, const struct cask_gemm *, const void *a,
                           const void *b, void *c, struct cask_error *);

/* serial.c */
void REF(parallel)(struct cask_device *, int64_t count, cask_task task, void *user);
enum cask_status REF(product_open)(struct cask_device *, const struct cask_gemm *,
                                   struct cask_planned_gemm **, struct cask_error *);
void REF(product_close)(struct cask_planned_gemm *);
size_t REF(product_packed_bytes)(const struct cask_planned_gemm *);
bool REF(serial_pack)(struct cask_planned_gemm *, int thread, const void *b, void *packed);
bool REF(serial_product)(struct cask_planned_gemm *, int thread, const void *a, const void *b,
                         void *c, struct cask_soon *soon);
void REF(serial_sgd)(struct cask_device *, const struct cask_sgd *, size_t count, void *w,
                     const void *g, void *v);
void REF(serial_round)(struct cask_device *, size_t count, const void *from, void *to);

/* batchnorm.c */
enum cask_status REF(batchnorm_train)(struct cask_device *, const struct cask_batchnorm *,
                                      const struct cask_tensor *x, const struct cask_tensor *y,
                                      struct cask_error *);
enum cask_status REF(batchnorm_eval)(struct cask_device *, const struct cask_batchnorm *,
                                     const struct cask_tensor *x, const struct cask_tensor *y,
                                     struct cask_error *);
enum cask_status REF(batchnorm_backward)(struct cask_device *, const struct cask_batchnorm *,
                                         const struct cask_tensor *x, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         const struct cask_batchnorm_grads *, struct cask_error *);

enum cask_status REF(batchnorm_statistics)(struct cask_device *, const struct cask_batchnorm *,
                                           const struct cask_tensor *x, struct cask_error *);
enum cask_status REF(batchnorm_apply)(struct cask_device *, const struct cask_batchnorm *,
                                      const struct cask_tensor *x, const struct cask_tensor *y,
                                      struct cask_error *);
enum cask_status REF(batchnorm_reduce)(struct cask_device *, const struct cask_reduction *,
                                       const struct cask_tensor *dy, struct cask_error *);
enum cask_status REF(batchnorm_gradient)(struct cask_device *, const struct cask_batchnorm *,
                                         const struct cask_tensor *x, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         const struct cask_reduction *reductions,
                                         int reduction_count, struct cask_error *);
/* Element j of an operand. */
double REF(operand_value)(const struct cask_operand *operand, size_t j);

/* chain.c */
enum cask_status REF(conv_forward_chained)(struct cask_conv *, const struct cask_operand *x,
                                           const struct cask_tensor *y,
                                           const struct cask_batchnorm *statistics,
                                           struct cask_error *);
enum cask_status REF(conv_backward_chained)(struct cask_conv *, const struct cask_conv_chain *,
                                            struct cask_error *);
enum cask_status REF(add_chained)(struct cask_device *, const struct cask_operand *a,
                                  const struct cask_operand *b, const struct cask_tensor *y,
                                  const struct cask_batchnorm *statistics, struct cask_error *);

/* activation.c */
enum cask_status REF(activation_forward)(struct cask_device *, enum cask_activation,
                                         const void *slope, const struct cask_tensor *x,
                                         const struct cask_tensor *y, struct cask_error *);
enum cask_status REF(activation_backward)(struct cask_device *, enum cask_activation,
                                          const void *slope, const struct cask_tensor *x,
                                          const struct cask_tensor *dy,
                                          const struct cask_tensor *dx, bool accumulate,
                                          void *dslope, struct cask_error *);

/* elementwise.c */
enum cask_status REF(add)(struct cask_device *, const struct cask_tensor *a,
                          const struct cask_tensor *b, const struct cask_tensor *y,
                          struct cask_error *);
enum cask_status REF(scale_forward)(struct cask_device *, const struct cask_tensor *x,
                                    const struct cask_tensor *gate, const struct cask_tensor *y,
                                    struct cask_error *);
enum cask_status REF(scale_backward)(struct cask_device *, const struct cask_tensor *x,
                                     const struct cask_tensor *gate, const struct cask_tensor *dy,
                                     const struct cask_tensor *dx, bool accumulate,
                                     const struct cask_tensor *dgate, struct cask_error *);
enum cask_status REF(convert)(struct cask_device *, const struct cask_tensor *x,
                              const struct cask_tensor *y, struct cask_error *);

/* max_pool.c */
enum cask_status REF(max_pool_forward)(struct cask_device *, const struct cask_window *,
                                       const struct cask_tensor *x, const struct cask_tensor *y,
                                       struct cask_error *);
enum cask_status REF(max_pool_backward)(struct cask_device *, const struct cask_window *,
                                        const struct cask_tensor *x, const struct cask_tensor *dy,
                                        const struct cask_tensor *dx, bool accumulate,
                                        struct cask_error *);

/* pool.c */
enum cask_status REF(subsample_forward)(struct cask_device *, int stride,
                                        const struct cask_tensor *x, const struct cask_tensor *y,
                                        struct cask_error *);
enum cask_status REF(subsample_backward)(struct cask_device *, int stride,
                                         const struct cask_tensor *dy, const struct cask_tensor *dx,
                                         bool accumulate, struct cask_error *);
enum cask_status REF(average_pool_forward)(struct cask_device *, const struct cask_tensor *x,
                                           const struct cask_tensor *y, struct cask_error *);
enum cask_status REF(average_pool_backward)(struct cask_device *, const struct cask_tensor *dy,
                                            const struct cask_tensor *dx, bool accumulate,
                                            struct cask_error *);

/* norm.c */
enum cask_status REF(l2norm_forward)(struct cask_device *, const struct cask_tensor *x,
                                     const struct cask_tensor *unit, void *norm,
                                     struct cask_error *);
enum cask_status REF(l2norm_backward)(struct cask_device *, const struct cask_tensor *unit,
                                      const void *norm, const struct cask_tensor *dunit,
                                      const struct cask_tensor *dx, bool accumulate,
                                      struct cask_error *);

/* loss.c */
enum cask_status REF(softmax_cross_entropy)(struct cask_device *, const struct cask_tensor *z,
                                            const uint32_t *labels, const struct cask_tensor *dz,
                                            double *loss, struct cask_error *);

/* optim.c */
enum cask_status REF(sgd_step)(struct cask_device *, const struct cask_sgd *, size_t count, void *w,
                               const void *g, void *v, struct cask_error *);
enum cask_status REF(sum_squares)(struct cask_device *, size_t count, const void *x, double *sum,
                                  struct cask_error *);

#endif
