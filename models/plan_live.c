/* models/plan_live.c - from when to when each activation is needed.
 *
 * A value lives from the step that writes it to the last step that reads it, forward or backward.
 * Where a step may work in place and an input's buffer ends there, the output takes it over.
 *
 * In a chain the output of a batch norm has no buffer; its readers read the input instead, and the
 * convolution in front of it reads its own output again in backward.
 */
#include "models/plan.h"

/* When step `i` reads something for the last time; `again`: in backward too. */
static int read_last(const struct cask_plan *plan, int i, bool again)
{
    return again && plan->steps[i].back ? cask_moment_backward(plan, i) : cask_moment_forward(i);
}

static int last_use(const struct cask_plan *plan, int value)
{
    int last = value == plan->net->graph->output ? cask_moment_output(plan) : 0;
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        const struct cask_layer *layer = cask_layer(step->node->kind);
        if (step->behind >= 0 && step->output == value && step->back) {
            last = cask_moment_backward(plan, i);
        }
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (step->inputs[k] < 0 || cask_step_stored(plan, step, k) != value) {
                continue;
            }
            const int moment = read_last(plan, i, layer->keeps[k]);
            last = moment > last ? moment : last;
        }
    }
    return last;
}

static enum cask_status new_buffer(struct cask_plan *plan, int value, int first,
                                   struct cask_error *err)
{
    return cask_memory_add(&plan->memory, cask_tensor_bytes(&plan->tensors[value]), first,
                           last_use(plan, value), &plan->value_buffers[value], err);
}

/* The buffer of an input that dies at step `i` and has the output's size; -1: none. */
static int dying_input(const struct cask_plan *plan, int i)
{
    const struct cask_step *step = &plan->steps[i];
    if (!cask_layer(step->node->kind)->in_place) {
        return -1;
    }
    const size_t bytes = cask_tensor_bytes(&plan->tensors[step->output]);
    for (int k = 0; k < CASK_NODE_INPUTS; k++) {
        int input = step->inputs[k];
        int buffer = input < 0 ? -1 : plan->value_buffers[input];
        if (buffer < 0 || cask_tensor_bytes(&plan->tensors[input]) != bytes) {
            continue;
        }
        if (plan->memory.buffers[buffer].last == cask_moment_forward(i)) {
            return buffer;
        }
    }
    return -1;
}

/* Those who read through a batch norm need its statistics whenever they read. */
static int last_read_through(const struct cask_plan *plan, int norm)
{
    int last = cask_moment_forward(norm);
    for (int i = norm + 1; i < plan->step_count; i++) {
        for (int k = 0; k < CASK_NODE_INPUTS; k++) {
            if (plan->steps[i].reads[k] == norm) {
                const int moment = read_last(plan, i, true);
                last = moment > last ? moment : last;
            }
        }
    }
    return last;
}

/* Mean, 1/std and two more of the batch, kept from forward to backward. */
static enum cask_status keep_statistics(struct cask_plan *plan, int i, struct cask_error *err)
{
    struct cask_step *step = &plan->steps[i];
    enum { ALIGNMENT = 64, ARRAYS = 4 };
    const int maker = cask_plan_producer(plan, step->inputs[0]);
    const int first = step->taken.statistics ? maker : i;
    const int last = step->back ? cask_moment_backward(plan, step->taken.gradient ? maker : i)
                                : last_read_through(plan, i);
    size_t each = cask_dtype_size(cask_device_parameter_dtype(plan->device));
    size_t bytes = (size_t)plan->tensors[step->output].c * each;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return cask_memory_add(&plan->memory, ARRAYS * bytes, cask_moment_forward(first), last,
                           &step->saved_buffer, err);
}

static enum cask_status stage_host_copies(struct cask_plan *plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *pixels = &plan->tensors[CASK_GRAPH_INPUT];
    const struct cask_tensor *embedding = &plan->tensors[plan->net->graph->output];
    if (cask_device_activation_dtype(plan->device) == CASK_F32) {
        return CASK_OK;
    }
    CASK_TRY(cask_memory_add(&plan->memory, cask_tensor_count(pixels) * sizeof(float), 0, 0,
                             &plan->pixel_buffer, err));
    CASK_TRY(cask_memory_add(&plan->memory, cask_tensor_count(embedding) * sizeof(float),
                             cask_moment_output(plan), cask_moment_seed(plan),
                             &plan->embedding_buffer, err));
done:
    return st;
}

enum cask_status cask_plan_live(struct cask_plan *plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(new_buffer(plan, CASK_GRAPH_INPUT, 0, err));
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        int buffer = dying_input(plan, i);
        if (step->taken.apply) {
            CASK_TRY(keep_statistics(plan, i, err));
            continue;
        }
        if (buffer >= 0) {
            plan->value_buffers[step->output] = buffer;
            int last = last_use(plan, step->output);
            struct cask_plan_buffer *taken = &plan->memory.buffers[buffer];
            taken->last = last > taken->last ? last : taken->last;
        } else {
            CASK_TRY(new_buffer(plan, step->output, cask_moment_forward(i), err));
            /* A value that nobody reads is written all the same. */
            struct cask_plan_buffer *fresh =
                &plan->memory.buffers[plan->value_buffers[step->output]];
            fresh->last = fresh->last < fresh->first ? fresh->first : fresh->last;
        }
        if (plan->mode == CASK_MODE_TRAIN && step->node->kind == CASK_LAYER_BATCHNORM) {
            CASK_TRY(keep_statistics(plan, i, err));
        }
    }
    CASK_TRY(stage_host_copies(plan, err));
done:
    return st;
}
