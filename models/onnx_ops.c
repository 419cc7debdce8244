/* Operators with weights: Conv, Gemm, MatMul, BatchNormalization, PRelu. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/onnx.h"

#define REFUSE(status, format, ...)                                                                \
    cask_error_set(err, status, "%s: " format, cask_onnx_label(node, (char[160]){0}, 160),         \
                   __VA_ARGS__)

static struct cask_onnx_source whole(const Cask__Onnx__Tensor *tensor)
{
    return (struct cask_onnx_source){.tensor = tensor, .factor = 1};
}

static void put_activation(struct cask_onnx_import *import, const Cask__Onnx__Node *node, int id,
                           bool flat)
{
    const struct cask_onnx_value made = {.kind = CASK_ONNX_ACTIVATION, .id = id, .flat = flat};
    cask_onnx_output(import, node, &made);
}

/* ------------------------------------------------------------------------ Conv */

/* An attribute of `count` integers; absent ones keep what `out` holds. */
static enum cask_status read_ints(const Cask__Onnx__Node *node, const char *name, size_t count,
                                  int *out, struct cask_error *err)
{
    const Cask__Onnx__Attribute *attribute = cask_onnx_attribute(node, name);
    if (attribute == NULL) {
        return CASK_OK;
    }
    if (attribute->n_ints != count) {
        return REFUSE(CASK_ERR_UNSUPPORTED, "%s has %zu numbers, expected %zu (2-d only)", name,
                      attribute->n_ints, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (attribute->ints[i] < 0 || attribute->ints[i] > 4096) {
            return REFUSE(CASK_ERR_UNSUPPORTED, "%s[%zu] is %" PRId64 ", expected 0 to 4096", name,
                          i, attribute->ints[i]);
        }
        out[i] = (int)attribute->ints[i];
    }
    return CASK_OK;
}

/* SAME: the output has ceil(in / stride) pixels; an odd pixel of padding goes to the end (UPPER) or
 * the beginning (LOWER). */
static void pad_same(bool upper, int in, int kernel, int stride, int *begin, int *end)
{
    int out = (in + stride - 1) / stride;
    int total = (out - 1) * stride + kernel - in;
    total = total > 0 ? total : 0;
    *begin = upper ? total / 2 : total - total / 2;
    *end = total - *begin;
}

static enum cask_status read_padding(const Cask__Onnx__Node *node, const struct cask_value *in,
                                     struct cask_conv_spec *spec, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int pads[4] = {0}; /* top, left, bottom, right */
    const Cask__Onnx__Attribute *automatic = cask_onnx_attribute(node, "auto_pad");
    char mode[16] = "";
    if (automatic != NULL) {
        snprintf(mode, sizeof mode, "%.*s", automatic->s.len < 15 ? (int)automatic->s.len : 15,
                 automatic->s.len > 0 ? (const char *)automatic->s.data : "");
    }
    if (strncmp(mode, "SAME_", 5) == 0) {
        bool upper = strcmp(mode, "SAME_UPPER") == 0;
        pad_same(upper, in->h, spec->kernel_h, spec->stride, &pads[0], &pads[2]);
        pad_same(upper, in->w, spec->kernel_w, spec->stride, &pads[1], &pads[3]);
    } else if (mode[0] == '\0' || strcmp(mode, "NOTSET") == 0) {
        CASK_TRY(read_ints(node, "pads", 4, pads, err));
    } else if (strcmp(mode, "VALID") != 0) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "auto_pad is \"%s\"", mode));
    }
    spec->pad_top = pads[0];
    spec->pad_left = pads[1];
    spec->pad_bottom = pads[2];
    spec->pad_right = pads[3];
done:
    return st;
}

