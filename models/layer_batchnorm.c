/* models/layer_batchnorm.c - batch normalisation per channel, alone or with PReLU/ReLU behind it.
 * In training, what its neighbours do not take (plan_chain.c) is done here. */
#include "models/plan.h"

int cask_graph_add_batchnorm(struct cask_graph *graph, int x, const char *name, double eps,
                             enum cask_affine affine)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    const int64_t shape[4] = {in.c};
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_BATCHNORM, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    if (!(eps >= 0)) {
        return cask_graph_fail(graph, CASK_ERR_RANGE, "%s: eps is %g", name, eps);
    }
    node->eps = eps;
    node->momentum = graph->norm.momentum;
    if (affine != CASK_AFFINE_NONE) {
        cask_graph_append_param(graph, node, CASK_SLOT_WEIGHT, "weight", CASK_PARAM_BN_GAMMA,
                                affine == CASK_AFFINE_TRAINED, 1, shape);
        cask_graph_append_param(graph, node, CASK_SLOT_BIAS, "bias", CASK_PARAM_BN_BETA, true, 1,
                                shape);
    }
    cask_graph_append_param(graph, node, CASK_SLOT_MEAN, "running_mean", CASK_PARAM_BN_MEAN, false,
                            1, shape);
    cask_graph_append_param(graph, node, CASK_SLOT_VAR, "running_var", CASK_PARAM_BN_VAR, false, 1,
                            shape);
    if (graph->trainable) {
        cask_graph_append_param(graph, node, CASK_SLOT_COUNT, "num_batches_tracked",
                                CASK_PARAM_BN_COUNT, false, 0, shape);
    }
    return cask_graph_append_output(graph, node, in.c, in.h, in.w);
}

static enum cask_status open(struct cask_plan *plan, struct cask_step *step, struct cask_error *err)
{
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]];
    if (plan->mode == CASK_MODE_TRAIN && (int64_t)x->n * x->h * x->w < 2) {
        return cask_error_set(err, CASK_ERR_RANGE,
                              "a batch of %d leaves one sample a channel, which has no variance; "
                              "train with a batch of at least 2",
                              plan->batch);
    }
    return CASK_OK;
}

static int index_of(const struct cask_plan *plan, const struct cask_step *step)
{
    return (int)(step - plan->steps);
}

static enum cask_status forward_train(struct cask_plan *plan, const struct cask_step *step,
                                      const struct cask_batchnorm *bn, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]],
                             *y = &plan->tensors[step->output];
    cask_net_count_batch(plan->net, step->node);
    if (!step->taken.statistics) {
        CASK_TRY(plan->ops->batchnorm_statistics(plan->device, bn, x, err));
    }
    if (!step->taken.apply) {
        CASK_TRY(plan->ops->batchnorm_apply(plan->device, bn, x, y, err));
    }
done:
    return st;
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    const struct cask_batchnorm bn = cask_step_norm(plan, index_of(plan, step));
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]],
                             *y = &plan->tensors[step->output];
    if (plan->mode == CASK_MODE_EVAL) {
        return plan->ops->batchnorm_eval(plan->device, &bn, x, y, err);
    }
    return forward_train(plan, step, &bn, err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_batchnorm bn = cask_step_norm(plan, index_of(plan, step));
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]],
                             *dy = &plan->gradients[step->output];
    struct cask_batchnorm norms[CASK_STEP_REDUCES];
    struct cask_reduction others[CASK_STEP_REDUCES];
    if (!step->taken.reduce) {
        const struct cask_reduction own = {
            .norm = &bn, .x = x, .grads = cask_step_norm_grads(plan, index_of(plan, step))};
        CASK_TRY(plan->ops->batchnorm_reduce(plan->device, &own, dy, err));
    }
    if (!step->taken.gradient) {
        cask_step_reductions(plan, step, norms, others);
        CASK_TRY(plan->ops->batchnorm_gradient(
            plan->device, &bn, x, dy, &plan->gradients[step->inputs[0]],
            step->gradients[0].accumulate, others, step->reduce_count, err));
    }
done:
    return st;
}

const struct cask_layer cask_layer_batchnorm = {
    .name = "batchnorm",
    .keeps = {true},
    .in_place = true,
    .gradient_in_place = true,
    .open = open,
    .forward = forward,
    .backward = backward,
};
