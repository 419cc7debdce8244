/* models/fold.c - a batch norm is x -> s x + t, per channel, with
 *
 *     s = gamma / sqrt(var + eps)        t = beta - mean s
 *
 * and moves into the weights of the convolution or linear layer in front of it:
 *
 *     BN(W x + b) = (s W) x + (s b + t)
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

void cask_net_read_or(const struct cask_net *net, const struct cask_node *node, enum cask_slot slot,
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

enum cask_status cask_net_affine(const struct cask_net *net, const struct cask_node *bn,
                                 int channels, double *scale, double *shift, struct cask_error *err)
{
    double *mean = cask_alloc(2 * (size_t)channels, sizeof *mean), *var = mean + channels;
    if (mean == NULL) {
        return cask_error_memory(err, 2 * (size_t)channels * sizeof *mean, "folded batch norm");
    }
    cask_net_read_or(net, bn, CASK_SLOT_WEIGHT, 1, channels, scale);
    cask_net_read_or(net, bn, CASK_SLOT_BIAS, 0, channels, shift);
    cask_net_read_or(net, bn, CASK_SLOT_MEAN, 0, channels, mean);
    cask_net_read_or(net, bn, CASK_SLOT_VAR, 1, channels, var);
    for (int c = 0; c < channels; c++) {
        scale[c] /= sqrt(var[c] + bn->eps);
        shift[c] -= mean[c] * scale[c];
    }
    cask_free(mean);
    return CASK_OK;
}

enum cask_status cask_net_fold(const struct cask_net *net, const struct cask_node *node,
                               const struct cask_node *bn, double *scale, double *bias,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int channels = node->conv.out_c;
    double *shift = cask_alloc((size_t)channels, sizeof *shift);
    if (shift == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)channels * sizeof *shift, "folded weights"));
    }
    CASK_TRY(cask_net_affine(net, bn, channels, scale, shift, err));
    cask_net_read_or(net, node, CASK_SLOT_BIAS, 0, channels, bias);
    for (int c = 0; c < channels; c++) {
        bias[c] = scale[c] * bias[c] + shift[c];
    }
done:
    cask_free(shift);
    return st;
}
