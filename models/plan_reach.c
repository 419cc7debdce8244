/* models/plan_reach.c - how far back training goes.
 *
 * A step runs backward if it trains something, or if something behind it does. Parameters that were
 * frozen (cask_net_freeze) train nothing, so below the lowest layer that still trains there is no
 * backward at all: no gradient is computed there, and no activation is kept for it.
 *
 * Backward can only end at a convolution, a linear layer or a sum. Where the lowest trained layer
 * is another one, it goes on to the next of these, whose gradients then mean nothing.
 */
#include "models/plan.h"

static bool trains(const struct cask_plan *plan, const struct cask_node *node)
{
    for (int slot = 0; node != NULL && slot < CASK_SLOTS; slot++) {
        if (node->params[slot] >= 0 && cask_net_trains(plan->net, node->params[slot])) {
            return true;
        }
    }
    return false;
}

int cask_plan_producer(const struct cask_plan *plan, int value)
{
    for (int i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].output == value) {
            return i;
        }
    }
    return -1;
}

bool cask_step_may_be_first(const struct cask_step *step)
{
    const enum cask_layer_kind kind = step->node->kind;
    return kind == CASK_LAYER_CONV || kind == CASK_LAYER_LINEAR || kind == CASK_LAYER_ADD;
}

void cask_plan_reach(struct cask_plan *plan)
{
    if (plan->mode != CASK_MODE_TRAIN) {
        return;
    }
    for (int i = 0; i < plan->step_count; i++) {
        struct cask_step *step = &plan->steps[i];
        step->back = trains(plan, step->node) || trains(plan, step->activation);
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            const int maker = step->inputs[k] < 0 ? -1 : cask_plan_producer(plan, step->inputs[k]);
            step->back = step->back || (maker >= 0 && plan->steps[maker].back);
        }
    }
    /* With everything frozen it ends as soon as it can. */
    plan->steps[cask_plan_producer(plan, plan->net->graph->output)].back = true;
    for (int i = plan->step_count - 1; i >= 0; i--) {
        const struct cask_step *step = &plan->steps[i];
        for (int k = 0; k < CASK_NODE_INPUTS && step->back && !cask_step_may_be_first(step); k++) {
            const int maker = step->inputs[k] < 0 ? -1 : cask_plan_producer(plan, step->inputs[k]);
            if (maker >= 0) {
                plan->steps[maker].back = true;
            }
        }
    }
}
