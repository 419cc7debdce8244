/* tests/bench/onednn_products.h - a network's training step in oneDNN, on the values and gradients
 * of a plan that runs op by op; here its convolutions and linear layers.
 *
 * Everything is NHWC, because bf16 convolutions with matrix units exist in no other layout and fp32
 * ones are about as fast in it. Weights are float32 in PyTorch's order, as the optimizer has them;
 * each primitive gets them in the layout and type it asks for, and gradients come back the same
 * way. Running means and variances are not followed (two numbers a channel).
 */
#ifndef CASK_TESTS_BENCH_ONEDNN_PRODUCTS_H
#define CASK_TESTS_BENCH_ONEDNN_PRODUCTS_H

#include "tests/bench/onednn_calls.h"

struct onednn_layer { /* what forward leaves for backward */
    dnnl_primitive_desc_t hint, first_hint;
    dnnl_memory_t mean, variance, workspace, middle;
};

struct onednn_step {
    struct onednn o;
    const struct cask_plan *plan;      /* borrowed: shapes, order, memory of the values */
    dnnl_memory_t *values, *gradients; /* by value */
    float **grads;                     /* by parameter, in PyTorch's order */
    struct onednn_layer *layers;       /* by step of the plan */
    void *room;                        /* a gradient before it is added to another */
};

static inline dnnl_data_type_t onednn_type(const struct cask_plan *plan)
{
    return cask_device_activation_dtype(plan->device) == CASK_BF16 ? dnnl_bf16 : dnnl_f32;
}

static inline dnnl_memory_desc_t onednn_describe(int ndims, const dnnl_dims_t dims,
                                                 dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t md = {0};
    (void)dnnl_memory_desc_init_by_tag(&md, ndims, dims, type, tag); /* checked by its users */
    return md;
}

static inline dnnl_memory_desc_t onednn_image(const struct cask_tensor *t, dnnl_data_type_t type)
{
    return onednn_describe(4, (dnnl_dims_t){t->n, t->c, t->h, t->w}, type, dnnl_nhwc);
}

/* One number a channel. */
static inline enum cask_status onednn_channels(struct onednn_step *s, int channels, void *data,
                                               dnnl_memory_t *memory, struct cask_error *err)
{
    const dnnl_memory_desc_t md = onednn_describe(1, (dnnl_dims_t){channels}, dnnl_f32, dnnl_a);
    return onednn_memory(&s->o, &md, data, memory, err);
}

static inline void *onednn_param(const struct onednn_step *s, const struct cask_node *node,
                                 enum cask_slot slot)
{
    return cask_net_slot(s->plan->net, node, slot);
}

static inline void *onednn_grad(const struct onednn_step *s, const struct cask_node *node,
                                enum cask_slot slot)
{
    return node->params[slot] < 0 ? NULL : s->grads[node->params[slot]];
}

/* Where backward writes the gradient of input k: the gradient itself, or room beside it. */
static inline enum cask_status onednn_target(struct onednn_step *s, const struct cask_step *step,
                                             int k, dnnl_memory_t *memory, struct cask_error *err)
{
    const struct cask_step_gradient *todo = &step->gradients[k];
    if (todo->wanted && !todo->accumulate) {
        *memory = s->gradients[step->inputs[k]];
        return CASK_OK;
    }
    const dnnl_memory_desc_t md =
        onednn_image(&s->plan->tensors[step->inputs[k]], onednn_type(s->plan));
    return onednn_memory(&s->o, &md, s->room, memory, err);
}

/* After the call that wrote the target: adds it to what was there. */
static inline enum cask_status onednn_settle(struct onednn_step *s, const struct cask_step *step,
                                             int k, dnnl_memory_t target, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_step_gradient *todo = &step->gradients[k];
    if (todo->wanted && todo->accumulate) {
        const dnnl_memory_t dx = s->gradients[step->inputs[k]];
        const enum onednn_kind kind = s->o.kind;
        s->o.kind = ONEDNN_ADD;
        CASK_TRY(onednn_add_binary(&s->o, dnnl_binary_add, dx, target, dx, err));
        s->o.kind = kind;
    }
done:
    return st;
}

/* ------------------------------------------------------------ convolution and linear layer */

struct onednn_product {
    union {
        dnnl_convolution_desc_t conv;
        dnnl_inner_product_desc_t linear;
    } op;
    dnnl_memory_desc_t x, y, plain, weights, bias; /* plain: PyTorch's order, float32 */
    dnnl_dims_t strides, begin, end;
    bool linear, has_bias;
};

