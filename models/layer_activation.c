/* models/layer_activation.c - a nonlinearity on its own: those that no batch norm swallowed. */
#include "models/plan.h"

int cask_graph_add_activation(struct cask_graph *graph, int x, const char *name,
                              enum cask_activation activation)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_ACTIVATION, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    node->activation = activation;
    if (activation == CASK_ACT_PRELU) {
        cask_graph_append_param(graph, node, CASK_SLOT_WEIGHT, "weight", CASK_PARAM_PRELU_SLOPE,
                                true, 1, (int64_t[4]){in.c});
    }
    return cask_graph_append_output(graph, node, in.c, in.h, in.w);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    return plan->ops->activation_forward(plan->device, step->node->activation,
                                         cask_net_slot(plan->net, step->node, CASK_SLOT_WEIGHT),
                                         &plan->tensors[step->inputs[0]],
                                         &plan->tensors[step->output], err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    return plan->ops->activation_backward(
        plan->device, step->node->activation,
        cask_net_slot(plan->net, step->node, CASK_SLOT_WEIGHT), &plan->tensors[step->inputs[0]],
        &plan->gradients[step->output], &plan->gradients[step->inputs[0]],
        step->gradients[0].accumulate, cask_net_slot_grad(plan->net, step->node, CASK_SLOT_WEIGHT),
        err);
}

const struct cask_layer cask_layer_activation = {
    .name = "activation",
    .keeps = {true},
    .in_place = true,
    .forward = forward,
    .backward = backward,
};
