/* models/layer_scale.c - channels times gates: the last step of squeeze-and-excitation. */
#include "models/plan.h"

int cask_graph_add_scale(struct cask_graph *graph, int x, int gate, const char *name)
{
    const struct cask_value in = *cask_graph_value(graph, x), by = *cask_graph_value(graph, gate);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_SCALE, name, x, gate);
    if (node == NULL) {
        return -1;
    }
    if (gate < 0 || gate == x || by.c != in.c || by.h != 1 || by.w != 1) {
        return cask_graph_fail(graph, CASK_ERR_FORMAT,
                               "%s: gate is %d x %d x %d; expected %d x 1 x 1", name, by.c, by.h,
                               by.w, in.c);
    }
    return cask_graph_append_output(graph, node, in.c, in.h, in.w);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    return plan->ops->scale_forward(plan->device, &plan->tensors[step->inputs[0]],
                                    &plan->tensors[step->inputs[1]], &plan->tensors[step->output],
                                    err);
}

/* The planner has made sure that both gradients are wanted and that only this step writes the
 * gate's. */
static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    return plan->ops->scale_backward(
        plan->device, &plan->tensors[step->inputs[0]], &plan->tensors[step->inputs[1]],
        &plan->gradients[step->output], &plan->gradients[step->inputs[0]],
        step->gradients[0].accumulate, &plan->gradients[step->inputs[1]], err);
}

const struct cask_layer cask_layer_scale = {
    .name = "scale",
    .keeps = {true, true},
    .forward = forward,
    .backward = backward,
};
