/* Operators without weights: activations, pooling, and arithmetic. With a constant, Add, Sub, Mul
 * and Div are y = scale_c * x + offset_c, the graph's affine layer. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/onnx.h"

#define REFUSE(status, format, ...)                                                                \
    cask_error_set(err, status, "%s: " format, cask_onnx_label(node, (char[160]){0}, 160),         \
                   __VA_ARGS__)

/* -------------------------------------------------------------------- arithmetic */

static const struct cask_onnx_source one = {.factor = 0, .offset = 1};
static const struct cask_onnx_source zero = {.factor = 0, .offset = 0};

static enum cask_status add_affine(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   const char *suffix, struct cask_onnx_value *x,
                                   const struct cask_onnx_source *scale,
                                   const struct cask_onnx_source *offset, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    x->id = cask_graph_add_affine(import->graph, x->id, cask_onnx_layer_name(import, node, suffix));
    CASK_TRY(cask_onnx_bind(import, CASK_SLOT_WEIGHT, scale, err));
    CASK_TRY(cask_onnx_bind(import, CASK_SLOT_BIAS, offset, err));
done:
    return st;
}

/* One number, or one a channel: [C,1,1] beside an image, [C] beside a flattened value. */
static bool spreads_over_channels(const Cask__Onnx__Tensor *tensor, const struct cask_value *x,
                                  bool flat)
{
    size_t behind = flat ? 0 : 2;
    if (cask_onnx_count(tensor) == 1) {
        return true;
    }
    if (cask_onnx_count(tensor) != x->c || tensor->n_dims <= behind || (flat && x->h * x->w != 1)) {
        return false;
    }
    return tensor->dims[tensor->n_dims - 1 - behind] == x->c;
}

/* The operands of a binary operator: x and the other, which is a constant or an activation. */
struct operands {
    struct cask_onnx_value x, other;
    const Cask__Onnx__Tensor *constant; /* NULL: other is an activation */
    bool constant_first;
};

static enum cask_status read_operands(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      struct operands *o, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_onnx_value *a = NULL, *b = NULL;
    *o = (struct operands){0};
    CASK_TRY(cask_onnx_input(import, node, 0, &a, err));
    CASK_TRY(cask_onnx_input(import, node, 1, &b, err));
    bool first = a != NULL && a->kind == CASK_ONNX_TENSOR;
    bool second = b != NULL && b->kind == CASK_ONNX_TENSOR;
    CASK_TRY(cask_onnx_activation(import, node, first ? 1 : 0, &o->x, err));
    if (!first && !second) {
        CASK_TRY(cask_onnx_activation(import, node, 1, &o->other, err));
        goto done;
    }
    o->constant_first = first;
    CASK_TRY(cask_onnx_constant(import, node, first ? 0 : 1, &o->constant, err));
    if (!spreads_over_channels(o->constant, cask_graph_value(import->graph, o->x.id), o->x.flat)) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                        "the constant is neither one number nor one a channel"));
    }
done:
    return st;
}

/* Arithmetic with constants, applied to the picture itself, is the file's own preprocessing. */
static enum cask_status finish_affine(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      struct operands *o, const struct cask_onnx_source *scale,
                                      const struct cask_onnx_source *offset, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    import->normalises |= o->x.input;
    CASK_TRY(add_affine(import, node, "", &o->x, scale, offset, err));
    cask_onnx_output(import, node, &o->x);
done:
    return st;
}

static bool same_shape(const struct cask_onnx_import *import, int a, int b)
{
    const struct cask_value *x = cask_graph_value(import->graph, a);
    const struct cask_value *y = cask_graph_value(import->graph, b);
    return x->c == y->c && x->h == y->h && x->w == y->w;
}

enum cask_status cask_onnx_add(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct operands o;
    CASK_TRY(read_operands(import, node, &o, err));
    if (o.constant != NULL) {
        const struct cask_onnx_source offset = {.tensor = o.constant, .factor = 1};
        CASK_TRY(finish_affine(import, node, &o, &one, &offset, err));
        goto done;
    }
    if (!same_shape(import, o.x.id, o.other.id) || o.x.flat != o.other.flat) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its inputs have different shapes"));
    }
    o.x.id = cask_graph_add_add(import->graph, o.x.id, o.other.id,
                                cask_onnx_layer_name(import, node, ""));
    o.x.input = false;
    cask_onnx_output(import, node, &o.x);
done:
    return st;
}

