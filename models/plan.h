/* models/plan.h - the plan inside. Private to models/.
 *
 * A graph's nodes become steps (plan_fuse.c); in training, batch norms give their passes to their
 * neighbours (plan_chain.c). Backward runs over those with something to train behind them
 * (plan_reach.c). Every value that a step writes, and in training the
 * gradient of every value that has one, gets a buffer with a first and a last moment of use
 * (plan_live.c, plan_gradient.c). Buffers whose times do not overlap share memory
 * (plan_memory.c). plan_create.c calls these in turn and opens the convolutions; then the steps can
 * run (plan_run.c).
 *
 * Moments of a plan with S steps:
 *   0            pixels arrive
 *   1 .. S       step i runs forward at 1 + i
 *   S + 1        the embedding leaves
 *   S + 2        its gradient arrives
 *   S + 3 ..     step i runs backward at 2S + 2 - i
 */
#ifndef CASK_MODELS_PLAN_H
#define CASK_MODELS_PLAN_H

#include "models/layers.h"
#include "models/net.h"

struct cask_plan_buffer {
    size_t bytes;
    int first, last; /* moments, both inclusive */
    size_t offset;   /* in the plan's one allocation */
};

struct cask_memory {
    struct cask_plan_buffer *buffers;
    int count, room;
    size_t bytes; /* of the whole allocation, after cask_memory_place */
};
enum cask_status cask_memory_add(struct cask_memory *memory, size_t bytes, int first, int last,
                                 int *buffer, struct cask_error *err);
/* Gives every buffer an offset so that buffers alive at the same moment do not overlap. */
enum cask_status cask_memory_place(struct cask_memory *memory, struct cask_error *err);
void cask_memory_release(struct cask_memory *memory);

/* What plans that take turns run in: cask_step_memory_*. */
struct cask_step_memory {
    struct cask_device *device; /* borrowed */
    char *data;                 /* device; NULL as long as no plan needs any */
    size_t bytes;
    const void *last; /* the plan whose values lie here */
};
enum cask_status cask_step_memory_reserve(struct cask_step_memory *memory, size_t bytes,
                                          struct cask_error *err);

/* What backward does with one input of a step. */
struct cask_step_gradient {
    bool wanted;     /* something trained lies behind this input */
    bool accumulate; /* a later consumer wrote there before */
    bool shared;     /* dx and dy are the same memory: nothing to do (add) */
};

/* The four passes of a batch norm in training; true: a neighbour does it, see plan_chain.c. */
struct cask_norm_taken {
    bool statistics, apply, reduce, gradient;
};

enum { CASK_STEP_REDUCES = 2 };

struct cask_step {
    const struct cask_node *node;
    bool back; /* runs backward too: training, and it or something behind it trains */
    const struct cask_node *before, *folded; /* CONV, LINEAR in eval: batch norms that live in the
                                                weights, from in front and from behind; or NULL */
    const struct cask_node *activation;      /* BATCHNORM; CONV, LINEAR in eval: behind it */
    /* Values. The second input of a CONV or LINEAR step is added to its output: a sum that it took
     * in. */
    int inputs[CASK_NODE_INPUTS], output;
    struct cask_step_gradient gradients[CASK_NODE_INPUTS];
    struct cask_conv *conv; /* CONV, LINEAR */
    int saved_buffer;       /* BATCHNORM in training: its statistics, by channel */
    void *saved_mean, *saved_inv_std, *saved_mean_dz, *saved_pull;
    /* Chains: BATCHNORM steps, -1 for none. */
    struct cask_norm_taken taken;   /* BATCHNORM: what others do */
    int reads[CASK_NODE_INPUTS];    /* CONV, ADD: input k is read through this one */
    int feeds;                      /* CONV, ADD: forward takes the statistics of this one */
    int behind;                     /* CONV: backward begins with the gradient of this one */
    int reduces[CASK_STEP_REDUCES]; /* CONV, BATCHNORM: backward ends with their reductions */
    int reduce_count;
    void *constants; /* AFFINE: device, owned */
};

/* How a plan is made; anything but the default is for tests and measurements. */
enum cask_plan_path {
    CASK_PATH_CHAINED, /* training: batch norms inside their neighbours */
    CASK_PATH_FUSED,   /* batch norm and activation are one pass, everything else is its own */
    CASK_PATH_PLAIN,   /* every node is a pass of its own over the whole batch */
};
struct cask_plan_way {
    enum cask_plan_path path;
    bool unfolded; /* eval: batch norms stay steps of their own */
};

