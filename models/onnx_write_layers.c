#include <string.h>

#include "models/onnx_write.h"

/* What a layer writes to: of the batch norm it took in, if it did. */
static const char *output_name(const struct cask_onnx_export *x, const struct cask_node *node,
                               const struct cask_node *bn)
{
    return x->names[bn != NULL ? bn->output : node->output];
}

/* ------------------------------------------------------ convolution and linear */

struct weights {
    float *weight, *bias; /* bias NULL: none */
};

static bool read_weights(struct cask_onnx_export *x, const struct cask_node *node,
                         const struct cask_node *bn, struct weights *w)
{
    const int channels = node->conv.out_c, param = node->params[CASK_SLOT_WEIGHT];
    const int64_t count = x->graph->params[param].count, row = count / channels;
    const bool has_bias = bn != NULL || node->params[CASK_SLOT_BIAS] >= 0;
    w->weight = cask_alloc((size_t)count, sizeof *w->weight);
    w->bias = has_bias ? cask_alloc((size_t)channels, sizeof *w->bias) : NULL;
    double *scale = cask_alloc(2 * (size_t)channels, sizeof *scale);
    if (w->weight == NULL || (has_bias && w->bias == NULL) || scale == NULL) {
        cask_error_memory(&x->problem, (size_t)count * sizeof *w->weight, node->name);
        cask_free(scale);
        return false;
    }
    cask_net_get(x->net, param, w->weight);
    if (bn == NULL && has_bias) {
        cask_net_get(x->net, node->params[CASK_SLOT_BIAS], w->bias);
    }
    if (bn != NULL &&
        cask_net_fold(x->net, node, bn, scale, scale + channels, &x->problem) == CASK_OK) {
        for (int64_t i = 0; i < count; i++) {
            w->weight[i] = (float)((double)w->weight[i] * scale[i / row]);
        }
        for (int c = 0; c < channels; c++) {
            w->bias[c] = (float)scale[channels + c];
        }
    }
    cask_free(scale);
    return x->problem.status == CASK_OK;
}

/* Constants first: their casts must stand before the node that reads them. */
static void add_weighted(struct cask_onnx_export *x, const char *op, const struct cask_node *node,
                         const char *input, const char *output, const struct weights *w, int rank,
                         const int64_t *dims, Cask__Onnx__Node **made)
{
    const int64_t channels = node->conv.out_c;
    const char *weight = cask_onnx_text(x, "%s.weight", node->name), *bias = NULL;
    const char *bias_name = cask_onnx_text(x, "%s.bias", node->name);
    *made = NULL;
    if (weight == NULL || bias_name == NULL) {
        return;
    }
    weight = cask_onnx_add_tensor(x, weight, rank, dims, w->weight);
    if (w->bias != NULL) {
        bias = cask_onnx_add_tensor(x, bias_name, 1, &channels, w->bias);
    }
    *made = cask_onnx_add_node(x, op, node->name, output);
    cask_onnx_add_input(x, *made, input);
    cask_onnx_add_input(x, *made, weight);
    cask_onnx_add_input(x, *made, bias);
}

static void conv(struct cask_onnx_export *x, const struct cask_node *node,
                 const struct cask_node *bn)
{
    const struct cask_conv_spec *s = &node->conv;
    const int64_t in_c = cask_graph_value(x->graph, node->inputs[0])->c;
    const int64_t kernel[] = {s->kernel_h, s->kernel_w}, strides[] = {s->stride, s->stride};
    const int64_t pads[] = {s->pad_top, s->pad_left, s->pad_bottom, s->pad_right};
    const int64_t ones[] = {1, 1}, dims[] = {s->out_c, in_c / s->groups, s->kernel_h, s->kernel_w};
    struct weights w = {0};
    if (read_weights(x, node, bn, &w)) {
        Cask__Onnx__Node *made = NULL;
        add_weighted(x, "Conv", node, x->names[node->inputs[0]], output_name(x, node, bn), &w, 4,
                     dims, &made);
        cask_onnx_add_ints(x, made, "dilations", ones, 2);
        cask_onnx_add_int(x, made, "group", s->groups);
        cask_onnx_add_ints(x, made, "kernel_shape", kernel, 2);
        cask_onnx_add_ints(x, made, "pads", pads, 4);
        cask_onnx_add_ints(x, made, "strides", strides, 2);
    }
    cask_free(w.weight);
    cask_free(w.bias);
}

