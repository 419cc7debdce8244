#include "models/onnx_write.h"

#include <string.h>

#include "common/file.h"
#include "models/net_copy.h"

enum { IR_VERSION = 7, OPSET = 13, FLOAT = 1, MOST_BYTES = INT32_MAX /* protobuf's limit */ };

/* ------------------------------------------------------------------ the graph */

static void write_layers(struct cask_onnx_export *x, const struct cask_preprocess *preprocess,
                         bool *absorbed)
{
    const struct cask_graph *g = x->graph;
    if (x->options->preprocess_in_graph) {
        x->names[CASK_GRAPH_INPUT] = cask_onnx_write_pixels(x, preprocess->mean, preprocess->scale);
    }
    if (x->flat[g->output]) {
        x->names[g->output] = "embedding";
    }
    for (int i = 0; i < g->node_count && x->problem.status == CASK_OK; i++) {
        const struct cask_node *node = &g->nodes[i], *bn = NULL;
        if (absorbed[i]) {
            continue;
        }
        bn = x->options->keep_batchnorm ? NULL : cask_graph_foldable(g, node);
        if (bn != NULL) {
            absorbed[bn - g->nodes] = true;
        }
        cask_onnx_write_layer(x, node, bn);
    }
    if (!x->flat[g->output]) {
        Cask__Onnx__Node *flatten = cask_onnx_add_node(x, "Flatten", "embedding", "embedding");
        cask_onnx_add_input(x, flatten, x->names[g->output]);
        cask_onnx_add_int(x, flatten, "axis", 1);
    }
}

/* -------------------------------------------------------------- the messages */

/* Everything of the file that there is once; lists point into the export's arena. */
struct file_messages {
    Cask__Onnx__Model model;
    Cask__Onnx__Graph graph;
    Cask__Onnx__OperatorSet opset, *opsets[1];
    struct io {
        Cask__Onnx__ValueInfo info, *list[1];
        Cask__Onnx__Type type;
        Cask__Onnx__TensorType tensor;
        Cask__Onnx__Shape shape;
        Cask__Onnx__Dimension dims[4], *dim_list[4];
    } input, output;
};

/* Float [batch, dims...]; the batch is free. */
static void describe_value(struct cask_onnx_export *x, struct io *io, const char *name, int rank,
                           const int64_t *dims)
{
    io->info = (Cask__Onnx__ValueInfo)CASK__ONNX__VALUE_INFO__INIT;
    io->type = (Cask__Onnx__Type)CASK__ONNX__TYPE__INIT;
    io->tensor = (Cask__Onnx__TensorType)CASK__ONNX__TENSOR_TYPE__INIT;
    io->shape = (Cask__Onnx__Shape)CASK__ONNX__SHAPE__INIT;
    for (int d = 0; d < rank; d++) {
        io->dims[d] = (Cask__Onnx__Dimension)CASK__ONNX__DIMENSION__INIT;
        io->dims[d].has_dim_value = d > 0;
        io->dims[d].dim_value = dims[d];
        io->dims[d].dim_param = d > 0 ? NULL : cask_onnx_text(x, "batch");
        io->dim_list[d] = &io->dims[d];
    }
    io->shape.dim = io->dim_list;
    io->shape.n_dim = (size_t)rank;
    io->tensor.has_elem_type = 1;
    io->tensor.elem_type = FLOAT;
    io->tensor.shape = &io->shape;
    io->type.tensor_type = &io->tensor;
    io->info.name = cask_onnx_text(x, "%s", name);
    io->info.type = &io->type;
    io->list[0] = &io->info;
}

