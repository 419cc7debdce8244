/* The identity of a net, in two parts.
 *
 * Its weights, whatever container they came in: SHA-256 over, for each float
 * parameter in name order,
 *     name NUL "F32" NUL rank(u64) shape(u64 each) float32 little-endian
 * Counters (num_batches_tracked) change nothing a net computes and are left out.
 *
 * Its architecture: two nets may have the same parameters and join them otherwise. */
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "models/graph.h"

static int compare_names(const void *a, const void *b, void *params)
{
    const struct cask_param_info *infos = params;
    return strcmp(infos[*(const int *)a].name, infos[*(const int *)b].name);
}

enum cask_status cask_net_fingerprint(struct cask_net *net, char *hex, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    float *values = NULL;
    int64_t largest = 1;
    struct cask_sha256 sha;
    int *order = cask_alloc((size_t)graph->param_count, sizeof *order);
    for (int i = 0; order != NULL && i < graph->param_count; i++) {
        order[i] = i;
        largest = graph->params[i].count > largest ? graph->params[i].count : largest;
    }
    values = cask_alloc((size_t)largest, sizeof *values);
    if (order == NULL || values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)largest * sizeof *values, "a fingerprint"));
    }
    qsort_r(order, (size_t)graph->param_count, sizeof *order, compare_names, graph->params);
    cask_sha256_init(&sha);
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *info = &graph->params[order[i]];
        if (info->role == CASK_PARAM_BN_COUNT) {
            continue;
        }
        cask_net_get(net, order[i], values);
        cask_sha256_update_text(&sha, info->name);
        cask_sha256_update_text(&sha, "F32");
        cask_sha256_update_u64(&sha, (uint64_t)info->rank);
        for (int d = 0; d < info->rank; d++) {
            cask_sha256_update_u64(&sha, (uint64_t)info->shape[d]);
        }
        cask_sha256_update(&sha, values, (size_t)info->count * sizeof *values);
    }
    cask_sha256_final_hex(&sha, hex);
done:
    cask_free(order);
    cask_free(values);
    return st;
}

/* Node names are left out: they name the parameters, which are hashed, and no more. */
static void hash_node(struct cask_sha256 *sha, const struct cask_node *node)
{
    const struct cask_conv_spec *conv = &node->conv;
    const int settings[] = {
        (int)node->kind, node->inputs[0], node->inputs[1],       node->output,
        conv->out_c,     conv->kernel_h,  conv->kernel_w,        conv->stride,
        conv->pad_top,   conv->pad_left,  conv->pad_bottom,      conv->pad_right,
        conv->groups,    (int)conv->bias, (int)node->activation, node->stride,
    };
    uint64_t eps;
    memcpy(&eps, &node->eps, sizeof eps);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        cask_sha256_update_u64(sha, (uint64_t)(int64_t)settings[i]);
    }
    for (int slot = 0; slot < CASK_SLOTS; slot++) {
        cask_sha256_update_u64(sha, (uint64_t)(int64_t)node->params[slot]);
    }
    cask_sha256_update_u64(sha, eps);
}

void cask_graph_fingerprint(const struct cask_graph *graph, char *hex)
{
    struct cask_sha256 sha;
    cask_sha256_init(&sha);
    cask_sha256_update_text(&sha, graph->name);
    cask_sha256_update_u64(&sha, (uint64_t)cask_graph_embedding(graph));
    cask_sha256_update_u64(&sha, (uint64_t)cask_graph_input_width(graph));
    cask_sha256_update_u64(&sha, (uint64_t)cask_graph_input_height(graph));
    for (int i = 0; i < graph->param_count; i++) {
        const struct cask_param_info *info = &graph->params[i];
        cask_sha256_update_text(&sha, info->name);
        for (int d = 0; d < info->rank; d++) {
            cask_sha256_update_u64(&sha, (uint64_t)info->shape[d]);
        }
    }
    for (int i = 0; i < graph->node_count; i++) {
        hash_node(&sha, &graph->nodes[i]);
    }
    cask_sha256_update_u64(&sha, (uint64_t)graph->output);
    cask_sha256_final_hex(&sha, hex);
}
