/* kernels/cpu/conv_depthwise.h - grouped convolution, of which depthwise is the case of one channel
 * a group. Private to this folder.
 *
 * With I inputs and O outputs per group, output o sees inputs I*group(o) + i, i < I. Let
 * source_r(o) = I*group(o) + (o mod O + r) mod I: as r runs over 0..I-1 every output meets each of
 * its inputs once. So y = sum over r of depthwise(x[source_r], W_r),   W_r[o] = W[o][(o mod O + r)
 * mod I] and I rounds of K rows of a kernel are one correlation of I*K rows. The way back is the
 * same with I and O exchanged: dx from dy in O orders. Made for few channels a group: mbf has 2.
 *
 * Channels are worked on in blocks, so that the lines of a block stay in the first cache; a few
 * rows in each, so that memory is read in order on the whole.
 *
 * On the way back a pixel of x and one of dy that are a tap apart meet once, for dx and for dW.
 *
 * dx for stride s: pixels whose row and column are equal modulo s (a phase) meet the same taps, and
 * to each other they are a correlation of stride 1 with dy; their results lie s pixels apart. Where
 * an image is one output wide, any s is true, and with the kernel's width a pixel meets one tap.
 */
#ifndef CASK_KERNELS_CPU_CONV_DEPTHWISE_H
#define CASK_KERNELS_CPU_CONV_DEPTHWISE_H

#include "kernels/cpu/lines.h"

struct cask_depthwise {
    int inputs, outputs;                  /* of a group */
    struct cask_line_shape x, dy, x_back; /* x_back: one line, as x is met on the way back */
    int *x_order, *dy_order;              /* NULL: depthwise */
    float *weight;                        /* [I rounds][kernel_h][kernel_w][out_c filled] */
    float *transposed;                    /* [O rounds][kernel_h][phase, column][in_c filled] */
    float *bias;                          /* [out_c filled] */
    int images;                           /* groups of images, for backward */
    int bands, rows;                      /* of an image, for forward; output rows in a band */
    int blocks, block_groups;             /* of channels; groups in a block */
    int turn;                  /* output rows that a block does before the next has its turn */
    int across;                /* stride of columns on the way back */
    struct cask_phase *phases; /* [across] */
};

/* Columns of dx that meet taps first_tap, first_tap - s, ... : see above. */
struct cask_phase {
    int first, count; /* pixels first, first + s, ... of dx */
    int taps, before; /* taps of this phase, and of those before it in `transposed` */
    int column;       /* of dy, that the first pixel's first tap meets; may be negative */
};

/* dweight += sum over groups of partials[group], each laid out as `transposed` */
void cask_depthwise_add_weights(const struct cask_conv *conv, const float *partials,
                                float *dweight);

enum cask_status cask_depthwise_forward(struct cask_conv *conv, const struct cask_source *x,
                                        void *y, struct cask_sink *sink,
                                        const struct cask_finish *finish, struct cask_error *err);
enum cask_status cask_depthwise_backward(struct cask_conv *conv,
                                         const struct cask_conv_gradient *what,
                                         struct cask_error *err);

/* Channels filled up to whole vectors of the kernels that work on them. */
static inline int cask_depthwise_filled(const struct cask_conv *conv, int c)
{
    return cask_filled(cask_cpu_kernels_of(conv->cpu, conv->cpu->dtype), c);
}

/* Floats of `transposed`. */
static inline int64_t cask_depthwise_transposed(const struct cask_conv *conv)
{
    const struct cask_depthwise *dw = conv->state;
    return (int64_t)dw->outputs * conv->desc.kernel_h * conv->desc.kernel_w *
           cask_depthwise_filled(conv, conv->desc.in_c);
}

#endif