static void linear(struct cask_onnx_export *x, const struct cask_node *node,
                   const struct cask_node *bn)
{
    struct weights w = {0};
    if (x->image[bn != NULL ? bn->output : node->output]) {
        conv(x, node, bn); /* a gate: its kernel is the whole input, so one pixel is left */
        return;
    }
    if (read_weights(x, node, bn, &w)) {
        const int64_t count = x->graph->params[node->params[CASK_SLOT_WEIGHT]].count;
        const int64_t dims[] = {node->conv.out_c, count / node->conv.out_c};
        const char *input = cask_onnx_flat_name(x, node->inputs[0]);
        Cask__Onnx__Node *made = NULL;
        add_weighted(x, "Gemm", node, input, output_name(x, node, bn), &w, 2, dims, &made);
        cask_onnx_add_int(x, made, "transB", 1);
    }
    cask_free(w.weight);
    cask_free(w.bias);
}

/* --------------------------------------------------------------- per channel */

/* One number a channel, from the node's slot or `absent`; the caller frees it. */
static float *channel_values(struct cask_onnx_export *x, const struct cask_node *node,
                             enum cask_slot slot, float absent)
{
    const int channels = cask_graph_value(x->graph, node->output)->c;
    float *values = cask_alloc((size_t)channels, sizeof *values);
    if (values == NULL) {
        cask_error_memory(&x->problem, (size_t)channels * sizeof *values, node->name);
        return NULL;
    }
    for (int c = 0; c < channels; c++) {
        values[c] = absent;
    }
    if (node->params[slot] >= 0) {
        cask_net_get(x->net, node->params[slot], values);
    }
    return values;
}

static void add_channels(struct cask_onnx_export *x, Cask__Onnx__Node *made,
                         const struct cask_node *node, enum cask_slot slot, const char *suffix,
                         float absent, int rank)
{
    const int64_t dims[] = {cask_graph_value(x->graph, node->output)->c, 1, 1};
    float *values = channel_values(x, node, slot, absent);
    const char *name = cask_onnx_text(x, "%s.%s", node->name, suffix);
    if (values != NULL && name != NULL) {
        cask_onnx_add_input(x, made, cask_onnx_add_tensor(x, name, rank, dims, values));
    }
    cask_free(values);
}

static void batchnorm(struct cask_onnx_export *x, const struct cask_node *node)
{
    Cask__Onnx__Node *made =
        cask_onnx_add_node(x, "BatchNormalization", node->name, x->names[node->output]);
    cask_onnx_add_input(x, made, x->names[node->inputs[0]]);
    add_channels(x, made, node, CASK_SLOT_WEIGHT, "weight", 1, 1);
    add_channels(x, made, node, CASK_SLOT_BIAS, "bias", 0, 1);
    add_channels(x, made, node, CASK_SLOT_MEAN, "running_mean", 0, 1);
    add_channels(x, made, node, CASK_SLOT_VAR, "running_var", 1, 1);
    cask_onnx_add_float(x, made, "epsilon", node->eps);
}