static enum cask_status read_conv(const Cask__Onnx__Node *node, const struct cask_value *in,
                                  const Cask__Onnx__Tensor *weight, struct cask_conv_spec *spec,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int strides[2] = {1, 1}, dilations[2] = {1, 1};
    CASK_TRY(read_ints(node, "strides", 2, strides, err));
    CASK_TRY(read_ints(node, "dilations", 2, dilations, err));
    int64_t groups = cask_onnx_attribute_int(node, "group", 1);
    if (weight->n_dims != 4 || groups < 1 || groups > INT16_MAX ||
        weight->dims[1] != in->c / groups || weight->dims[0] < 1 || weight->dims[0] > INT16_MAX ||
        weight->dims[2] > 4096 || weight->dims[3] > 4096) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED,
                        "a weight of %zu dimensions for %d input channels in %" PRId64
                        " groups; expected [out, in / groups, height, width]",
                        weight->n_dims, in->c, groups));
    }
    if (strides[0] != strides[1] || strides[0] < 1 || dilations[0] != 1 || dilations[1] != 1) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED,
                        "strides %d x %d and dilations %d x %d; expected equal strides and no "
                        "dilation",
                        strides[0], strides[1], dilations[0], dilations[1]));
    }
    *spec = (struct cask_conv_spec){.out_c = (int)weight->dims[0],
                                    .kernel_h = (int)weight->dims[2],
                                    .kernel_w = (int)weight->dims[3],
                                    .stride = strides[0],
                                    .groups = (int)groups};
    CASK_TRY(read_padding(node, in, spec, err));
done:
    return st;
}

enum cask_status cask_onnx_conv(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    const Cask__Onnx__Tensor *weight = NULL, *bias = NULL;
    struct cask_conv_spec spec;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    CASK_TRY(cask_onnx_constant(import, node, 1, &weight, err));
    if (node->n_input > 2 && node->input[2][0] != '\0') {
        CASK_TRY(cask_onnx_constant(import, node, 2, &bias, err));
    }
    if (x.flat) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its input was flattened before"));
    }
    CASK_TRY(read_conv(node, cask_graph_value(import->graph, x.id), weight, &spec, err));
    spec.bias = bias != NULL;
    int id =
        cask_graph_add_conv(import->graph, x.id, cask_onnx_layer_name(import, node, ""), &spec);
    struct cask_onnx_source source = whole(weight);
    CASK_TRY(cask_onnx_bind(import, CASK_SLOT_WEIGHT, &source, err));
    if (bias != NULL) {
        source = whole(bias);
        CASK_TRY(cask_onnx_bind(import, CASK_SLOT_BIAS, &source, err));
    }
    put_activation(import, node, id, false);
done:
    return st;
}

/* ------------------------------------------------------------------- MaxPool */

/* A kernel of one pixel only leaves pixels out, which is how PyTorch code subsamples. */
enum cask_status cask_onnx_max_pool(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    int kernel[2] = {0}, strides[2] = {1, 1}, pads[4] = {0}, dilations[2] = {1, 1};
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    CASK_TRY(read_ints(node, "kernel_shape", 2, kernel, err));
    CASK_TRY(read_ints(node, "strides", 2, strides, err));
    CASK_TRY(read_ints(node, "pads", 4, pads, err));
    CASK_TRY(read_ints(node, "dilations", 2, dilations, err));
    bool square = kernel[0] == kernel[1] && strides[0] == strides[1] && pads[0] == pads[1] &&
                  pads[0] == pads[2] && pads[0] == pads[3];
    if (x.flat || !square || dilations[0] != 1 || dilations[1] != 1 ||
        cask_onnx_attribute_int(node, "ceil_mode", 0) != 0 ||
        cask_onnx_attribute(node, "auto_pad") != NULL) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                        "expected square windows with equal strides and pads, no dilation, no "
                        "ceil_mode, no auto_pad"));
    }
    const char *name = cask_onnx_layer_name(import, node, "");
    x.id = kernel[0] == 1 && pads[0] == 0
               ? cask_graph_add_subsample(import->graph, x.id, name, strides[0])
               : cask_graph_add_max_pool(import->graph, x.id, name, kernel[0], strides[0], pads[0]);
    put_activation(import, node, x.id, false);
done:
    return st;
}

/* --------------------------------------------------------------- Gemm, MatMul */

/* A flattened value is [batch, C*H*W] in PyTorch's order, which is the order in which a linear
 * layer reads an image; nothing has to be moved. */
