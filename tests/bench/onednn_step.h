/* tests/bench/onednn_step.h - a network's training step in oneDNN: sums, pooling and gates, and the
 * whole. */
#ifndef CASK_TESTS_BENCH_ONEDNN_STEP_H
#define CASK_TESTS_BENCH_ONEDNN_STEP_H

#include "tests/bench/onednn_layers.h"

/* -------------------------------------------------------------------------------- sums */

static inline enum cask_status onednn_add_backward(struct onednn_step *s,
                                                   const struct cask_step *step,
                                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const dnnl_memory_t dy = s->gradients[step->output];
    for (int k = 0; k < CASK_NODE_INPUTS; k++) {
        const struct cask_step_gradient *todo = &step->gradients[k];
        const dnnl_memory_t dx = s->gradients[step->inputs[k]];
        if (todo->wanted && !todo->shared && todo->accumulate) {
            CASK_TRY(onednn_add_binary(&s->o, dnnl_binary_add, dx, dy, dx, err));
        } else if (todo->wanted && !todo->shared) {
            CASK_TRY(onednn_add_reorder(&s->o, dy, dx, err)); /* a copy */
        }
    }
done:
    return st;
}

/* ----------------------------------------------------------------------------- pooling */

struct onednn_pool {
    dnnl_alg_kind_t alg;
    dnnl_dims_t size, stride, begin, end;
};

/* A shortcut that takes every other pixel is a pooling with windows of one pixel, as in PyTorch. */
static inline struct onednn_pool onednn_pool_of(const struct onednn_step *s,
                                                const struct cask_step *step)
{
    const struct cask_node *node = step->node;
    const struct cask_tensor *x = &s->plan->tensors[step->inputs[0]],
                             *y = &s->plan->tensors[step->output];
    const struct cask_window *window = &node->window;
    switch (node->kind) {
    case CASK_LAYER_AVERAGE_POOL:
        return (struct onednn_pool){
            .alg = dnnl_pooling_avg_exclude_padding, .size = {x->h, x->w}, .stride = {1, 1}};
    case CASK_LAYER_SUBSAMPLE:
        return (struct onednn_pool){
            .alg = dnnl_pooling_max, .size = {1, 1}, .stride = {node->stride, node->stride}};
    default:
        return (struct onednn_pool){
            .alg = dnnl_pooling_max,
            .size = {window->size, window->size},
            .stride = {window->stride, window->stride},
            .begin = {window->pad, window->pad},
            .end = {(y->h - 1) * window->stride + window->size - x->h - window->pad,
                    (y->w - 1) * window->stride + window->size - x->w - window->pad}};
    }
}

static inline enum cask_status onednn_pool_forward(struct onednn_step *s,
                                                   const struct cask_step *step,
                                                   struct onednn_layer *layer,
                                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct onednn_pool p = onednn_pool_of(s, step);
    const dnnl_memory_t x = s->values[step->inputs[0]], y = s->values[step->output];
    dnnl_pooling_desc_t op;
    CASK_TRY(onednn_check(dnnl_pooling_forward_desc_init(&op, dnnl_forward_training, p.alg,
                                                         onednn_md_of(x), onednn_md_of(y), p.stride,
                                                         p.size, p.begin, p.end),
                          s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, NULL, &layer->hint, err));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {0}, {0}};
    if (p.alg == dnnl_pooling_max) {
        CASK_TRY(onednn_memory(&s->o, onednn_md(layer->hint, DNNL_ARG_WORKSPACE), NULL,
                               &layer->workspace, err));
        args[2] = (dnnl_exec_arg_t){DNNL_ARG_WORKSPACE, layer->workspace};
    }
    CASK_TRY(onednn_add(&s->o, layer->hint, args, err));
done:
    return st;
}

static inline enum cask_status onednn_pool_backward(struct onednn_step *s,
                                                    const struct cask_step *step,
                                                    struct onednn_layer *layer,
                                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct onednn_pool p = onednn_pool_of(s, step);
    const dnnl_memory_t dy = s->gradients[step->output];
    dnnl_memory_t dx;
    dnnl_pooling_desc_t op;
    dnnl_primitive_desc_t desc = NULL;
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    CASK_TRY(
        onednn_check(dnnl_pooling_backward_desc_init(&op, p.alg, onednn_md_of(dx), onednn_md_of(dy),
                                                     p.stride, p.size, p.begin, p.end),
                     s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, layer->hint, &desc, err));
    dnnl_exec_arg_t args[] = {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}, {0}, {0}};
    if (p.alg == dnnl_pooling_max) {
        args[2] = (dnnl_exec_arg_t){DNNL_ARG_WORKSPACE, layer->workspace};
    }
    CASK_TRY(onednn_add(&s->o, desc, args, err));
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

/* ------------------------------------------------------------------------------- gates */

/* The sum over all pixels: a mean and a factor, because oneDNN's own reduction runs as reference
 * code. */
