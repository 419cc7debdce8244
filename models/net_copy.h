/* models/net_copy.h - a net's tensors on the host, as a file wants them. Private to models/. */
#ifndef CASK_MODELS_NET_COPY_H
#define CASK_MODELS_NET_COPY_H

#include "common/mem.h"
#include "models/models.h"

struct cask_net_copy {
    struct cask_arena arena; /* holds what follows */
    struct cask_file_tensor *tensors;
    int count;
    struct cask_metadata_entry *entries;
    int entry_count;
};

/* What a file says about its net: net, embedding, input, channel order, mean, scale, eps, and then
 * `entries`, whose texts stay the caller's. */
enum cask_status cask_net_metadata(const struct cask_graph *graph,
                                   const struct cask_preprocess *preprocess,
                                   const struct cask_metadata_entry *entries, int entry_count,
                                   struct cask_arena *arena, struct cask_metadata_entry **all,
                                   int *all_count, struct cask_error *err);

/* The net's tensors in graph order with PyTorch's types (counters are int64), `extra` ones behind
 * them, and its metadata. `half`: weights of convolutions and linear layers are float16; what has
 * one number a channel (batch norms, biases, slopes) stays float32, since a running variance may be
 * below what a half can hold. A weight that a half cannot hold is CASK_ERR_RANGE. Release in any
 * case. */
enum cask_status cask_net_copy_create(struct cask_net *net, bool half,
                                      const struct cask_preprocess *preprocess,
                                      const struct cask_file_tensor *extra, int extra_count,
                                      const struct cask_metadata_entry *entries, int entry_count,
                                      struct cask_net_copy *copy, struct cask_error *err);
void cask_net_copy_release(struct cask_net_copy *copy);

/* `count` floats as halves; an infinite result of a finite number is CASK_ERR_RANGE. */
enum cask_status cask_to_halves(const char *name, const float *values, int64_t count, uint16_t *out,
                                struct cask_error *err);

#endif
