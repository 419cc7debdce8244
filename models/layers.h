/* models/layers.h - a layer kind is one row: how it is printed, what it costs, how it runs.
 *
 * Each layer_*.c holds one kind whole: the builder call (shape and parameters), the row's
 * functions, forward and backward. layers.c lists the rows. Private to models/.
 */
#ifndef CASK_MODELS_LAYERS_H
#define CASK_MODELS_LAYERS_H

#include "models/graph.h"

struct cask_plan;
struct cask_step;

struct cask_layer {
    const char *name;
    int64_t (*macs)(const struct cask_graph *,
                    const struct cask_node *); /* per image; NULL: none */

    /* What the planner must know. */
    bool keeps[CASK_NODE_INPUTS]; /* backward reads this input again */
    bool in_place;                /* forward may write over an input of the output's shape */
    bool gradient_in_place;       /* backward may write dx over dy */
    bool gradient_shared;         /* dx equals dy: no work where one buffer can be both */

    /* Prepares a step (NULL: nothing to do), e.g. plans its convolution. */
    enum cask_status (*open)(struct cask_plan *, struct cask_step *, struct cask_error *);
    enum cask_status (*forward)(struct cask_plan *, const struct cask_step *, struct cask_error *);
    /* NULL: the kind occurs in eval-only graphs. */
    enum cask_status (*backward)(struct cask_plan *, const struct cask_step *, struct cask_error *);
};

const struct cask_layer *cask_layer(enum cask_layer_kind kind);
int64_t cask_layer_macs(const struct cask_graph *graph, const struct cask_node *node);

extern const struct cask_layer cask_layer_conv, cask_layer_linear, cask_layer_batchnorm,
    cask_layer_affine, cask_layer_activation, cask_layer_add, cask_layer_subsample,
    cask_layer_average_pool, cask_layer_max_pool, cask_layer_scale;

#endif
