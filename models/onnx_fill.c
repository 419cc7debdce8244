/* The weights of an ONNX graph: each parameter of the graph has a source in the file. */
#include <string.h>

#include "models/checkpoint.h"
#include "models/net.h"
#include "models/onnx.h"

enum cask_status cask_onnx_bind(struct cask_onnx_import *import, enum cask_slot slot,
                                const struct cask_onnx_source *source, struct cask_error *err)
{
    const struct cask_graph *graph = import->graph;
    if (graph->problem.status != CASK_OK) {
        *err = graph->problem;
        return err->status;
    }
    int param = graph->nodes[graph->node_count - 1].params[slot];
    if (param >= import->source_room) {
        int room = 2 * graph->param_count;
        struct cask_onnx_source *larger =
            cask_grow(import->sources, (size_t)import->source_room, (size_t)room, sizeof *larger);
        if (larger == NULL) {
            return cask_error_memory(err, (size_t)room * sizeof *larger, "the graph's weights");
        }
        import->sources = larger;
        import->source_room = room;
    }
    import->sources[param] = *source;
    /* A tensor of one number is spread over all channels. */
    int64_t count = source->tensor != NULL ? cask_onnx_count(source->tensor) : 1;
    if (count != graph->params[param].count && count != 1) {
        return cask_error_set(err, CASK_ERR_FORMAT, "%s: expected %lld numbers, found %lld",
                              graph->params[param].name, (long long)graph->params[param].count,
                              (long long)count);
    }
    return CASK_OK;
}

/* numbers: those of the source's tensor, if it has one. */
static void follow(const struct cask_onnx_source *source, const struct cask_param_info *info,
                   const float *numbers, float *out)
{
    int64_t count = source->tensor != NULL ? cask_onnx_count(source->tensor) : 0;
    int64_t rows = source->transposed ? info->shape[0] : 1;
    int64_t columns = info->count / rows;
    for (int64_t i = 0; i < info->count; i++) {
        /* transposed: out[r][c] = in[c][r] */
        int64_t from = source->transposed ? i % columns * rows + i / columns : i;
        double value = count == 0 ? 1 : (double)numbers[count == 1 ? 0 : from];
        value = source->reciprocal ? source->factor / value : source->factor * value;
        out[i] = (float)(value + source->offset);
    }
}

enum cask_status cask_onnx_fill(const struct cask_onnx_import *import, struct cask_net *net,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = import->graph;
    float *scratch = NULL, *values = NULL;
    int64_t largest = 1;
    for (int i = 0; i < graph->param_count; i++) {
        largest = graph->params[i].count > largest ? graph->params[i].count : largest;
    }
    scratch = cask_alloc((size_t)largest, sizeof *scratch);
    values = cask_alloc((size_t)largest, sizeof *values);
    if (scratch == NULL || values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)largest * sizeof *values, "weights"));
    }
    for (int i = 0; i < graph->param_count; i++) {
        const Cask__Onnx__Tensor *tensor = import->sources[i].tensor;
        const char *name = tensor != NULL && tensor->name != NULL && tensor->name[0] != '\0'
                               ? tensor->name
                               : graph->params[i].name;
        if (tensor != NULL) { /* by its own order, which may not be the parameter's */
            cask_onnx_floats(tensor, scratch);
            CASK_TRY(cask_check_finite(name, scratch, cask_onnx_count(tensor), err));
        }
        follow(&import->sources[i], &graph->params[i], scratch, values);
        CASK_TRY(cask_net_take(net, i, name, values, err));
    }
done:
    cask_free(scratch);
    cask_free(values);
    return st;
}
