/* models/layer_conv.c - convolution, and the linear layer as the convolution whose kernel is the
 * whole input: PyTorch's [out, C*H*W] matrix has the bytes of an OIHW kernel of size H x W. */
#include "models/plan.h"

static int64_t out_size(int64_t in, int64_t pad_begin, int64_t pad_end, int kernel, int stride)
{
    return in + pad_begin + pad_end < kernel ? 0 : (in + pad_begin + pad_end - kernel) / stride + 1;
}

static bool spec_makes_sense(const struct cask_conv_spec *spec, int groups, int in_c)
{
    return spec->out_c > 0 && spec->kernel_h > 0 && spec->kernel_w > 0 && spec->stride > 0 &&
           spec->pad_top >= 0 && spec->pad_left >= 0 && spec->pad_bottom >= 0 &&
           spec->pad_right >= 0 && groups > 0 && in_c % groups == 0 && spec->out_c % groups == 0;
}

int cask_graph_add_conv(struct cask_graph *graph, int x, const char *name,
                        const struct cask_conv_spec *spec)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_CONV, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    node->conv = *spec;
    node->conv.groups = spec->groups == 0 ? 1 : spec->groups;
    if (!spec_makes_sense(spec, node->conv.groups, in.c)) {
        return cask_graph_fail(
            graph, CASK_ERR_RANGE,
            "%s: a %d x %d convolution from %d to %d channels with stride %d and "
            "%d groups makes no sense",
            name, spec->kernel_h, spec->kernel_w, in.c, spec->out_c, spec->stride, spec->groups);
    }
    int64_t h = out_size(in.h, spec->pad_top, spec->pad_bottom, spec->kernel_h, spec->stride);
    int64_t w = out_size(in.w, spec->pad_left, spec->pad_right, spec->kernel_w, spec->stride);
    if (h < 1 || w < 1 || h > INT32_MAX || w > INT32_MAX) {
        return cask_graph_fail(graph, CASK_ERR_RANGE,
                               "%s: no output pixel is left of %d x %d by a %d x %d kernel", name,
                               in.h, in.w, spec->kernel_h, spec->kernel_w);
    }
    cask_graph_append_param(
        graph, node, CASK_SLOT_WEIGHT, "weight", CASK_PARAM_CONV_WEIGHT, true, 4,
        (int64_t[4]){spec->out_c, in.c / node->conv.groups, spec->kernel_h, spec->kernel_w});
    if (spec->bias) {
        cask_graph_append_param(graph, node, CASK_SLOT_BIAS, "bias", CASK_PARAM_CONV_BIAS, true, 1,
                                (int64_t[4]){spec->out_c});
    }
    return cask_graph_append_output(graph, node, spec->out_c, (int)h, (int)w);
}

int cask_graph_add_linear(struct cask_graph *graph, int x, const char *name, int out, bool bias)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_LINEAR, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    node->conv = (struct cask_conv_spec){
        .out_c = out, .kernel_h = in.h, .kernel_w = in.w, .stride = 1, .groups = 1, .bias = bias};
    cask_graph_append_param(graph, node, CASK_SLOT_WEIGHT, "weight", CASK_PARAM_LINEAR_WEIGHT, true,
                            2, (int64_t[4]){out, (int64_t)in.c * in.h * in.w});
    if (bias) {
        cask_graph_append_param(graph, node, CASK_SLOT_BIAS, "bias", CASK_PARAM_LINEAR_BIAS, true,
                                1, (int64_t[4]){out});
    }
    return cask_graph_append_output(graph, node, out, 1, 1);
}

static int64_t macs(const struct cask_graph *graph, const struct cask_node *node)
{
    const struct cask_value *out = cask_graph_value(graph, node->output);
    return graph->params[node->params[CASK_SLOT_WEIGHT]].count * out->h * out->w;
}