static void activation(struct cask_onnx_export *x, const struct cask_node *node)
{
    static const char *const ops[] = {
        [CASK_ACT_NONE] = "Identity",
        [CASK_ACT_RELU] = "Relu",
        [CASK_ACT_PRELU] = "PRelu",
        [CASK_ACT_SIGMOID] = "Sigmoid",
        [CASK_ACT_HARD_SIGMOID] = "HardSigmoid",
        [CASK_ACT_HARD_SWISH] = "HardSigmoid",
    };
    const char *input = x->names[node->inputs[0]], *output = x->names[node->output];
    const char *name = node->name, *result = output;
    const bool swish = node->activation == CASK_ACT_HARD_SWISH;
    if (swish) {
        name = cask_onnx_text(x, "%s.gate", name);
        result = cask_onnx_text(x, "%s.gate", output);
    }
    Cask__Onnx__Node *made = cask_onnx_add_node(x, ops[node->activation], name, result);
    cask_onnx_add_input(x, made, input);
    if (node->activation == CASK_ACT_PRELU) {
        add_channels(x, made, node, CASK_SLOT_WEIGHT, "weight", 0, x->flat[node->output] ? 1 : 3);
    }
    if (swish || node->activation == CASK_ACT_HARD_SIGMOID) {
        cask_onnx_add_float(x, made, "alpha", 1.0 / 6.0);
        cask_onnx_add_float(x, made, "beta", 0.5);
    }
    if (swish) { /* x * hard_sigmoid(x): HardSwish itself is newer than opset 13 */
        Cask__Onnx__Node *product = cask_onnx_add_node(x, "Mul", node->name, output);
        cask_onnx_add_input(x, product, input);
        cask_onnx_add_input(x, product, result);
    }
}

/* ----------------------------------------------------------------- arithmetic */

/* output = input OP constant; equal numbers are written as one. */
static void binary(struct cask_onnx_export *x, const char *op, const char *name, const char *input,
                   const char *output, int rank, int64_t channels, const float *values)
{
    const int64_t dims[] = {channels, 1, 1}, one = 1;
    bool equal = true;
    for (int64_t c = 1; c < channels; c++) {
        equal = equal && values[c] == values[0];
    }
    const char *constant = cask_onnx_text(x, "%s.constant", name);
    if (name == NULL || constant == NULL) {
        return;
    }
    Cask__Onnx__Node *made = cask_onnx_add_node(x, op, name, output);
    cask_onnx_add_input(x, made, input);
    cask_onnx_add_input(
        x, made, cask_onnx_add_tensor(x, constant, equal ? 1 : rank, equal ? &one : dims, values));
}

/* (input - shift) * scale: a Sub and a Mul at the front are how insightface's runtime knows that a
 * file normalises its pixels itself. */
static void move_and_stretch(struct cask_onnx_export *x, const char *name, const char *input,
                             const char *output, int rank, int64_t channels, const float *shift,
                             const float *scale)
{
    const char *middle = cask_onnx_text(x, "%s.sub", output);
    binary(x, "Sub", cask_onnx_text(x, "%s.sub", name), input, middle, rank, channels, shift);
    binary(x, "Mul", cask_onnx_text(x, "%s.mul", name), middle, output, rank, channels, scale);
}

const char *cask_onnx_write_pixels(struct cask_onnx_export *x, double mean, double scale)
{
    const float shift = (float)mean, factor = (float)(1 / scale);
    move_and_stretch(x, "pixels", "data", "pixels", 1, 1, &shift, &factor);
    return "pixels";
}

/* y = scale x + offset. Read from another file, it is usually only one of both. */
static void affine(struct cask_onnx_export *x, const struct cask_node *node)
{
    const int64_t channels = cask_graph_value(x->graph, node->output)->c;
    const char *input = x->names[node->inputs[0]], *output = x->names[node->output];
    const int rank = x->flat[node->output] ? 1 : 3;
    float *scale = channel_values(x, node, CASK_SLOT_WEIGHT, 1);
    float *offset = channel_values(x, node, CASK_SLOT_BIAS, 0);
    bool moves = false, stretches = false, invertible = true;
    for (int64_t c = 0; c < channels && scale != NULL && offset != NULL; c++) {
        moves = moves || offset[c] != 0;
        stretches = stretches || scale[c] != 1;
        invertible = invertible && scale[c] != 0;
    }
    if (scale == NULL || offset == NULL) {
        goto done; /* remembered */
    }
    if (!moves) {
        binary(x, "Mul", node->name, input, output, rank, channels, scale);
    } else if (!stretches) {
        for (int64_t c = 0; c < channels; c++) {
            offset[c] = -offset[c];
        }
        binary(x, "Sub", node->name, input, output, rank, channels, offset);
    } else if (invertible) {
        for (int64_t c = 0; c < channels; c++) {
            offset[c] = -offset[c] / scale[c];
        }
        move_and_stretch(x, node->name, input, output, rank, channels, offset, scale);
    } else {
        const char *middle = cask_onnx_text(x, "%s.mul", output);
        binary(x, "Mul", cask_onnx_text(x, "%s.mul", node->name), input, middle, rank, channels,
               scale);
        binary(x, "Add", node->name, middle, output, rank, channels, offset);
    }
done:
    cask_free(scale);
    cask_free(offset);
}

