/* models/plan_print.c - the plan as a table for people. */
#include <inttypes.h>

#include "models/plan.h"

static const char *activation_name(enum cask_activation activation)
{
    static const char *const names[] = {
        [CASK_ACT_NONE] = "",
        [CASK_ACT_RELU] = "relu",
        [CASK_ACT_PRELU] = "prelu",
        [CASK_ACT_SIGMOID] = "sigmoid",
        [CASK_ACT_HARD_SIGMOID] = "hard_sigmoid",
        [CASK_ACT_HARD_SWISH] = "hard_swish",
    };
    return names[activation];
}

/* "conv", "batchnorm+prelu", "batchnorm+conv+batchnorm+add+prelu" */
static void kind_of(const struct cask_step *step, char *text, size_t bytes)
{
    const struct cask_node *node = step->node;
    const bool sum = node->kind != CASK_LAYER_ADD && node->inputs[1] < 0 && step->inputs[1] >= 0;
    if (node->kind == CASK_LAYER_ACTIVATION) {
        snprintf(text, bytes, "%s", activation_name(node->activation));
        return;
    }
    snprintf(text, bytes, "%s%s%s%s%s%s", step->before != NULL ? "batchnorm+" : "",
             cask_layer(node->kind)->name, step->folded != NULL ? "+batchnorm" : "",
             sum ? "+add" : "", step->activation != NULL ? "+" : "",
             step->activation != NULL ? activation_name(step->activation->activation) : "");
}

void cask_plan_print(const struct cask_plan *plan, FILE *stream)
{
    const struct cask_graph *graph = plan->net->graph;
    fprintf(stream, "%s, batch %d, %s, %.1f MB of activations\n", graph->name, plan->batch,
            plan->mode == CASK_MODE_TRAIN ? "train" : "eval", (double)plan->memory.bytes / 1e6);
    fprintf(stream, "%-36s %-33s %15s %13s  %s\n", "layer", "kind", "output C x H x W",
            "MACs/image", "implementation");
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        const struct cask_value *out = cask_graph_value(graph, step->output);
        char kind[48], shape[48];
        kind_of(step, kind, sizeof kind);
        snprintf(shape, sizeof shape, "%d x %d x %d", out->c, out->h, out->w);
        fprintf(stream, "%-36s %-33s %16s %13" PRId64 "  %s\n", step->node->name, kind, shape,
                cask_layer_macs(graph, step->node),
                step->conv != NULL ? plan->ops->conv_describe(step->conv) : plan->ops->name);
    }
    fprintf(stream, "%" PRId64 " parameters, %" PRId64 " MACs per image\n",
            cask_graph_parameters(graph), cask_graph_macs(graph));
}
