/* models/onnx.h - importing an ONNX graph. Private to models/.
 *
 *   onnx_file.c     bytes -> messages, checked for what cannot be read at all
 *   onnx_values.c   what every name in the file stands for
 *   onnx_tensor.c   constants as float or int64
 *   onnx_load.c     walks the nodes in order and builds the cask_graph
 *   onnx_ops.c      one function an operator: convolution, linear, batch norm, activations
 *   onnx_math.c     Add, Sub, Mul, Div with constants or activations; pooling over all pixels
 *   onnx_shape.c    Flatten, Reshape and the shape arithmetic exporters write before it
 *   onnx_fill.c     the weights
 *
 * Weights are not copied while the graph is built: for each parameter a source is written down.
 * Filling a net follows the sources.
 */
#ifndef CASK_MODELS_ONNX_H
#define CASK_MODELS_ONNX_H

#include "common/file.h"
#include "models/graph.h"
#include "models/memory.h"
#include "onnx.pb-c.h"

enum { CASK_ONNX_RANK = 8, CASK_ONNX_BATCH = 0 };

/* A small vector of integers, known while importing: shapes and what is computed from them. The
 * batch size is not known; it is written CASK_ONNX_BATCH, which Reshape reads as "keep". */
struct cask_onnx_ints {
    int64_t items[CASK_ONNX_RANK];
    int count;
    bool scalar;
};

enum cask_onnx_kind {
    CASK_ONNX_UNKNOWN,    /* not made yet */
    CASK_ONNX_ACTIVATION, /* a value of the graph */
    CASK_ONNX_TENSOR,     /* a constant */
    CASK_ONNX_INTS,
};

struct cask_onnx_value {
    enum cask_onnx_kind kind;
    int id;     /* ACTIVATION: the graph's value */
    bool flat;  /* ACTIVATION: seen as [batch, C*H*W] */
    bool line;  /* ACTIVATION: flat, of one pixel, seen as [batch, C, 1] */
    bool gate;  /* ACTIVATION: hard-sigmoid of `id`, not in the graph yet */
    bool input; /* ACTIVATION: the picture, perhaps normalised */
    const Cask__Onnx__Tensor *tensor;
    struct cask_onnx_ints ints;
};

struct cask_onnx_name {
    const char *name; /* NULL: free slot */
    struct cask_onnx_value value;
    bool needed; /* the output depends on it */
};

/* Where a parameter's numbers come from: (tensor or 1) * factor + offset, or factor / tensor. */
struct cask_onnx_source {
    const Cask__Onnx__Tensor *tensor; /* NULL: a constant */
    bool transposed;                  /* [in, out] in the file */
    bool reciprocal;
    double factor, offset;
};

struct cask_onnx_import {
    const Cask__Onnx__Model *model;
    struct cask_graph *graph;
    struct cask_onnx_name *names; /* open addressing */
    size_t slots;
    struct cask_onnx_source *sources; /* one a parameter of the graph */
    int source_room;
    bool normalises;
    int node_index; /* of the node in work */
};

/* --- onnx_file.c --- */
/* Unpacks and checks; the message is freed with cask_onnx_close. Messages do not name the file. */
enum cask_status cask_onnx_unpack(const uint8_t *data, size_t bytes, Cask__Onnx__Model **model,
                                  struct cask_error *err);
void cask_onnx_close(Cask__Onnx__Model *model); /* accepts NULL */

/* --- onnx_load.c --- */
/* Runs the whole import; release in any case. The graph belongs to the caller. */
enum cask_status cask_onnx_import(struct cask_onnx_import *import, const Cask__Onnx__Model *model,
                                  struct cask_error *err);
void cask_onnx_release(struct cask_onnx_import *import);

/* --- onnx_values.c --- */
enum cask_status cask_onnx_init_names(struct cask_onnx_import *import, struct cask_error *err);
struct cask_onnx_name *cask_onnx_lookup(struct cask_onnx_import *import, const char *name);
/* Input `index` of a node; NULL: left out. A name that nothing has made is an error. */
enum cask_status cask_onnx_input(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 size_t index, const struct cask_onnx_value **value,
                                 struct cask_error *err);
/* The same, but it must be an activation (pending gates are put into the graph) or a constant. */
enum cask_status cask_onnx_activation(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      size_t index, struct cask_onnx_value *value,
                                      struct cask_error *err);
enum cask_status cask_onnx_constant(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                    size_t index, const Cask__Onnx__Tensor **tensor,
                                    struct cask_error *err);
/* Sets output 0. */
void cask_onnx_output(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                      const struct cask_onnx_value *value);
/* "Conv \"conv_1\"" for messages. */
const char *cask_onnx_label(const Cask__Onnx__Node *node, char *buffer, size_t bytes);
/* A unique name for the node's layer in the graph. */
const char *cask_onnx_layer_name(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 const char *suffix);

const Cask__Onnx__Attribute *cask_onnx_attribute(const Cask__Onnx__Node *node, const char *name);
int64_t cask_onnx_attribute_int(const Cask__Onnx__Node *node, const char *name, int64_t otherwise);
double cask_onnx_attribute_real(const Cask__Onnx__Node *node, const char *name, double otherwise);

/* --- onnx_tensor.c --- */
bool cask_onnx_is_float(const Cask__Onnx__Tensor *tensor);
/* Elements; -1: negative or too large. */
int64_t cask_onnx_count(const Cask__Onnx__Tensor *tensor);
/* Checks type and length of the data of a float tensor. */
enum cask_status cask_onnx_check_floats(const Cask__Onnx__Tensor *tensor, struct cask_error *err);
void cask_onnx_floats(const Cask__Onnx__Tensor *tensor, float *out); /* after the check */
enum cask_status cask_onnx_tensor_ints(const Cask__Onnx__Tensor *tensor,
                                       struct cask_onnx_ints *ints, struct cask_error *err);
/* One number from a constant of one element. */
enum cask_status cask_onnx_scalar(const Cask__Onnx__Tensor *tensor, double *out,
                                  struct cask_error *err);

/* --- onnx_fill.c --- */
/* Remembers the source of the parameter in `slot` of the node added last. */
enum cask_status cask_onnx_bind(struct cask_onnx_import *import, enum cask_slot slot,
                                const struct cask_onnx_source *source, struct cask_error *err);
/* The weights of a net that was made from the import's graph. */
enum cask_status cask_onnx_fill(const struct cask_onnx_import *import, struct cask_net *net,
                                struct cask_error *err);

/* --- onnx_shape.c --- */
/* An attribute in old files, input 1 in new ones (Unsqueeze: opset 13, ReduceMean: opset 18). */
enum cask_status cask_onnx_axes(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                struct cask_onnx_ints *axes, struct cask_error *err);

/* --- operators --- */
typedef enum cask_status cask_onnx_op(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      struct cask_error *err);
cask_onnx_op cask_onnx_conv, cask_onnx_gemm, cask_onnx_matmul, cask_onnx_batchnorm, cask_onnx_prelu,
    cask_onnx_relu, cask_onnx_sigmoid, cask_onnx_hard_sigmoid, cask_onnx_hard_swish, cask_onnx_clip,
    cask_onnx_average_pool, cask_onnx_max_pool, cask_onnx_cast, cask_onnx_identity,
    cask_onnx_constant_node, cask_onnx_add, cask_onnx_sub, cask_onnx_mul, cask_onnx_div,
    cask_onnx_flatten, cask_onnx_reshape, cask_onnx_shape, cask_onnx_gather, cask_onnx_concat,
    cask_onnx_unsqueeze, cask_onnx_squeeze, cask_onnx_reduce_mean;

#endif
