/* models/xiaoccer.c - MobileFaceNet as Xiaoccer/MobileFaceNet_Pytorch publishes it: 112 x 96 pixels
 * (height x width), 128 numbers, blocks numbered through, and the last linear layer written as a
 * 1x1 convolution. */
#include "models/graph.h"

/* PATH.conv, PATH.bn, PATH.prelu */
static int unit(struct cask_graph *g, int x, const char *path, int out_c, int kernel, int stride,
                int groups, bool active)
{
    x = cask_graph_add_square_conv(g, x, cask_graph_text(g, "%s.conv", path), out_c, kernel, stride,
                                   groups);
    x = cask_graph_add_plain_batchnorm(g, x, cask_graph_text(g, "%s.bn", path));
    return active ? cask_graph_add_activation(g, x, cask_graph_text(g, "%s.prelu", path),
                                              CASK_ACT_PRELU)
                  : x;
}

/* Layers 3n, 3n + 1, 3n + 2 of a block: convolution, batch norm, PReLU. */
static int third(struct cask_graph *g, int x, const char *path, int n, int out_c, int kernel,
                 int stride, int groups)
{
    x = cask_graph_add_square_conv(g, x, cask_graph_text(g, "%s.%d", path, 3 * n), out_c, kernel,
                                   stride, groups);
    x = cask_graph_add_plain_batchnorm(g, x, cask_graph_text(g, "%s.%d", path, 3 * n + 1));
    return n < 2 ? cask_graph_add_activation(g, x, cask_graph_text(g, "%s.%d", path, 3 * n + 2),
                                             CASK_ACT_PRELU)
                 : x;
}

static int block(struct cask_graph *g, int x, int number, int expansion, int out_c, int stride)
{
    const char *path = cask_graph_text(g, "blocks.%d.conv", number);
    const int in_c = cask_graph_value(g, x)->c, wide = in_c * expansion;
    int y = third(g, x, path, 0, wide, 1, 1, 1);
    y = third(g, y, path, 1, wide, 3, stride, wide);
    y = third(g, y, path, 2, out_c, 1, 1, 1);
    const bool same = stride == 1 && in_c == out_c;
    return same ? cask_graph_add_add(g, y, x, cask_graph_text(g, "%s.add", path)) : y;
}

enum cask_status cask_build_xiaoccer(const char *name, int embedding, int height, int width,
                                     struct cask_graph **graph, struct cask_error *err)
{
    static const struct {
        int expansion, out_c, count, stride;
    } groups[] = {{2, 64, 5, 2}, {4, 128, 1, 2}, {2, 128, 6, 1}, {4, 128, 1, 2}, {2, 128, 2, 1}};
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_KAIMING};
    int x = unit(g, CASK_GRAPH_INPUT, "conv1", 64, 3, 2, 1, true), number = 0;
    x = unit(g, x, "dw_conv1", 64, 3, 1, 64, true);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        for (int n = 0; n < groups[i].count; n++) {
            x = block(g, x, number++, groups[i].expansion, groups[i].out_c,
                      n == 0 ? groups[i].stride : 1);
        }
    }
    x = unit(g, x, "conv2", 512, 1, 1, 1, true);
    x = cask_graph_add_global_depthwise(g, x, "linear7.conv");
    x = cask_graph_add_plain_batchnorm(g, x, "linear7.bn");
    x = unit(g, x, "linear1", embedding, 1, 1, 1, false);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