/* Both inputs in the output's form. */
static void add(struct cask_onnx_export *x, const struct cask_node *node)
{
    const bool flat = x->flat[node->output];
    const char *a = flat ? cask_onnx_flat_name(x, node->inputs[0]) : x->names[node->inputs[0]];
    const char *b = flat ? cask_onnx_flat_name(x, node->inputs[1]) : x->names[node->inputs[1]];
    Cask__Onnx__Node *made = cask_onnx_add_node(x, "Add", node->name, x->names[node->output]);
    cask_onnx_add_input(x, made, a);
    cask_onnx_add_input(x, made, b);
}

/* The gate first: OpenCV 4.6 takes x * HardSigmoid(y) for a hard swish of y. */
static void scale_by_gate(struct cask_onnx_export *x, const struct cask_node *node)
{
    Cask__Onnx__Node *made = cask_onnx_add_node(x, "Mul", node->name, x->names[node->output]);
    cask_onnx_add_input(x, made, x->names[node->inputs[1]]);
    cask_onnx_add_input(x, made, x->names[node->inputs[0]]);
}

/* ---------------------------------------------------------------------- pools */

static void max_pool(struct cask_onnx_export *x, const struct cask_node *node,
                     const struct cask_window *window)
{
    const int64_t kernel[] = {window->size, window->size};
    const int64_t strides[] = {window->stride, window->stride};
    const int64_t pads[] = {window->pad, window->pad, window->pad, window->pad};
    Cask__Onnx__Node *made = cask_onnx_add_node(x, "MaxPool", node->name, x->names[node->output]);
    cask_onnx_add_input(x, made, x->names[node->inputs[0]]);
    cask_onnx_add_ints(x, made, "kernel_shape", kernel, 2);
    cask_onnx_add_ints(x, made, "pads", pads, 4);
    cask_onnx_add_ints(x, made, "strides", strides, 2);
}

void cask_onnx_write_layer(struct cask_onnx_export *x, const struct cask_node *node,
                           const struct cask_node *bn)
{
    const struct cask_window every = {.size = 1, .stride = node->stride};
    switch (node->kind) {
    case CASK_LAYER_CONV:
        conv(x, node, bn);
        break;
    case CASK_LAYER_LINEAR:
        linear(x, node, bn);
        break;
    case CASK_LAYER_BATCHNORM:
        batchnorm(x, node);
        break;
    case CASK_LAYER_AFFINE:
        affine(x, node);
        break;
    case CASK_LAYER_ACTIVATION:
        activation(x, node);
        break;
    case CASK_LAYER_ADD:
        add(x, node);
        break;
    case CASK_LAYER_SUBSAMPLE:
        max_pool(x, node, &every);
        break;
    case CASK_LAYER_AVERAGE_POOL:
        cask_onnx_add_input(
            x, cask_onnx_add_node(x, "GlobalAveragePool", node->name, x->names[node->output]),
            x->names[node->inputs[0]]);
        break;
    case CASK_LAYER_MAX_POOL:
        max_pool(x, node, &node->window);
        break;
    case CASK_LAYER_SCALE:
        scale_by_gate(x, node);
        break;
    case CASK_LAYER_KINDS:
        break;
    }
}
