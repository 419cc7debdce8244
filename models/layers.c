/* models/layers.c - the table of layer kinds. */
#include "models/layers.h"

const struct cask_layer *cask_layer(enum cask_layer_kind kind)
{
    static const struct cask_layer *const rows[CASK_LAYER_KINDS] = {
        [CASK_LAYER_CONV] = &cask_layer_conv,
        [CASK_LAYER_LINEAR] = &cask_layer_linear,
        [CASK_LAYER_BATCHNORM] = &cask_layer_batchnorm,
        [CASK_LAYER_AFFINE] = &cask_layer_affine,
        [CASK_LAYER_ACTIVATION] = &cask_layer_activation,
        [CASK_LAYER_ADD] = &cask_layer_add,
        [CASK_LAYER_SUBSAMPLE] = &cask_layer_subsample,
        [CASK_LAYER_AVERAGE_POOL] = &cask_layer_average_pool,
        [CASK_LAYER_MAX_POOL] = &cask_layer_max_pool,
        [CASK_LAYER_SCALE] = &cask_layer_scale,
    };
    return rows[kind];
}

int64_t cask_layer_macs(const struct cask_graph *graph, const struct cask_node *node)
{
    const struct cask_layer *layer = cask_layer(node->kind);
    return layer->macs == NULL ? 0 : layer->macs(graph, node);
}
