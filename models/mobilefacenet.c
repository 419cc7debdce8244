/* models/mobilefacenet.c - MobileFaceNet (Chen et al. 2018, arXiv 1804.07573) in the layout of
 * TFace, the one that EKD trains: embedding 512 unless asked otherwise, last batch norm without
 * affine. Keys as in its state_dict.
 *
 * A bottleneck is 1x1 up to `groups` channels, depthwise 3x3, 1x1 down without activation.
 */
#include "models/graph.h"

struct shape {
    int kernel_h, kernel_w, stride, pad, groups;
};

static int conv_bn(struct cask_graph *graph, int x, const char *name, int out_c,
                   const struct shape *shape)
{
    const struct cask_conv_spec spec = {
        .out_c = out_c,
        .kernel_h = shape->kernel_h,
        .kernel_w = shape->kernel_w,
        .stride = shape->stride,
        .pad_top = shape->pad,
        .pad_left = shape->pad,
        .pad_bottom = shape->pad,
        .pad_right = shape->pad,
        .groups = shape->groups,
    };
    x = cask_graph_add_conv(graph, x, cask_graph_text(graph, "%s.conv", name), &spec);
    return cask_graph_add_batchnorm(graph, x, cask_graph_text(graph, "%s.bn", name), 1e-5,
                                    CASK_AFFINE_TRAINED);
}

static int conv_bn_prelu(struct cask_graph *graph, int x, const char *name, int out_c,
                         const struct shape *shape)
{
    x = conv_bn(graph, x, name, out_c, shape);
    return cask_graph_add_activation(graph, x, cask_graph_text(graph, "%s.prelu", name),
                                     CASK_ACT_PRELU);
}

static int bottleneck(struct cask_graph *graph, int x, const char *name, int out_c, int groups,
                      int stride)
{
    const struct shape pointwise = {1, 1, 1, 0, 1}, depthwise = {3, 3, stride, 1, groups};
    x = conv_bn_prelu(graph, x, cask_graph_text(graph, "%s.conv", name), groups, &pointwise);
    x = conv_bn_prelu(graph, x, cask_graph_text(graph, "%s.conv_dw", name), groups, &depthwise);
    return conv_bn(graph, x, cask_graph_text(graph, "%s.project", name), out_c, &pointwise);
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

enum cask_status cask_build_mobilefacenet(const char *name, int embedding, int height, int width,
                                          struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = CASK_INIT_KAIMING;
    const struct shape stem = {3, 3, 2, 1, 1}, depthwise = {3, 3, 1, 1, 64},
                       pointwise = {1, 1, 1, 0, 1};
    int x = conv_bn_prelu(g, CASK_GRAPH_INPUT, "conv1", 64, &stem);
    x = conv_bn_prelu(g, x, "conv2_dw", 64, &depthwise);
    x = bottleneck(g, x, "conv_23", 64, 128, 2);
    x = residuals(g, x, "conv_3", 64, 128, 4);
    x = bottleneck(g, x, "conv_34", 128, 256, 2);
    x = residuals(g, x, "conv_4", 128, 256, 6);
    x = bottleneck(g, x, "conv_45", 128, 512, 2);
    x = residuals(g, x, "conv_5", 128, 256, 2);
    x = conv_bn_prelu(g, x, "conv_6_sep", 512, &pointwise);
    /* Global depthwise: one learned weight a pixel and channel instead of an average. */
    const struct cask_value *map = cask_graph_value(g, x);
    const struct shape global = {map->h, map->w, 1, 0, 512};
    x = conv_bn(g, x, "output_layer.conv_6_dw", 512, &global);
    x = cask_graph_add_linear(g, x, "output_layer.linear", embedding, false);
    x = cask_graph_add_batchnorm(g, x, "output_layer.bn", 1e-5, CASK_AFFINE_NONE);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
