/* models/resnet.c - ResNet with an embedding for a classifier (He et al. 2015, arXiv 1512.03385;
 * the stride of a bottleneck stands at its 3x3, "v1.5").
 *
 *   resnet18, 34, 50  torchvision's layout, PWR's students: average pool, then fc
 *   evolve_resnet50   face.evoLVe: batch norm, fc over the whole map, batch norm
 *
 * The 7x7 stem and the pooling after it quarter the picture at once: 4 to 10 times fewer
 * multiply-adds than IResNet of the same depth.
 */
#include <string.h>

#include "models/graph.h"

static const struct network {
    const char *name;
    bool bottleneck, evolve;
    int blocks[4];
} networks[] = {
    {"resnet18", false, false, {2, 2, 2, 2}},
    {"resnet34", false, false, {3, 4, 6, 3}},
    {"resnet50", true, false, {3, 4, 6, 3}},
    {"evolve_resnet50", true, true, {3, 4, 6, 3}},
};

/* PATH.conv<number>, PATH.bn<number>, and ReLU if another layer follows in the block. */
static int conv_bn(struct cask_graph *g, int x, const char *path, int number, int out_c, int kernel,
                   int stride, bool active)
{
    x = cask_graph_add_square_conv(g, x, cask_graph_text(g, "%s.conv%d", path, number), out_c,
                                   kernel, stride, 1);
    x = cask_graph_add_plain_batchnorm(g, x, cask_graph_text(g, "%s.bn%d", path, number));
    return active ? cask_graph_add_activation(g, x, cask_graph_text(g, "%s.relu%d", path, number),
                                              CASK_ACT_RELU)
                  : x;
}

static int block(struct cask_graph *g, int x, const char *path, bool bottleneck, int width,
                 int stride)
{
    const int out_c = bottleneck ? 4 * width : width;
    int y, side = x;
    if (bottleneck) {
        y = conv_bn(g, x, path, 1, width, 1, 1, true);
        y = conv_bn(g, y, path, 2, width, 3, stride, true);
        y = conv_bn(g, y, path, 3, out_c, 1, 1, false);
    } else {
        y = conv_bn(g, x, path, 1, width, 3, stride, true);
        y = conv_bn(g, y, path, 2, width, 3, 1, false);
    }
    if (stride != 1 || cask_graph_value(g, x)->c != out_c) {
        side = cask_graph_add_square_conv(g, x, cask_graph_text(g, "%s.downsample.0", path), out_c,
                                          1, stride, 1);
        side = cask_graph_add_plain_batchnorm(g, side, cask_graph_text(g, "%s.downsample.1", path));
    }
    y = cask_graph_add_add(g, y, side, cask_graph_text(g, "%s.add", path));
    return cask_graph_add_activation(g, y, cask_graph_text(g, "%s.relu", path), CASK_ACT_RELU);
}

static int head(struct cask_graph *g, int x, bool evolve, int embedding)
{
    if (evolve) {
        x = cask_graph_add_plain_batchnorm(g, x, "bn_o1");
        x = cask_graph_add_linear(g, x, "fc", embedding, true);
        return cask_graph_add_plain_batchnorm(g, x, "bn_o2");
    }
    x = cask_graph_add_average_pool(g, x, "avgpool");
    return cask_graph_add_linear(g, x, "fc", embedding, true);
}

static const struct network *find(const char *name)
{
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        if (strcmp(name, networks[i].name) == 0) {
            return &networks[i];
        }
    }
    return NULL;
}

enum cask_status cask_build_resnet(const char *name, int embedding, int height, int width,
                                   struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    const struct network *net = find(name);
    *graph = NULL;
    if (net == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%s is not a ResNet", name));
    }
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING,
                                 .linear = CASK_INIT_PYTORCH,
                                 .zero_gamma = net->evolve ? ".bn3.weight" : NULL};
    int x = cask_graph_add_square_conv(g, CASK_GRAPH_INPUT, "conv1", 64, 7, 2, 1);
    x = cask_graph_add_plain_batchnorm(g, x, "bn1");
    x = cask_graph_add_activation(g, x, "relu", CASK_ACT_RELU);
    x = cask_graph_add_max_pool(g, x, "maxpool", 3, 2, 1);
    for (int stage = 0; stage < 4; stage++) {
        for (int i = 0; i < net->blocks[stage]; i++) {
            const char *path = cask_graph_text(g, "layer%d.%d", stage + 1, i);
            x = block(g, x, path, net->bottleneck, 64 << stage, i == 0 && stage > 0 ? 2 : 1);
        }
    }
    x = head(g, x, net->evolve, embedding);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
