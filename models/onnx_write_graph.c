#include "models/onnx_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/net_copy.h"

/* TensorProto.DataType and AttributeProto.AttributeType */
enum { FLOAT = 1, FLOAT16 = 10 };
enum { ATTRIBUTE_FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7 };
enum { MOST_INPUTS = 5, MOST_ATTRIBUTES = 5 };

static bool broken(const struct cask_onnx_export *x)
{
    return x->problem.status != CASK_OK;
}

static void *take(struct cask_onnx_export *x, size_t count, size_t size)
{
    void *memory = broken(x) ? NULL : cask_arena_alloc(&x->arena, count, size);
    if (memory == NULL && !broken(x)) {
        cask_error_memory(&x->problem, count * size, "an ONNX graph");
    }
    return memory;
}

char *cask_onnx_text(struct cask_onnx_export *x, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const size_t bytes = strlen(text) + 1;
    char *copy = take(x, bytes, 1);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

/* -------------------------------------------------------------- images and rows */

static bool reads_images(enum cask_layer_kind kind)
{
    return kind == CASK_LAYER_CONV || kind == CASK_LAYER_AVERAGE_POOL ||
           kind == CASK_LAYER_MAX_POOL || kind == CASK_LAYER_SUBSAMPLE || kind == CASK_LAYER_SCALE;
}

static void find_images(struct cask_onnx_export *x)
{
    const struct cask_graph *g = x->graph;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const struct cask_node *node = &g->nodes[i];
        /* A linear layer whose output must be an image is written as a convolution. */
        const bool image = reads_images(node->kind) || x->image[node->output];
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (node->inputs[k] >= 0) {
                x->image[node->inputs[k]] |= image;
            }
        }
    }
    for (int i = 0; i < g->node_count; i++) {
        const struct cask_node *node = &g->nodes[i];
        bool flat = node->kind == CASK_LAYER_LINEAR;
        for (int k = 0; k < CASK_NODE_INPUTS && !reads_images(node->kind); k++) {
            flat |= node->inputs[k] >= 0 && x->flat[node->inputs[k]];
        }
        x->flat[node->output] = flat && !x->image[node->output];
    }
}

enum cask_status cask_onnx_export_begin(struct cask_onnx_export *x, struct cask_error *err)
{
    const size_t values = (size_t)x->graph->value_count, nodes = (size_t)x->graph->node_count;
    cask_arena_init(&x->arena);
    x->node_room = 5 * nodes + 8; /* what one layer becomes at most: see onnx_write_layers.c */
    x->tensor_room = 6 * nodes + 8;
    x->nodes = take(x, x->node_room, sizeof *x->nodes);
    x->tensors = take(x, x->tensor_room, sizeof *x->tensors);
    x->names = take(x, values, sizeof *x->names);
    x->flat_names = take(x, values, sizeof *x->flat_names);
    x->image = take(x, values, sizeof *x->image);
    x->flat = take(x, values, sizeof *x->flat);
    if (!broken(x)) {
        find_images(x);
        for (int v = 0; v < x->graph->value_count; v++) {
            x->names[v] = cask_onnx_text(x, "%d", v);
        }
        x->names[CASK_GRAPH_INPUT] = "data";
    }
    if (broken(x)) {
        *err = x->problem;
    }
    return x->problem.status;
}

/* ------------------------------------------------------------ nodes, constants */

Cask__Onnx__Node *cask_onnx_add_node(struct cask_onnx_export *x, const char *op, const char *name,
                                     const char *output)
{
    Cask__Onnx__Node *node = take(x, 1, sizeof *node);
    char **inputs = take(x, MOST_INPUTS, sizeof *inputs), **outputs = take(x, 1, sizeof *outputs);
    Cask__Onnx__Attribute **attributes = take(x, MOST_ATTRIBUTES, sizeof *attributes);
    if (broken(x) || x->node_count == x->node_room) {
        return NULL;
    }
    *node = (Cask__Onnx__Node)CASK__ONNX__NODE__INIT;
    node->op_type = cask_onnx_text(x, "%s", op);
    node->name = cask_onnx_text(x, "%s", name);
    outputs[0] = cask_onnx_text(x, "%s", output);
    node->input = inputs;
    node->output = outputs;
    node->n_output = 1;
    node->attribute = attributes;
    x->nodes[x->node_count++] = node;
    return broken(x) ? NULL : node;
}

