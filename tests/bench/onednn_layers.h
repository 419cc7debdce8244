/* tests/bench/onednn_layers.h - a network's training step in oneDNN: every layer that has no
 * weights, and the whole. */
#ifndef CASK_TESTS_BENCH_ONEDNN_LAYERS_H
#define CASK_TESTS_BENCH_ONEDNN_LAYERS_H

#include "tests/bench/onednn_products.h"

/* ---------------------------------------------------------------- batch normalisation */

static inline unsigned onednn_norm_flags(const struct cask_node *node)
{
    return node->params[CASK_SLOT_WEIGHT] < 0 ? 0u : (unsigned)(dnnl_use_scale | dnnl_use_shift);
}

static inline enum cask_status onednn_norm_forward(struct onednn_step *s,
                                                   const struct cask_step *step,
                                                   struct onednn_layer *layer,
                                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_node *node = step->node;
    const struct cask_tensor *x = &s->plan->tensors[step->inputs[0]];
    const dnnl_memory_desc_t image = onednn_image(x, onednn_type(s->plan));
    dnnl_batch_normalization_desc_t op;
    dnnl_memory_t scale, shift;
    CASK_TRY(onednn_check(dnnl_batch_normalization_forward_desc_init(&op, dnnl_forward_training,
                                                                     &image, (float)node->eps,
                                                                     onednn_norm_flags(node)),
                          node->name, err));
    CASK_TRY(onednn_first(&s->o, &op, NULL, &layer->hint, err));
    CASK_TRY(onednn_channels(s, x->c, NULL, &layer->mean, err));
    CASK_TRY(onednn_channels(s, x->c, NULL, &layer->variance, err));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s->values[step->inputs[0]]},
                              {DNNL_ARG_DST, s->values[step->output]},
                              {DNNL_ARG_MEAN, layer->mean},
                              {DNNL_ARG_VARIANCE, layer->variance},
                              {0},
                              {0},
                              {0}};
    if (onednn_norm_flags(node) != 0) {
        CASK_TRY(onednn_channels(s, x->c, onednn_param(s, node, CASK_SLOT_WEIGHT), &scale, err));
        CASK_TRY(onednn_channels(s, x->c, onednn_param(s, node, CASK_SLOT_BIAS), &shift, err));
        args[4] = (dnnl_exec_arg_t){DNNL_ARG_SCALE, scale};
        args[5] = (dnnl_exec_arg_t){DNNL_ARG_SHIFT, shift};
    }
    CASK_TRY(onednn_add(&s->o, layer->hint, args, err));
done:
    return st;
}