static inline struct onednn_product onednn_conv_of(const struct onednn_step *s,
                                                   const struct cask_step *step)
{
    const struct cask_conv_spec *spec = &step->node->conv;
    const struct cask_tensor *x = &s->plan->tensors[step->inputs[0]];
    const dnnl_data_type_t type = onednn_type(s->plan);
    const bool grouped = spec->groups > 1;
    const dnnl_dims_t dense = {spec->out_c, x->c, spec->kernel_h, spec->kernel_w},
                      groups = {spec->groups, spec->out_c / spec->groups, x->c / spec->groups,
                                spec->kernel_h, spec->kernel_w};
    return (struct onednn_product){
        .x = onednn_image(x, type),
        .y = onednn_image(&s->plan->tensors[step->output], type),
        .plain = onednn_describe(grouped ? 5 : 4, grouped ? groups : dense, dnnl_f32,
                                 grouped ? dnnl_goihw : dnnl_oihw),
        .weights =
            onednn_describe(grouped ? 5 : 4, grouped ? groups : dense, type, dnnl_format_tag_any),
        .bias = onednn_describe(1, (dnnl_dims_t){spec->out_c}, dnnl_f32, dnnl_a),
        .strides = {spec->stride, spec->stride},
        .begin = {spec->pad_top, spec->pad_left},
        .end = {spec->pad_bottom, spec->pad_right},
        .linear = step->node->kind == CASK_LAYER_LINEAR,
        .has_bias = spec->bias,
    };
}

/* A picture of one pixel is a row of a matrix: the same bytes, and better kernels. */
static inline dnnl_memory_desc_t onednn_rows(const dnnl_memory_desc_t *md, dnnl_format_tag_t tag)
{
    return onednn_describe(2, (dnnl_dims_t){md->dims[0], md->dims[1]}, md->data_type, tag);
}

static inline struct onednn_product onednn_product_of(const struct onednn_step *s,
                                                      const struct cask_step *step)
{
    struct onednn_product p = onednn_conv_of(s, step);
    if (p.linear) {
        p.y = onednn_rows(&p.y, dnnl_ab);
    }
    if (p.linear && p.plain.dims[2] == 1 && p.plain.dims[3] == 1) {
        p.x = onednn_rows(&p.x, dnnl_ab);
        p.plain = onednn_rows(&p.plain, dnnl_ab);
        p.weights = onednn_rows(&p.weights, dnnl_format_tag_any);
    }
    return p;
}

static inline enum cask_status onednn_describe_product(struct onednn_product *p,
                                                       enum onednn_pass pass,
                                                       struct cask_error *err)
{
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    const dnnl_memory_desc_t *bias = p->has_bias ? &p->bias : NULL;
    dnnl_status_t status;
    if (p->linear) {
        dnnl_inner_product_desc_t *op = &p->op.linear;
        status = pass == ONEDNN_FORWARD
                     ? dnnl_inner_product_forward_desc_init(op, dnnl_forward_training, &p->x,
                                                            &p->weights, bias, &p->y)
                 : pass == ONEDNN_DATA
                     ? dnnl_inner_product_backward_data_desc_init(op, &p->x, &p->weights, &p->y)
                     : dnnl_inner_product_backward_weights_desc_init(op, &p->x, &p->weights, bias,
                                                                     &p->y);
    } else {
        dnnl_convolution_desc_t *op = &p->op.conv;
        status = pass == ONEDNN_FORWARD
                     ? dnnl_convolution_forward_desc_init(op, dnnl_forward_training, alg, &p->x,
                                                          &p->weights, bias, &p->y, p->strides,
                                                          p->begin, p->end)
                 : pass == ONEDNN_DATA
                     ? dnnl_convolution_backward_data_desc_init(op, alg, &p->x, &p->weights, &p->y,
                                                                p->strides, p->begin, p->end)
                     : dnnl_convolution_backward_weights_desc_init(
                           op, alg, &p->x, &p->weights, bias, &p->y, p->strides, p->begin, p->end);
    }
    return onednn_check(status, "describing a convolution", err);
}

/* The parameters as a primitive wants them: they themselves, or a copy made in each step. */
static inline enum cask_status onednn_weights(struct onednn_step *s,
                                              const dnnl_memory_desc_t *plain,
                                              const dnnl_memory_desc_t *wanted, void *data,
                                              dnnl_memory_t *memory, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_memory_t master;
    CASK_TRY(onednn_memory(&s->o, plain, data, &master, err));
    *memory = master;
    if (!dnnl_memory_desc_equal(plain, wanted)) {
        CASK_TRY(onednn_memory(&s->o, wanted, NULL, memory, err));
        CASK_TRY(onednn_add_reorder(&s->o, master, *memory, err));
    }
done:
    return st;
}