enum cask_status cask_onnx_sub(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct operands o;
    CASK_TRY(read_operands(import, node, &o, err));
    if (o.constant == NULL) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "it subtracts two activations"));
    }
    const double sign = o.constant_first ? -1 : 1; /* c - x, or x - c */
    const struct cask_onnx_source scale = {.factor = 0, .offset = sign};
    const struct cask_onnx_source offset = {.tensor = o.constant, .factor = -sign};
    CASK_TRY(finish_affine(import, node, &o, &scale, &offset, err));
done:
    return st;
}

static enum cask_status multiply_activations(struct cask_onnx_import *import,
                                             const Cask__Onnx__Node *node, struct operands *o,
                                             struct cask_error *err)
{
    const struct cask_value *a = cask_graph_value(import->graph, o->x.id);
    const struct cask_value *b = cask_graph_value(import->graph, o->other.id);
    bool a_is_gate = a->h == 1 && a->w == 1 && (b->h != 1 || b->w != 1);
    const struct cask_value *gate = a_is_gate ? a : b;
    if (a->c != b->c || gate->h != 1 || gate->w != 1 || o->x.flat != o->other.flat) {
        return REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                      "it multiplies two images; expected a gate of one number a channel");
    }
    int image = a_is_gate ? o->other.id : o->x.id, by = a_is_gate ? o->x.id : o->other.id;
    o->x.id =
        cask_graph_add_scale(import->graph, image, by, cask_onnx_layer_name(import, node, ""));
    o->x.input = false;
    cask_onnx_output(import, node, &o->x);
    return CASK_OK;
}

/* x * hard_sigmoid(x), before the gate has been put into the graph. */
static bool is_hard_swish(struct cask_onnx_import *import, const Cask__Onnx__Node *node, int *x)
{
    if (node->n_input != 2) {
        return false;
    }
    const struct cask_onnx_value *a = &cask_onnx_lookup(import, node->input[0])->value;
    const struct cask_onnx_value *b = &cask_onnx_lookup(import, node->input[1])->value;
    *x = a->id;
    return a->kind == CASK_ONNX_ACTIVATION && b->kind == CASK_ONNX_ACTIVATION &&
           a->gate != b->gate && a->id == b->id && a->flat == b->flat && a->line == b->line;
}

static enum cask_status add_activation(struct cask_onnx_import *import,
                                       const Cask__Onnx__Node *node, enum cask_activation kind,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    x.id = cask_graph_add_activation(import->graph, x.id, cask_onnx_layer_name(import, node, ""),
                                     kind);
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

enum cask_status cask_onnx_mul(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct operands o;
    int swished = -1;
    if (is_hard_swish(import, node, &swished)) {
        struct cask_onnx_value x = cask_onnx_lookup(import, node->input[0])->value;
        x.id = cask_graph_add_activation(
            import->graph, swished, cask_onnx_layer_name(import, node, ""), CASK_ACT_HARD_SWISH);
        x.gate = x.input = false;
        cask_onnx_output(import, node, &x);
        goto done;
    }
    CASK_TRY(read_operands(import, node, &o, err));
    if (o.constant == NULL) {
        CASK_TRY(multiply_activations(import, node, &o, err));
        goto done;
    }
    const struct cask_onnx_source scale = {.tensor = o.constant, .factor = 1};
    CASK_TRY(finish_affine(import, node, &o, &scale, &zero, err));
done:
    return st;
}

enum cask_status cask_onnx_div(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct operands o;
    CASK_TRY(read_operands(import, node, &o, err));
    if (o.constant == NULL || o.constant_first) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "it divides by an activation"));
    }
    const struct cask_onnx_source scale = {.tensor = o.constant, .factor = 1, .reciprocal = true};
    CASK_TRY(finish_affine(import, node, &o, &scale, &zero, err));
done:
    return st;
}

/* ------------------------------------------------------------------- activations */

enum cask_status cask_onnx_relu(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_error *err)
{
    return add_activation(import, node, CASK_ACT_RELU, err);
}

enum cask_status cask_onnx_sigmoid(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   struct cask_error *err)
{
    return add_activation(import, node, CASK_ACT_SIGMOID, err);
}

enum cask_status cask_onnx_hard_swish(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      struct cask_error *err)
{
    return add_activation(import, node, CASK_ACT_HARD_SWISH, err);
}

static enum cask_status add_constants(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      const char *suffix, struct cask_onnx_value *x, double scale,
                                      double offset, struct cask_error *err)
{
    const struct cask_onnx_source a = {.factor = 0, .offset = scale};
    const struct cask_onnx_source b = {.factor = 0, .offset = offset};
    return add_affine(import, node, suffix, x, &a, &b, err);
}

/* clip(alpha * x + beta, 0, 1). With alpha = 1/6 and beta = 1/2 that is the graph's hard sigmoid,
 * and it waits: a product with x itself will be a hard swish. Any other alpha and beta go before
 * it: relu6(z + 3) / 6 with z = 6 * (alpha * x + beta) - 3. */
