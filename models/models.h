/* models/models.h - networks: described once as a graph, filled from files, planned, run.
 *
 *   registry name or ONNX file --> struct cask_graph   (what is computed; no memory, no device)
 *   graph + device             --> struct cask_net     (parameters, gradients, momentum on the
 * device) net + batch + mode         --> struct cask_plan    (activations, planned convolutions)
 *
 * Several plans may share one net (training batch, validation batch). Parameter names, order and
 * shapes are PyTorch's state_dict's, so files map by name. Thread rule: a net and its plans belong
 * to one thread at a time.
 */
#ifndef CASK_MODELS_MODELS_H
#define CASK_MODELS_MODELS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/preprocess.h"
#include "common/status.h"
#include "kernels/kernels.h"

/* ------------------------------------------------------------------- graph */

enum cask_param_role {
    CASK_PARAM_CONV_WEIGHT,
    CASK_PARAM_CONV_BIAS,
    CASK_PARAM_LINEAR_WEIGHT,
    CASK_PARAM_LINEAR_BIAS,
    CASK_PARAM_BN_GAMMA,
    CASK_PARAM_BN_BETA,
    CASK_PARAM_BN_MEAN,
    CASK_PARAM_BN_VAR,
    CASK_PARAM_BN_COUNT,
    CASK_PARAM_PRELU_SLOPE,
};

struct cask_param_info {
    const char *name; /* "layer1.0.conv1.weight" */
    enum cask_param_role role;
    int64_t shape[4];
    int rank;      /* 0 for num_batches_tracked */
    int64_t count; /* elements; 1 for rank 0 */
    bool trained;  /* false: buffers and frozen gammas */
    bool buffer;   /* running statistics and counters: not a parameter in PyTorch's count */
};

struct cask_graph;

struct cask_graph_options {
    int embedding;     /* 0: the network's default */
    int width, height; /* input pixels; 0: the network's default, 112 */
};
/* A network of the registry ("ir50", "mobilefacenet", ...). Unknown name: CASK_ERR_USAGE with the
 * list. */
enum cask_status cask_graph_build(const char *network, const struct cask_graph_options *options,
                                  struct cask_graph **graph, struct cask_error *err);
void cask_graph_free(struct cask_graph *graph); /* accepts NULL */
/* The registry's names, and a line about each; NULL past the last. */
const char *cask_graph_network(int index);
const char *cask_graph_network_about(int index);
/* `usage` with a line about every network behind it; the caller frees it. NULL: no memory. */
char *cask_graph_network_help(const char *usage);

const char *cask_graph_name(const struct cask_graph *graph);
int cask_graph_embedding(const struct cask_graph *graph);
int cask_graph_input_width(const struct cask_graph *graph);
int cask_graph_input_height(const struct cask_graph *graph);
bool cask_graph_trainable(const struct cask_graph *graph);  /* false for ONNX graphs (folded BN) */
int cask_graph_param_count(const struct cask_graph *graph); /* entries of the state_dict */
const struct cask_param_info *cask_graph_param(const struct cask_graph *graph, int index);
int cask_graph_find_param(const struct cask_graph *graph, const char *name); /* -1: absent */
int64_t cask_graph_parameters(
    const struct cask_graph *graph); /* elements, frozen included, buffers not */
int64_t cask_graph_macs(const struct cask_graph *graph); /* conv + fc multiply-adds per image */

/* --------------------------------------------------------------------- net */

struct cask_net;
/* Borrows graph and device for its life. Parameters are zero until loaded or initialised. */
enum cask_status cask_net_create(const struct cask_graph *graph, struct cask_device *device,
                                 bool train, struct cask_net **net, struct cask_error *err);
void cask_net_free(struct cask_net *net); /* accepts NULL */
const struct cask_graph *cask_net_graph(const struct cask_net *net);
/* The source repository's init of the network (ecosystem: insightface or TFace), a pure function of
 * seed. */
