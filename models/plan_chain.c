/* models/plan_chain.c - training: which passes of a batch norm its neighbours do.
 *
 * A batch norm (with its activation) in training is four passes over memory. Memory traffic, not
 * arithmetic, is what small networks spend their time on, and for each pass there is a neighbour
 * that holds the data in cache anyway (kernels.h, "Chains"):
 *
 *   statistics   the convolution or sum that makes the input, as it writes it
 *   apply        the convolutions and sums that read the output: then it is never stored
 *   reduce       the step that completes the gradient of the output, as it writes it
 *   gradient     the convolution that made the input: then dx is never stored
 *
 * Each is decided by itself; what no neighbour can take stays with the batch norm. So of a chain
 * conv > bn > prelu > conv only the convolutions' outputs are kept, and backward goes once over
 * each of them: that of a sum, of squeeze-and-excitation or of an embedding stays as it was.
 *
 * `gradient` needs the convolution to run right after the batch norm in backward, because until
 * then the gradient of the batch norm's output must stay as it is.
 */
#include "models/plan.h"

static bool is_norm(const struct cask_step *step)
{
    return step->node->kind == CASK_LAYER_BATCHNORM;
}

static bool reads_through(const struct cask_step *step)
{
    return step->node->kind == CASK_LAYER_CONV || step->node->kind == CASK_LAYER_ADD;
}

/* Every reader of the output can apply the norm by itself, and there is one. */
static bool may_give_apply(const struct cask_plan *plan, int norm)
{
    const int value = plan->steps[norm].output;
    bool read = false;
    if (value == plan->net->graph->output) {
        return false;
    }
    for (int i = norm + 1; i < plan->step_count; i++) {
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (plan->steps[i].inputs[k] == value) {
                read = true;
                if (!reads_through(&plan->steps[i])) {
                    return false;
                }
            }
        }
    }
    return read;
}

static void give_apply(struct cask_plan *plan, int norm)
{
    plan->steps[norm].taken.apply = true;
    for (int i = norm + 1; i < plan->step_count; i++) {
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (plan->steps[i].inputs[k] == plan->steps[norm].output) {
                plan->steps[i].reads[k] = norm;
            }
        }
    }
}

static void give_to_maker(struct cask_plan *plan, int norm)
{
    struct cask_step *step = &plan->steps[norm];
    const int value = step->inputs[0];
    for (int i = 0; i < norm; i++) {
        struct cask_step *maker = &plan->steps[i];
        if (maker->output != value) {
            continue;
        }
        if (reads_through(maker) && maker->feeds < 0) {
            maker->feeds = norm;
            step->taken.statistics = true;
        }
        bool alone = plan->net->graph->values[value].consumers == 1 &&
                     value != plan->net->graph->output && i == norm - 1;
        if (maker->node->kind == CASK_LAYER_CONV && alone) {
            maker->behind = norm;
            step->taken.gradient = true;
        }
    }
}

enum cask_status cask_plan_chain(struct cask_plan *plan, struct cask_error *err)
{
    (void)err;
    if (plan->mode != CASK_MODE_TRAIN || plan->way.path != CASK_PATH_CHAINED) {
        return CASK_OK;
    }
    for (int i = 0; i < plan->step_count; i++) {
        if (is_norm(&plan->steps[i])) {
            give_to_maker(plan, i);
            if (may_give_apply(plan, i)) {
                give_apply(plan, i);
            }
        }
    }
    return CASK_OK;
}

int cask_step_stored(const struct cask_plan *plan, const struct cask_step *step, int k)
{
    return step->reads[k] >= 0 ? plan->steps[step->reads[k]].inputs[0] : step->inputs[k];
}

struct cask_batchnorm cask_step_norm(const struct cask_plan *plan, int norm)
{
    const struct cask_step *step = &plan->steps[norm];
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
        .saved_mean_dz = step->saved_mean_dz,
        .saved_pull = step->saved_pull,
    };
    if (step->activation != NULL) {
        bn.activation = step->activation->activation;
        bn.slope = cask_net_slot(plan->net, step->activation, CASK_SLOT_WEIGHT);
    }
    return bn;
}

struct cask_batchnorm_grads cask_step_norm_grads(const struct cask_plan *plan, int norm)
{
    const struct cask_step *step = &plan->steps[norm];
    return (struct cask_batchnorm_grads){
        .gamma = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_WEIGHT),
        .beta = cask_net_slot_grad(plan->net, step->node, CASK_SLOT_BIAS),
        .slope = step->activation == NULL
                     ? NULL
                     : cask_net_slot_grad(plan->net, step->activation, CASK_SLOT_WEIGHT),
    };
}

struct cask_operand cask_step_operand(const struct cask_plan *plan, const struct cask_step *step,
                                      int k, struct cask_batchnorm *room)
{
    const struct cask_tensor *x = &plan->tensors[cask_step_stored(plan, step, k)];
    if (step->reads[k] < 0) {
        return (struct cask_operand){x, NULL};
    }
    *room = cask_step_norm(plan, step->reads[k]);
    return (struct cask_operand){x, room};
}

void cask_step_reductions(const struct cask_plan *plan, const struct cask_step *step,
                          struct cask_batchnorm norms[CASK_STEP_REDUCES],
                          struct cask_reduction reductions[CASK_STEP_REDUCES])
{
    for (int i = 0; i < step->reduce_count; i++) {
        const int norm = step->reduces[i];
        norms[i] = cask_step_norm(plan, norm);
        reductions[i] = (struct cask_reduction){.norm = &norms[i],
                                                .x = &plan->tensors[plan->steps[norm].inputs[0]],
                                                .grads = cask_step_norm_grads(plan, norm)};
    }
}