struct cask_conv_desc cask_plan_conv_desc(const struct cask_plan *plan,
                                          const struct cask_step *step)
{
    const struct cask_conv_spec *spec = &step->node->conv;
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]];
    const bool padded = spec->pad_top + spec->pad_left + spec->pad_bottom + spec->pad_right > 0;
    return (struct cask_conv_desc){
        .n = x->n,
        .h = x->h,
        .w = x->w,
        .in_c = x->c,
        .out_c = spec->out_c,
        .kernel_h = spec->kernel_h,
        .kernel_w = spec->kernel_w,
        .stride = spec->stride,
        .pad_top = spec->pad_top,
        .pad_left = spec->pad_left,
        .pad_bottom = spec->pad_bottom,
        .pad_right = spec->pad_right,
        .groups = spec->groups,
        .bias = spec->bias || step->before != NULL || step->folded != NULL,
        .inference = plan->mode == CASK_MODE_EVAL,
        .whole = plan->way.path == CASK_PATH_PLAIN,
        .border = step->before != NULL && padded,
    };
}

static enum cask_status open(struct cask_plan *plan, struct cask_step *step, struct cask_error *err)
{
    const struct cask_conv_desc desc = cask_plan_conv_desc(plan, step);
    return plan->ops->conv_open(plan->device, &desc, &step->conv, err);
}

static enum cask_status forward_eval(struct cask_plan *plan, const struct cask_step *step,
                                     struct cask_error *err)
{
    struct cask_conv_finish finish = {.activation = CASK_ACT_NONE};
    if (step->inputs[1] >= 0) {
        finish.residual = &plan->tensors[step->inputs[1]];
    }
    if (step->activation != NULL) {
        finish.activation = step->activation->activation;
        finish.slope = cask_net_slot(plan->net, step->activation, CASK_SLOT_WEIGHT);
    }
    return plan->ops->conv_forward_finish(step->conv, &plan->tensors[step->inputs[0]], &finish,
                                          &plan->tensors[step->output], err);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    struct cask_batchnorm before, after;
    if (plan->mode == CASK_MODE_EVAL) {
        return forward_eval(plan, step, err);
    }
    const struct cask_operand x = cask_step_operand(plan, step, 0, &before);
    if (step->feeds < 0 && x.norm == NULL) {
        return plan->ops->conv_forward(step->conv, x.x, &plan->tensors[step->output], err);
    }
    if (step->feeds >= 0) {
        after = cask_step_norm(plan, step->feeds);
    }
    return plan->ops->conv_forward_chained(step->conv, &x, &plan->tensors[step->output],
                                           step->feeds >= 0 ? &after : NULL, err);
}

static enum cask_status backward_plain(struct cask_plan *plan, const struct cask_step *step,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *dy = &plan->gradients[step->output];
    void *dweight = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_WEIGHT);
    void *dbias = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_BIAS);
    CASK_TRY(plan->ops->conv_backward_weights(step->conv, &plan->tensors[step->inputs[0]], dy,
                                              dweight, dbias, err));
    if (step->gradients[0].wanted) {
        CASK_TRY(plan->ops->conv_backward_data(step->conv, dy, &plan->gradients[step->inputs[0]],
                                               step->gradients[0].accumulate, err));
    }
done:
    return st;
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    if (plan->way.path != CASK_PATH_CHAINED) {
        return backward_plain(plan, step, err);
    }
    struct cask_batchnorm before, after, norms[CASK_STEP_REDUCES];
    struct cask_reduction reductions[CASK_STEP_REDUCES];
    if (step->behind >= 0) {
        after = cask_step_norm(plan, step->behind);
    }
    cask_step_reductions(plan, step, norms, reductions);
    const struct cask_conv_chain chain = {
        .x = cask_step_operand(plan, step, 0, &before),
        .norm = step->behind >= 0 ? &after : NULL,
        .y = &plan->tensors[step->output],
        .dy = &plan->gradients[step->output],
        .dx = step->gradients[0].wanted ? &plan->gradients[step->inputs[0]] : NULL,
        .accumulate = step->gradients[0].accumulate,
        .dweight = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_WEIGHT),
        .dbias = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_BIAS),
        .reductions = reductions,
        .reduction_count = step->reduce_count,
    };
    return plan->ops->conv_backward_chained(step->conv, &chain, err);
}

const struct cask_layer cask_layer_conv = {
    .name = "conv",
    .macs = macs,
    .keeps = {true},
    .open = open,
    .forward = forward,
    .backward = backward,
};

const struct cask_layer cask_layer_linear = {
    .name = "linear",
    .macs = macs,
    .keeps = {true},
    .open = open,
    .forward = forward,
    .backward = backward,
};