enum cask_status cask_net_init(struct cask_net *net, uint64_t seed, struct cask_error *err);
/* Device memory of one parameter, its gradient and momentum (NULL where there is none). */
void *cask_net_value(struct cask_net *net, int param);
void *cask_net_grad(struct cask_net *net, int param);
void *cask_net_momentum(struct cask_net *net, int param);
/* Takes a parameter out of training. Training plans made afterwards go back no further than the
 * lowest layer that still trains something; what they leave in the gradients of frozen parameters
 * means nothing. Batch norms go on normalising with the batch, and running statistics follow it. */
void cask_net_freeze(struct cask_net *net, int param);
/* Neither a buffer, nor frozen, nor of a net that was made for inference. */
bool cask_net_trains(const struct cask_net *net, int param);
/* Host float32 copies in and out (converted on ref64). count must match. */
enum cask_status cask_net_set(struct cask_net *net, int param, const float *values,
                              struct cask_error *err);
void cask_net_get(struct cask_net *net, int param, float *values);
enum cask_status cask_net_zero_grads(struct cask_net *net, struct cask_error *err);
/* Call after changing values: plans repack before their next forward. */
void cask_net_changed(struct cask_net *net);

/* -------------------------------------------------------------------- plan */

enum cask_mode { CASK_MODE_EVAL, CASK_MODE_TRAIN };
struct cask_plan;
enum cask_status cask_plan_create(struct cask_net *net, int batch, enum cask_mode mode,
                                  struct cask_plan **plan, struct cask_error *err);
/* Activations and gradients are nothing once a step is over. Plans of one device that take turns,
 * such as those of students fed one after another, can use the same memory: as much as the largest
 * of them needs. A forward of one plan ends the step of another, whose backward is then refused. */
struct cask_step_memory;
enum cask_status cask_step_memory_create(struct cask_device *device,
                                         struct cask_step_memory **memory, struct cask_error *err);
void cask_step_memory_free(struct cask_step_memory *memory); /* accepts NULL; after its plans */
size_t cask_step_memory_bytes(const struct cask_step_memory *memory);
/* cask_plan_create; `memory` is borrowed, NULL: the plan has its own. */
enum cask_status cask_plan_create_in(struct cask_step_memory *memory, struct cask_net *net,
                                     int batch, enum cask_mode mode, struct cask_plan **plan,
                                     struct cask_error *err);
void cask_plan_free(struct cask_plan *plan); /* accepts NULL; before its net */
/* pixels: host float32 NHWC [count][h][w][3], count <= batch (train: == batch). embedding: host
 * float32 [count][D], the raw (not normalised) output. */
enum cask_status cask_plan_forward(struct cask_plan *plan, const float *pixels, int count,
                                   float *embedding, struct cask_error *err);
/* gradient: host float32 [batch][D]. Adds to the net's parameter gradients. Needs the forward of
 * the same batch just before. */
enum cask_status cask_plan_backward(struct cask_plan *plan, const float *gradient,
                                    struct cask_error *err);
/* To find the layer where numbers went wrong: runs forward once more, layer by layer, and tells
 * `found` about each output; the first true answer ends it. In training this moves the running
 * statistics again, so nothing of the net should be kept after it. */
struct cask_layer_report {
    const char *name;   /* "layer1.0.conv1" */
    int64_t values;     /* of its output, over the batch */
    int64_t not_finite; /* of them */
    bool images_equal;  /* every image of the batch gives the same output (batch > 1) */
};
enum cask_status cask_plan_inspect(struct cask_plan *plan, const float *pixels, int count,
                                   bool (*found)(const struct cask_layer_report *report,
                                                 void *user),
                                   void *user, struct cask_error *err);
size_t cask_plan_bytes(const struct cask_plan *plan); /* activations, gradients, scratch */
/* One line per node: name, kind, output shape, MACs, implementation. */
void cask_plan_print(const struct cask_plan *plan, FILE *stream);

/* -------------------------------------------------------- checkpoint files */

