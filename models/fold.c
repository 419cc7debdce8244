/* models/fold.c - a batch norm behind a convolution or linear layer moves into its weights. With
 * s = gamma / sqrt(var + eps):
 *
 *   BN(W x + b) = (s W) x + (s (b - mean) + beta)
 *
 * computed in double, so the only rounding is that of storing the product.
 */
#include <math.h>

#include "models/net.h"

const struct cask_node *cask_graph_sole_reader(const struct cask_graph *graph, int value)
{
    if (value == graph->output || graph->values[value].consumers != 1) {
        return NULL;
    }
    for (int i = graph->values[value].producer + 1; i < graph->node_count; i++) {
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (graph->nodes[i].inputs[k] == value) {
                return &graph->nodes[i];
            }
        }
    }
    return NULL;
}

const struct cask_node *cask_graph_foldable(const struct cask_graph *graph,
                                            const struct cask_node *node)
{
    if (node->kind != CASK_LAYER_CONV && node->kind != CASK_LAYER_LINEAR) {
        return NULL;
    }
    const struct cask_node *next = cask_graph_sole_reader(graph, node->output);
    return next != NULL && next->kind == CASK_LAYER_BATCHNORM ? next : NULL;
}

/* One value per output channel of a parameter that may be absent. */
static void read_or(const struct cask_net *net, const struct cask_node *node, enum cask_slot slot,
                    double absent, int count, double *out)
{
    if (node->params[slot] >= 0) {
        cask_net_read(net, node->params[slot], 0, count, out);
        return;
    }
    for (int i = 0; i < count; i++) {
        out[i] = absent;
    }
}

enum cask_status cask_net_fold(const struct cask_net *net, const struct cask_node *node,
                               const struct cask_node *bn, double *scale, double *bias,
                               struct cask_error *err)
{
    const int channels = node->conv.out_c;
    double *host = cask_alloc(4 * (size_t)channels, sizeof *host);
    if (host == NULL) {
        return cask_error_memory(err, 4 * (size_t)channels * sizeof *host, "folded weights");
    }
    double *gamma = host, *beta = gamma + channels, *mean = beta + channels, *var = mean + channels;
    read_or(net, node, CASK_SLOT_BIAS, 0, channels, bias);
    read_or(net, bn, CASK_SLOT_WEIGHT, 1, channels, gamma);
    read_or(net, bn, CASK_SLOT_BIAS, 0, channels, beta);
    read_or(net, bn, CASK_SLOT_MEAN, 0, channels, mean);
    read_or(net, bn, CASK_SLOT_VAR, 1, channels, var);
    for (int c = 0; c < channels; c++) {
        scale[c] = gamma[c] / sqrt(var[c] + bn->eps);
        bias[c] = scale[c] * (bias[c] - mean[c]) + beta[c];
    }
    cask_free(host);
    return CASK_OK;
}