static inline enum cask_status onednn_norm_backward(struct onednn_step *s,
                                                    const struct cask_step *step,
                                                    struct onednn_layer *layer,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_node *node = step->node;
    const int channels = s->plan->tensors[step->inputs[0]].c;
    const dnnl_memory_desc_t *image = onednn_md(layer->hint, DNNL_ARG_SRC);
    dnnl_batch_normalization_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t dx, scale, shift, dscale, dshift;
    const unsigned flags = onednn_norm_flags(node);
    CASK_TRY(onednn_check(dnnl_batch_normalization_backward_desc_init(
                              &op, flags != 0 ? dnnl_backward : dnnl_backward_data, image, image,
                              (float)node->eps, flags),
                          node->name, err));
    CASK_TRY(onednn_first(&s->o, &op, layer->hint, &desc, err));
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    dnnl_exec_arg_t args[ONEDNN_ARGS] = {{DNNL_ARG_SRC, s->values[step->inputs[0]]},
                                         {DNNL_ARG_MEAN, layer->mean},
                                         {DNNL_ARG_VARIANCE, layer->variance},
                                         {DNNL_ARG_DIFF_DST, s->gradients[step->output]},
                                         {DNNL_ARG_DIFF_SRC, dx}};
    if (flags != 0) { /* 2.6 wants the shift, too, though nothing depends on it */
        CASK_TRY(
            onednn_channels(s, channels, onednn_param(s, node, CASK_SLOT_WEIGHT), &scale, err));
        CASK_TRY(onednn_channels(s, channels, onednn_param(s, node, CASK_SLOT_BIAS), &shift, err));
        CASK_TRY(
            onednn_channels(s, channels, onednn_grad(s, node, CASK_SLOT_WEIGHT), &dscale, err));
        CASK_TRY(onednn_channels(s, channels, onednn_grad(s, node, CASK_SLOT_BIAS), &dshift, err));
        args[5] = (dnnl_exec_arg_t){DNNL_ARG_SCALE, scale};
        args[6] = (dnnl_exec_arg_t){DNNL_ARG_SHIFT, shift};
        args[7] = (dnnl_exec_arg_t){DNNL_ARG_DIFF_SCALE, dscale};
        args[8] = (dnnl_exec_arg_t){DNNL_ARG_DIFF_SHIFT, dshift};
    }
    CASK_TRY(onednn_add(&s->o, desc, args, err));
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

/* -------------------------------------------------------------------------- activation */

static inline enum cask_status onednn_prelu_forward(struct onednn_step *s,
                                                    const struct cask_step *step,
                                                    struct onednn_layer *layer,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *x = &s->plan->tensors[step->inputs[0]];
    const dnnl_memory_desc_t image = onednn_image(x, onednn_type(s->plan)),
                             slopes = onednn_describe(4, (dnnl_dims_t){1, x->c, 1, 1}, dnnl_f32,
                                                      dnnl_nhwc);
    dnnl_prelu_desc_t op;
    dnnl_memory_t slope;
    CASK_TRY(onednn_check(dnnl_prelu_forward_desc_init(&op, dnnl_forward_training, &image, &slopes),
                          s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, NULL, &layer->hint, err));
    CASK_TRY(
        onednn_memory(&s->o, &slopes, onednn_param(s, step->node, CASK_SLOT_WEIGHT), &slope, err));
    CASK_TRY(onednn_add(&s->o, layer->hint,
                        (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, s->values[step->inputs[0]]},
                                            {DNNL_ARG_WEIGHTS, slope},
                                            {DNNL_ARG_DST, s->values[step->output]},
                                            {0}},
                        err));
done:
    return st;
}

static inline enum cask_status onednn_prelu_backward(struct onednn_step *s,
                                                     const struct cask_step *step,
                                                     struct onednn_layer *layer,
                                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const dnnl_memory_desc_t *image = onednn_md(layer->hint, DNNL_ARG_SRC),
                             *slopes = onednn_md(layer->hint, DNNL_ARG_WEIGHTS);
    dnnl_prelu_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t slope, dslope, dx;
    CASK_TRY(onednn_check(dnnl_prelu_backward_desc_init(&op, image, slopes, image, slopes),
                          s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, layer->hint, &desc, err));
    CASK_TRY(
        onednn_memory(&s->o, slopes, onednn_param(s, step->node, CASK_SLOT_WEIGHT), &slope, err));
    CASK_TRY(
        onednn_memory(&s->o, slopes, onednn_grad(s, step->node, CASK_SLOT_WEIGHT), &dslope, err));
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    CASK_TRY(onednn_add(&s->o, desc,
                        (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, s->values[step->inputs[0]]},
                                            {DNNL_ARG_WEIGHTS, slope},
                                            {DNNL_ARG_DIFF_DST, s->gradients[step->output]},
                                            {DNNL_ARG_DIFF_SRC, dx},
                                            {DNNL_ARG_DIFF_WEIGHTS, dslope},
                                            {0}},
                        err));
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

struct onednn_curve {
    dnnl_alg_kind_t alg;
    float alpha, beta;
};

