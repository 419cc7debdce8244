/* What model files of every kind have in common: what they are, and how they want their pixels. */
#include <stdio.h>

#include "models/checkpoint.h"
#include "models/net.h"

enum cask_status cask_file_is_onnx(const char *path, bool *onnx, struct cask_error *err)
{
    struct cask_map map;
    enum cask_status st = cask_map_open(&map, path, err);
    if (st == CASK_OK) {
        *onnx = cask_looks_like_onnx(map.data, map.bytes);
        cask_map_close(&map);
    }
    return st;
}

enum cask_status cask_graph_pixels(const struct cask_graph *graph,
                                   struct cask_preprocess *preprocess, bool *known,
                                   struct cask_error *err)
{
    if (graph->pixels == NULL) {
        return CASK_OK;
    }
    const enum cask_status st = cask_preprocess_parse(graph->pixels, preprocess, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "metadata channel_order, mean, scale");
        return st;
    }
    *known = true;
    return CASK_OK;
}

enum cask_status cask_checkpoint_pixels(const struct cask_checkpoint *c,
                                        struct cask_preprocess *preprocess, bool *known,
                                        struct cask_error *err)
{
    const char *order = cask_checkpoint_metadata(c, "channel_order");
    const char *mean = cask_checkpoint_metadata(c, "mean");
    const char *scale = cask_checkpoint_metadata(c, "scale");
    if (order == NULL || mean == NULL || scale == NULL) {
        return CASK_OK;
    }
    char text[160];
    snprintf(text, sizeof text, "%.8s:%.60s:%.60s", order, mean, scale);
    enum cask_status st = cask_preprocess_parse(text, preprocess, err);
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s: metadata channel_order, mean, scale", c->path);
        return st;
    }
    *known = true;
    return CASK_OK;
}

void cask_model_close(struct cask_model *model)
{
    cask_net_free(model->net);
    cask_graph_free(model->graph);
    cask_checkpoint_close(model->checkpoint);
    *model = (struct cask_model){0};
}
