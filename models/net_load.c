/* A net from a checkpoint, by name. All that does not fit is collected first, so that one message
 * shows what is wrong and what the file seems to be. */
#include <stdio.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/detect.h"
#include "models/difference.h"
#include "models/net.h"

static bool of_another_size(const struct cask_graph *graph, const struct cask_detected *d)
{
    return (d->embedding > 0 && d->embedding != cask_graph_embedding(graph)) ||
           (d->width > 0 && d->width != cask_graph_input_width(graph)) ||
           (d->height > 0 && d->height != cask_graph_input_height(graph));
}

/* What the file is, when it is something else, and what to do. */
static void append_hint(char *text, size_t bytes, const struct cask_graph *graph,
                        const struct cask_checkpoint *c)
{
    struct cask_detected d;
    cask_detect(c, &d);
    size_t used = strlen(text);
    if (d.network[0] != '\0' && strcmp(d.network, graph->name) != 0) {
        snprintf(text + used, bytes - used, ". The file looks like \"%s\": name that network",
                 d.network);
    } else if (d.network[0] != '\0' && of_another_size(graph, &d)) {
        char size[64] = "";
        if (d.width > 0) {
            snprintf(size, sizeof size, " for pictures of %d x %d", d.width, d.height);
        }
        snprintf(text + used, bytes - used, ". The file is a \"%s\" with embedding %d%s: set these",
                 d.network, d.embedding, size);
    } else if (d.network[0] != '\0') {
        snprintf(text + used, bytes - used,
                 ". Save the state_dict of a %s, with all its tensors and no others", d.network);
    } else if (d.network[0] == '\0' && d.family != NULL) {
        snprintf(text + used, bytes - used,
                 ". The file looks like %s, which is not in the registry: export it to ONNX and "
                 "use that as a teacher",
                 d.family);
    }
}

static enum cask_status check(const struct cask_graph *graph, const struct cask_checkpoint *c,
                              struct cask_error *err)
{
    char text[CASK_ERROR_MESSAGE - 300] = "";
    if (!cask_key_difference(graph, c, text, sizeof text)) {
        return CASK_OK;
    }
    append_hint(text, sizeof text, graph, c);
    return cask_error_set(err, CASK_ERR_MISMATCH, "%.200s: these are not weights of %s%s", c->path,
                          graph->name, text);
}

static void count_to_float(const struct cask_file_tensor *tensor, float *out)
{
    int64_t wide = 0;
    int32_t narrow = 0;
    if (tensor->dtype == CASK_FILE_I64) {
        memcpy(&wide, tensor->data, sizeof wide);
    } else if (tensor->dtype == CASK_FILE_I32) {
        memcpy(&narrow, tensor->data, sizeof narrow);
        wide = narrow;
    }
    *out = (float)wide;
}

static enum cask_status load_one(struct cask_net *net, int param, const struct cask_checkpoint *c,
                                 float *values, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_param_info *info = cask_graph_param(net->graph, param);
    const struct cask_file_tensor *tensor = cask_checkpoint_find(c, info->name);
    values[0] = 0; /* a counter may be absent */
    if (tensor != NULL && info->role == CASK_PARAM_BN_COUNT) {
        count_to_float(tensor, values);
    } else if (tensor != NULL) {
        CASK_TRY(cask_file_tensor_to_f32(tensor, values, err));
    }
    CASK_TRY(cask_net_take(net, param, info->name, values, err));
done:
    return st;
}

enum cask_status cask_net_load(struct cask_net *net, const struct cask_checkpoint *checkpoint,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = cask_net_graph(net);
    float *values = NULL;
    int64_t largest = 1;
    CASK_TRY(check(graph, checkpoint, err));
    for (int i = 0; i < graph->param_count; i++) {
        largest = graph->params[i].count > largest ? graph->params[i].count : largest;
    }
    values = cask_alloc((size_t)largest, sizeof *values);
    if (values == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)largest * sizeof *values, "weights"));
    }
    for (int i = 0; i < graph->param_count; i++) {
        st = load_one(net, i, checkpoint, values, err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "%.200s", checkpoint->path);
            goto done;
        }
    }
done:
    cask_free(values);
    return st;
}
