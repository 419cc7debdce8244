/* models/mbf.c - insightface's MobileFaceNet ("mbf", "mbf_large"; recognition/arcface_torch).
 *
 * Wider than the paper's: channels are scaled by 2 or 4, but the expansion widths 128, 256, 512 are
 * constants. With scale 2 the second layer keeps 64 groups, so it has two input channels a group.
 */
#include <string.h>

#include "models/graph.h"

static int batchnorm(struct cask_graph *graph, int x, const char *name)
{
    return cask_graph_add_plain_batchnorm(graph, x, cask_graph_text(graph, "%s.layers.1", name));
}

static int conv_bn(struct cask_graph *graph, int x, const char *name, int out_c, int kernel,
                   int stride, int groups)
{
    x = cask_graph_add_square_conv(graph, x, cask_graph_text(graph, "%s.layers.0", name), out_c,
                                   kernel, stride, groups);
    return batchnorm(graph, x, name);
}

static int conv_block(struct cask_graph *graph, int x, const char *name, int out_c, int kernel,
                      int stride, int groups)
{
    x = conv_bn(graph, x, name, out_c, kernel, stride, groups);
    return cask_graph_add_activation(graph, x, cask_graph_text(graph, "%s.layers.2", name),
                                     CASK_ACT_PRELU);
}

static int bottleneck(struct cask_graph *graph, int x, const char *name, int out_c, int expansion,
                      int stride)
{
    x = conv_block(graph, x, cask_graph_text(graph, "%s.layers.0", name), expansion, 1, 1, 1);
    x = conv_block(graph, x, cask_graph_text(graph, "%s.layers.1", name), expansion, 3, stride,
                   expansion);
    return conv_bn(graph, x, cask_graph_text(graph, "%s.layers.2", name), out_c, 1, 1, 1);
}

static int residuals(struct cask_graph *graph, int x, const char *name, int channels, int expansion,
                     int count)
{
    for (int i = 0; i < count; i++) {
        const char *path = cask_graph_text(graph, "%s.layers.%d", name, i);
        int y = bottleneck(graph, x, path, channels, expansion, 1);
        x = cask_graph_add_add(graph, y, x, cask_graph_text(graph, "%s.add", path));
    }
    return x;
}

/* layers.0 .. layers.7 */
static int body(struct cask_graph *graph, int scale, const int blocks[4])
{
    const int narrow = 64 * scale, wide = 128 * scale;
    int x = conv_block(graph, CASK_GRAPH_INPUT, "layers.0", narrow, 3, 2, 1);
    if (blocks[0] == 1) {
        x = conv_block(graph, x, "layers.1", narrow, 3, 1, 64);
    } else {
        x = residuals(graph, x, "layers.1", narrow, 128, blocks[0]);
    }
    x = bottleneck(graph, x, "layers.2", narrow, 128, 2);
    x = residuals(graph, x, "layers.3", narrow, 128, blocks[1]);
    x = bottleneck(graph, x, "layers.4", wide, 256, 2);
    x = residuals(graph, x, "layers.5", wide, 256, blocks[2]);
    x = bottleneck(graph, x, "layers.6", wide, 512, 2);
    return residuals(graph, x, "layers.7", wide, 256, blocks[3]);
}

enum cask_status cask_build_mbf(const char *name, int embedding, int height, int width,
                                struct cask_graph **graph, struct cask_error *err)
{
    static const int standard[4] = {1, 4, 6, 2}, large[4] = {2, 8, 12, 4};
    const bool is_large = strcmp(name, "mbf_large") == 0;
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_KAIMING};
    int x = body(g, is_large ? 4 : 2, is_large ? large : standard);
    x = conv_block(g, x, "conv_sep", 512, 1, 1, 1);
    x = cask_graph_add_global_depthwise(g, x, "features.layers.0.layers.0");
    x = batchnorm(g, x, "features.layers.0");
    x = cask_graph_add_linear(g, x, "features.layers.2", embedding, false);
    x = cask_graph_add_plain_batchnorm(g, x, "features.layers.3");
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