/* A tensor as it lies in a file; `data` borrows the file's map. */
struct cask_file_tensor {
    const char *name;
    enum cask_file_dtype {
        CASK_FILE_F32,
        CASK_FILE_F16,
        CASK_FILE_BF16,
        CASK_FILE_F64,
        CASK_FILE_I64,
        CASK_FILE_I32,
        CASK_FILE_I16,
        CASK_FILE_I8,
        CASK_FILE_U8,
        CASK_FILE_BOOL
    } dtype;
    int64_t shape[8];
    int rank;
    int64_t count;
    const void *data;
};

struct cask_metadata_entry {
    const char *key, *value;
};

/* Any container, sniffed by its first bytes: safetensors, PyTorch zip, PyTorch legacy. Wrappers
 * ("state_dict", ...) are opened, prefixes ("module.", ...) stripped. ONNX is not a checkpoint: see
 * cask_onnx_open. Nothing in the file is ever executed; what is refused names opcode and offset. */
struct cask_checkpoint;
enum cask_status cask_checkpoint_open(const char *path, struct cask_checkpoint **checkpoint,
                                      struct cask_error *err);
void cask_checkpoint_close(struct cask_checkpoint *checkpoint); /* accepts NULL */
int cask_checkpoint_count(const struct cask_checkpoint *checkpoint);
const struct cask_file_tensor *cask_checkpoint_tensor(const struct cask_checkpoint *checkpoint,
                                                      int index);
const struct cask_file_tensor *cask_checkpoint_find(const struct cask_checkpoint *checkpoint,
                                                    const char *name);
const char *cask_checkpoint_metadata(const struct cask_checkpoint *checkpoint,
                                     const char *key); /* NULL: absent */
/* Entry `index` in the order of the file; NULL past the last. */
const struct cask_metadata_entry *cask_checkpoint_metadata_at(
    const struct cask_checkpoint *checkpoint, int index);
const char *cask_checkpoint_container(
    const struct cask_checkpoint *checkpoint); /* "safetensors", ... */
/* Upcasts to float32; integers are CASK_ERR_UNSUPPORTED. */
enum cask_status cask_file_tensor_to_f32(const struct cask_file_tensor *tensor, float *out,
                                         struct cask_error *err);

/* Fills every parameter of the net by name. num_batches_tracked may be absent; tensors that belong
 * to a classifier are ignored; anything else that is missing, extra or of another shape is
 * CASK_ERR_MISMATCH with the first few keys of each kind. As from any file, a weight that is NaN or
 * infinite is CASK_ERR_FORMAT. */
enum cask_status cask_net_load(struct cask_net *net, const struct cask_checkpoint *checkpoint,
                               struct cask_error *err);

/* What a file told while a net was filled from it. */
struct cask_start {
    bool knows_pixels;             /* its metadata or its own nodes say how it wants them: */
    struct cask_preprocess pixels; /* order, mean and scale; the size is left alone */
    int folded; /* ONNX: batch norms that were in their convolutions' weights. Each starts with
                   gamma 1, mean 0, variance 1 - eps and the bias as beta: the same network in eval,
                   but training measures its statistics anew */
};
/* Fills the net from a file of any kind. A checkpoint maps by name (cask_net_load); an ONNX graph,
 * whose names are its exporter's, by what its layers compute. CASK_ERR_MISMATCH names the first
 * layer that does not fit and the network that would. *start may come with the caller's pixels. */
enum cask_status cask_net_start(struct cask_net *net, const char *path, struct cask_start *start,
                                struct cask_error *err);

/* The classifier in a checkpoint, if there is one ("head.weight", "weight", "kernel" [D,C], ...):
 * *classes = 0 if none. centers: caller frees with cask_free; [classes][D] float32, raw rows. */
enum cask_status cask_checkpoint_classifier(const struct cask_checkpoint *checkpoint, int embedding,
                                            float **centers, int64_t *classes,
                                            struct cask_error *err);