static enum cask_status add_linear(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   const struct cask_onnx_source *weight,
                                   const struct cask_onnx_source *bias, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    const Cask__Onnx__Tensor *w = weight->tensor;
    int64_t columns = (int64_t)in->c * in->h * in->w;
    bool two = w->n_dims == 2;
    int64_t out = two ? w->dims[weight->transposed ? 1 : 0] : 0;
    if (!two || w->dims[weight->transposed ? 0 : 1] != columns || out < 1 || out > INT16_MAX) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT,
                        "its weight should be a matrix for %" PRId64 " inputs (%d x %d x %d)",
                        columns, in->c, in->h, in->w));
    }
    if (!x.flat) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                        "its input is an image; expected a Flatten or Reshape before it"));
    }
    int id = cask_graph_add_linear(import->graph, x.id, cask_onnx_layer_name(import, node, ""),
                                   (int)out, bias != NULL);
    CASK_TRY(cask_onnx_bind(import, CASK_SLOT_WEIGHT, weight, err));
    if (bias != NULL) {
        CASK_TRY(cask_onnx_bind(import, CASK_SLOT_BIAS, bias, err));
    }
    put_activation(import, node, id, true);
done:
    return st;
}

/* y = alpha * A * op(B) + beta * C */
enum cask_status cask_onnx_gemm(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const Cask__Onnx__Tensor *b = NULL, *c = NULL;
    CASK_TRY(cask_onnx_constant(import, node, 1, &b, err));
    bool has_bias = node->n_input > 2 && node->input[2][0] != '\0';
    if (has_bias) {
        CASK_TRY(cask_onnx_constant(import, node, 2, &c, err));
    }
    if (cask_onnx_attribute_int(node, "transA", 0) != 0) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "transA is set"));
    }
    const struct cask_onnx_source weight = {.tensor = b,
                                            .transposed =
                                                cask_onnx_attribute_int(node, "transB", 0) == 0,
                                            .factor = cask_onnx_attribute_real(node, "alpha", 1)};
    const struct cask_onnx_source bias = {.tensor = c,
                                          .factor = cask_onnx_attribute_real(node, "beta", 1)};
    CASK_TRY(add_linear(import, node, &weight, has_bias ? &bias : NULL, err));
done:
    return st;
}

enum cask_status cask_onnx_matmul(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const Cask__Onnx__Tensor *b = NULL;
    CASK_TRY(cask_onnx_constant(import, node, 1, &b, err));
    const struct cask_onnx_source weight = {.tensor = b, .transposed = true, .factor = 1};
    CASK_TRY(add_linear(import, node, &weight, NULL, err));
done:
    return st;
}

/* ----------------------------------------------------------- BatchNormalization */

/* The `spatial` attribute is not looked at: mxnet's exporter wrote 0 and meant 1. */
enum cask_status cask_onnx_batchnorm(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                     struct cask_error *err)
{
    static const enum cask_slot slots[] = {CASK_SLOT_WEIGHT, CASK_SLOT_BIAS, CASK_SLOT_MEAN,
                                           CASK_SLOT_VAR};
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    const Cask__Onnx__Tensor *tensors[4];
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    for (size_t i = 0; i < 4; i++) {
        CASK_TRY(cask_onnx_constant(import, node, i + 1, &tensors[i], err));
    }
    if (cask_onnx_attribute_int(node, "training_mode", 0) != 0) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                        "it is in training mode; export after model.eval()"));
    }
    if (x.flat && (in->h != 1 || in->w != 1)) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its input is a flattened image"));
    }
    double eps = cask_onnx_attribute_real(node, "epsilon", 1e-5);
    if (!(eps >= 0 && eps < 1)) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "epsilon is %g", eps));
    }
    int id = cask_graph_add_batchnorm(import->graph, x.id, cask_onnx_layer_name(import, node, ""),
                                      eps, CASK_AFFINE_TRAINED);
    for (size_t i = 0; i < 4; i++) {
        const struct cask_onnx_source source = whole(tensors[i]);
        CASK_TRY(cask_onnx_bind(import, slots[i], &source, err));
    }
    put_activation(import, node, id, x.flat);
done:
    return st;
}

enum cask_status cask_onnx_prelu(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    const Cask__Onnx__Tensor *slope = NULL;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    CASK_TRY(cask_onnx_constant(import, node, 1, &slope, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    if (x.flat && (in->h != 1 || in->w != 1)) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its input is a flattened image"));
    }
    int id = cask_graph_add_activation(import->graph, x.id, cask_onnx_layer_name(import, node, ""),
                                       CASK_ACT_PRELU);
    const struct cask_onnx_source source = whole(slope);
    CASK_TRY(cask_onnx_bind(import, CASK_SLOT_WEIGHT, &source, err));
    put_activation(import, node, id, x.flat);
done:
    return st;
}