/* A value as the primitive describes it; the bytes are the same. */
static inline enum cask_status onednn_seen(struct onednn_step *s, const dnnl_memory_desc_t *md,
                                           dnnl_memory_t value, dnnl_memory_t *memory,
                                           struct cask_error *err)
{
    void *data = NULL;
    *memory = value;
    (void)dnnl_memory_get_data_handle(value, &data);
    return dnnl_memory_desc_equal(md, onednn_md_of(value))
               ? CASK_OK
               : onednn_memory(&s->o, md, data, memory, err);
}

static inline enum cask_status onednn_conv_forward(struct onednn_step *s,
                                                   const struct cask_step *step,
                                                   struct onednn_layer *layer,
                                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct onednn_product p = onednn_product_of(s, step);
    dnnl_memory_t weights, bias, x, y;
    CASK_TRY(onednn_describe_product(&p, ONEDNN_FORWARD, err));
    CASK_TRY(onednn_choose(&s->o, &p.op, NULL, &layer->hint, err));
    CASK_TRY(onednn_weights(s, &p.plain, onednn_md(layer->hint, DNNL_ARG_WEIGHTS),
                            onednn_param(s, step->node, CASK_SLOT_WEIGHT), &weights, err));
    CASK_TRY(onednn_seen(s, &p.x, s->values[step->inputs[0]], &x, err));
    CASK_TRY(onednn_seen(s, &p.y, s->values[step->output], &y, err));
    dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, y}, {0}, {0}};
    if (p.has_bias) {
        CASK_TRY(onednn_channels(s, step->node->conv.out_c,
                                 onednn_param(s, step->node, CASK_SLOT_BIAS), &bias, err));
        args[3] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, bias};
    }
    CASK_TRY(onednn_add(&s->o, layer->hint, args, err));
done:
    return st;
}

static inline enum cask_status onednn_conv_weights(struct onednn_step *s,
                                                   const struct cask_step *step,
                                                   const struct onednn_layer *layer,
                                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct onednn_product p = onednn_product_of(s, step);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t plain, dweight, dbias, x, dy;
    s->o.pass = ONEDNN_WEIGHTS;
    p.weights = onednn_describe(p.weights.ndims, p.weights.dims, dnnl_f32, dnnl_format_tag_any);
    CASK_TRY(onednn_describe_product(&p, ONEDNN_WEIGHTS, err));
    CASK_TRY(onednn_choose(&s->o, &p.op, layer->hint, &desc, err));
    CASK_TRY(onednn_seen(s, &p.x, s->values[step->inputs[0]], &x, err));
    CASK_TRY(onednn_seen(s, &p.y, s->gradients[step->output], &dy, err));
    CASK_TRY(
        onednn_memory(&s->o, &p.plain, onednn_grad(s, step->node, CASK_SLOT_WEIGHT), &plain, err));
    dweight = plain;
    const bool other = !dnnl_memory_desc_equal(&p.plain, onednn_md(desc, DNNL_ARG_DIFF_WEIGHTS));
    if (other) {
        CASK_TRY(onednn_memory(&s->o, onednn_md(desc, DNNL_ARG_DIFF_WEIGHTS), NULL, &dweight, err));
    }
    dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_WEIGHTS, dweight}, {0}, {0}};
    if (p.has_bias) {
        CASK_TRY(onednn_channels(s, step->node->conv.out_c,
                                 onednn_grad(s, step->node, CASK_SLOT_BIAS), &dbias, err));
        args[3] = (dnnl_exec_arg_t){DNNL_ARG_DIFF_BIAS, dbias};
    }
    CASK_TRY(onednn_add(&s->o, desc, args, err));
    if (other) {
        CASK_TRY(onednn_add_reorder(&s->o, dweight, plain, err));
    }
done:
    return st;
}

static inline enum cask_status onednn_conv_backward(struct onednn_step *s,
                                                    const struct cask_step *step,
                                                    struct onednn_layer *layer,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct onednn_product p = onednn_product_of(s, step);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t weights, dx, seen, dy;
    CASK_TRY(onednn_conv_weights(s, step, layer, err));
    if (!step->gradients[0].wanted) {
        goto done;
    }
    s->o.pass = ONEDNN_DATA;
    CASK_TRY(onednn_describe_product(&p, ONEDNN_DATA, err));
    CASK_TRY(onednn_choose(&s->o, &p.op, layer->hint, &desc, err));
    CASK_TRY(onednn_weights(s, &p.plain, onednn_md(desc, DNNL_ARG_WEIGHTS),
                            onednn_param(s, step->node, CASK_SLOT_WEIGHT), &weights, err));
    CASK_TRY(onednn_seen(s, &p.y, s->gradients[step->output], &dy, err));
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    CASK_TRY(onednn_seen(s, &p.x, dx, &seen, err));
    CASK_TRY(onednn_add(
        &s->o, desc,
        (dnnl_exec_arg_t[]){
            {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DIFF_SRC, seen}, {0}},
        err));
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

#endif
