/* kernels/ref/conv.c - convolution (cross-correlation), grouped, from three formulas.
 *
 * With stride S, padding (T, L), group size I = in_c / groups, and i counted inside the group g of
 * o: y[n,p,q,o] = bias[o] + sum_{i,r,s} x[n, pS-T+r, qS-L+s, gI+i] * w[o,i,r,s] where x outside of
 * the image is zero.
 */
#include <assert.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/ref/conv.h"
#include "kernels/shapes.h"

enum cask_status REF(conv_open)(struct cask_device *device, const struct cask_conv_desc *desc,
                                struct cask_conv **conv, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_conv *opened = NULL;
    *conv = NULL;
    CASK_TRY(cask_conv_check(desc, err));
    opened = cask_alloc(1, sizeof *opened);
    if (opened == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *opened, "a convolution"));
    }
    opened->device = device;
    opened->desc = *desc;
    opened->weight = cask_alloc(cask_conv_weight_count(desc), sizeof(real));
    opened->bias = cask_alloc(cask_conv_bias_count(desc), sizeof(real));
    if (!desc->inference) {
        opened->operand = cask_alloc(
            (size_t)desc->n * (size_t)desc->h * (size_t)desc->w * (size_t)desc->in_c, sizeof(real));
        opened->gradient = cask_alloc((size_t)desc->n * (size_t)cask_conv_out_h(desc) *
                                          (size_t)cask_conv_out_w(desc) * (size_t)desc->out_c,
                                      sizeof(real));
    }
    if (opened->weight == NULL || opened->bias == NULL ||
        (!desc->inference && (opened->operand == NULL || opened->gradient == NULL))) {
        CASK_TRY(cask_error_memory(err, cask_conv_weight_count(desc) * sizeof(real),
                                   "the weights of a convolution"));
    }
    *conv = opened;
    opened = NULL;
done:
    REF(conv_close)(opened);
    return st;
}

void REF(conv_close)(struct cask_conv *conv)
{
    if (conv != NULL) {
        cask_free(conv->weight);
        cask_free(conv->bias);
        cask_free(conv->operand);
        cask_free(conv->gradient);
        cask_free(conv);
    }
}

enum cask_status REF(conv_set_weights)(struct cask_conv *conv, const void *weight, const void *bias,
                                       struct cask_error *err)
{
    (void)err;
    memcpy(conv->weight, weight, cask_conv_weight_count(&conv->desc) * sizeof(real));
    if (conv->desc.bias) {
        memcpy(conv->bias, bias, cask_conv_bias_count(&conv->desc) * sizeof(real));
    }
    return CASK_OK;
}

/* w[o,i,r,s] lies here from the start of the weights. */
static size_t weight_at(const struct cask_conv_desc *d, int o, int i, int r, int s)
{
    size_t group_c = (size_t)(d->in_c / d->groups);
    return (((size_t)o * group_c + (size_t)i) * (size_t)d->kernel_h + (size_t)r) *
               (size_t)d->kernel_w +
           (size_t)s;
}

/* First input channel that output channel o sees. */
static int first_input(const struct cask_conv_desc *d, int o)
{
    return o / (d->out_c / d->groups) * (d->in_c / d->groups);
}

/* The bias of output channel o at pixel (p, q). */
static double bias_at(const struct cask_conv *conv, int p, int q, int o)
{
    const struct cask_axis h = cask_conv_axis_h(&conv->desc), w = cask_conv_axis_w(&conv->desc);
    int region = conv->desc.border
                     ? cask_axis_region(&h, p) * cask_axis_regions(&w) + cask_axis_region(&w, q)
                     : 0;
    return (double)conv->bias[(size_t)region * (size_t)conv->desc.out_c + (size_t)o];
}

static double forward_one(const struct cask_conv *conv, const struct cask_tensor *x, int n, int p,
                          int q, int o)
{
    const struct cask_conv_desc *d = &conv->desc;
    int first = first_input(d, o), group_c = d->in_c / d->groups;
    double sum = bias_at(conv, p, q, o);
    for (int r = 0; r < d->kernel_h; r++) {
        for (int s = 0; s < d->kernel_w; s++) {
            int h = p * d->stride - d->pad_top + r, w = q * d->stride - d->pad_left + s;
            if (h < 0 || h >= x->h || w < 0 || w >= x->w) {
                continue;
            }
            const real *pixel = ref_pixel(x, n, h, w) + first;
            for (int i = 0; i < group_c; i++) {
                sum += (double)pixel[i] * (double)conv->weight[weight_at(d, o, i, r, s)];
            }
        }
    }
    return sum;
}

static double finish_one(const struct cask_conv_finish *finish, double z, int n, int p, int q,
                         int o)
{
    const real *slope = finish->slope;
    if (finish->residual != NULL) {
        z += (double)ref_pixel(finish->residual, n, p, q)[o];
    }
    return REF(activation_value)(finish->activation,
                                 finish->activation == CASK_ACT_PRELU ? (double)slope[o] : 0, z);
}

