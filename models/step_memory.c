/* models/step_memory.c - what a step leaves behind is nothing: plans that take turns share it. */
#include "models/plan.h"

enum cask_status cask_step_memory_create(struct cask_device *device,
                                         struct cask_step_memory **memory, struct cask_error *err)
{
    *memory = cask_alloc(1, sizeof **memory);
    if (*memory == NULL) {
        return cask_error_memory(err, sizeof **memory, "plan");
    }
    (*memory)->device = device;
    return CASK_OK;
}

void cask_step_memory_free(struct cask_step_memory *memory)
{
    if (memory != NULL) {
        cask_buffer_free(memory->device, memory->data);
        cask_free(memory);
    }
}

size_t cask_step_memory_bytes(const struct cask_step_memory *memory)
{
    return memory->bytes;
}

enum cask_status cask_step_memory_reserve(struct cask_step_memory *memory, size_t bytes,
                                          struct cask_error *err)
{
    if (bytes <= memory->bytes && memory->data != NULL) {
        return CASK_OK;
    }
    /* First the new one: if there is no room for it, the plans that are there keep theirs. */
    char *larger = cask_buffer_alloc(memory->device, bytes);
    if (larger == NULL) {
        return cask_error_memory(err, bytes, "activations; try a smaller batch");
    }
    cask_buffer_free(memory->device, memory->data);
    memory->data = larger;
    memory->bytes = bytes;
    memory->last = NULL;
    return CASK_OK;
}

static char *place_of(const struct cask_plan *plan, int buffer)
{
    return buffer >= 0 ? plan->allocation + plan->memory.buffers[buffer].offset : NULL;
}

void cask_plan_take_memory(struct cask_plan *plan)
{
    plan->step_memory->last = plan;
    if (plan->allocation == plan->step_memory->data) {
        return;
    }
    plan->allocation = plan->step_memory->data;
    for (int v = 0; v < plan->net->graph->value_count; v++) {
        plan->tensors[v].data = place_of(plan, plan->value_buffers[v]);
        plan->gradients[v].data = place_of(plan, plan->gradient_buffers[v]);
    }
    for (int i = 0; i < plan->step_count; i++) {
        struct cask_step *step = &plan->steps[i];
        if (step->saved_buffer >= 0) {
            const size_t quarter = plan->memory.buffers[step->saved_buffer].bytes / 4;
            char *saved = place_of(plan, step->saved_buffer);
            step->saved_mean = saved;
            step->saved_inv_std = saved + quarter;
            step->saved_mean_dz = saved + 2 * quarter;
            step->saved_pull = saved + 3 * quarter;
        }
    }
}