struct cask_plan {
    struct cask_net *net;       /* borrowed */
    struct cask_device *device; /* borrowed, the net's */
    const struct cask_ops *ops;
    int batch;
    enum cask_mode mode;
    struct cask_plan_way way;
    struct cask_step *steps;
    int step_count;
    struct cask_tensor *tensors, *gradients; /* by value; data NULL where it does not exist */
    int *value_buffers, *gradient_buffers;   /* by value; -1: none */
    int pixel_buffer, embedding_buffer; /* float32 staging; -1 where the device computes in it */
    struct cask_memory memory;
    struct cask_step_memory *step_memory;
    bool owns_step_memory;
    char *allocation; /* device: where the step memory was when pointers were set */
    uint64_t packed_version, packed_statistics;
    bool packed;       /* convolutions hold some version of the weights */
    bool can_backward; /* a train forward has run since the last backward */
};

static inline int cask_moment_forward(int step)
{
    return 1 + step;
}

static inline int cask_moment_output(const struct cask_plan *plan)
{
    return plan->step_count + 1;
}

static inline int cask_moment_seed(const struct cask_plan *plan)
{
    return plan->step_count + 2;
}

static inline int cask_moment_backward(const struct cask_plan *plan, int step)
{
    return 2 * plan->step_count + 2 - step;
}

/* cask_plan_create with choices that only tests and measurements make. */
enum cask_status cask_plan_create_way(struct cask_net *net, int batch, enum cask_mode mode,
                                      struct cask_plan_way way, struct cask_plan **plan,
                                      struct cask_error *err);
/* The choice of the fold alone. */
enum cask_status cask_plan_create_folded(struct cask_net *net, int batch, enum cask_mode mode,
                                         bool fold, struct cask_plan **plan,
                                         struct cask_error *err);

/* Begins a step: the memory is this plan's now. Sets every pointer into it that is not there yet.
 */
void cask_plan_take_memory(struct cask_plan *plan);

/* The convolution of a step, as it is opened: shapes of the plan, and the bias that folding asks
 * for. */
struct cask_conv_desc cask_plan_conv_desc(const struct cask_plan *plan,
                                          const struct cask_step *step);

enum cask_status cask_plan_fuse(struct cask_plan *plan, bool fold, struct cask_error *err);
/* Gives passes of batch norms to their neighbours. `reduce` is decided by cask_plan_gradients. */
enum cask_status cask_plan_chain(struct cask_plan *plan, struct cask_error *err);
/* Sets `back` of every step. */
void cask_plan_reach(struct cask_plan *plan);
/* Backward can end here: the step's own gradients do not need that of its input. */
bool cask_step_may_be_first(const struct cask_step *step);
/* The step that makes a value; -1: the pixels. */
int cask_plan_producer(const struct cask_plan *plan, int value);
enum cask_status cask_plan_live(struct cask_plan *plan, struct cask_error *err);
enum cask_status cask_plan_gradients(struct cask_plan *plan, struct cask_error *err);
/* The value whose memory holds what input k of a step is made of: a batch norm's input where the
 * step reads through one. */
int cask_step_stored(const struct cask_plan *plan, const struct cask_step *step, int k);
/* Batch norm step `norm` as the device wants it, and its gradients. */
struct cask_batchnorm cask_step_norm(const struct cask_plan *plan, int norm);
struct cask_batchnorm_grads cask_step_norm_grads(const struct cask_plan *plan, int norm);
/* Input k of a step as it is read; `room` is for the norm. */
struct cask_operand cask_step_operand(const struct cask_plan *plan, const struct cask_step *step,
                                      int k, struct cask_batchnorm *room);
/* The reductions of a step; `norms` is room for them. */
void cask_step_reductions(const struct cask_plan *plan, const struct cask_step *step,
                          struct cask_batchnorm norms[CASK_STEP_REDUCES],
                          struct cask_reduction reductions[CASK_STEP_REDUCES]);
/* Gives convolutions the net's present weights, folded where they are, if they hold older ones. */
enum cask_status cask_plan_pack(struct cask_plan *plan, struct cask_error *err);

#endif
