/* The identity of a net's weights, whatever container they came in: SHA-256 over, for each float
 * parameter in name order,
 *     name NUL "F32" NUL rank(u64) shape(u64 each) float32 little-endian
 * Counters (num_batches_tracked) change nothing a net computes and are left out. */
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
