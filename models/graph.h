/* models/graph.h - the graph inside: nodes, values, parameters, and the calls that build them.
 * Private to models/.
 *
 *   cask_graph_begin -> cask_graph_add_*  (one call a layer) -> cask_graph_finish
 *
 * A value is one activation per image, C x H x W. Value CASK_GRAPH_INPUT is the picture. Every
 * add call takes value ids and returns the id of its output, so nodes are in topological order by
 * construction. The first problem (bad shape, no memory) is remembered in the graph; from then on
 * every add call returns -1 and does nothing, and cask_graph_finish reports the problem: builders
 * need no error handling of their own.
 *
 * `name` is the layer's PyTorch module path ("layer1.0.conv1"); it is copied, and parameters are
 * named after it as in a state_dict ("layer1.0.conv1.weight"). Parameters are listed in the order
 * of the calls.
 *
 * There is no flatten: a linear layer reads its input in PyTorch's C, H, W order by itself, and
 * all other layers work channel by channel.
 */
#ifndef CASK_MODELS_GRAPH_H
#define CASK_MODELS_GRAPH_H

#include "common/mem.h"
#include "models/models.h"

enum cask_layer_kind {
    CASK_LAYER_CONV,
    CASK_LAYER_LINEAR, /* a convolution whose kernel is the whole input */
    CASK_LAYER_BATCHNORM,
    CASK_LAYER_AFFINE, /* y = scale_c * x + offset_c with constants: normalisation inside a file */
    CASK_LAYER_ACTIVATION,
    CASK_LAYER_ADD,
    CASK_LAYER_SUBSAMPLE,    /* every stride-th pixel */
    CASK_LAYER_AVERAGE_POOL, /* global */
    CASK_LAYER_MAX_POOL,
    CASK_LAYER_SCALE, /* x * gate, gate is 1 x 1 in space */
    CASK_LAYER_KINDS,
};

/* A convolution without its input; fields as in struct cask_conv_desc. groups 0 means 1. */
struct cask_conv_spec {
    int out_c;
    int kernel_h, kernel_w, stride;
    int pad_top, pad_left, pad_bottom, pad_right;
    int groups;
    bool bias;
};

enum cask_affine {
    CASK_AFFINE_TRAINED,      /* gamma and beta */
    CASK_AFFINE_FROZEN_GAMMA, /* gamma is in the file but never trained, beta is */
    CASK_AFFINE_NONE,         /* running statistics only (PyTorch: affine=False) */
};

/* Where a node keeps its parameters. */
enum cask_slot {
    CASK_SLOT_WEIGHT, /* conv and linear weight, batch-norm gamma, affine scale, PReLU slope */
    CASK_SLOT_BIAS,   /* conv and linear bias, batch-norm beta, affine offset */
    CASK_SLOT_MEAN,
    CASK_SLOT_VAR,
    CASK_SLOT_COUNT, /* num_batches_tracked */
    CASK_SLOTS,
};

enum { CASK_NODE_INPUTS = 2, CASK_GRAPH_INPUT = 0 };

struct cask_node {
    enum cask_layer_kind kind;
    const char *name;
    int inputs[CASK_NODE_INPUTS];    /* values; -1: none */
    int output;                      /* value */
    int params[CASK_SLOTS];          /* parameters; -1: none */
    struct cask_conv_spec conv;      /* CONV, LINEAR */
    double eps, momentum;            /* BATCHNORM */
    enum cask_activation activation; /* ACTIVATION */
    int stride;                      /* SUBSAMPLE */
    struct cask_window window;       /* MAX_POOL */
};

struct cask_value {
    int c, h, w;
    int producer;  /* node; -1 for the picture */
    int consumers; /* how many node inputs read it */
};

/* How cask_net_init draws the weights of convolutions and of linear layers. Gammas and slopes: see
 * models/init.c. */
enum cask_init_rule {
    CASK_INIT_PYTORCH,    /* weight and bias U(-1/sqrt(fan_in), 1/sqrt(fan_in)) */
    CASK_INIT_NORMAL_01,  /* N(0, 0.1); this and those below: bias 0 */
    CASK_INIT_NORMAL_001, /* N(0, 0.01) */
    CASK_INIT_KAIMING,    /* N(0, sqrt(2 / fan_out)) */
    CASK_INIT_XAVIER,     /* U(-a, a), a = sqrt(6 / (fan_in + fan_out)) */
};
struct cask_init {
    enum cask_init_rule conv, linear;
    const char *zero_gamma; /* batch norms whose gamma has a name that ends so start at 0: every
                               block starts as its shortcut; NULL: none */
};

/* What the batch norms of a network have in common. */
struct cask_norm {
    double eps;      /* added to the variance */
    double momentum; /* PyTorch's: running = (1 - momentum) running + momentum of the batch */
};

