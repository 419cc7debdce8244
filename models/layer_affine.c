/* models/layer_affine.c - y = scale_c * x + offset_c: the normalisation of pixels that some ONNX
 * files carry inside. The device sees a batch norm of mean 0, variance 1 and eps 0. */
#include "models/plan.h"

int cask_graph_add_affine(struct cask_graph *graph, int x, const char *name)
{
    const struct cask_value in = *cask_graph_value(graph, x);
    const int64_t shape[4] = {in.c};
    struct cask_node *node = cask_graph_append(graph, CASK_LAYER_AFFINE, name, x, -1);
    if (node == NULL) {
        return -1;
    }
    if (graph->trainable) {
        return cask_graph_fail(graph, CASK_ERR_INTERNAL, "%s: an affine layer cannot be trained",
                               name);
    }
    cask_graph_append_param(graph, node, CASK_SLOT_WEIGHT, "weight", CASK_PARAM_BN_GAMMA, false, 1,
                            shape);
    cask_graph_append_param(graph, node, CASK_SLOT_BIAS, "bias", CASK_PARAM_BN_BETA, false, 1,
                            shape);
    return cask_graph_append_output(graph, node, in.c, in.h, in.w);
}

/* The constants: zeros for the mean, then ones for the variance. */
static enum cask_status open(struct cask_plan *plan, struct cask_step *step, struct cask_error *err)
{
    const int channels = plan->tensors[step->inputs[0]].c;
    const size_t each = cask_dtype_size(cask_device_parameter_dtype(plan->device));
    const float one_f32 = 1;
    const double one_f64 = 1;
    step->constants = cask_buffer_alloc(plan->device, 2 * (size_t)channels * each);
    if (step->constants == NULL) {
        return cask_error_memory(err, 2 * (size_t)channels * each, step->node->name);
    }
    for (int i = 0; i < channels; i++) {
        char *place = (char *)step->constants + (size_t)(channels + i) * each;
        cask_buffer_upload(plan->device, place,
                           each == sizeof one_f32 ? (const void *)&one_f32 : &one_f64, each);
    }
    return CASK_OK;
}

static enum cask_status forward(struct cask_plan *plan, const struct cask_step *step,
                                struct cask_error *err)
{
    const struct cask_tensor *x = &plan->tensors[step->inputs[0]],
                             *y = &plan->tensors[step->output];
    const size_t each = cask_dtype_size(cask_device_parameter_dtype(plan->device));
    const struct cask_batchnorm bn = {
        .activation = CASK_ACT_NONE,
        .gamma = cask_net_slot(plan->net, step->node, CASK_SLOT_WEIGHT),
        .beta = cask_net_slot(plan->net, step->node, CASK_SLOT_BIAS),
        .running_mean = step->constants,
        .running_var = (char *)step->constants + (size_t)x->c * each,
    };
    return plan->ops->batchnorm_eval(plan->device, &bn, x, y, err);
}

const struct cask_layer cask_layer_affine = {
    .name = "affine",
    .in_place = true,
    .open = open,
    .forward = forward,
};