static void describe_file(struct cask_onnx_export *x, struct file_messages *m)
{
    const struct cask_value *in = cask_graph_value(x->graph, CASK_GRAPH_INPUT);
    const int64_t pixels[] = {0, in->c, in->h, in->w};
    const int64_t rows[] = {0, cask_graph_embedding(x->graph)};
    m->model = (Cask__Onnx__Model)CASK__ONNX__MODEL__INIT;
    m->graph = (Cask__Onnx__Graph)CASK__ONNX__GRAPH__INIT;
    m->opset = (Cask__Onnx__OperatorSet)CASK__ONNX__OPERATOR_SET__INIT;
    describe_value(x, &m->input, "data", 4, pixels);
    describe_value(x, &m->output, "embedding", 2, rows);
    m->opset.domain = cask_onnx_text(x, "%s", "");
    m->opset.has_version = 1;
    m->opset.version = OPSET;
    m->opsets[0] = &m->opset;
    m->graph.name = cask_onnx_text(x, "%s", x->graph->name);
    m->graph.node = x->nodes;
    m->graph.n_node = x->node_count;
    m->graph.initializer = x->tensors;
    m->graph.n_initializer = x->tensor_count;
    m->graph.input = m->input.list;
    m->graph.output = m->output.list;
    m->graph.n_input = m->graph.n_output = 1;
    m->model.has_ir_version = 1;
    m->model.ir_version = IR_VERSION;
    m->model.producer_name = cask_onnx_text(x, "cask");
    m->model.producer_version = cask_onnx_text(x, "%s", CASK_VERSION);
    m->model.graph = &m->graph;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
}

static enum cask_status add_metadata(struct cask_onnx_export *x, struct file_messages *m,
                                     const struct cask_metadata_entry *entries, int count,
                                     struct cask_error *err)
{
    const size_t room = (size_t)count + 1;
    Cask__Onnx__Entry *items = cask_arena_alloc(&x->arena, room, sizeof *items);
    Cask__Onnx__Entry **list = cask_arena_alloc(&x->arena, room, sizeof *list);
    if (items == NULL || list == NULL) {
        return cask_error_memory(err, room * sizeof *items, "metadata");
    }
    for (int i = 0; i < count; i++) {
        items[i] = (Cask__Onnx__Entry)CASK__ONNX__ENTRY__INIT;
        items[i].key = cask_onnx_text(x, "%s", entries[i].key);
        items[i].value = cask_onnx_text(x, "%s", entries[i].value);
        list[i] = &items[i];
    }
    m->model.metadata_props = list;
    m->model.n_metadata_props = (size_t)count;
    return CASK_OK;
}

static enum cask_status publish(const Cask__Onnx__Model *model, const char *path,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const size_t bytes = cask__onnx__model__get_packed_size(model);
    uint8_t *packed = NULL;
    if (bytes > MOST_BYTES) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE,
                                "the file would have %zu bytes; ONNX holds at most %d: write "
                                "safetensors, or float16 weights",
                                bytes, MOST_BYTES));
    }
    packed = cask_alloc(bytes, 1);
    if (packed == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "the ONNX file"));
    }
    cask__onnx__model__pack(model, packed);
    CASK_TRY(cask_file_write_all(path, packed, bytes, err));
done:
    cask_free(packed);
    return st;
}

enum cask_status cask_onnx_write(struct cask_net *net, const char *path,
                                 const struct cask_preprocess *preprocess,
                                 const struct cask_export_options *options,
                                 const struct cask_metadata_entry *entries, int entry_count,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_onnx_export x = {.graph = cask_net_graph(net), .net = net, .options = options};
    struct cask_preprocess outside = *preprocess;
    struct file_messages messages;
    struct cask_metadata_entry *all = NULL;
    int count = 0;
    bool *absorbed = cask_alloc((size_t)x.graph->node_count, sizeof *absorbed);
    CASK_TRY(cask_onnx_export_begin(&x, err));
    if (absorbed == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)x.graph->node_count, "an ONNX graph"));
    }
    write_layers(&x, preprocess, absorbed);
    if (options->preprocess_in_graph) {
        outside.mean = 0;
        outside.scale = 1;
    }
    CASK_TRY(
        cask_net_metadata(x.graph, &outside, entries, entry_count, &x.arena, &all, &count, err));
    describe_file(&x, &messages);
    CASK_TRY(add_metadata(&x, &messages, all, count, err));
    if (x.problem.status != CASK_OK) {
        *err = x.problem;
        CASK_TRY(err->status);
    }
    CASK_TRY(publish(&messages.model, path, err));
done:
    cask_free(absorbed);
    cask_arena_release(&x.arena);
    return st;
}
