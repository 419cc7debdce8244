/* models/plan_fuse.c - nodes become steps.
 *
 *   batch norm, then PReLU or ReLU      one batchnorm step with an activation
 *
 * and in eval, where a convolution's output can be finished while it is in the cache:
 *
 *   batch norm, then dense convolution or linear layer      the batch norm moves into the weights
 *   convolution, then batch norm, sum, activation           each if it is there, in this order
 *
 * Whatever is in between must have no other reader. How batch norms move is plan_pack.c's.
 */
#include "models/plan.h"

/* The only reader of `value`, if it is of this kind. */
static const struct cask_node *next_of(const struct cask_graph *graph, int value,
                                       enum cask_layer_kind kind)
{
    const struct cask_node *next = cask_graph_sole_reader(graph, value);
    return next != NULL && next->kind == kind ? next : NULL;
}

static bool is_conv(const struct cask_node *node)
{
    return node->kind == CASK_LAYER_CONV || node->kind == CASK_LAYER_LINEAR;
}

/* The dense convolution that alone reads a batch norm. */
static const struct cask_node *conv_behind(const struct cask_graph *graph,
                                           const struct cask_node *node)
{
    const struct cask_node *next =
        node->kind == CASK_LAYER_BATCHNORM ? cask_graph_sole_reader(graph, node->output) : NULL;
    return next != NULL && is_conv(next) && next->conv.groups == 1 ? next : NULL;
}

struct fusion {
    struct cask_plan *plan;
    const struct cask_graph *graph;
    const struct cask_node **before; /* by node: the batch norm that it takes in */
    bool *absorbed;                  /* by node */
};

static void absorb(const struct fusion *fusion, struct cask_step *step,
                   const struct cask_node *node)
{
    fusion->absorbed[node - fusion->graph->nodes] = true;
    step->output = node->output;
}

/* The sum behind a convolution, if the other summand is there before the convolution runs. */
static void absorb_sum(const struct fusion *fusion, struct cask_step *step)
{
    const struct cask_node *sum = next_of(fusion->graph, step->output, CASK_LAYER_ADD);
    if (sum == NULL) {
        return;
    }
    int other = sum->inputs[sum->inputs[0] == step->output ? 1 : 0];
    if (fusion->graph->values[other].producer < step->node - fusion->graph->nodes) {
        step->inputs[1] = other;
        absorb(fusion, step, sum);
    }
}

static void absorb_behind_conv(const struct fusion *fusion, struct cask_step *step)
{
    step->before = fusion->before[step->node - fusion->graph->nodes];
    if (step->before != NULL) {
        step->inputs[0] = step->before->inputs[0];
    }
    step->folded = cask_graph_foldable(fusion->graph, step->node);
    if (step->folded != NULL) {
        absorb(fusion, step, step->folded);
    }
    absorb_sum(fusion, step);
    step->activation = next_of(fusion->graph, step->output, CASK_LAYER_ACTIVATION);
    if (step->activation != NULL) {
        absorb(fusion, step, step->activation);
    }
}

static void absorb_behind_batchnorm(const struct fusion *fusion, struct cask_step *step)
{
    const struct cask_node *next = next_of(fusion->graph, step->output, CASK_LAYER_ACTIVATION);
    if (next != NULL && (next->activation == CASK_ACT_PRELU || next->activation == CASK_ACT_RELU)) {
        step->activation = next;
        absorb(fusion, step, next);
    }
}

static void make_steps(const struct fusion *fusion, bool fold)
{
    for (int i = 0; i < fusion->graph->node_count; i++) {
        const struct cask_node *node = &fusion->graph->nodes[i];
        const struct cask_node *conv = fold ? conv_behind(fusion->graph, node) : NULL;
        if (fusion->absorbed[i]) {
            continue;
        }
        if (conv != NULL) {
            fusion->before[conv - fusion->graph->nodes] = node;
            continue;
        }
        struct cask_step *step = &fusion->plan->steps[fusion->plan->step_count++];
        *step = (struct cask_step){.node = node,
                                   .output = node->output,
                                   .saved_buffer = -1,
                                   .reads = {-1, -1},
                                   .feeds = -1,
                                   .behind = -1};
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            step->inputs[k] = node->inputs[k];
        }
        if (fold && is_conv(node)) {
            absorb_behind_conv(fusion, step);
        } else if (node->kind == CASK_LAYER_BATCHNORM &&
                   fusion->plan->way.path != CASK_PATH_PLAIN) {
            absorb_behind_batchnorm(fusion, step);
        }
    }
}

enum cask_status cask_plan_fuse(struct cask_plan *plan, bool fold, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = plan->net->graph;
    const size_t count = (size_t)graph->node_count;
    struct fusion fusion = {plan, graph, cask_alloc(count, sizeof *fusion.before),
                            cask_alloc(count, sizeof *fusion.absorbed)};
    plan->steps = cask_alloc(count, sizeof *plan->steps);
    if (fusion.before == NULL || fusion.absorbed == NULL || plan->steps == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *plan->steps, "plan"));
    }
    make_steps(&fusion, fold && plan->mode == CASK_MODE_EVAL);
done:
    cask_free(fusion.absorbed);
    cask_free(fusion.before);
    return st;
}
