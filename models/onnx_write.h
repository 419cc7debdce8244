/* models/onnx_write.h - a cask_graph as an ONNX graph. Private to models/.
 *
 *   onnx_write.c         the file: opset, names of input and output, metadata
 *   onnx_write_graph.c   nodes and constants; which values are images, which are rows
 *   onnx_write_layers.c  one function a layer kind
 *
 * A value of a cask_graph is always C x H x W; in ONNX a linear layer makes [batch, C]. So each
 * value is an image or flat there: an image where a convolution, pooling or gate reads it on, else
 * flat from the first linear layer on.
 */
#ifndef CASK_MODELS_ONNX_WRITE_H
#define CASK_MODELS_ONNX_WRITE_H

#include "models/net.h"
#include "onnx.pb-c.h"

struct cask_onnx_export {
    const struct cask_graph *graph;
    struct cask_net *net;
    const struct cask_export_options *options;
    struct cask_arena arena; /* all messages and their data */
    Cask__Onnx__Node **nodes;
    size_t node_count, node_room;
    Cask__Onnx__Tensor **tensors;
    size_t tensor_count, tensor_room;
    const char **names;        /* by value */
    const char **flat_names;   /* by value: of its flattened copy; NULL: none yet */
    bool *image, *flat;        /* by value: is read as an image; is [batch, C] */
    struct cask_error problem; /* the first one; the calls below do nothing from then on */
};

/* onnx_write.c. Published at once or not at all. */
enum cask_status cask_onnx_write(struct cask_net *net, const char *path,
                                 const struct cask_preprocess *preprocess,
                                 const struct cask_export_options *options,
                                 const struct cask_metadata_entry *entries, int entry_count,
                                 struct cask_error *err);

/* onnx_write_graph.c. Texts are copied; a NULL node is ignored by the calls that follow. */
enum cask_status cask_onnx_export_begin(struct cask_onnx_export *x, struct cask_error *err);
char *cask_onnx_text(struct cask_onnx_export *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
Cask__Onnx__Node *cask_onnx_add_node(struct cask_onnx_export *x, const char *op, const char *name,
                                     const char *output);
void cask_onnx_add_input(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name);
void cask_onnx_add_int(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                       int64_t value);
void cask_onnx_add_ints(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                        const int64_t *values, int count);
void cask_onnx_add_float(struct cask_onnx_export *x, Cask__Onnx__Node *node, const char *name,
                         double value);
/* A float constant; the values are copied. Returns the name to read it by. With options->half,
 * weights (two or four dimensions) are stored as float16 and cast: a runtime does that once, when
 * it loads. */
const char *cask_onnx_add_tensor(struct cask_onnx_export *x, const char *name, int rank,
                                 const int64_t *dims, const float *values);
/* The name of value `v` as [batch, C], flattened if it is an image. */
const char *cask_onnx_flat_name(struct cask_onnx_export *x, int v);

/* onnx_write_layers.c. `bn`: the batch norm folded into a convolution or linear layer, or NULL. */
void cask_onnx_write_layer(struct cask_onnx_export *x, const struct cask_node *node,
                           const struct cask_node *bn);
/* (data - mean) * (1 / scale) at the front of the graph; returns the name of the result. */
const char *cask_onnx_write_pixels(struct cask_onnx_export *x, double mean, double scale);

#endif