static inline enum cask_status onednn_sum_pixels(struct onednn_step *s, const struct cask_tensor *x,
                                                 dnnl_memory_t from, dnnl_memory_t to,
                                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const dnnl_dims_t size = {x->h, x->w}, stride = {1, 1}, pad = {0};
    const struct onednn_curve times = {dnnl_eltwise_linear, (float)(x->h * x->w), 0};
    dnnl_pooling_desc_t op;
    dnnl_primitive_desc_t desc = NULL, unused;
    CASK_TRY(onednn_check(dnnl_pooling_forward_desc_init(
                              &op, dnnl_forward_inference, dnnl_pooling_avg_exclude_padding,
                              onednn_md_of(from), onednn_md_of(to), stride, size, pad, pad),
                          s->o.node, err));
    CASK_TRY(onednn_first(&s->o, &op, NULL, &desc, err));
    CASK_TRY(onednn_add(&s->o, desc,
                        (dnnl_exec_arg_t[]){{DNNL_ARG_SRC, from}, {DNNL_ARG_DST, to}, {0}}, err));
    CASK_TRY(onednn_curve_forward(s, &times, to, to, &unused, err));
done:
    return st;
}

/* dx = dy gate; dgate = the sum over all pixels of x dy. */
static inline enum cask_status onednn_scale_backward(struct onednn_step *s,
                                                     const struct cask_step *step,
                                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const dnnl_memory_t x = s->values[step->inputs[0]], gate = s->values[step->inputs[1]],
                        dy = s->gradients[step->output];
    dnnl_memory_t dx, product, dgate;
    CASK_TRY(onednn_memory(&s->o, onednn_md_of(x), NULL, &product, err));
    CASK_TRY(onednn_add_binary(&s->o, dnnl_binary_mul, x, dy, product, err));
    CASK_TRY(onednn_target(s, step, 1, &dgate, err));
    CASK_TRY(onednn_sum_pixels(s, &s->plan->tensors[step->inputs[0]], product, dgate, err));
    CASK_TRY(onednn_settle(s, step, 1, dgate, err));
    CASK_TRY(onednn_target(s, step, 0, &dx, err));
    CASK_TRY(onednn_add_binary(&s->o, dnnl_binary_mul, dy, gate, dx, err));
    CASK_TRY(onednn_settle(s, step, 0, dx, err));
done:
    return st;
}

/* --------------------------------------------------------------------------- the whole */

static inline enum onednn_kind onednn_kind_of(const struct cask_plan *plan,
                                              const struct cask_step *step)
{
    const struct cask_conv_spec *conv = &step->node->conv;
    switch (step->node->kind) {
    case CASK_LAYER_CONV:
        return step->inputs[0] == CASK_GRAPH_INPUT        ? ONEDNN_STEM
               : conv->groups == 1 && conv->kernel_h == 1 ? ONEDNN_POINTWISE
               : conv->groups == 1                        ? ONEDNN_DENSE
               : plan->tensors[step->output].h > 1        ? ONEDNN_DEPTHWISE
                                                          : ONEDNN_GLOBAL;
    case CASK_LAYER_LINEAR:
        return ONEDNN_LINEAR;
    case CASK_LAYER_BATCHNORM:
        return ONEDNN_NORM;
    case CASK_LAYER_ACTIVATION:
        return ONEDNN_ACTIVATION;
    case CASK_LAYER_ADD:
        return ONEDNN_ADD;
    default:
        return ONEDNN_OTHER;
    }
}

static inline enum cask_status onednn_step_layer(struct onednn_step *s, int index, bool backward,
                                                 struct cask_error *err)
{
    const struct cask_step *step = &s->plan->steps[index];
    struct onednn_layer *layer = &s->layers[index];
    const dnnl_memory_t a = s->values[step->inputs[0]], y = s->values[step->output],
                        b = step->inputs[1] < 0 ? NULL : s->values[step->inputs[1]];
    s->o.kind = onednn_kind_of(s->plan, step);
    s->o.pass = backward ? ONEDNN_DATA : ONEDNN_FORWARD;
    s->o.node = step->node->name;
    switch (step->node->kind) {
    case CASK_LAYER_CONV:
    case CASK_LAYER_LINEAR:
        return backward ? onednn_conv_backward(s, step, layer, err)
                        : onednn_conv_forward(s, step, layer, err);
    case CASK_LAYER_BATCHNORM:
        return backward ? onednn_norm_backward(s, step, layer, err)
                        : onednn_norm_forward(s, step, layer, err);
    case CASK_LAYER_ACTIVATION:
        return backward ? onednn_activation_backward(s, step, layer, err)
                        : onednn_activation_forward(s, step, layer, err);
    case CASK_LAYER_ADD:
        return backward ? onednn_add_backward(s, step, err)
                        : onednn_add_binary(&s->o, dnnl_binary_add, a, b, y, err);
    case CASK_LAYER_SUBSAMPLE:
    case CASK_LAYER_AVERAGE_POOL:
    case CASK_LAYER_MAX_POOL:
        return backward ? onednn_pool_backward(s, step, layer, err)
                        : onednn_pool_forward(s, step, layer, err);
    case CASK_LAYER_SCALE:
        return backward ? onednn_scale_backward(s, step, err)
                        : onednn_add_binary(&s->o, dnnl_binary_mul, a, b, y, err);
    default:
        return cask_error_set(err, CASK_ERR_UNSUPPORTED, "%s: a layer that is not trained",
                              step->node->name);
    }
}

