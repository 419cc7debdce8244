/* models/plan_create.c - from a net to something that runs: steps, shapes, lifetimes, one
 * allocation. */
#include <string.h>

#include "models/plan.h"

enum { MOST_IMAGES = 1 << 16 }; /* in a batch: sizes stay far from overflow */

static enum cask_status allocate_tables(struct cask_plan *plan, struct cask_error *err)
{
    const struct cask_graph *graph = plan->net->graph;
    const size_t count = (size_t)graph->value_count;
    plan->tensors = cask_alloc(count, sizeof *plan->tensors);
    plan->gradients = cask_alloc(count, sizeof *plan->gradients);
    plan->value_buffers = cask_alloc(count, sizeof *plan->value_buffers);
    plan->gradient_buffers = cask_alloc(count, sizeof *plan->gradient_buffers);
    if (plan->tensors == NULL || plan->gradients == NULL || plan->value_buffers == NULL ||
        plan->gradient_buffers == NULL) {
        return cask_error_memory(err, count * sizeof *plan->tensors, "plan");
    }
    for (size_t v = 0; v < count; v++) {
        const struct cask_value *value = &graph->values[v];
        plan->tensors[v] = (struct cask_tensor){
            .dtype = cask_device_activation_dtype(plan->device),
            .n = plan->batch,
            .h = value->h,
            .w = value->w,
            .c = value->c,
        };
        plan->gradients[v] = plan->tensors[v];
        plan->value_buffers[v] = plan->gradient_buffers[v] = -1;
    }
    return CASK_OK;
}

static enum cask_status allocate_memory(struct cask_plan *plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_memory_place(&plan->memory, err));
    if (plan->step_memory == NULL) {
        CASK_TRY(cask_step_memory_create(plan->device, &plan->step_memory, err));
        plan->owns_step_memory = true;
    }
    CASK_TRY(cask_step_memory_reserve(plan->step_memory, plan->memory.bytes, err));
    cask_plan_take_memory(plan);
done:
    return st;
}

static enum cask_status open_steps(struct cask_plan *plan, struct cask_error *err)
{
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_layer *layer = cask_layer(plan->steps[i].node->kind);
        if (layer->open == NULL) {
            continue;
        }
        enum cask_status st = layer->open(plan, &plan->steps[i], err);
        if (st != CASK_OK) {
            cask_error_prefix(err, "network %s, layer %s", plan->net->graph->name,
                              plan->steps[i].node->name);
            return st;
        }
    }
    return CASK_OK;
}

static enum cask_status create(struct cask_step_memory *memory, struct cask_net *net, int batch,
                               enum cask_mode mode, struct cask_plan_way way,
                               struct cask_plan **plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_plan *p = cask_alloc(1, sizeof *p);
    *plan = NULL;
    if (p == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *p, "plan"));
    }
    p->net = net;
    p->device = net->device;
    p->ops = cask_device_ops(net->device);
    p->batch = batch;
    p->mode = mode;
    p->way = way;
    p->step_memory = memory;
    p->pixel_buffer = p->embedding_buffer = -1;
    if (batch < 1 || batch > MOST_IMAGES) {
        CASK_TRY(cask_error_set(err, CASK_ERR_RANGE, "batch is %d; expected 1 to %d", batch,
                                MOST_IMAGES));
    }
    if (mode == CASK_MODE_TRAIN && !net->train) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "network %s has no gradients: it was created for inference",
                                net->graph->name));
    }
    CASK_TRY(allocate_tables(p, err));
    CASK_TRY(cask_plan_fuse(p, !way.unfolded, err));
    CASK_TRY(cask_plan_chain(p, err));
    cask_plan_reach(p);
    CASK_TRY(cask_plan_live(p, err));
    if (mode == CASK_MODE_TRAIN) {
        CASK_TRY(cask_plan_gradients(p, err));
    }
    CASK_TRY(allocate_memory(p, err));
    CASK_TRY(open_steps(p, err));
    *plan = p;
    p = NULL;
done:
    cask_plan_free(p);
    return st;
}

enum cask_status cask_plan_create(struct cask_net *net, int batch, enum cask_mode mode,
                                  struct cask_plan **plan, struct cask_error *err)
{
    return create(NULL, net, batch, mode, (struct cask_plan_way){0}, plan, err);
}

enum cask_status cask_plan_create_in(struct cask_step_memory *memory, struct cask_net *net,
                                     int batch, enum cask_mode mode, struct cask_plan **plan,
                                     struct cask_error *err)
{
    return create(memory, net, batch, mode, (struct cask_plan_way){0}, plan, err);
}

enum cask_status cask_plan_create_way(struct cask_net *net, int batch, enum cask_mode mode,
                                      struct cask_plan_way way, struct cask_plan **plan,
                                      struct cask_error *err)
{
    return create(NULL, net, batch, mode, way, plan, err);
}

enum cask_status cask_plan_create_folded(struct cask_net *net, int batch, enum cask_mode mode,
                                         bool fold, struct cask_plan **plan, struct cask_error *err)
{
    return cask_plan_create_way(net, batch, mode, (struct cask_plan_way){.unfolded = !fold}, plan,
                                err);
}

void cask_plan_free(struct cask_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (int i = 0; i < plan->step_count; i++) {
        plan->ops->conv_close(plan->steps[i].conv);
        cask_buffer_free(plan->device, plan->steps[i].constants);
    }
    if (plan->owns_step_memory) {
        cask_step_memory_free(plan->step_memory);
    }
    cask_memory_release(&plan->memory);
    cask_free(plan->gradient_buffers);
    cask_free(plan->value_buffers);
    cask_free(plan->gradients);
    cask_free(plan->tensors);
    cask_free(plan->steps);
    cask_free(plan);
}

size_t cask_plan_bytes(const struct cask_plan *plan)
{
    return plan->memory.bytes;
}
