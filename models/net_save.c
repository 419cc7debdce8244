/* A net as safetensors: PyTorch's names and shapes, so that strict loading works there, and the
 * metadata that Cask needs to open the file by itself. */
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/graph.h"

enum { OWN_ENTRIES = 8, TEXT = 40 };

/* Host copies of all parameters, one after the other; counters are int64 as in PyTorch. */
static enum cask_status copy_tensors(struct cask_net *net, struct cask_file_tensor *tensors,
                                     float **plane, struct cask_error *err)
{
    const struct cask_graph *graph = cask_net_graph(net);
    size_t total = 0;
    for (int i = 0; i < graph->param_count; i++) {
        total += ((size_t)graph->params[i].count + 1) & ~(size_t)1; /* keeps int64 aligned */
        total += graph->params[i].role == CASK_PARAM_BN_COUNT ? 2 : 0;
    }
    float *at = *plane = cask_alloc(total, sizeof *at);
    if (at == NULL) {
        return cask_error_memory(err, total * sizeof *at, "a copy of the weights");
    }
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *info = &graph->params[i];
        tensors[i] = (struct cask_file_tensor){.name = info->name,
                                               .dtype = CASK_FILE_F32,
                                               .rank = info->rank,
                                               .count = info->count,
                                               .data = at};
        for (int d = 0; d < info->rank; d++) {
            tensors[i].shape[d] = info->shape[d];
        }
        cask_net_get(net, i, at);
        if (info->role == CASK_PARAM_BN_COUNT) {
            int64_t count = (int64_t)at[0];
            memcpy(at, &count, sizeof count);
            tensors[i].dtype = CASK_FILE_I64;
            at += 2;
        }
        at += ((size_t)info->count + 1) & ~(size_t)1;
    }
    return CASK_OK;
}

static double find_eps(const struct cask_graph *graph)
{
    for (int i = 0; i < graph->node_count; i++) {
        if (graph->nodes[i].kind == CASK_LAYER_BATCHNORM) {
            return graph->nodes[i].eps;
        }
    }
    return 0;
}

static void describe(const struct cask_graph *graph, const struct cask_preprocess *preprocess,
                     char text[OWN_ENTRIES][TEXT], struct cask_metadata_entry *entries)
{
    static const char *const keys[OWN_ENTRIES] = {
        "net", "embedding", "input_height", "input_width", "channel_order", "mean", "scale", "eps"};
    snprintf(text[0], TEXT, "%s", graph->name);
    snprintf(text[1], TEXT, "%d", cask_graph_embedding(graph));
    snprintf(text[2], TEXT, "%d", cask_graph_input_height(graph));
    snprintf(text[3], TEXT, "%d", cask_graph_input_width(graph));
    snprintf(text[4], TEXT, "%s", preprocess->order == CASK_RGB ? "rgb" : "bgr");
    snprintf(text[5], TEXT, "%.17g", preprocess->mean);
    snprintf(text[6], TEXT, "%.17g", preprocess->scale);
    snprintf(text[7], TEXT, "%.17g", find_eps(graph));
    for (int i = 0; i < OWN_ENTRIES; i++) {
        entries[i] = (struct cask_metadata_entry){keys[i], text[i]};
    }
}

enum cask_status cask_net_save_with(struct cask_net *net, const char *path,
                                    const struct cask_preprocess *preprocess,
                                    const struct cask_file_tensor *extra, int extra_count,
                                    const struct cask_metadata_entry *entries, int entry_count,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    char text[OWN_ENTRIES][TEXT];
    float *plane = NULL;
    int count = graph->param_count + extra_count;
    struct cask_file_tensor *tensors = cask_alloc((size_t)count, sizeof *tensors);
    struct cask_metadata_entry *all = cask_alloc((size_t)entry_count + OWN_ENTRIES, sizeof *all);
    if (tensors == NULL || all == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * sizeof *tensors, "the tensor table"));
    }
    CASK_TRY(copy_tensors(net, tensors, &plane, err));
    if (extra_count > 0) {
        memcpy(tensors + graph->param_count, extra, (size_t)extra_count * sizeof *extra);
    }
    describe(graph, preprocess, text, all);
    if (entry_count > 0) {
        memcpy(all + OWN_ENTRIES, entries, (size_t)entry_count * sizeof *entries);
    }
    CASK_TRY(cask_safetensors_write(path, tensors, count, all, entry_count + OWN_ENTRIES, err));
done:
    cask_free(plane);
    cask_free(all);
    cask_free(tensors);
    return st;
}

enum cask_status cask_net_save(struct cask_net *net, const char *path,
                               const struct cask_preprocess *preprocess,
                               const struct cask_metadata_entry *entries, int entry_count,
                               struct cask_error *err)
{
    return cask_net_save_with(net, path, preprocess, NULL, 0, entries, entry_count, err);
}
