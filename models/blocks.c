/* models/blocks.c - pieces that several network families are built of. */
#include "models/graph.h"

struct cask_conv_spec cask_square_conv(int out_c, int kernel, int stride, int groups)
{
    const int pad = kernel / 2;
    return (struct cask_conv_spec){
        .out_c = out_c,
        .kernel_h = kernel,
        .kernel_w = kernel,
        .stride = stride,
        .pad_top = pad,
        .pad_left = pad,
        .pad_bottom = pad,
        .pad_right = pad,
        .groups = groups,
    };
}

int cask_graph_add_square_conv(struct cask_graph *graph, int x, const char *name, int out_c,
                               int kernel, int stride, int groups)
{
    const struct cask_conv_spec spec = cask_square_conv(out_c, kernel, stride, groups);
    return cask_graph_add_conv(graph, x, name, &spec);
}

int cask_graph_add_global_depthwise(struct cask_graph *graph, int x, const char *name)
{
    const struct cask_value *map = cask_graph_value(graph, x);
    const struct cask_conv_spec spec = {
        .out_c = map->c,
        .kernel_h = map->h,
        .kernel_w = map->w,
        .stride = 1,
        .groups = map->c,
    };
    return cask_graph_add_conv(graph, x, name, &spec);
}

int cask_graph_add_plain_batchnorm(struct cask_graph *graph, int x, const char *name)
{
    return cask_graph_add_batchnorm(graph, x, name, graph->norm.eps, CASK_AFFINE_TRAINED);
}