struct cask_graph {
    const char *name;
    bool trainable;
    struct cask_init init;
    struct cask_norm norm;   /* 1e-5 and 0.1, PyTorch's defaults, until a builder sets it */
    struct cask_arena arena; /* names */
    struct cask_node *nodes;
    struct cask_value *values;
    struct cask_param_info *params;
    int node_count, value_count, param_count;
    int node_room, value_room, param_room;
    int output;                /* value */
    const char *pixels;        /* "rgb:127.5:127.5" as the file says (ONNX); NULL: unknown */
    struct cask_error problem; /* the first one; status CASK_OK: none */
};

/* A graph that is not trainable (ONNX) has no num_batches_tracked and no trained parameters. */
enum cask_status cask_graph_begin(const char *name, bool trainable, int channels, int height,
                                  int width, struct cask_graph **graph, struct cask_error *err);
/* Checks that `output` is C x 1 x 1 and that names are unique. On failure the caller still frees.
 */
enum cask_status cask_graph_finish(struct cask_graph *graph, int output, struct cask_error *err);

int cask_graph_add_conv(struct cask_graph *graph, int x, const char *name,
                        const struct cask_conv_spec *spec);
int cask_graph_add_linear(struct cask_graph *graph, int x, const char *name, int out, bool bias);
int cask_graph_add_batchnorm(struct cask_graph *graph, int x, const char *name, double eps,
                             enum cask_affine affine);
int cask_graph_add_affine(struct cask_graph *graph, int x,
                          const char *name); /* NAME.weight, NAME.bias */
int cask_graph_add_activation(struct cask_graph *graph, int x, const char *name,
                              enum cask_activation activation);
int cask_graph_add_add(struct cask_graph *graph, int a, int b, const char *name);
int cask_graph_add_subsample(struct cask_graph *graph, int x, const char *name, int stride);
int cask_graph_add_average_pool(struct cask_graph *graph, int x, const char *name);
int cask_graph_add_max_pool(struct cask_graph *graph, int x, const char *name, int size, int stride,
                            int pad);
int cask_graph_add_scale(struct cask_graph *graph, int x, int gate, const char *name);

/* blocks.c. A square kernel, padded to keep the size at stride 1, without bias; a depthwise kernel
 * as large as its input, which leaves one pixel; a trained batch norm with the network's eps. */
struct cask_conv_spec cask_square_conv(int out_c, int kernel, int stride, int groups);
int cask_graph_add_square_conv(struct cask_graph *graph, int x, const char *name, int out_c,
                               int kernel, int stride, int groups);
int cask_graph_add_global_depthwise(struct cask_graph *graph, int x, const char *name);
int cask_graph_add_plain_batchnorm(struct cask_graph *graph, int x, const char *name);

/* model.c: how the file of an imported graph wants its pixels, if its metadata says so; else
 * *known is left alone. Messages do not name the file. */
enum cask_status cask_graph_pixels(const struct cask_graph *graph,
                                   struct cask_preprocess *preprocess, bool *known,
                                   struct cask_error *err);

/* Puts the parameters from `first` to the last in front of parameter `to`. A state_dict lists
 * modules in the order in which their class assigned them, which is not always that of calls. */
void cask_graph_move_params(struct cask_graph *graph, int first, int to);

/* Text that lives as long as the graph, for names; "" when memory is out (finish reports it). */
const char *cask_graph_text(struct cask_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Remembers a problem found by a builder; returns -1. */
int cask_graph_fail(struct cask_graph *graph, enum cask_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* fold.c. The only node that reads `value`; NULL if there are several, or if it is the output. */
const struct cask_node *cask_graph_sole_reader(const struct cask_graph *graph, int value);
/* The batch norm that a convolution or linear layer can take in; NULL: none. The one that stands
 * BEFORE a padded convolution (IResNet's bn1) does not fold: padding is zero after it, so beta
 * would leak. */
const struct cask_node *cask_graph_foldable(const struct cask_graph *graph,
                                            const struct cask_node *node);
/* The shape of a value; never NULL (a zeroed one for -1). */
const struct cask_value *cask_graph_value(const struct cask_graph *graph, int value);

/* For the layer files. */
struct cask_node *cask_graph_append(struct cask_graph *graph, enum cask_layer_kind kind,
                                    const char *name, int a, int b);
void cask_graph_append_param(struct cask_graph *graph, struct cask_node *node, enum cask_slot slot,
                             const char *suffix, enum cask_param_role role, bool trained, int rank,
                             const int64_t shape[4]);
int cask_graph_append_output(struct cask_graph *graph, struct cask_node *node, int c, int h, int w);

/* Network builders: one family a file. */
typedef enum cask_status cask_network_builder(const char *name, int embedding, int height,
                                              int width, struct cask_graph **graph,
                                              struct cask_error *err);
cask_network_builder cask_build_iresnet, cask_build_ir, cask_build_mobilefacenet,
    cask_build_xiaoccer, cask_build_mbf, cask_build_mobilenetv3, cask_build_mobilenetv3_torchvision,
    cask_build_resnet;

#endif
