/* Any bytes as the ONNX file that a network starts from: pairing its layers, moving its weights,
 * and what is said where they do not fit. The first byte chooses the network, the rest is the file.
 * Two small networks have every kind of layer; the corpus holds their exports (batch norms kept,
 * folded, with pixels in the graph, as float16), each also before the other network, and mutations.
 *
 * The names of the registry are tried on inputs whose first byte is 0 or 1 alone: that builds some
 * thirty graphs. */
#include <stdlib.h>

#include "common/mem.h"
#include "models/graph_match.h"
#include "models/memory.h"
#include "models/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { SIZE = 8, CHANNELS = 4, EMBEDDING = 5 };

static int add_conv(struct cask_graph *g, int x, const char *name, int kernel, int stride,
                    int groups, bool bias)
{
    struct cask_conv_spec spec = cask_square_conv(CHANNELS, kernel, stride, groups);
    spec.bias = bias;
    return cask_graph_add_conv(g, x, name, &spec);
}

/* A batch norm in front, a pool that leaves pixels out beside, one without weights behind. */
static int add_residual(struct cask_graph *g)
{
    int x = add_conv(g, CASK_GRAPH_INPUT, "stem", 3, 1, 1, false);
    x = cask_graph_add_batchnorm(g, x, "stem_bn", 2e-5, CASK_AFFINE_FROZEN_GAMMA);
    x = cask_graph_add_activation(g, x, "prelu", CASK_ACT_PRELU);
    int y = cask_graph_add_batchnorm(g, x, "lead", 2e-5, CASK_AFFINE_TRAINED);
    y = add_conv(g, y, "conv", 3, 2, 1, false);
    y = cask_graph_add_batchnorm(g, y, "bn", 2e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_add(g, y, cask_graph_add_subsample(g, x, "side", 2), "sum");
    x = cask_graph_add_linear(g, x, "fc", EMBEDDING, true);
    return cask_graph_add_batchnorm(g, x, "features", 2e-5, CASK_AFFINE_NONE);
}

/* Depthwise and pooled, with a gate of two 1x1 convolutions. */
static int add_gated(struct cask_graph *g)
{
    int x = add_conv(g, CASK_GRAPH_INPUT, "stem", 3, 2, 1, true);
    x = cask_graph_add_activation(g, x, "swish", CASK_ACT_HARD_SWISH);
    x = add_conv(g, x, "depthwise", 3, 1, CHANNELS, false);
    x = cask_graph_add_batchnorm(g, x, "bn", 1e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_max_pool(g, x, "pool", 2, 2, 0);
    int gate = cask_graph_add_average_pool(g, x, "mean");
    gate = add_conv(g, gate, "down", 1, 1, 1, true);
    gate = cask_graph_add_activation(g, gate, "relu", CASK_ACT_RELU);
    gate = add_conv(g, gate, "up", 1, 1, 1, true);
    gate = cask_graph_add_activation(g, gate, "gate", CASK_ACT_HARD_SIGMOID);
    x = cask_graph_add_scale(g, x, gate, "scaled");
    x = cask_graph_add_global_depthwise(g, x, "whole");
    return cask_graph_add_linear(g, x, "fc", EMBEDDING, false);
}

static enum cask_status build(int which, struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st =
        cask_graph_begin(which ? "gated" : "residual", true, 3, SIZE, SIZE, graph, err);
    if (st == CASK_OK) {
        st = cask_graph_finish(*graph, which ? add_gated(*graph) : add_residual(*graph), err);
    }
    return st;
}

/* No layer of the file does the work of two. */
static void check_pairs(const struct cask_graph *network, const struct cask_graph *file,
                        const struct cask_match *match)
{
    for (int i = 0; i < network->node_count; i++) {
        const int pair = match->pairs[i];
        bool good =
            pair == CASK_MATCH_FOLDED || (pair >= match->leading && pair < file->node_count);
        for (int k = 0; k < i; k++) {
            good &= pair == CASK_MATCH_FOLDED || pair != match->pairs[k];
        }
        if (!good) {
            abort();
        }
    }
}

static void start(struct cask_net *net, struct cask_net *file, bool names)
{
    char text[600];
    struct cask_error err;
    struct cask_start start = {0};
    struct cask_match match = {0};
    bool fits = false;
    if (cask_match_graphs(net->graph, file->graph, &match, &fits, &err) == CASK_OK) {
        cask_match_difference(net->graph, file->graph, &match, text, sizeof text);
        if (fits) {
            check_pairs(net->graph, file->graph, &match);
        }
        if (fits || names) {
            (void)cask_net_start_from(net, file, &start, &err);
        }
    }
    cask_match_release(&match);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_model file = {0};
    bool normalises = false;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    if (bytes > 0 && cask_device_open(&options, &device, &err) == CASK_OK &&
        cask_onnx_open_memory(device, data + 1, bytes - 1, &file, &normalises, &err) == CASK_OK &&
        build(data[0] & 1, &graph, &err) == CASK_OK &&
        cask_net_create(graph, device, false, &net, &err) == CASK_OK) {
        start(net, file.net, data[0] >> 1 == 0);
    }
    cask_net_free(net);
    cask_graph_free(graph);
    cask_model_close(&file);
    cask_device_close(device);
    return 0;
}