/* Memory for each value, gradient and parameter gradient. */
static inline enum cask_status onednn_step_memory(struct onednn_step *s, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = s->plan->net->graph;
    const dnnl_data_type_t type = onednn_type(s->plan);
    size_t room = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const struct cask_tensor *value = &s->plan->tensors[v], *grad = &s->plan->gradients[v];
        const dnnl_memory_desc_t md = onednn_image(value, type);
        if (value->data != NULL) {
            CASK_TRY(onednn_memory(&s->o, &md, value->data, &s->values[v], err));
        }
        if (grad->data != NULL) {
            CASK_TRY(onednn_memory(&s->o, &md, grad->data, &s->gradients[v], err));
        }
        room = cask_tensor_bytes(value) > room ? cask_tensor_bytes(value) : room;
    }
    CASK_TRY(onednn_buffer(&s->o, room, &s->room, err));
    for (int p = 0; p < graph->param_count; p++) {
        void *data;
        const size_t count = (size_t)graph->params[p].count;
        CASK_TRY(onednn_buffer(&s->o, (count > 0 ? count : 1) * sizeof(float), &data, err));
        s->grads[p] = data;
    }
done:
    return st;
}

/* float32 rows of the caller's to or from a value. */
static inline enum cask_status onednn_step_rows(struct onednn_step *s, const float *rows,
                                                const struct cask_tensor *value,
                                                dnnl_memory_t memory, bool out,
                                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const dnnl_memory_desc_t md = onednn_image(value, dnnl_f32);
    dnnl_memory_t host;
    CASK_TRY(onednn_memory(&s->o, &md, (void *)(uintptr_t)rows, &host, err));
    CASK_TRY(onednn_add_reorder(&s->o, out ? memory : host, out ? host : memory, err));
done:
    return st;
}

/* The step of `plan`, whose memory it works in: a plan of CASK_PATH_PLAIN that nobody else runs
 * meanwhile. Threads are those of OpenMP now. pixels and seed are read, embedding is written, and
 * s->grads hold the gradients of the parameters after each onednn_run. */
static inline enum cask_status onednn_step_open(struct onednn_step *s, struct cask_plan *plan,
                                                bool search, const float *pixels, float *embedding,
                                                const float *seed, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph *graph = plan->net->graph;
    const size_t values = (size_t)graph->value_count;
    s->plan = plan;
    CASK_TRY(onednn_open(&s->o, plan->device, search, err));
    cask_plan_take_memory(plan);
    s->values = cask_alloc(values, sizeof(dnnl_memory_t));
    s->gradients = cask_alloc(values, sizeof(dnnl_memory_t));
    s->grads = cask_alloc((size_t)graph->param_count, sizeof(float *));
    s->layers = cask_alloc((size_t)plan->step_count, sizeof *s->layers);
    if (s->values == NULL || s->gradients == NULL || s->grads == NULL || s->layers == NULL) {
        CASK_TRY(cask_error_memory(err, values * sizeof(dnnl_memory_t), "oneDNN's values"));
    }
    CASK_TRY(onednn_step_memory(s, err));
    s->o.node = "pixels";
    CASK_TRY(onednn_step_rows(s, pixels, &plan->tensors[CASK_GRAPH_INPUT],
                              s->values[CASK_GRAPH_INPUT], false, err));
    for (int i = 0; i < plan->step_count; i++) {
        CASK_TRY(onednn_step_layer(s, i, false, err));
    }
    s->o.node = "embedding";
    CASK_TRY(onednn_step_rows(s, embedding, &plan->tensors[graph->output], s->values[graph->output],
                              true, err));
    CASK_TRY(onednn_step_rows(s, seed, &plan->tensors[graph->output], s->gradients[graph->output],
                              false, err));
    for (int i = plan->step_count - 1; i >= 0; i--) {
        if (plan->gradients[plan->steps[i].output].data != NULL) {
            CASK_TRY(onednn_step_layer(s, i, true, err));
        }
    }
done:
    return st;
}

static inline void onednn_step_close(struct onednn_step *s)
{
    onednn_close(&s->o);
    cask_free(s->values);
    cask_free(s->gradients);
    cask_free(s->grads);
    cask_free(s->layers);
}

#endif
