/* Flatten, Reshape, Squeeze, Unsqueeze, and the integer arithmetic that exporters write in front of
 * them. A graph of Cask has no flatten: only the view of a value changes. */
#include <inttypes.h>
#include <string.h>

#include "models/onnx.h"

#define REFUSE(status, format, ...)                                                                \
    cask_error_set(err, status, "%s: " format, cask_onnx_label(node, (char[160]){0}, 160),         \
                   __VA_ARGS__)

/* Input `index` as integers: an initialiser, or computed before. */
static enum cask_status read_ints(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                  size_t index, struct cask_onnx_ints *ints, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_onnx_value *value = NULL;
    CASK_TRY(cask_onnx_input(import, node, index, &value, err));
    if (value != NULL && value->kind == CASK_ONNX_INTS) {
        *ints = value->ints;
    } else if (value != NULL && value->kind == CASK_ONNX_TENSOR) {
        CASK_TRY(cask_onnx_tensor_ints(value->tensor, ints, err));
    } else {
        CASK_TRY(
            REFUSE(CASK_ERR_UNSUPPORTED, "input %zu should be integers known in advance", index));
    }
done:
    return st;
}

static void put_ints(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                     const struct cask_onnx_ints *ints)
{
    const struct cask_onnx_value value = {.kind = CASK_ONNX_INTS, .ints = *ints};
    cask_onnx_output(import, node, &value);
}

/* --------------------------------------------------------------- views of images */

/* Identity, and Dropout, which does nothing in eval mode. */
enum cask_status cask_onnx_identity(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_onnx_value *value = NULL;
    CASK_TRY(cask_onnx_input(import, node, 0, &value, err));
    if (value == NULL) {
        CASK_TRY(REFUSE(CASK_ERR_FORMAT, "%s", "it has no input"));
    }
    const struct cask_onnx_value copy = *value;
    cask_onnx_output(import, node, &copy);
done:
    return st;
}

/* Between float types: everything is computed in this device's. */
enum cask_status cask_onnx_cast(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_error *err)
{
    enum { FLOAT = 1, FLOAT16 = 10, DOUBLE = 11, BFLOAT16 = 16 };
    const int64_t to = cask_onnx_attribute_int(node, "to", 0);
    if (to != FLOAT && to != FLOAT16 && to != DOUBLE && to != BFLOAT16) {
        return REFUSE(CASK_ERR_UNSUPPORTED, "to data type %" PRId64 ", expected a float type", to);
    }
    return cask_onnx_identity(import, node, err);
}

enum cask_status cask_onnx_flatten(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    int64_t axis = cask_onnx_attribute_int(node, "axis", 1);
    if (axis != 1 && axis != (x.flat ? -1 : -3)) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "axis is %" PRId64 ", expected 1", axis));
    }
    x.flat = true;
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

/* A target of [batch, everything] flattens; [batch, C, H, W] changes nothing. A batch of 1 written
 * into the file is taken for any batch: PyTorch's exporter puts it there. */
enum cask_status cask_onnx_reshape(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    struct cask_onnx_ints to;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    CASK_TRY(read_ints(import, node, 1, &to, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    int64_t all = (int64_t)in->c * in->h * in->w;
    bool batch =
        to.count > 1 && (to.items[0] == CASK_ONNX_BATCH || to.items[0] == 1 || to.items[0] == -1);
    bool flattens =
        batch && to.count == 2 && (to.items[1] == all || (to.items[1] == -1 && to.items[0] != -1));
    bool keeps = batch && to.count == 4 && to.items[2] == in->h && to.items[3] == in->w &&
                 (to.items[1] == in->c || (to.items[1] == -1 && to.items[0] != -1));
    if (!flattens && !keeps) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED,
                        "a target of %d dimensions for an image of %d x %d x %d; only flattening "
                        "to [batch, %" PRId64 "] is supported",
                        to.count, in->c, in->h, in->w, all));
    }
    x.flat = flattens;
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

/* Of an image: only away with the 1 x 1 pixels behind a pooling. Of integers: a scalar. */
enum cask_status cask_onnx_squeeze(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_onnx_value *value = NULL;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_input(import, node, 0, &value, err));
    if (value != NULL && value->kind == CASK_ONNX_INTS && value->ints.count == 1) {
        x = *value;
        x.ints.scalar = true;
    } else {
        CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
        const struct cask_value *in = cask_graph_value(import->graph, x.id);
        if (in->h != 1 || in->w != 1) {
            CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "its input has %d x %d pixels, expected one",
                            in->h, in->w));
        }
        x.flat = true;
    }
    cask_onnx_output(import, node, &x);
done:
    return st;
}

enum cask_status cask_onnx_axes(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_onnx_ints *axes, struct cask_error *err)
{
    const Cask__Onnx__Attribute *attribute = cask_onnx_attribute(node, "axes");
    if (attribute == NULL) {
        return read_ints(import, node, 1, axes, err);
    }
    if (attribute->n_ints > CASK_ONNX_RANK) {
        return REFUSE(CASK_ERR_FORMAT, "%zu axes", attribute->n_ints);
    }
    *axes = (struct cask_onnx_ints){.count = (int)attribute->n_ints};
    memcpy(axes->items, attribute->ints, attribute->n_ints * sizeof *attribute->ints);
    return CASK_OK;
}

/* Of a flattened value of one pixel: back to an image, at once or an axis at a time, as PyTorch
 * writes [:, :, None, None]. Ones behind the channels move nothing. */
