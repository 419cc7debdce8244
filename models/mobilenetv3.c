/* models/mobilenetv3.c - MobileNetV3-Large as cavaface trains it at 112 x 112
 * ("mobilenetv3_large"): the stem keeps the picture's size, PReLU everywhere, gates before the
 * activation, and a 7x7 depthwise convolution takes the place of the pooling. */
#include "models/mobilenetv3.h"

const struct cask_v3_row cask_v3_rows[CASK_V3_ROWS] = {
    {3, 16, 16, 0, false, 1},    {3, 64, 24, 0, false, 2},    {3, 72, 24, 0, false, 1},
    {5, 72, 40, 24, false, 2},   {5, 120, 40, 32, false, 1},  {5, 120, 40, 32, false, 1},
    {3, 240, 80, 0, true, 2},    {3, 200, 80, 0, true, 1},    {3, 184, 80, 0, true, 1},
    {3, 184, 80, 0, true, 1},    {3, 480, 112, 120, true, 1}, {3, 672, 112, 168, true, 1},
    {5, 672, 160, 168, true, 2}, {5, 960, 160, 240, true, 1}, {5, 960, 160, 240, true, 1},
};

int cask_v3_residual(struct cask_graph *graph, int x, int y, const struct cask_v3_row *row,
                     const char *path)
{
    const bool same = row->stride == 1 && cask_graph_value(graph, x)->c == row->out_c;
    return same ? cask_graph_add_add(graph, y, x, cask_graph_text(graph, "%s.add", path)) : y;
}

/* One block under construction. */
struct body {
    struct cask_graph *g;
    const char *path;
    int next, x;
};

static const char *next_name(struct body *b)
{
    return cask_graph_text(b->g, "%s.%d", b->path, b->next++);
}

static void conv_bn(struct body *b, int out_c, int kernel, int stride, int groups)
{
    b->x = cask_graph_add_square_conv(b->g, b->x, next_name(b), out_c, kernel, stride, groups);
    b->x = cask_graph_add_plain_batchnorm(b->g, b->x, next_name(b));
}

static void prelu(struct body *b)
{
    b->x = cask_graph_add_activation(b->g, b->x, next_name(b), CASK_ACT_PRELU);
}

static void gate(struct body *b, int squeezed)
{
    const char *name = next_name(b);
    struct cask_graph *g = b->g;
    if (squeezed == 0) {
        return; /* an identity, which has a number all the same */
    }
    const int channels = cask_graph_value(g, b->x)->c;
    int y = cask_graph_add_average_pool(g, b->x, cask_graph_text(g, "%s.avg_pool", name));
    y = cask_graph_add_linear(g, y, cask_graph_text(g, "%s.fc.0", name), squeezed, true);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.fc.1", name), CASK_ACT_RELU);
    y = cask_graph_add_linear(g, y, cask_graph_text(g, "%s.fc.2", name), channels, true);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.fc.3", name), CASK_ACT_HARD_SIGMOID);
    b->x = cask_graph_add_scale(g, b->x, y, cask_graph_text(g, "%s.scale", name));
}

static int block(struct cask_graph *g, int x, int number, const struct cask_v3_row *row)
{
    struct body b = {.g = g, .path = cask_graph_text(g, "features.%d.conv", number), .x = x};
    const bool expands = row->expansion != cask_graph_value(g, x)->c;
    if (expands) {
        conv_bn(&b, row->expansion, 1, 1, 1);
        prelu(&b);
    }
    conv_bn(&b, row->expansion, row->kernel, row->stride, row->expansion);
    if (expands) {
        gate(&b, row->squeezed);
        prelu(&b);
    } else { /* the first block has them the other way round, without a gate */
        prelu(&b);
        gate(&b, 0);
    }
    conv_bn(&b, row->out_c, 1, 1, 1);
    return cask_v3_residual(g, x, b.x, row, b.path);
}

static int layers(struct cask_graph *g, int embedding)
{
    struct body b = {.g = g, .path = "features.0", .x = CASK_GRAPH_INPUT};
    conv_bn(&b, CASK_V3_STEM, 3, 1, 1);
    prelu(&b);
    for (int i = 0; i < CASK_V3_ROWS; i++) {
        b.x = block(g, b.x, i + 1, &cask_v3_rows[i]);
    }
    b.path = "conv";
    b.next = 0;
    conv_bn(&b, 512, 1, 1, 1);
    prelu(&b);
    int x = cask_graph_add_global_depthwise(g, b.x, "output_layer.conv_6_dw.conv");
    x = cask_graph_add_plain_batchnorm(g, x, "output_layer.conv_6_dw.bn");
    x = cask_graph_add_linear(g, x, "output_layer.linear", embedding, false);
    return cask_graph_add_plain_batchnorm(g, x, "output_layer.bn");
}

enum cask_status cask_build_mobilenetv3(const char *name, int embedding, int height, int width,
                                        struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_KAIMING};
    const int x = layers(g, embedding);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
