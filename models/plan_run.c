/* models/plan_run.c - pixels in, embedding out; its gradient in, parameter gradients out. */
#include <string.h>

#include "common/mem.h"
#include "models/plan.h"

/* Where host float32 rows of `tensor` go to and come from: the tensor itself, or its float32
 * staging buffer where the device computes in another type. */
static struct cask_tensor staged(const struct cask_plan *plan, const struct cask_tensor *tensor,
                                 int buffer)
{
    struct cask_tensor host_side = *tensor;
    if (buffer >= 0) {
        host_side.dtype = CASK_F32;
        host_side.data = plan->allocation + plan->memory.buffers[buffer].offset;
    }
    return host_side;
}

/* Rows past `count` get a copy of the last image, so that they hold something finite. */
static enum cask_status load_pixels(struct cask_plan *plan, const float *pixels, int count,
                                    struct cask_error *err)
{
    const struct cask_tensor *input = &plan->tensors[CASK_GRAPH_INPUT];
    const struct cask_tensor stage = staged(plan, input, plan->pixel_buffer);
    const size_t row = (size_t)input->h * (size_t)input->w * (size_t)input->c;
    cask_buffer_upload(plan->device, stage.data, pixels, (size_t)count * row * sizeof *pixels);
    for (int i = count; i < plan->batch; i++) {
        cask_buffer_upload(plan->device, (float *)stage.data + (size_t)i * row,
                           pixels + (size_t)(count - 1) * row, row * sizeof *pixels);
    }
    return stage.data == input->data ? CASK_OK
                                     : plan->ops->convert(plan->device, &stage, input, err);
}

enum cask_status cask_plan_forward(struct cask_plan *plan, const float *pixels, int count,
                                   float *embedding, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    cask_plan_take_memory(plan);
    const struct cask_tensor *output = &plan->tensors[plan->net->graph->output];
    const struct cask_tensor stage = staged(plan, output, plan->embedding_buffer);
    if (count < 1 || count > plan->batch ||
        (plan->mode == CASK_MODE_TRAIN && count != plan->batch)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL, "%d images for a plan of batch %d", count,
                                plan->batch));
    }
    CASK_TRY(cask_plan_pack(plan, err));
    CASK_TRY(load_pixels(plan, pixels, count, err));
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        CASK_TRY(cask_layer(step->node->kind)->forward(plan, step, err));
    }
    if (stage.data != output->data) {
        CASK_TRY(plan->ops->convert(plan->device, output, &stage, err));
    }
    cask_buffer_download(plan->device, embedding, stage.data,
                         (size_t)count * (size_t)output->c * sizeof *embedding);
    if (plan->mode == CASK_MODE_TRAIN) {
        plan->can_backward = true;
        plan->net->statistics++;
    }
done:
    return st;
}

enum cask_status cask_plan_backward(struct cask_plan *plan, const float *gradient,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int output = plan->net->graph->output;
    const struct cask_tensor *seed = &plan->gradients[output];
    const struct cask_tensor stage = staged(plan, seed, plan->embedding_buffer);
    if (!plan->can_backward || plan->step_memory->last != plan) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "backward without a training forward just before it"));
    }
    plan->can_backward = false;
    cask_buffer_upload(plan->device, stage.data, gradient,
                       cask_tensor_count(seed) * sizeof *gradient);
    if (stage.data != seed->data) {
        CASK_TRY(plan->ops->convert(plan->device, &stage, seed, err));
    }
    for (int i = plan->step_count - 1; i >= 0; i--) {
        const struct cask_step *step = &plan->steps[i];
        if (plan->gradients[step->output].data != NULL) {
            CASK_TRY(cask_layer(step->node->kind)->backward(plan, step, err));
        }
    }
done:
    return st;
}

/* -------------------------------------------------------------------- inspect */

/* By the bits, so that one routine serves every type: all exponent bits set. */
static bool is_finite(const char *value, enum cask_dtype dtype)
{
    uint16_t half = 0;
    uint32_t single = 0;
    uint64_t wide = 0;
    switch (dtype) {
    case CASK_BF16:
        memcpy(&half, value, sizeof half);
        return (half & 0x7f80u) != 0x7f80u;
    case CASK_F64:
        memcpy(&wide, value, sizeof wide);
        return (wide & 0x7ff0000000000000u) != 0x7ff0000000000000u;
    default:
        memcpy(&single, value, sizeof single);
        return (single & 0x7f800000u) != 0x7f800000u;
    }
}

/* `copy`: host room for the output. */
static struct cask_layer_report look_at(const struct cask_plan *plan, const struct cask_step *step,
                                        const struct cask_tensor *output, char *copy)
{
    const size_t size = cask_dtype_size(output->dtype), bytes = cask_tensor_bytes(output),
                 image = bytes / (size_t)output->n;
    struct cask_layer_report report = {
        .name = step->node->name, .values = (int64_t)(bytes / size), .images_equal = output->n > 1};
    cask_buffer_download(plan->device, copy, output->data, bytes);
    for (size_t at = 0; at < bytes; at += size) {
        report.not_finite += !is_finite(copy + at, output->dtype);
    }
    for (size_t at = image; at < bytes && report.images_equal; at += image) {
        report.images_equal = memcmp(copy, copy + at, image) == 0;
    }
    return report;
}

enum cask_status cask_plan_inspect(struct cask_plan *plan, const float *pixels, int count,
                                   bool (*found)(const struct cask_layer_report *report,
                                                 void *user),
                                   void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t largest = 0;
    char *copy = NULL;
    void *scratch = NULL;
    for (int i = 0; i < plan->step_count; i++) {
        const size_t bytes = cask_tensor_bytes(&plan->tensors[plan->steps[i].output]);
        largest = bytes > largest ? bytes : largest;
    }
    copy = cask_alloc(largest, 1);
    scratch = cask_buffer_alloc(plan->device, largest);
    if (copy == NULL || scratch == NULL) {
        CASK_TRY(cask_error_memory(err, largest, "the output of a layer"));
    }
    cask_plan_take_memory(plan);
    CASK_TRY(cask_plan_pack(plan, err));
    CASK_TRY(load_pixels(plan, pixels, count, err));
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        CASK_TRY(cask_layer(step->node->kind)->forward(plan, step, err));
        struct cask_tensor output = plan->tensors[step->output];
        if (output.data == NULL) { /* a batch norm whose readers compute it on their way */
            const struct cask_batchnorm norm = cask_step_norm(plan, i);
            output.data = scratch;
            CASK_TRY(plan->ops->batchnorm_apply(plan->device, &norm,
                                                &plan->tensors[step->inputs[0]], &output, err));
        }
        const struct cask_layer_report report = look_at(plan, step, &output, copy);
        if (found(&report, user)) {
            break;
        }
    }
done:
    cask_buffer_free(plan->device, scratch);
    cask_free(copy);
    return st;
}
