/* models/iresnet.c - IResNet as insightface trains it (recognition/arcface_torch, "r18" .. "r200").
 *
 * A block is BN, conv 3x3, BN, PReLU, conv 3x3 (stride), BN, plus the shortcut from the block's raw
 * input; nothing follows the sum. Every stage halves the picture in its first block, whose shortcut
 * is a strided 1x1 convolution with BN.
 */
#include <string.h>

#include "models/graph.h"

static int block(struct cask_graph *graph, int x, const char *name, int out_c, int stride)
{
    int y = cask_graph_add_plain_batchnorm(graph, x, cask_graph_text(graph, "%s.bn1", name));
    y = cask_graph_add_square_conv(graph, y, cask_graph_text(graph, "%s.conv1", name), out_c, 3, 1,
                                   1);
    y = cask_graph_add_plain_batchnorm(graph, y, cask_graph_text(graph, "%s.bn2", name));
    y = cask_graph_add_activation(graph, y, cask_graph_text(graph, "%s.prelu", name),
                                  CASK_ACT_PRELU);
    y = cask_graph_add_square_conv(graph, y, cask_graph_text(graph, "%s.conv2", name), out_c, 3,
                                   stride, 1);
    y = cask_graph_add_plain_batchnorm(graph, y, cask_graph_text(graph, "%s.bn3", name));
    int shortcut = x;
    if (stride != 1) {
        shortcut = cask_graph_add_square_conv(
            graph, x, cask_graph_text(graph, "%s.downsample.0", name), out_c, 1, stride, 1);
        shortcut = cask_graph_add_plain_batchnorm(graph, shortcut,
                                                  cask_graph_text(graph, "%s.downsample.1", name));
    }
    return cask_graph_add_add(graph, y, shortcut, cask_graph_text(graph, "%s.add", name));
}

static const int *blocks_of(const char *name)
{
    static const struct {
        const char *name;
        int blocks[4];
    } depths[] = {
        {"ir18", {2, 2, 2, 2}},    {"ir34", {3, 4, 6, 3}},    {"ir50", {3, 4, 14, 3}},
        {"ir100", {3, 13, 30, 3}}, {"ir200", {6, 26, 60, 6}},
    };
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        if (strcmp(name, depths[i].name) == 0) {
            return depths[i].blocks;
        }
    }
    return NULL;
}

enum cask_status cask_build_iresnet(const char *name, int embedding, int height, int width,
                                    struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    const int *blocks = blocks_of(name);
    *graph = NULL;
    if (blocks == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%s is not an IResNet", name));
    }
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_NORMAL_01, .linear = CASK_INIT_PYTORCH};
    int x = cask_graph_add_square_conv(g, CASK_GRAPH_INPUT, "conv1", 64, 3, 1, 1);
    x = cask_graph_add_plain_batchnorm(g, x, "bn1");
    x = cask_graph_add_activation(g, x, "prelu", CASK_ACT_PRELU);
    for (int stage = 0; stage < 4; stage++) {
        for (int i = 0; i < blocks[stage]; i++) {
            const char *path = cask_graph_text(g, "layer%d.%d", stage + 1, i);
            x = block(g, x, path, 64 << stage, i == 0 ? 2 : 1);
        }
    }
    x = cask_graph_add_plain_batchnorm(g, x, "bn2");
    x = cask_graph_add_linear(g, x, "fc", embedding, true);
    x = cask_graph_add_batchnorm(g, x, "features", 1e-5, CASK_AFFINE_FROZEN_GAMMA);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
