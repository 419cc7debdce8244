/* models/mobilenetv3.c - MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244) as two face
 * recognition repositories train it at 112 x 112: the stem keeps the picture's size, and a 7x7
 * depthwise convolution takes the place of the pooling.
 *
 *   mobilenetv3_large         cavaface: PReLU everywhere; gates before the activation
 *   yakhyo_mobilenetv3_large  yakhyo/face-recognition: PReLU and hard swish; gates after the
 *                             activation; every convolution has a bias
 */
#include <string.h>

#include "models/graph.h"

static const struct row {
    int kernel, expansion, out_c, squeezed; /* squeezed 0: no gate */
    bool swish;                             /* the paper's nonlinearity: hard swish, else ReLU */
    int stride;
} rows[] = {
    {3, 16, 16, 0, false, 1},    {3, 64, 24, 0, false, 2},    {3, 72, 24, 0, false, 1},
    {5, 72, 40, 24, false, 2},   {5, 120, 40, 32, false, 1},  {5, 120, 40, 32, false, 1},
    {3, 240, 80, 0, true, 2},    {3, 200, 80, 0, true, 1},    {3, 184, 80, 0, true, 1},
    {3, 184, 80, 0, true, 1},    {3, 480, 112, 120, true, 1}, {3, 672, 112, 168, true, 1},
    {5, 672, 160, 168, true, 2}, {5, 960, 160, 240, true, 1}, {5, 960, 160, 240, true, 1},
};

enum { ROWS = sizeof rows / sizeof *rows, STEM = 16 };

/* One block under construction. */
struct block {
    struct cask_graph *g;
    const char *path;
    int next, x;
};

static const char *next_name(struct block *b)
{
    return cask_graph_text(b->g, "%s.%d", b->path, b->next++);
}

static int residual(struct cask_graph *g, int x, int y, const struct row *row, const char *path)
{
    const bool same = row->stride == 1 && cask_graph_value(g, x)->c == row->out_c;
    return same ? cask_graph_add_add(g, y, x, cask_graph_text(g, "%s.add", path)) : y;
}

/* ------------------------------------------------------------------ cavaface */

static void conv_bn(struct block *b, int out_c, int kernel, int stride, int groups)
{
    b->x = cask_graph_add_square_conv(b->g, b->x, next_name(b), out_c, kernel, stride, groups);
    b->x = cask_graph_add_plain_batchnorm(b->g, b->x, next_name(b));
}

static void prelu(struct block *b)
{
    b->x = cask_graph_add_activation(b->g, b->x, next_name(b), CASK_ACT_PRELU);
}

static void gate(struct block *b, int squeezed)
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

static int cavaface_block(struct cask_graph *g, int x, int number, const struct row *row)
{
    struct block b = {.g = g, .path = cask_graph_text(g, "features.%d.conv", number), .x = x};
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
    return residual(g, x, b.x, row, b.path);
}

static int cavaface(struct cask_graph *g, int embedding)
{
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_KAIMING};
    struct block b = {.g = g, .path = "features.0", .x = CASK_GRAPH_INPUT};
    conv_bn(&b, STEM, 3, 1, 1);
    prelu(&b);
    for (int i = 0; i < ROWS; i++) {
        b.x = cavaface_block(g, b.x, i + 1, &rows[i]);
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

/* -------------------------------------------------------------------- yakhyo */

static int biased_conv(struct cask_graph *g, int x, const char *name, int out_c, int kernel,
                       int stride, int groups)
{
    const int pad = kernel / 2;
    const struct cask_conv_spec spec = {.out_c = out_c,
                                        .kernel_h = kernel,
                                        .kernel_w = kernel,
                                        .stride = stride,
                                        .pad_top = pad,
                                        .pad_left = pad,
                                        .pad_bottom = pad,
                                        .pad_right = pad,
                                        .groups = groups,
                                        .bias = true};
    return cask_graph_add_conv(g, x, name, &spec);
}

static int unit(struct cask_graph *g, int x, const char *name, int out_c, int kernel, int stride,
                int groups)
{
    x = biased_conv(g, x, cask_graph_text(g, "%s.0", name), out_c, kernel, stride, groups);
    return cask_graph_add_plain_batchnorm(g, x, cask_graph_text(g, "%s.1", name));
}

static int active_unit(struct cask_graph *g, int x, const char *name, int out_c, int kernel,
                       int stride, int groups, bool swish)
{
    x = unit(g, x, name, out_c, kernel, stride, groups);
    return cask_graph_add_activation(g, x, cask_graph_text(g, "%s.2", name),
                                     swish ? CASK_ACT_HARD_SWISH : CASK_ACT_PRELU);
}

static int conv_gate(struct cask_graph *g, int x, const char *name, int squeezed)
{
    const int channels = cask_graph_value(g, x)->c;
    int y = cask_graph_add_average_pool(g, x, cask_graph_text(g, "%s.avgpool", name));
    y = biased_conv(g, y, cask_graph_text(g, "%s.fc1", name), squeezed, 1, 1, 1);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.activation", name), CASK_ACT_RELU);
    y = biased_conv(g, y, cask_graph_text(g, "%s.fc2", name), channels, 1, 1, 1);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.scale_activation", name),
                                  CASK_ACT_HARD_SIGMOID);
    return cask_graph_add_scale(g, x, y, cask_graph_text(g, "%s.scale", name));
}

static int yakhyo_block(struct cask_graph *g, int x, int number, const struct row *row)
{
    struct block b = {.g = g, .path = cask_graph_text(g, "features.%d.block", number), .x = x};
    if (row->expansion != cask_graph_value(g, x)->c) {
        b.x = active_unit(g, b.x, next_name(&b), row->expansion, 1, 1, 1, row->swish);
    }
    b.x = active_unit(g, b.x, next_name(&b), row->expansion, row->kernel, row->stride,
                      row->expansion, row->swish);
    if (row->squeezed > 0) {
        b.x = conv_gate(g, b.x, next_name(&b), row->squeezed);
    }
    b.x = unit(g, b.x, next_name(&b), row->out_c, 1, 1, 1);
    return residual(g, x, b.x, row, b.path);
}

static int yakhyo(struct cask_graph *g, int embedding)
{
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_NORMAL_001};
    int x = active_unit(g, CASK_GRAPH_INPUT, "features.0", STEM, 3, 1, 1, true);
    for (int i = 0; i < ROWS; i++) {
        x = yakhyo_block(g, x, i + 1, &rows[i]);
    }
    x = active_unit(g, x, "features.16", 960, 1, 1, 1, true);
    x = cask_graph_add_global_depthwise(g, x, "output_layer.features.0.layers.0");
    x = cask_graph_add_plain_batchnorm(g, x, "output_layer.features.0.layers.1");
    x = cask_graph_add_linear(g, x, "output_layer.fc.0", embedding, false);
    return cask_graph_add_plain_batchnorm(g, x, "output_layer.fc.1");
}

enum cask_status cask_build_mobilenetv3(const char *name, int embedding, int height, int width,
                                        struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    *graph = NULL;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    int x = strcmp(name, "mobilenetv3_large") == 0 ? cavaface(g, embedding) : yakhyo(g, embedding);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