enum cask_status cask_onnx_hard_sigmoid(struct cask_onnx_import *import,
                                        const Cask__Onnx__Node *node, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    double alpha = cask_onnx_attribute_real(node, "alpha", 0.2);
    double beta = cask_onnx_attribute_real(node, "beta", 0.5);
    x.input = false;
    x.gate = fabs(alpha - 1.0 / 6.0) < 1e-6 && fabs(beta - 0.5) < 1e-6;
    if (!x.gate) {
        CASK_TRY(add_constants(import, node, "in", &x, 6 * alpha, 6 * beta - 3, err));
        x.id = cask_graph_add_activation(
            import->graph, x.id, cask_onnx_layer_name(import, node, ""), CASK_ACT_HARD_SIGMOID);
    }
    cask_onnx_output(import, node, &x);
done:
    return st;
}

/* A bound of Clip: an attribute before opset 11, an input since. */
static enum cask_status read_bound(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   const char *name, size_t index, double *bound,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const Cask__Onnx__Tensor *tensor = NULL;
    *bound = cask_onnx_attribute_real(node, name, *bound);
    if (index < node->n_input && node->input[index][0] != '\0') {
        CASK_TRY(cask_onnx_constant(import, node, index, &tensor, err));
        CASK_TRY(cask_onnx_scalar(tensor, bound, err));
    }
done:
    return st;
}

/* relu6(x) = 6 * hard_sigmoid(x - 3). */
enum cask_status cask_onnx_clip(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    double low = -HUGE_VAL, high = HUGE_VAL;
    CASK_TRY(read_bound(import, node, "min", 1, &low, err));
    CASK_TRY(read_bound(import, node, "max", 2, &high, err));
    if (low == 0 && high > 1e30) {
        CASK_TRY(add_activation(import, node, CASK_ACT_RELU, err));
        goto done;
    }
    if (!(low == 0 && high == 6)) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED,
                        "bounds %g and %g; only 0 and 6, or 0 and none, are "
                        "supported",
                        low, high));
    }
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    CASK_TRY(add_constants(import, node, "in", &x, 1, -3, err));
    x.id = cask_graph_add_activation(import->graph, x.id, cask_onnx_layer_name(import, node, ""),
                                     CASK_ACT_HARD_SIGMOID);
    CASK_TRY(add_constants(import, node, "out", &x, 6, 0, err));
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

enum cask_status cask_onnx_average_pool(struct cask_onnx_import *import,
                                        const Cask__Onnx__Node *node, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    if (x.flat) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its input was flattened before"));
    }
    x.id = cask_graph_add_average_pool(import->graph, x.id, cask_onnx_layer_name(import, node, ""));
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

/* "1, -1"; as many as fit. */
static void print_axes(const struct cask_onnx_ints *axes, char *text, size_t bytes)
{
    size_t used = 0;
    snprintf(text, bytes, "none");
    for (int i = 0; i < axes->count && used < bytes; i++) {
        used += (size_t)snprintf(text + used, bytes - used, "%s%" PRId64, i > 0 ? ", " : "",
                                 axes->items[i]);
    }
}

/* The mean over all pixels, as PyTorch writes x.mean((2, 3)): an average pool. Without axes it is
 * the mean of everything. */
enum cask_status cask_onnx_reduce_mean(struct cask_onnx_import *import,
                                       const Cask__Onnx__Node *node, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum { RANK = 4 };
    struct cask_onnx_value x;
    struct cask_onnx_ints axes = {.count = 0};
    int64_t axis[2] = {0};
    char found[CASK_ONNX_RANK * 24];
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    if (cask_onnx_attribute(node, "axes") != NULL ||
        (node->n_input > 1 && node->input[1][0] != '\0')) {
        CASK_TRY(cask_onnx_axes(import, node, &axes, err));
    }
    for (int i = 0; i < 2 && axes.count == 2; i++) {
        axis[i] = axes.items[i] + (axes.items[i] < 0 ? RANK : 0);
    }
    const bool pixels = (axis[0] == 2 && axis[1] == 3) || (axis[0] == 3 && axis[1] == 2);
    if (x.flat || !pixels) {
        print_axes(&axes, found, sizeof found);
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED,
                        "expected the axes 2 and 3 of [batch, channels, height, width], found the "
                        "axes %s of %s",
                        found, x.flat ? "what was flattened before" : "an image"));
    }
    x.id = cask_graph_add_average_pool(import->graph, x.id, cask_onnx_layer_name(import, node, ""));
    x.flat = cask_onnx_attribute_int(node, "keepdims", 1) == 0;
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}
