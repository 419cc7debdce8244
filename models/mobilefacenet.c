/* models/mobilefacenet.c - MobileFaceNet (Chen et al. 2018, arXiv 1804.07573): one network, three
 * sets of keys.
 *
 *   mobilefacenet           TFace, the one that EKD trains: last batch norm without weights
 *   cavaface_mobilefacenet  the same keys, last batch norm with weights
 *   facex_mobilefacenet     FaceX-Zoo and TreB1eN: the head at the top level, with weights
 *
 * A bottleneck is 1x1 up to `groups` channels, depthwise 3x3, 1x1 down without activation.
 */
#include <string.h>

#include "models/graph.h"

static int batchnorm(struct cask_graph *graph, int x, const char *name)
{
    return cask_graph_add_plain_batchnorm(graph, x, cask_graph_text(graph, "%s.bn", name));
}

static int conv_bn(struct cask_graph *graph, int x, const char *name, int out_c, int kernel,
                   int stride, int groups)
{
    x = cask_graph_add_square_conv(graph, x, cask_graph_text(graph, "%s.conv", name), out_c, kernel,
                                   stride, groups);
    return batchnorm(graph, x, name);
}

static int conv_bn_prelu(struct cask_graph *graph, int x, const char *name, int out_c, int kernel,
                         int stride, int groups)
{
    x = conv_bn(graph, x, name, out_c, kernel, stride, groups);
    return cask_graph_add_activation(graph, x, cask_graph_text(graph, "%s.prelu", name),
                                     CASK_ACT_PRELU);
}

static int bottleneck(struct cask_graph *graph, int x, const char *name, int out_c, int groups,
                      int stride)
{
    x = conv_bn_prelu(graph, x, cask_graph_text(graph, "%s.conv", name), groups, 1, 1, 1);
    x = conv_bn_prelu(graph, x, cask_graph_text(graph, "%s.conv_dw", name), groups, 3, stride,
                      groups);
    return conv_bn(graph, x, cask_graph_text(graph, "%s.project", name), out_c, 1, 1, 1);
}

static int residuals(struct cask_graph *graph, int x, const char *name, int channels, int groups,
                     int count)
{
    for (int i = 0; i < count; i++) {
        const char *path = cask_graph_text(graph, "%s.model.%d", name, i);
        int y = bottleneck(graph, x, path, channels, groups, 1);
        x = cask_graph_add_add(graph, y, x, cask_graph_text(graph, "%s.add", path));
    }
    return x;
}

/* Global depthwise: one learned weight a pixel and channel instead of an average. */
static int head(struct cask_graph *g, int x, const char *prefix, enum cask_affine affine,
                int embedding)
{
    const char *name = cask_graph_text(g, "%sconv_6_dw", prefix);
    x = cask_graph_add_global_depthwise(g, x, cask_graph_text(g, "%s.conv", name));
    x = batchnorm(g, x, name);
    x = cask_graph_add_linear(g, x, cask_graph_text(g, "%slinear", prefix), embedding, false);
    return cask_graph_add_batchnorm(g, x, cask_graph_text(g, "%sbn", prefix), 1e-5, affine);
}

enum cask_status cask_build_mobilefacenet(const char *name, int embedding, int height, int width,
                                          struct cask_graph **graph, struct cask_error *err)
{
    const bool facex = strcmp(name, "facex_mobilefacenet") == 0;
    const bool tface = strcmp(name, "mobilefacenet") == 0;
    const enum cask_init_rule rule = facex ? CASK_INIT_PYTORCH : CASK_INIT_KAIMING;
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = rule, .linear = rule};
    int x = conv_bn_prelu(g, CASK_GRAPH_INPUT, "conv1", 64, 3, 2, 1);
    x = conv_bn_prelu(g, x, "conv2_dw", 64, 3, 1, 64);
    x = bottleneck(g, x, "conv_23", 64, 128, 2);
    x = residuals(g, x, "conv_3", 64, 128, 4);
    x = bottleneck(g, x, "conv_34", 128, 256, 2);
    x = residuals(g, x, "conv_4", 128, 256, 6);
    x = bottleneck(g, x, "conv_45", 128, 512, 2);
    x = residuals(g, x, "conv_5", 128, 256, 2);
    x = conv_bn_prelu(g, x, "conv_6_sep", 512, 1, 1, 1);
    x = head(g, x, facex ? "" : "output_layer.", tface ? CASK_AFFINE_NONE : CASK_AFFINE_TRAINED,
             embedding);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
