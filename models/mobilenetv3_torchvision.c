/* models/mobilenetv3_torchvision.c - MobileNetV3-Large in torchvision's layout, where a unit is
 * convolution, batch norm and activation, and gates stand behind the activation.
 *
 *   torchvision_mobilenetv3_large  for ImageNet: stem of stride 2, ReLU and hard swish, average
 * pool, and a linear layer in front of the last one; batch norms with eps 1e-3 and momentum 0.01
 *   yakhyo_mobilenetv3_large       yakhyo/face-recognition: stem of stride 1, PReLU for ReLU, a
 * bias in every convolution, and a 7x7 depthwise convolution as head
 */
#include <string.h>

#include "models/mobilenetv3.h"

static const struct style {
    const char *name;
    enum cask_activation plain; /* where the paper has ReLU */
    bool bias;                  /* of convolutions in front of a batch norm */
    int stem_stride;
    struct cask_norm norm;
} styles[] = {
    {"torchvision_mobilenetv3_large", CASK_ACT_RELU, false, 2, {1e-3, 0.01}},
    {"yakhyo_mobilenetv3_large", CASK_ACT_PRELU, true, 1, {1e-5, 0.1}},
};

enum { LAST_CONV = 960, HIDDEN = 1280 };

static int conv(struct cask_graph *g, int x, const char *name, int out_c, int kernel, int stride,
                int groups, bool bias)
{
    struct cask_conv_spec spec = cask_square_conv(out_c, kernel, stride, groups);
    spec.bias = bias;
    return cask_graph_add_conv(g, x, name, &spec);
}

static int unit(struct cask_graph *g, int x, const char *name, const struct style *style, int out_c,
                int kernel, int stride, int groups)
{
    x = conv(g, x, cask_graph_text(g, "%s.0", name), out_c, kernel, stride, groups, style->bias);
    return cask_graph_add_plain_batchnorm(g, x, cask_graph_text(g, "%s.1", name));
}

static int active_unit(struct cask_graph *g, int x, const char *name, const struct style *style,
                       int out_c, int kernel, int stride, int groups, bool swish)
{
    x = unit(g, x, name, style, out_c, kernel, stride, groups);
    return cask_graph_add_activation(g, x, cask_graph_text(g, "%s.2", name),
                                     swish ? CASK_ACT_HARD_SWISH : style->plain);
}

static int gate(struct cask_graph *g, int x, const char *name, int squeezed)
{
    const int channels = cask_graph_value(g, x)->c;
    int y = cask_graph_add_average_pool(g, x, cask_graph_text(g, "%s.avgpool", name));
    y = conv(g, y, cask_graph_text(g, "%s.fc1", name), squeezed, 1, 1, 1, true);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.activation", name), CASK_ACT_RELU);
    y = conv(g, y, cask_graph_text(g, "%s.fc2", name), channels, 1, 1, 1, true);
    y = cask_graph_add_activation(g, y, cask_graph_text(g, "%s.scale_activation", name),
                                  CASK_ACT_HARD_SIGMOID);
    return cask_graph_add_scale(g, x, y, cask_graph_text(g, "%s.scale", name));
}

static int block(struct cask_graph *g, int x, const struct style *style, int number,
                 const struct cask_v3_row *row)
{
    const char *path = cask_graph_text(g, "features.%d.block", number);
    int next = 0, y = x;
    if (row->expansion != cask_graph_value(g, x)->c) {
        y = active_unit(g, y, cask_graph_text(g, "%s.%d", path, next++), style, row->expansion, 1,
                        1, 1, row->swish);
    }
    y = active_unit(g, y, cask_graph_text(g, "%s.%d", path, next++), style, row->expansion,
                    row->kernel, row->stride, row->expansion, row->swish);
    if (row->squeezed > 0) {
        y = gate(g, y, cask_graph_text(g, "%s.%d", path, next++), row->squeezed);
    }
    y = unit(g, y, cask_graph_text(g, "%s.%d", path, next), style, row->out_c, 1, 1, 1);
    return cask_v3_residual(g, x, y, row, path);
}

static int yakhyo_head(struct cask_graph *g, int x, int embedding)
{
    x = cask_graph_add_global_depthwise(g, x, "output_layer.features.0.layers.0");
    x = cask_graph_add_plain_batchnorm(g, x, "output_layer.features.0.layers.1");
    x = cask_graph_add_linear(g, x, "output_layer.fc.0", embedding, false);
    return cask_graph_add_plain_batchnorm(g, x, "output_layer.fc.1");
}

static int torchvision_head(struct cask_graph *g, int x, int embedding)
{
    x = cask_graph_add_average_pool(g, x, "avgpool");
    x = cask_graph_add_linear(g, x, "classifier.0", HIDDEN, true);
    x = cask_graph_add_activation(g, x, "classifier.1", CASK_ACT_HARD_SWISH);
    return cask_graph_add_linear(g, x, "classifier.3", embedding, true);
}

static const struct style *find(const char *name)
{
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++) {
        if (strcmp(name, styles[i].name) == 0) {
            return &styles[i];
        }
    }
    return NULL;
}

enum cask_status cask_build_mobilenetv3_torchvision(const char *name, int embedding, int height,
                                                    int width, struct cask_graph **graph,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    const struct style *style = find(name);
    *graph = NULL;
    if (style == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%s is not a MobileNetV3", name));
    }
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = CASK_INIT_KAIMING, .linear = CASK_INIT_NORMAL_001};
    g->norm = style->norm;
    int x = active_unit(g, CASK_GRAPH_INPUT, "features.0", style, CASK_V3_STEM, 3,
                        style->stem_stride, 1, true);
    for (int i = 0; i < CASK_V3_ROWS; i++) {
        x = block(g, x, style, i + 1, &cask_v3_rows[i]);
    }
    x = active_unit(g, x, "features.16", style, LAST_CONV, 1, 1, 1, true);
    x = style->bias ? yakhyo_head(g, x, embedding) : torchvision_head(g, x, embedding);
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
