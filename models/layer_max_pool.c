/* models/layer_max_pool.c - the largest pixel of a window: behind the stem of ResNet. */
#include "models/plan.h"

static int out_size(int in, const struct cask_window *window)
{
    return (in + 2 * window->pad - window->size) / window->stride + 1;
}

int cask_graph_add_max_pool(struct cask_graph *graph, int x, const char *name, int size, int stride,
                            int pad)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    const struct cask_window window = {.size = size, .stride = stride, .pad = pad};
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_MAX_POOL, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    /* With pad < size every window has a pixel of the picture in it. */
    if (size < 1 || stride < 1 || pad < 0 || 2 * (int64_t)pad > size || size > 1 << 14 ||
        in.h + 2 * pad < size || in.w + 2 * pad < size) {
        return cask_graph_fail(graph, CASK_ERR_RANGE,
                               "%s: windows of %d pixels, stride %d, padding %d make no sense on "
                               "%d x %d pixels",
                               name, size, stride, pad, in.h, in.w);
    }
    node->window = window;
    return cask_graph_append_output(graph, node, in.c, out_size(in.h, &window),
                                    out_size(in.w, &window));
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    return plan->ops->max_pool_forward(plan->device, &step->node->window,
                                       &plan->tensors[step->inputs[0]],
                                       &plan->tensors[step->output], err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    return plan->ops->max_pool_backward(
        plan->device, &step->node->window, &plan->tensors[step->inputs[0]],
        &plan->gradients[step->output], &plan->gradients[step->inputs[0]],
        step->gradients[0].accumulate, err);
}

const struct cask_layer cask_layer_max_pool = {
    .name = "max_pool",
    .keeps = {true},
    .forward = forward,
    .backward = backward,
};
