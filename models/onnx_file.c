#include "models/onnx.h"

#include <string.h>

enum { MAX_NODES = 4000 };

/* protobuf-c allocates through common/mem.h like everything else. */
static void *allocate(void *unused, size_t bytes)
{
    (void)unused;
    return cask_alloc(bytes, 1);
}

static void release(void *unused, void *memory)
{
    (void)unused;
    cask_free(memory);
}

static const ProtobufCAllocator allocator = {.alloc = allocate, .free = release};

static enum cask_status check(const Cask__Onnx__Model *model, struct cask_error *err)
{
    const Cask__Onnx__Graph *graph = model->graph;
    if (graph == NULL || graph->n_node == 0 || graph->n_output == 0) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "an ONNX file without a graph, nodes or outputs: truncated?");
    }
    if (graph->n_node > MAX_NODES) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "a graph of %zu nodes; at most %d are read", graph->n_node,
                              MAX_NODES);
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Cask__Onnx__Tensor *t = graph->initializer[i];
        if (t->n_external_data > 0 || t->data_location != 0) {
            return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                  "tensor \"%.200s\" lies in another file; save the model with its "
                                  "data inside (onnx.save without save_as_external_data)",
                                  t->name != NULL ? t->name : "");
        }
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        const Cask__Onnx__Node *node = graph->node[i];
        if (node->op_type == NULL || node->n_output == 0) {
            return cask_error_set(err, CASK_ERR_FORMAT, "node %zu has no operator or no output", i);
        }
        for (size_t a = 0; a < node->n_attribute; a++) {
            if (node->attribute[a]->name == NULL) {
                return cask_error_set(err, CASK_ERR_FORMAT, "node %zu: attribute %zu has no name",
                                      i, a);
            }
        }
    }
    return CASK_OK;
}

enum cask_status cask_onnx_unpack(const uint8_t *data, size_t bytes, Cask__Onnx__Model **model,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    /* protobuf-c only reads; its signature lacks the const on the allocator. */
    ProtobufCAllocator *own = (ProtobufCAllocator *)(uintptr_t)&allocator;
    Cask__Onnx__Model *unpacked = cask__onnx__model__unpack(own, bytes, data);
    if (unpacked == NULL) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "not an ONNX file, or a damaged one: its protobuf does not parse "
                                "(%zu bytes; a truncated download? fetch the file again)",
                                bytes));
    }
    CASK_TRY(check(unpacked, err));
    *model = unpacked;
    unpacked = NULL;
done:
    cask_onnx_close(unpacked);
    return st;
}

void cask_onnx_close(Cask__Onnx__Model *model)
{
    if (model != NULL) {
        cask__onnx__model__free_unpacked(model, (ProtobufCAllocator *)(uintptr_t)&allocator);
    }
}
