/* Names in an ONNX file and what they stand for; small questions about nodes. */
#include <stdio.h>
#include <string.h>

#include "common/hash.h"
#include "models/onnx.h"

enum cask_status cask_onnx_init_names(struct cask_onnx_import *import, struct cask_error *err)
{
    const Cask__Onnx__Graph *graph = import->model->graph;
    size_t names = graph->n_initializer + graph->n_input + graph->n_output + 1;
    for (size_t i = 0; i < graph->n_node; i++) {
        names += graph->node[i]->n_input + graph->node[i]->n_output;
    }
    import->slots = 2 * names;
    import->names = cask_alloc(import->slots, sizeof *import->names);
    return import->names != NULL
               ? CASK_OK
               : cask_error_memory(err, import->slots * sizeof *import->names, "the graph's names");
}

struct cask_onnx_name *cask_onnx_lookup(struct cask_onnx_import *import, const char *name)
{
    size_t slot = cask_xxh3(name, strlen(name)) % import->slots;
    while (import->names[slot].name != NULL && strcmp(import->names[slot].name, name) != 0) {
        slot = slot + 1 < import->slots ? slot + 1 : 0;
    }
    import->names[slot].name = name;
    return &import->names[slot];
}

const char *cask_onnx_label(const Cask__Onnx__Node *node, char *buffer, size_t bytes)
{
    const char *name = node->name != NULL && node->name[0] != '\0' ? node->name : node->output[0];
    snprintf(buffer, bytes, "%.40s \"%.100s\"", node->op_type, name);
    for (char *c = buffer; *c != '\0'; c++) {
        *c = *c < ' ' || *c == 0x7F ? '?' : *c; /* it goes to a terminal */
    }
    return buffer;
}

enum cask_status cask_onnx_input(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 size_t index, const struct cask_onnx_value **value,
                                 struct cask_error *err)
{
    char label[160];
    *value = NULL;
    if (index >= node->n_input || node->input[index][0] == '\0') {
        return CASK_OK;
    }
    const struct cask_onnx_name *entry = cask_onnx_lookup(import, node->input[index]);
    if (entry->value.kind == CASK_ONNX_UNKNOWN) {
        return cask_error_set(err, CASK_ERR_FORMAT,
                              "%s reads \"%.200s\", which nothing before it makes",
                              cask_onnx_label(node, label, sizeof label), node->input[index]);
    }
    *value = &entry->value;
    return CASK_OK;
}

enum cask_status cask_onnx_activation(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                      size_t index, struct cask_onnx_value *value,
                                      struct cask_error *err)
{
    char label[160];
    const struct cask_onnx_value *found = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_onnx_input(import, node, index, &found, err));
    if (found == NULL || found->kind != CASK_ONNX_ACTIVATION) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "%s: input %zu must come from the picture, found %s",
                                cask_onnx_label(node, label, sizeof label), index,
                                found == NULL ? "nothing" : "a constant"));
    }
    if (found->line) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "%s: input %zu is [batch, channels, 1]; expected an Unsqueeze that "
                                "makes it an image of one pixel",
                                cask_onnx_label(node, label, sizeof label), index));
    }
    *value = *found;
    if (value->gate) {
        struct cask_onnx_name *entry = cask_onnx_lookup(import, node->input[index]);
        value->id = cask_graph_add_activation(import->graph, value->id,
                                              cask_onnx_layer_name(import, node, "gate"),
                                              CASK_ACT_HARD_SIGMOID);
        value->gate = false;
        entry->value = *value;
    }
done:
    return st;
}

enum cask_status cask_onnx_constant(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                    size_t index, const Cask__Onnx__Tensor **tensor,
                                    struct cask_error *err)
{
    char label[160];
    const struct cask_onnx_value *found = NULL;
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_onnx_input(import, node, index, &found, err));
    if (found == NULL || found->kind != CASK_ONNX_TENSOR) {
        CASK_TRY(cask_error_set(err, CASK_ERR_UNSUPPORTED,
                                "%s: input %zu must be a constant of the file, found %s",
                                cask_onnx_label(node, label, sizeof label), index,
                                found == NULL ? "nothing" : "a computed value"));
    }
    CASK_TRY(cask_onnx_check_floats(found->tensor, err));
    *tensor = found->tensor;
done:
    return st;
}

void cask_onnx_output(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                      const struct cask_onnx_value *value)
{
    cask_onnx_lookup(import, node->output[0])->value = *value;
}

const char *cask_onnx_layer_name(struct cask_onnx_import *import, const Cask__Onnx__Node *node,
                                 const char *suffix)
{
    char name[160];
    size_t used = 0;
    const char *given = node->name != NULL ? node->name : "";
    for (; given[used] != '\0' && used < 100; used++) {
        name[used] = given[used] > ' ' && given[used] < 0x7F ? given[used] : '_';
    }
    snprintf(name + used, sizeof name - used, "%s%s", suffix[0] != '\0' ? "." : "", suffix);
    bool taken = used == 0;
    for (int i = 0; i < import->graph->node_count && !taken; i++) {
        taken = strcmp(import->graph->nodes[i].name, name) == 0;
    }
    if (!taken) {
        return cask_graph_text(import->graph, "%s", name);
    }
    return cask_graph_text(import->graph, "%.40s#%d%s%s", node->op_type, import->node_index,
                           suffix[0] != '\0' ? "." : "", suffix);
}

const Cask__Onnx__Attribute *cask_onnx_attribute(const Cask__Onnx__Node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i];
        }
    }
    return NULL;
}

int64_t cask_onnx_attribute_int(const Cask__Onnx__Node *node, const char *name, int64_t otherwise)
{
    const Cask__Onnx__Attribute *attribute = cask_onnx_attribute(node, name);
    return attribute != NULL && attribute->has_i ? attribute->i : otherwise;
}

double cask_onnx_attribute_real(const Cask__Onnx__Node *node, const char *name, double otherwise)
{
    const Cask__Onnx__Attribute *attribute = cask_onnx_attribute(node, name);
    return attribute != NULL && attribute->has_f ? (double)attribute->f : otherwise;
}
