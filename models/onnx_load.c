/* Builds a cask_graph from an ONNX graph, by what its nodes do and how they are connected. Names
 * are not trusted: exporters rename, fuse and share constants. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/onnx.h"

enum { DEFAULT_SIZE = 112, MAX_SIZE = 4096 };

static const struct {
    const char *name;
    cask_onnx_op *run;
} operators[] = {
    {"Add", cask_onnx_add},
    {"BatchNormalization", cask_onnx_batchnorm},
    {"Cast", cask_onnx_cast},
    {"Clip", cask_onnx_clip},
    {"Concat", cask_onnx_concat},
    {"Constant", cask_onnx_constant_node},
    {"Conv", cask_onnx_conv},
    {"Div", cask_onnx_div},
    {"Dropout", cask_onnx_identity},
    {"Flatten", cask_onnx_flatten},
    {"Gather", cask_onnx_gather},
    {"Gemm", cask_onnx_gemm},
    {"GlobalAveragePool", cask_onnx_average_pool},
    {"HardSigmoid", cask_onnx_hard_sigmoid},
    {"HardSwish", cask_onnx_hard_swish},
    {"Identity", cask_onnx_identity},
    {"MatMul", cask_onnx_matmul},
    {"MaxPool", cask_onnx_max_pool},
    {"Mul", cask_onnx_mul},
    {"PRelu", cask_onnx_prelu},
    {"ReduceMean", cask_onnx_reduce_mean},
    {"Relu", cask_onnx_relu},
    {"Reshape", cask_onnx_reshape},
    {"Shape", cask_onnx_shape},
    {"Sigmoid", cask_onnx_sigmoid},
    {"Squeeze", cask_onnx_squeeze},
    {"Sub", cask_onnx_sub},
    {"Unsqueeze", cask_onnx_unsqueeze},
};

enum { OPERATORS = sizeof operators / sizeof *operators };

static enum cask_status refuse_operator(const Cask__Onnx__Node *node, struct cask_error *err)
{
    char label[160], list[512] = "";
    for (int i = 0; i < OPERATORS; i++) {
        strncat(list, i > 0 ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, operators[i].name, sizeof list - strlen(list) - 1);
    }
    const bool unit =
        strcmp(node->op_type, "ReduceL2") == 0 || strcmp(node->op_type, "LpNormalization") == 0;
    return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                          "operator %s is not supported%s; supported are %s",
                          cask_onnx_label(node, label, sizeof label),
                          unit ? " (export the model without its last normalisation: Cask makes "
                                 "unit embeddings itself, and keeps their lengths)"
                               : "",
                          list);
}

static enum cask_status run_node(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool standard =
        node->domain == NULL || node->domain[0] == '\0' || strcmp(node->domain, "ai.onnx") == 0;
    int found = -1;
    for (int i = 0; standard && i < OPERATORS; i++) {
        found = strcmp(operators[i].name, node->op_type) == 0 ? i : found;
    }
    if (found < 0) {
        CASK_TRY(refuse_operator(node, err));
    }
    CASK_TRY(operators[found].run(import, node, err));
    if (import->graph->problem.status != CASK_OK) {
        *err = import->graph->problem;
        CASK_TRY(err->status);
    }
done:
    return st;
}

/* From the output back to the front: nodes that do not lead to it (a second head) are left out. */
static void mark_needed(struct cask_onnx_import *import)
{
    const Cask__Onnx__Graph *graph = import->model->graph;
    cask_onnx_lookup(import, graph->output[0]->name)->needed = true;
    for (size_t i = graph->n_node; i-- > 0;) {
        const Cask__Onnx__Node *node = graph->node[i];
        bool needed = false;
        for (size_t o = 0; o < node->n_output; o++) {
            needed |= cask_onnx_lookup(import, node->output[o])->needed;
        }
        for (size_t k = 0; needed && k < node->n_input; k++) {
            cask_onnx_lookup(import, node->input[k])->needed = true;
        }
    }
}

static bool is_needed(struct cask_onnx_import *import, const Cask__Onnx__Node *node)
{
    for (size_t o = 0; o < node->n_output; o++) {
        if (cask_onnx_lookup(import, node->output[o])->needed) {
            return true;
        }
    }
    return false;
}

static int64_t dimension(const Cask__Onnx__Shape *shape, size_t index)
{
    const Cask__Onnx__Dimension *d = shape->dim[index];
    return d->has_dim_value ? d->dim_value : 0;
}

