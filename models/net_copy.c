#include "models/net_copy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/half.h"
#include "models/graph.h"

enum { OWN_ENTRIES = 8 };

enum cask_status cask_to_halves(const char *name, const float *values, int64_t count, uint16_t *out,
                                struct cask_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        out[i] = cask_half_from_float(values[i]);
        if (isfinite(values[i]) && (out[i] & 0x7c00) == 0x7c00) {
            return cask_error_set(err, CASK_ERR_RANGE,
                                  "%s[%lld] is %g; a float16 holds at most 65504: write float32",
                                  name, (long long)i, (double)values[i]);
        }
    }
    return CASK_OK;
}

static enum cask_status copy_tensor(struct cask_net *net, int param, bool half,
                                    struct cask_net_copy *copy, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_param_info *info = &cask_net_graph(net)->params[param];
    struct cask_file_tensor *tensor = &copy->tensors[param];
    const size_t count = (size_t)info->count;
    const bool counter = info->role == CASK_PARAM_BN_COUNT, narrow = half && info->rank > 1;
    float *values = cask_arena_alloc(&copy->arena, count, sizeof *values);
    uint16_t *halves = cask_arena_alloc(&copy->arena, narrow ? count : 0, sizeof *halves);
    int64_t *whole = cask_arena_alloc(&copy->arena, counter ? 1 : 0, sizeof *whole);
    if (values == NULL || halves == NULL || whole == NULL) {
        CASK_TRY(cask_error_memory(err, count * sizeof *values, info->name));
    }
    *tensor = (struct cask_file_tensor){.name = info->name,
                                        .dtype = CASK_FILE_F32,
                                        .rank = info->rank,
                                        .count = info->count,
                                        .data = values};
    for (int d = 0; d < info->rank; d++) {
        tensor->shape[d] = info->shape[d];
    }
    cask_net_get(net, param, values);
    if (counter) {
        *whole = (int64_t)values[0];
        tensor->dtype = CASK_FILE_I64;
        tensor->data = whole;
    } else if (narrow) {
        CASK_TRY(cask_to_halves(info->name, values, info->count, halves, err));
        tensor->dtype = CASK_FILE_F16;
        tensor->data = halves;
    }
done:
    return st;
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

enum cask_status cask_net_metadata(const struct cask_graph *graph,
                                   const struct cask_preprocess *preprocess,
                                   const struct cask_metadata_entry *entries, int entry_count,
                                   struct cask_arena *arena, struct cask_metadata_entry **all,
                                   int *all_count, struct cask_error *err)
{
    static const char *const keys[OWN_ENTRIES] = {
        "net", "embedding", "input_height", "input_width", "channel_order", "mean", "scale", "eps"};
    char texts[OWN_ENTRIES][40];
    snprintf(texts[0], 40, "%s", graph->name);
    snprintf(texts[1], 40, "%d", cask_graph_embedding(graph));
    snprintf(texts[2], 40, "%d", cask_graph_input_height(graph));
    snprintf(texts[3], 40, "%d", cask_graph_input_width(graph));
    snprintf(texts[4], 40, "%s", preprocess->order == CASK_RGB ? "rgb" : "bgr");
    snprintf(texts[5], 40, "%.17g", preprocess->mean);
    snprintf(texts[6], 40, "%.17g", preprocess->scale);
    snprintf(texts[7], 40, "%.17g", find_eps(graph));
    *all_count = OWN_ENTRIES + entry_count;
    *all = cask_arena_alloc(arena, (size_t)*all_count, sizeof **all);
    for (int i = 0; *all != NULL && i < OWN_ENTRIES; i++) {
        (*all)[i] = (struct cask_metadata_entry){keys[i], cask_arena_strdup(arena, texts[i])};
        if ((*all)[i].value == NULL) {
            *all = NULL;
        }
    }
    if (*all == NULL) {
        return cask_error_memory(err, sizeof texts, "metadata");
    }
    for (int i = 0; i < entry_count; i++) {
        (*all)[OWN_ENTRIES + i] = entries[i];
    }
    return CASK_OK;
}

enum cask_status cask_net_copy_create(struct cask_net *net, bool half,
                                      const struct cask_preprocess *preprocess,
                                      const struct cask_file_tensor *extra, int extra_count,
                                      const struct cask_metadata_entry *entries, int entry_count,
                                      struct cask_net_copy *copy, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    *copy = (struct cask_net_copy){.count = graph->param_count + extra_count};
    cask_arena_init(&copy->arena);
    copy->tensors = cask_arena_alloc(&copy->arena, (size_t)copy->count, sizeof *copy->tensors);
    if (copy->tensors == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)copy->count * sizeof *copy->tensors,
                                   "the tensor table"));
    }
    for (int i = 0; i < graph->param_count; i++) {
        CASK_TRY(copy_tensor(net, i, half, copy, err));
    }
    for (int i = 0; i < extra_count; i++) {
        copy->tensors[graph->param_count + i] = extra[i];
    }
    CASK_TRY(cask_net_metadata(graph, preprocess, entries, entry_count, &copy->arena,
                               &copy->entries, &copy->entry_count, err));
done:
    return st;
}

void cask_net_copy_release(struct cask_net_copy *copy)
{
    cask_arena_release(&copy->arena);
    *copy = (struct cask_net_copy){0};
}
