/* models/layer_pool.c - the mean over all pixels of each channel. */
#include "models/plan.h"

int cask_graph_add_average_pool(struct cask_graph *graph, int x, const char *name)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_AVERAGE_POOL, name, x, -1);
    return node == NULL ? -1 : cask_graph_append_output(graph, node, in.c, 1, 1);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    return plan->ops->average_pool_forward(plan->device, &plan->tensors[step->inputs[0]],
                                           &plan->tensors[step->output], err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    return plan->ops->average_pool_backward(plan->device, &plan->gradients[step->output],
                                            &plan->gradients[step->inputs[0]],
                                            step->gradients[0].accumulate, err);
}

const struct cask_layer cask_layer_average_pool = {
    .name = "average_pool",
    .forward = forward,
    .backward = backward,
};