/* A hard sigmoid is two curves: 2.6 has none. */
static inline int onednn_curves(enum cask_activation activation, struct onednn_curve curves[2])
{
    switch (activation) {
    case CASK_ACT_RELU:
        curves[0] = (struct onednn_curve){dnnl_eltwise_relu, 0, 0};
        return 1;
    case CASK_ACT_SIGMOID:
        curves[0] = (struct onednn_curve){dnnl_eltwise_logistic, 0, 0};
        return 1;
    case CASK_ACT_HARD_SWISH:
        curves[0] = (struct onednn_curve){dnnl_eltwise_hardswish, 0, 0};
        return 1;
    case CASK_ACT_HARD_SIGMOID:
        curves[0] = (struct onednn_curve){dnnl_eltwise_linear, 1.0f / 6, 0.5f};
        curves[1] = (struct onednn_curve){dnnl_eltwise_clip, 0, 1};
        return 2;
    default:
        return 0;
    }
}

static inline enum cask_status onednn_curve_forward(struct onednn_step *s,
                                                    const struct onednn_curve *curve,
                                                    dnnl_memory_t x, dnnl_memory_t y,
                                                    dnnl_primitive_desc_t *hint,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_eltwise_desc_t op;
    CASK_TRY(
        onednn_check(dnnl_eltwise_forward_desc_init(&op, dnnl_forward_training, curve->alg,
                                                    onednn_md_of(x), curve->alpha, curve->beta),
                     s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, NULL, hint, err));
    CASK_TRY(onednn_add(&s->o, *hint,
                        (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {0}}, err));
done:
    return st;
}

static inline enum cask_status onednn_curve_backward(struct onednn_step *s,
                                                     const struct onednn_curve *curve,
                                                     dnnl_memory_t x, dnnl_memory_t dy,
                                                     dnnl_memory_t dx, dnnl_primitive_desc_t hint,
                                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    dnnl_eltwise_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    CASK_TRY(
        onednn_check(dnnl_eltwise_backward_desc_init(&op, curve->alg, onednn_md_of(dx),
                                                     onednn_md_of(x), curve->alpha, curve->beta),
                     s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, hint, &desc, err));
    CASK_TRY(
        onednn_add(&s->o, desc,
                   (dnnl_exec_arg_t[]){
                       {DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}, {0}},
                   err));
done:
    return st;
}

static inline enum cask_status onednn_activation_forward(struct onednn_step *s,
                                                         const struct cask_step *step,
                                                         struct onednn_layer *layer,
                                                         struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct onednn_curve curves[2];
    const dnnl_memory_t x = s->values[step->inputs[0]], y = s->values[step->output];
    if (step->node->activation == CASK_ACT_PRELU) {
        return onednn_prelu_forward(s, step, layer, err);
    }
    if (onednn_curves(step->node->activation, curves) == 1) {
        return onednn_curve_forward(s, &curves[0], x, y, &layer->hint, err);
    }
    CASK_TRY(onednn_memory(&s->o, onednn_md_of(x), NULL, &layer->middle, err));
    CASK_TRY(onednn_curve_forward(s, &curves[0], x, layer->middle, &layer->first_hint, err));
    CASK_TRY(onednn_curve_forward(s, &curves[1], layer->middle, y, &layer->hint, err));
done:
    return st;
}

static inline enum cask_status onednn_activation_backward(struct onednn_step *s,
                                                          const struct cask_step *step,
                                                          struct onednn_layer *layer,
                                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct onednn_curve curves[2];
    const dnnl_memory_t x = s->values[step->inputs[0]], dy = s->gradients[step->output];
    dnnl_memory_t dx;
    if (step->node->activation == CASK_ACT_PRELU) {
        return onednn_prelu_backward(s, step, layer, err);
    }
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    if (onednn_curves(step->node->activation, curves) == 1) {
        CASK_TRY(onednn_curve_backward(s, &curves[0], x, dy, dx, layer->hint, err));
    } else {
        CASK_TRY(onednn_curve_backward(s, &curves[1], layer->middle, dy, dx, layer->hint, err));
        CASK_TRY(onednn_curve_backward(s, &curves[0], x, dx, dx, layer->first_hint, err));
    }
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

#endif
