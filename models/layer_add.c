/* models/layer_add.c - the residual sum. Its gradient is the same for both inputs, so most of the
 * time backward does nothing: the planner lets the three gradients be one buffer. */
#include "models/plan.h"

int cask_graph_add_add(struct cask_graph *graph, int a, int b, const char *name)
{
    const struct cask_value left = *cask_graph_value(graph, a), right = *cask_graph_value(graph, b);
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_ADD, name, a, b);
    if (node == NULL) {
        return -1;
    }
    if (b < 0 || a == b || left.c != right.c || left.h != right.h || left.w != right.w) {
        return cask_graph_fail(
            graph, CASK_ERR_FORMAT,
            "%s adds %d x %d x %d and %d x %d x %d; expected two values of one shape", name, left.c,
            left.h, left.w, right.c, right.h, right.w);
    }
    return cask_graph_append_output(graph, node, left.c, left.h, left.w);
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    struct cask_batchnorm norms[CASK_NODE_INPUTS], after;
    const struct cask_tensor *y = &plan->tensors[step->output];
    const struct cask_operand a = cask_step_operand(plan, step, 0, &norms[0]),
                              b = cask_step_operand(plan, step, 1, &norms[1]);
    if (a.norm == NULL && b.norm == NULL && step->feeds < 0) {
        return plan->ops->add(plan->device, a.x, b.x, y, err);
    }
    if (step->feeds >= 0) {
        after = cask_step_norm(plan, step->feeds);
    }
    return plan->ops->add_chained(plan->device, &a, &b, y, step->feeds >= 0 ? &after : NULL, err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *dy = &plan->gradients[step->output];
    for (int i = 0; i < CASK_NODE_INPUTS; i++) {
        const struct cask_step_gradient *todo = &step->gradients[i];
        const struct cask_tensor *dx = &plan->gradients[step->inputs[i]];
        if (!todo->wanted || todo->shared) {
            continue;
        }
        if (todo->accumulate) {
            CASK_TRY(plan->ops->add(plan->device, dx, dy, dx, err));
        } else {
            CASK_TRY(plan->ops->subsample_forward(plan->device, 1, dy, dx, err)); /* a copy */
        }
    }
done:
    return st;
}

const struct cask_layer cask_layer_add = {
    .name = "add",
    .in_place = true,
    .gradient_shared = true,
    .forward = forward,
    .backward = backward,
};
