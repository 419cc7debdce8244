/* models/layer_batchnorm.c - batch normalisation per channel, alone or with PReLU/ReLU behind it.
 */
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
    node->momentum = 0.1; /* PyTorch's default; every network here uses it */
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

static struct cask_batchnorm describe(const struct cask_plan *plan, const struct cask_step *step)
{
    struct cask_batchnorm bn = {
        .eps = step->node->eps,
        .momentum = step->node->momentum,
        .activation = CASK_ACT_NONE,
        .gamma = cask_net_slot(plan->net, step->node, CASK_SLOT_WEIGHT),
        .beta = cask_net_slot(plan->net, step->node, CASK_SLOT_BIAS),
        .running_mean = cask_net_slot(plan->net, step->node, CASK_SLOT_MEAN),
        .running_var = cask_net_slot(plan->net, step->node, CASK_SLOT_VAR),
        .saved_mean = step->saved_mean,
        .saved_inv_std = step->saved_inv_std,
    };
    if (step->activation != NULL) {
        bn.activation = step->activation->activation;
        bn.slope = cask_net_slot(plan->net, step->activation, CASK_SLOT_WEIGHT);
    }
    return bn;
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
    if (step->saved_buffer >= 0) {
        const struct cask_plan_buffer *buffer = &plan->memory.buffers[step->saved_buffer];
        step->saved_mean = plan->allocation + buffer->offset;
        step->saved_inv_std = plan->allocation + buffer->offset + buffer->bytes / 2;
    }
    return CASK_OK;
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    const struct cask_batchnorm bn = describe(plan, step);
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]],
                             *y = &plan->tensors[step->output];
    if (plan->mode == CASK_MODE_EVAL) {
        return plan->ops->batchnorm_eval(plan->device, &bn, x, y, err);
    }
    cask_net_count_batch(plan->net, step->node);
    return plan->ops->batchnorm_train(plan->device, &bn, x, y, err);
}

static enum cask_status backward(struct cask_plan *plan, const struct cask_step *step,
                                 struct cask_error *err)
{
    const struct cask_batchnorm bn = describe(plan, step);
    const struct cask_batchnorm_grads grads = {
        .gamma = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_WEIGHT),
        .beta = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_BIAS),
        .slope = step->activation == NULL
                     ? NULL
                     : cask_net_slot_grad(plan->net, step->activation, CASK_SLOT_WEIGHT),
    };
    return plan->ops->batchnorm_backward(
        plan->device, &bn, &plan->tensors[step->inputs[0]], &plan->gradients[step->output],
        &plan->gradients[step->inputs[0]], step->gradients[0].accumulate, &grads, err);
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