/* The first input that is not an initialiser is the picture: [batch, 3, height, width]. */
static enum cask_status begin_graph(struct cask_onnx_import *import, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const Cask__Onnx__Graph *graph = import->model->graph;
    const Cask__Onnx__ValueInfo *input = NULL;
    for (size_t i = 0; i < graph->n_input && input == NULL; i++) {
        const char *name = graph->input[i]->name;
        if (name != NULL && cask_onnx_lookup(import, name)->value.kind == CASK_ONNX_UNKNOWN) {
            input = graph->input[i];
        }
    }
    const Cask__Onnx__Shape *shape = NULL;
    if (input != NULL && input->type != NULL && input->type->tensor_type != NULL) {
        shape = input->type->tensor_type->shape;
    }
    if (shape == NULL || shape->n_dim != 4) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "the graph's input \"%.100s\" should be [batch, 3, height, width]; "
                                "it has %zu dimensions",
                                input != NULL ? input->name : "",
                                shape != NULL ? shape->n_dim : 0));
    }
    int64_t c = dimension(shape, 1), h = dimension(shape, 2), w = dimension(shape, 3);
    h = h > 0 ? h : DEFAULT_SIZE;
    w = w > 0 ? w : DEFAULT_SIZE;
    if (c != 3 || h > MAX_SIZE || w > MAX_SIZE) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "the graph's input is [batch, %" PRId64 ", %" PRId64 ", %" PRId64
                                "]; expected [batch, 3, height, width]: export with NCHW",
                                c, h, w));
    }
    CASK_TRY(cask_graph_begin("onnx", false, 3, (int)h, (int)w, &import->graph, err));
    cask_onnx_lookup(import, input->name)->value = (struct cask_onnx_value){
        .kind = CASK_ONNX_ACTIVATION, .id = CASK_GRAPH_INPUT, .input = true};
done:
    return st;
}

static const char *property(const Cask__Onnx__Model *model, const char *key)
{
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Cask__Onnx__Entry *entry = model->metadata_props[i];
        if (entry->key != NULL && entry->value != NULL && strcmp(entry->key, key) == 0) {
            return entry->value;
        }
    }
    return NULL;
}

/* How the file's metadata wants its pixels (as net_copy.c writes it); all of it or nothing. */
static void note_pixels(struct cask_onnx_import *import)
{
    const char *order = property(import->model, "channel_order");
    const char *mean = property(import->model, "mean");
    const char *scale = property(import->model, "scale");
    if (order != NULL && mean != NULL && scale != NULL) {
        import->graph->pixels =
            cask_graph_text(import->graph, "%.8s:%.60s:%.60s", order, mean, scale);
    }
}

static enum cask_status finish_graph(struct cask_onnx_import *import, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    /* A pending gate cannot be the output of a face network; activation() would add it. */
    char *name = import->model->graph->output[0]->name;
    const struct cask_onnx_value *output = &cask_onnx_lookup(import, name)->value;
    if (output->kind != CASK_ONNX_ACTIVATION || output->gate) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "the graph's output \"%.100s\" is not computed by its nodes",
                                name));
    }
    note_pixels(import);
    CASK_TRY(cask_graph_finish(import->graph, output->id, err));
done:
    return st;
}

enum cask_status cask_onnx_import(struct cask_onnx_import *import, const Cask__Onnx__Model *model,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const Cask__Onnx__Graph *graph = model->graph;
    import->model = model;
    if (graph->output[0]->name == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT, "the graph's output has no name"));
    }
    CASK_TRY(cask_onnx_init_names(import, err));
    for (size_t i = 0; i < graph->n_initializer; i++) {
        if (graph->initializer[i]->name != NULL) {
            cask_onnx_lookup(import, graph->initializer[i]->name)->value =
                (struct cask_onnx_value){.kind = CASK_ONNX_TENSOR, .tensor = graph->initializer[i]};
        }
    }
    CASK_TRY(begin_graph(import, err));
    mark_needed(import);
    for (size_t i = 0; i < graph->n_node; i++) {
        import->node_index = (int)i;
        if (is_needed(import, graph->node[i])) {
            CASK_TRY(run_node(import, graph->node[i], err));
        }
    }
    CASK_TRY(finish_graph(import, err));
done:
    return st;
}

void cask_onnx_release(struct cask_onnx_import *import)
{
    cask_free(import->names);
    cask_free(import->sources);
    import->names = NULL;
    import->sources = NULL;
}

enum cask_status cask_onnx_open_memory(struct cask_device *device, const void *data, size_t bytes,
                                       struct cask_model *model, bool *normalises,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_import import = {0};
    Cask__Onnx__Model *file = NULL;
    *model = (struct cask_model){0};
    CASK_TRY(cask_onnx_unpack(data, bytes, &file, err));
    st = cask_onnx_import(&import, file, err);
    model->graph = import.graph;
    CASK_TRY(st);
    *normalises = import.normalises;
    CASK_TRY(cask_net_create(model->graph, device, false, &model->net, err));
    CASK_TRY(cask_onnx_fill(&import, model->net, err));
done:
    cask_onnx_release(&import);
    cask_onnx_close(file);
    if (st != CASK_OK) {
        cask_model_close(model);
    }
    return st;
}

enum cask_status cask_onnx_open(struct cask_device *device, const char *path,
                                struct cask_model *model, bool *normalises, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    *model = (struct cask_model){0};
    CASK_TRY(cask_map_open(&map, path, err));
    st = cask_onnx_open_memory(device, map.data, map.bytes, model, normalises, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", path);
    }
done:
    cask_map_close(&map);
    return st;
}