static enum cask_status unsqueeze_image(struct cask_onnx_import *import,
                                        const Cask__Onnx__Node *node, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x = cask_onnx_lookup(import, node->input[0])->value;
    struct cask_onnx_ints axes;
    const bool line = x.line;
    if (!line) { /* which nothing but this function reads; it is no gate either */
        CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    }
    CASK_TRY(cask_onnx_axes(import, node, &axes, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    const int rank = (line ? 3 : x.flat ? 2 : 4) + axes.count;
    bool behind = x.flat && in->h == 1 && in->w == 1 && axes.count > 0 && rank <= 4;
    for (int i = 0; behind && i < axes.count; i++) {
        axes.items[i] += axes.items[i] < 0 ? rank : 0;
        behind = axes.items[i] >= 2 && axes.items[i] < rank &&
                 (i == 0 || axes.items[i] != axes.items[i - 1]);
    }
    if (!behind) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s",
                        "of a picture or its features; expected [batch, channels] and the axes 2 "
                        "and 3"));
    }
    x.flat = x.line = rank == 3;
    x.input = false;
    cask_onnx_output(import, node, &x);
done:
    return st;
}

/* Of integers: a scalar becomes a vector. Of a float constant (a PReLU slope on its way from [C] to
 * [C,1,1]) only the view changes. */
enum cask_status cask_onnx_unsqueeze(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_onnx_value *value = NULL;
    struct cask_onnx_ints ints;
    CASK_TRY(cask_onnx_input(import, node, 0, &value, err));
    if (value != NULL && value->kind == CASK_ONNX_TENSOR && cask_onnx_is_float(value->tensor)) {
        const struct cask_onnx_value copy = *value;
        cask_onnx_output(import, node, &copy);
        goto done;
    }
    if (value != NULL && value->kind == CASK_ONNX_ACTIVATION) {
        CASK_TRY(unsqueeze_image(import, node, err));
        goto done;
    }
    CASK_TRY(read_ints(import, node, 0, &ints, err));
    if (!ints.scalar) {
        CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its input is not a scalar"));
    }
    ints.scalar = false;
    put_ints(import, node, &ints);
done:
    return st;
}

/* ------------------------------------------------------------- integer arithmetic */

enum cask_status cask_onnx_shape(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_value x;
    CASK_TRY(cask_onnx_activation(import, node, 0, &x, err));
    const struct cask_value *in = cask_graph_value(import->graph, x.id);
    struct cask_onnx_ints ints = {{CASK_ONNX_BATCH, in->c, in->h, in->w}, 4, false};
    if (x.flat) {
        ints.items[1] = (int64_t)in->c * in->h * in->w;
        ints.count = 2;
    }
    put_ints(import, node, &ints);
done:
    return st;
}

enum cask_status cask_onnx_gather(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_ints from, indices;
    CASK_TRY(read_ints(import, node, 0, &from, err));
    CASK_TRY(read_ints(import, node, 1, &indices, err));
    struct cask_onnx_ints picked = {.count = indices.count, .scalar = indices.scalar};
    for (int i = 0; i < indices.count; i++) {
        int64_t at = indices.items[i] + (indices.items[i] < 0 ? from.count : 0);
        if (at < 0 || at >= from.count) {
            CASK_TRY(
                REFUSE(CASK_ERR_FORMAT, "index %" PRId64 " of %d", indices.items[i], from.count));
        }
        picked.items[i] = from.items[at];
    }
    put_ints(import, node, &picked);
done:
    return st;
}

enum cask_status cask_onnx_concat(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_ints all = {.count = 0}, part;
    for (size_t i = 0; i < node->n_input; i++) {
        CASK_TRY(read_ints(import, node, i, &part, err));
        if (all.count + part.count > CASK_ONNX_RANK) {
            CASK_TRY(REFUSE(CASK_ERR_UNSUPPORTED, "more than %d integers", CASK_ONNX_RANK));
        }
        memcpy(all.items + all.count, part.items, (size_t)part.count * sizeof *part.items);
        all.count += part.count;
    }
    put_ints(import, node, &all);
done:
    return st;
}

enum cask_status cask_onnx_constant_node(struct cask_onnx_import *import,
                                         const Cask__Onnx__Node *node, struct cask_error *err)
{
    const Cask__Onnx__Attribute *tensor = cask_onnx_attribute(node, "value");
    const Cask__Onnx__Attribute *ints = cask_onnx_attribute(node, "value_ints");
    const Cask__Onnx__Attribute *one = cask_onnx_attribute(node, "value_int");
    struct cask_onnx_value value = {.kind = CASK_ONNX_INTS};
    if (tensor != NULL && tensor->t != NULL) {
        value = (struct cask_onnx_value){.kind = CASK_ONNX_TENSOR, .tensor = tensor->t};
    } else if (ints != NULL && ints->n_ints <= CASK_ONNX_RANK) {
        value.ints.count = (int)ints->n_ints;
        memcpy(value.ints.items, ints->ints, ints->n_ints * sizeof *ints->ints);
    } else if (one != NULL && one->has_i) {
        value.ints = (struct cask_onnx_ints){{one->i}, 1, true};
    } else {
        return REFUSE(CASK_ERR_UNSUPPORTED, "%s", "its value is not a tensor or integers");
    }
    cask_onnx_output(import, node, &value);
    return CASK_OK;
}
