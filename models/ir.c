/* models/ir.c - the older IR and IR_SE networks, which every repository names "IR_50" and lays out
 * in its own way. Blocks are numbered through all stages ("body.N.res_layer.M").
 *
 *   tface_*     Tencent/TFace: BN, conv, BN, PReLU, conv, BN; last batch norm without weights.
 *               Its IR_152 and IR_200 are bottlenecks.
 *   evolve_*    face.evoLVe, FaceX-Zoo, CurricularFace, TreB1eN: BN, conv, PReLU, conv, BN
 *   cavaface_*  the same blocks; head named as in insightface, last gamma fixed
 *
 * Unlike insightface's IResNet (iresnet.c), a block's shortcut has weights only where the number of
 * channels changes; else it takes every stride-th pixel.
 */
#include <string.h>

#include "models/graph.h"

enum layout { TFACE, EVOLVE, CAVAFACE };

static const struct network {
    const char *name;
    enum layout layout;
    bool bottleneck, squeeze;
    int blocks[4];
} networks[] = {
    {"tface_ir18", TFACE, false, false, {2, 2, 2, 2}},
    {"tface_ir34", TFACE, false, false, {3, 4, 6, 3}},
    {"tface_ir50", TFACE, false, false, {3, 4, 14, 3}},
    {"tface_ir101", TFACE, false, false, {3, 13, 30, 3}},
    {"tface_ir152", TFACE, true, false, {3, 8, 36, 3}},
    {"tface_ir200", TFACE, true, false, {3, 24, 36, 3}},
    {"tface_ir_se50", TFACE, false, true, {3, 4, 14, 3}},
    {"tface_ir_se101", TFACE, false, true, {3, 13, 30, 3}},
    {"evolve_ir50", EVOLVE, false, false, {3, 4, 14, 3}},
    {"evolve_ir101", EVOLVE, false, false, {3, 13, 30, 3}},
    {"evolve_ir152", EVOLVE, false, false, {3, 8, 36, 3}},
    {"evolve_ir_se50", EVOLVE, false, true, {3, 4, 14, 3}},
    {"evolve_ir_se101", EVOLVE, false, true, {3, 13, 30, 3}},
    {"evolve_ir_se152", EVOLVE, false, true, {3, 8, 36, 3}},
    {"cavaface_ir50", CAVAFACE, false, false, {3, 4, 14, 3}},
    {"cavaface_ir101", CAVAFACE, false, false, {3, 13, 30, 3}},
};

/* Layers of one block get the numbers 0, 1, 2, ... in the order in which they are added. */
struct body {
    struct cask_graph *graph;
    const char *path; /* "body.N" */
    int next, x;
};

static const char *next_name(struct body *b)
{
    return cask_graph_text(b->graph, "%s.res_layer.%d", b->path, b->next++);
}

static void batchnorm(struct body *b)
{
    b->x = cask_graph_add_plain_batchnorm(b->graph, b->x, next_name(b));
}

static void prelu(struct body *b)
{
    b->x = cask_graph_add_activation(b->graph, b->x, next_name(b), CASK_ACT_PRELU);
}

static void conv(struct body *b, int out_c, int kernel, int stride)
{
    b->x = cask_graph_add_square_conv(b->graph, b->x, next_name(b), out_c, kernel, stride, 1);
}

/* Squeeze-and-excitation: a sixteenth of the channels decides how much of each passes. */
static void squeeze(struct body *b, enum layout layout)
{
    struct cask_graph *g = b->graph;
    const int channels = cask_graph_value(g, b->x)->c;
    const char *name =
        layout == TFACE ? cask_graph_text(g, "%s.res_layer.se_block", b->path) : next_name(b);
    int gate = cask_graph_add_average_pool(g, b->x, cask_graph_text(g, "%s.avg_pool", name));
    gate = cask_graph_add_square_conv(g, gate, cask_graph_text(g, "%s.fc1", name), channels / 16, 1,
                                      1, 1);
    gate = cask_graph_add_activation(g, gate, cask_graph_text(g, "%s.relu", name), CASK_ACT_RELU);
    gate =
        cask_graph_add_square_conv(g, gate, cask_graph_text(g, "%s.fc2", name), channels, 1, 1, 1);
    gate = cask_graph_add_activation(g, gate, cask_graph_text(g, "%s.sigmoid", name),
                                     CASK_ACT_SIGMOID);
    b->x = cask_graph_add_scale(g, b->x, gate, cask_graph_text(g, "%s.scale", name));
}