/* Writes safetensors atomically: the net's tensors in graph order, with
 * metadata: net, embedding, input, channel order, mean, scale, ... and `entries`. */
enum cask_status cask_net_save(struct cask_net *net, const char *path,
                               const struct cask_preprocess *preprocess,
                               const struct cask_metadata_entry *entries, int entry_count,
                               struct cask_error *err);

/* The same with `extra` tensors behind the net's own, such as the class rows of a trained teacher
 * ("head.weight", found again by cask_checkpoint_classifier). */
enum cask_status cask_net_save_with(struct cask_net *net, const char *path,
                                    const struct cask_preprocess *preprocess,
                                    const struct cask_file_tensor *extra, int extra_count,
                                    const struct cask_metadata_entry *entries, int entry_count,
                                    struct cask_error *err);

/* Plain safetensors writer under it (also used for training checkpoints). */
enum cask_status cask_safetensors_write(const char *path, const struct cask_file_tensor *tensors,
                                        int count, const struct cask_metadata_entry *entries,
                                        int entry_count, struct cask_error *err);

/* A net for other programs. ONNX: opset 13, input "data" [batch, 3, height, width], output
 * "embedding" [batch, D]. PTH: torch.save's zip, loads with strict=True into the network's own
 * module. All three say in their metadata what cask_net_save says, and open again with
 * cask_model_open. A net read from ONNX goes to ONNX only (CASK_ERR_UNSUPPORTED). */
enum cask_export_format { CASK_EXPORT_ONNX, CASK_EXPORT_PTH, CASK_EXPORT_SAFETENSORS };
struct cask_export_options {
    enum cask_export_format format;
    bool half;                /* weights as float16; what has one number a channel stays float32 */
    bool keep_batchnorm;      /* ONNX: no batch norm moves into the convolution before it */
    bool preprocess_in_graph; /* ONNX: takes pixels 0..255, (p - mean) / scale is in the graph */
};
enum cask_status cask_net_export(struct cask_net *net, const char *path,
                                 const struct cask_preprocess *preprocess,
                                 const struct cask_export_options *options,
                                 const struct cask_metadata_entry *entries, int entry_count,
                                 struct cask_error *err);

/* SHA-256 over (name, dtype, shape, little-endian bytes) of all float parameters sorted by name:
 * the same for the same weights in any container. hex: 65 bytes. */
enum cask_status cask_net_fingerprint(struct cask_net *net, char *hex, struct cask_error *err);

/* SHA-256 over what a graph computes, apart from the weights' values: sizes, parameters, and every
 * node with its kind, inputs and settings. hex: 65 bytes. */
void cask_graph_fingerprint(const struct cask_graph *graph, char *hex);

/* A model file, opened. */
struct cask_model {
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_checkpoint *checkpoint; /* NULL for ONNX */
};
void cask_model_close(struct cask_model *model); /* accepts a zeroed struct */

/* ONNX as a graph, by topology, eval only, and its weights. Preprocessing nodes inside the file
 * (Sub, Mul before the first Conv) stay in the graph and *normalises is set, so that pixels go in
 * unscaled. */
enum cask_status cask_onnx_open(struct cask_device *device, const char *path,
                                struct cask_model *model, bool *normalises, struct cask_error *err);

/* One call for programs: opens FILE of any kind as an eval network. `network` may be NULL or "onnx"
 * or "auto" (detected from metadata or the key set) or a registry name (then it must fit; an ONNX
 * file becomes that network, with names and a state_dict, as cask_net_start does it).
 * Preprocessing comes from the file's metadata if there is any, else *preprocess is left as the
 * caller set it and *from_metadata is false. An ONNX file that normalises its pixels by itself
 * gives mean 0 and scale 1 with the caller's channel order, and counts as metadata. Width and
 * height are always the network's. */
enum cask_status cask_model_open(struct cask_device *device, const char *network, const char *path,
                                 struct cask_preprocess *preprocess, bool *from_metadata,
                                 struct cask_model *model, struct cask_error *err);

#endif
