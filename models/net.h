/* models/net.h - the net inside: three planes with equal offsets. Private to models/. */
#ifndef CASK_MODELS_NET_H
#define CASK_MODELS_NET_H

#include "models/graph.h"

struct cask_net {
    const struct cask_graph *graph; /* borrowed */
    struct cask_device *device;     /* borrowed */
    bool train;
    size_t *offsets; /* bytes, by parameter; the same in all three planes */
    bool *frozen;    /* by parameter: cask_net_freeze */
    size_t plane_bytes;
    void *values, *grads, *momentum; /* device; the last two only in training */
    /* Plans compare these with what they packed: `version` changes with any value,
     * `statistics` with running means and variances, which matter only to folded plans. */
    uint64_t version, statistics;
};

/* cask_net_set for what comes out of a file, where `tensor` is its name: nothing but finite numbers
 * become a parameter (CASK_ERR_FORMAT). Messages do not name the file. */
enum cask_status cask_net_take(struct cask_net *net, int param, const char *tensor,
                               const float *values, struct cask_error *err);

/* Device memory of the parameter in a node's slot; NULL where there is none. */
void *cask_net_slot(struct cask_net *net, const struct cask_node *node, enum cask_slot slot);
void *cask_net_slot_grad(struct cask_net *net, const struct cask_node *node, enum cask_slot slot);

/* `count` elements of a parameter from `first` on, as doubles. */
void cask_net_read(const struct cask_net *net, int param, int64_t first, int64_t count,
                   double *out);
/* fold.c. One value per channel of a parameter that may be absent. */
void cask_net_read_or(const struct cask_net *net, const struct cask_node *node, enum cask_slot slot,
                      double absent, int count, double *out);
/* fold.c. The batch norm `bn` as x -> scale x + shift; both [channels]. */
enum cask_status cask_net_affine(const struct cask_net *net, const struct cask_node *bn,
                                 int channels, double *scale, double *shift,
                                 struct cask_error *err);
/* fold.c. The convolution or linear layer that does the work of `node` and of the batch norm `bn`
 * behind it, out_c numbers each: BN(W x + b) = (scale W) x + bias. */
enum cask_status cask_net_fold(const struct cask_net *net, const struct cask_node *node,
                               const struct cask_node *bn, double *scale, double *bias,
                               struct cask_error *err);
/* One more batch was seen by a batch norm (num_batches_tracked). */
void cask_net_count_batch(struct cask_net *net, const struct cask_node *node);

/* net_start.c: fills a net of the registry from one that was read from ONNX, as cask_net_start
 * does; messages do not name the file. */
enum cask_status cask_net_start_from(struct cask_net *net, struct cask_net *source,
                                     struct cask_start *start, struct cask_error *err);

/* init.c: values of parameter `param` by the graph's rule; a pure function of (seed, param,
 * element). */
void cask_init_values(const struct cask_graph *graph, int param, uint64_t seed, float *values);

#endif