/* y = activation(conv(x) + bias + residual) */
enum cask_status REF(conv_forward_finish)(struct cask_conv *conv, const struct cask_tensor *x,
                                          const struct cask_conv_finish *finish,
                                          const struct cask_tensor *y, struct cask_error *err)
{
    (void)err;
    assert(y->h == cask_conv_out_h(&conv->desc) && y->w == cask_conv_out_w(&conv->desc));
    for (int n = 0; n < y->n; n++) {
        for (int p = 0; p < y->h; p++) {
            for (int q = 0; q < y->w; q++) {
                for (int o = 0; o < y->c; o++) {
                    double z = forward_one(conv, x, n, p, q, o);
                    ref_pixel(y, n, p, q)[o] = (real)finish_one(finish, z, n, p, q, o);
                }
            }
        }
    }
    return CASK_OK;
}

enum cask_status REF(conv_forward)(struct cask_conv *conv, const struct cask_tensor *x,
                                   const struct cask_tensor *y, struct cask_error *err)
{
    const struct cask_conv_finish nothing = {.activation = CASK_ACT_NONE};
    return REF(conv_forward_finish)(conv, x, &nothing, y, err);
}

/* dx[n,h,w,c] = sum of dy[n,p,q,o] * w[o,i,r,s] over all (p,q,o,r,s) with pS-T+r = h, qS-L+s = w */
static double backward_one(const struct cask_conv *conv, const struct cask_tensor *dy, int n, int h,
                           int w, int c)
{
    const struct cask_conv_desc *d = &conv->desc;
    int group_in = d->in_c / d->groups, group_out = d->out_c / d->groups;
    int first = c / group_in * group_out, i = c % group_in;
    double sum = 0;
    for (int r = 0; r < d->kernel_h; r++) {
        for (int s = 0; s < d->kernel_w; s++) {
            int ps = h + d->pad_top - r, qs = w + d->pad_left - s; /* p and q times stride */
            if (ps < 0 || ps % d->stride != 0 || ps / d->stride >= dy->h || qs < 0 ||
                qs % d->stride != 0 || qs / d->stride >= dy->w) {
                continue;
            }
            const real *pixel = ref_pixel(dy, n, ps / d->stride, qs / d->stride);
            for (int o = first; o < first + group_out; o++) {
                sum += (double)pixel[o] * (double)conv->weight[weight_at(d, o, i, r, s)];
            }
        }
    }
    return sum;
}

enum cask_status REF(conv_backward_data)(struct cask_conv *conv, const struct cask_tensor *dy,
                                         const struct cask_tensor *dx, bool accumulate,
                                         struct cask_error *err)
{
    (void)err;
    for (int n = 0; n < dx->n; n++) {
        for (int h = 0; h < dx->h; h++) {
            for (int w = 0; w < dx->w; w++) {
                for (int c = 0; c < dx->c; c++) {
                    ref_give(&ref_pixel(dx, n, h, w)[c], accumulate,
                             backward_one(conv, dy, n, h, w, c));
                }
            }
        }
    }
    return CASK_OK;
}

/* dw[o,i,r,s] = sum_{n,p,q} dy[n,p,q,o] * x[n, pS-T+r, qS-L+s, gI+i] */
static double weight_one(const struct cask_conv_desc *d, const struct cask_tensor *x,
                         const struct cask_tensor *dy, int o, int i, int r, int s)
{
    int c = first_input(d, o) + i;
    double sum = 0;
    for (int n = 0; n < dy->n; n++) {
        for (int p = 0; p < dy->h; p++) {
            for (int q = 0; q < dy->w; q++) {
                int h = p * d->stride - d->pad_top + r, w = q * d->stride - d->pad_left + s;
                if (h >= 0 && h < x->h && w >= 0 && w < x->w) {
                    sum += (double)ref_pixel(dy, n, p, q)[o] * (double)ref_pixel(x, n, h, w)[c];
                }
            }
        }
    }
    return sum;
}

/* dbias[o] = sum_{n,p,q} dy[n,p,q,o] */
static void backward_bias(const struct cask_tensor *dy, real *dbias)
{
    const real *from = dy->data;
    for (int o = 0; o < dy->c; o++) {
        double sum = 0;
        for (size_t row = 0; row < ref_rows(dy); row++) {
            sum += (double)from[row * (size_t)dy->c + (size_t)o];
        }
        ref_give(&dbias[o], true, sum);
    }
}

enum cask_status REF(conv_backward_weights)(struct cask_conv *conv, const struct cask_tensor *x,
                                            const struct cask_tensor *dy, void *dweight,
                                            void *dbias, struct cask_error *err)
{
    const struct cask_conv_desc *d = &conv->desc;
    real *to = dweight;
    (void)err;
    for (int o = 0; o < d->out_c; o++) {
        for (int i = 0; i < d->in_c / d->groups; i++) {
            for (int r = 0; r < d->kernel_h; r++) {
                for (int s = 0; s < d->kernel_w; s++) {
                    ref_give(&to[weight_at(d, o, i, r, s)], true, weight_one(d, x, dy, o, i, r, s));
                }
            }
        }
    }
    if (dbias != NULL) {
        backward_bias(dy, dbias);
    }
    return CASK_OK;
}

const char *REF(conv_describe)(const struct cask_conv *conv)
{
    (void)conv;
    return "plain loops";
}