void cask_onnx_add_input(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name)
{
    if (node != NULL && name != NULL && node->n_input < MOST_INPUTS) {
        char *copy = cask_onnx_text(x, "%s", name);
        if (copy != NULL) {
            node->input[node->n_input++] = copy;
        }
    }
}

static Cask__Onnx__Attribute *add_attribute(struct cask_onnx_export *x, Cask__Onnx__Node *node,
                                            const char *name, int type)
{
    if (node == NULL || node->n_attribute == MOST_ATTRIBUTES) {
        return NULL;
    }
    Cask__Onnx__Attribute *attribute = take(x, 1, sizeof *attribute);
    char *copy = cask_onnx_text(x, "%s", name);
    if (broken(x)) {
        return NULL;
    }
    *attribute = (Cask__Onnx__Attribute)CASK__ONNX__ATTRIBUTE__INIT;
    attribute->name = copy;
    attribute->has_type = 1;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

void cask_onnx_add_int(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                       int64_t value)
{
    Cask__Onnx__Attribute *attribute = add_attribute(x, node, name, ATTRIBUTE_INT);
    if (attribute != NULL) {
        attribute->has_i = 1;
        attribute->i = value;
    }
}

void cask_onnx_add_float(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                         double value)
{
    Cask__Onnx__Attribute *attribute = add_attribute(x, node, name, ATTRIBUTE_FLOAT);
    if (attribute != NULL) {
        attribute->has_f = 1;
        attribute->f = (float)value;
    }
}

void cask_onnx_add_ints(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                        const int64_t *values, int count)
{
    Cask__Onnx__Attribute *attribute = add_attribute(x, node, name, ATTRIBUTE_INTS);
    int64_t *copy = take(x, (size_t)count, sizeof *copy);
    if (attribute != NULL && copy != NULL) {
        memcpy(copy, values, (size_t)count * sizeof *copy);
        attribute->ints = copy;
        attribute->n_ints = (size_t)count;
    }
}

const char *cask_onnx_add_tensor(struct cask_onnx_export *x, const char *name, int rank,
                                 const int64_t *dims, const float *values)
{
    /* A slope of [C, 1, 1] is one number a channel. */
    const bool half = x->options->half && (rank == 2 || rank == 4);
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        count *= dims[d];
    }
    const size_t bytes = (size_t)count * (half ? sizeof(uint16_t) : sizeof(float));
    Cask__Onnx__Tensor *tensor = take(x, 1, sizeof *tensor);
    int64_t *shape = take(x, (size_t)rank, sizeof *shape);
    uint8_t *data = take(x, bytes, 1);
    char *stored = cask_onnx_text(x, half ? "%s.f16" : "%s", name);
    if (broken(x) || x->tensor_count == x->tensor_room) {
        return NULL;
    }
    if (half) {
        cask_to_halves(name, values, count, (uint16_t *)(void *)data, &x->problem);
    } else {
        memcpy(data, values, bytes);
    }
    *tensor = (Cask__Onnx__Tensor)CASK__ONNX__TENSOR__INIT;
    for (int d = 0; d < rank; d++) {
        shape[d] = dims[d];
    }
    tensor->dims = shape;
    tensor->n_dims = (size_t)rank;
    tensor->has_data_type = 1;
    tensor->data_type = half ? FLOAT16 : FLOAT;
    tensor->name = stored;
    tensor->has_raw_data = 1;
    tensor->raw_data = (ProtobufCBinaryData){bytes, data};
    x->tensors[x->tensor_count++] = tensor;
    if (half) {
        Cask__Onnx__Node *cast = cask_onnx_add_node(x, "Cast", stored, name);
        cask_onnx_add_input(x, cast, stored);
        cask_onnx_add_int(x, cast, "to", FLOAT);
        return cask_onnx_text(x, "%s", name);
    }
    return stored;
}

const char *cask_onnx_flat_name(struct cask_onnx_export *x, int v)
{
    if (x->flat[v]) {
        return x->names[v];
    }
    if (x->flat_names[v] == NULL) {
        const char *name = cask_onnx_text(x, "%s.flat", x->names[v]);
        Cask__Onnx__Node *node = cask_onnx_add_node(x, "Flatten", name, name);
        cask_onnx_add_input(x, node, x->names[v]);
        cask_onnx_add_int(x, node, "axis", 1);
        x->flat_names[v] = name;
    }
    return x->flat_names[v];
}
