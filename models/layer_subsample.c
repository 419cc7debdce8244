/* models/layer_subsample.c - every stride-th pixel from the corner: the shortcut without
 * parameters that PyTorch code writes as MaxPool2d(1, stride). */
#include "models/plan.h"

int cask_graph_add_subsample(struct cask_graph *graph, int x, const char *name, int stride)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_SUBSAMPLE, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    if (stride < 1) {
        return cask_graph_fail(graph, CASK_ERR_RANGE, "%s: stride is %d", name, stride);
    }
    node->stride = stride;
    return cask_graph_append_output(graph, node, in.c, (in.h - 1) / stride + 1,
                                    (in.w - 1) / stride + 1);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    return plan->ops->subsample_forward(plan->device, step->node->stride,
                                        &plan->tensors[step->inputs[0]],
                                        &plan->tensors[step->output], err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    return plan->ops->subsample_backward(
        plan->device, step->node->stride, &plan->gradients[step->output],
        &plan->gradients[step->inputs[0]], step->gradients[0].accumulate, err);
}

const struct cask_layer cask_layer_subsample = {
    .name = "subsample",
    .forward = forward,
    .backward = backward,
};
