/* models/plan_fuse.c - nodes become steps.
 *
 *   batch norm, then PReLU or ReLU      one batchnorm step with an activation
 *   eval: conv or linear, then batch norm   one step; the batch norm moves into the weights
 *                                       (plan_pack.c), which is exact
 *
 * Both need the value in between to have no other reader. The batch norm that stands BEFORE a
 * padded convolution (IResNet's bn1) does not fold: padding is zero after it, so beta would leak.
 */
#include "models/plan.h"

static const struct cask_node *foldable(const struct cask_plan *plan, const struct cask_node *node)
{
    return plan->mode == CASK_MODE_EVAL ? cask_graph_foldable(plan->net->graph, node) : NULL;
}

static const struct cask_node *fusable(const struct cask_plan *plan, const struct cask_node *node)
{
    if (node->kind != CASK_LAYER_BATCHNORM || plan->way.path == CASK_PATH_PLAIN) {
        return NULL;
    }
    const struct cask_node *next = cask_graph_sole_reader(plan->net->graph, node->output);
    if (next == NULL || next->kind != CASK_LAYER_ACTIVATION) {
        return NULL;
    }
    return next->activation == CASK_ACT_PRELU || next->activation == CASK_ACT_RELU ? next : NULL;
}

enum cask_status cask_plan_fuse(struct cask_plan *plan, bool fold, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = plan->net->graph;
    bool *absorbed = cask_alloc((size_t)graph->node_count, sizeof *absorbed);
    plan->steps = cask_alloc((size_t)graph->node_count, sizeof *plan->steps);
    if (absorbed == NULL || plan->steps == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)graph->node_count * sizeof *plan->steps, "plan"));
    }
    for (int i = 0; i < graph->node_count; i++) {
        const struct cask_node *node = &graph->nodes[i];
        if (absorbed[i]) {
            continue;
        }
        struct cask_step *step = &plan->steps[plan->step_count++];
        *step = (struct cask_step){.node = node,
                                   .output = node->output,
                                   .saved_buffer = -1,
                                   .reads = {-1, -1},
                                   .feeds = -1,
                                   .behind = -1};
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            step->inputs[k] = node->inputs[k];
        }
        step->folded = fold ? foldable(plan, node) : NULL;
        step->activation = fusable(plan, node);
        const struct cask_node *last = step->folded != NULL ? step->folded : step->activation;
        if (last != NULL) {
            absorbed[last - graph->nodes] = true;
            step->output = last->output;
        }
    }
done:
    cask_free(absorbed);
    return st;
}