static void basic_body(struct body *b, enum layout layout, int out_c, int stride)
{
    batchnorm(b);
    conv(b, out_c, 3, 1);
    if (layout == TFACE) {
        batchnorm(b);
    }
    prelu(b);
    conv(b, out_c, 3, stride);
    batchnorm(b);
}

static void bottleneck_body(struct body *b, int out_c, int stride)
{
    batchnorm(b);
    conv(b, out_c / 4, 1, 1);
    batchnorm(b);
    prelu(b);
    conv(b, out_c / 4, 3, 1);
    batchnorm(b);
    prelu(b);
    conv(b, out_c, 1, stride);
    batchnorm(b);
}

static int shortcut(struct cask_graph *g, int x, const char *path, int out_c, int stride)
{
    if (cask_graph_value(g, x)->c != out_c) {
        x = cask_graph_add_square_conv(g, x, cask_graph_text(g, "%s.shortcut_layer.0", path), out_c,
                                       1, stride, 1);
        return cask_graph_add_plain_batchnorm(g, x,
                                              cask_graph_text(g, "%s.shortcut_layer.1", path));
    }
    return stride == 1 ? x
                       : cask_graph_add_subsample(
                             g, x, cask_graph_text(g, "%s.shortcut_layer", path), stride);
}

static int block(struct cask_graph *g, int x, const struct network *net, int number, int out_c,
                 int stride)
{
    struct body b = {.graph = g, .path = cask_graph_text(g, "body.%d", number), .x = x};
    if (net->bottleneck) {
        bottleneck_body(&b, out_c, stride);
    } else {
        basic_body(&b, net->layout, out_c, stride);
    }
    if (net->squeeze) {
        squeeze(&b, net->layout);
    }
    return cask_graph_add_add(g, b.x, shortcut(g, x, b.path, out_c, stride),
                              cask_graph_text(g, "%s.add", b.path));
}

static int head(struct cask_graph *g, int x, enum layout layout, int embedding)
{
    static const enum cask_affine affine[] = {[TFACE] = CASK_AFFINE_NONE,
                                              [EVOLVE] = CASK_AFFINE_TRAINED,
                                              [CAVAFACE] = CASK_AFFINE_FROZEN_GAMMA};
    const bool named = layout == CAVAFACE;
    x = cask_graph_add_plain_batchnorm(g, x, named ? "bn2" : "output_layer.0");
    x = cask_graph_add_linear(g, x, named ? "fc" : "output_layer.3", embedding, true);
    return cask_graph_add_batchnorm(g, x, named ? "features" : "output_layer.4", 1e-5,
                                    affine[layout]);
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

enum cask_status cask_build_ir(const char *name, int embedding, int height, int width,
                               struct cask_graph **graph, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_graph *g = NULL;
    const struct network *net = find(name);
    *graph = NULL;
    if (net == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%s is not an IR network", name));
    }
    const enum cask_init_rule rule = net->layout == EVOLVE ? CASK_INIT_XAVIER : CASK_INIT_KAIMING;
    CASK_TRY(cask_graph_begin(name, true, 3, height, width, &g, err));
    g->init = (struct cask_init){.conv = rule, .linear = rule};
    int x = cask_graph_add_square_conv(g, CASK_GRAPH_INPUT, "input_layer.0", 64, 3, 1, 1);
    x = cask_graph_add_plain_batchnorm(g, x, "input_layer.1");
    x = cask_graph_add_activation(g, x, "input_layer.2", CASK_ACT_PRELU);
    const int body = g->param_count;
    for (int stage = 0, number = 0; stage < 4; stage++) {
        for (int i = 0; i < net->blocks[stage]; i++, number++) {
            const int out_c = (net->bottleneck ? 256 : 64) << stage;
            x = block(g, x, net, number, out_c, i == 0 ? 2 : 1);
        }
    }
    const int last = g->param_count;
    x = head(g, x, net->layout, embedding);
    cask_graph_move_params(g, last, body); /* all three assign the head before the body */
    CASK_TRY(cask_graph_finish(g, x, err));
    *graph = g;
    g = NULL;
done:
    cask_graph_free(g);
    return st;
}
