/* models/plan_pack.c - hands convolutions their weights; in eval with the batch norm behind them
 * folded in (fold.c). */
#include "models/plan.h"

static void upload(struct cask_plan *plan, void *buffer, int64_t first, int64_t count,
                   const double *values)
{
    if (cask_device_parameter_dtype(plan->device) == CASK_F64) {
        cask_buffer_upload(plan->device, (double *)buffer + first, values,
                           (size_t)count * sizeof *values);
        return;
    }
    enum { CHUNK = 256 };
    float chunk[CHUNK];
    for (int64_t done = 0; done < count; done += CHUNK) {
        int64_t now = count - done < CHUNK ? count - done : CHUNK;
        for (int64_t i = 0; i < now; i++) {
            chunk[i] = (float)values[done + i];
        }
        cask_buffer_upload(plan->device, (float *)buffer + first + done, chunk,
                           (size_t)now * sizeof *chunk);
    }
}

static enum cask_status pack_folded(struct cask_plan *plan, const struct cask_step *step,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_node *conv = step->node, *bn = step->folded;
    const int weight_param = conv->params[CASK_SLOT_WEIGHT], channels = conv->conv.out_c;
    const int64_t count = plan->net->graph->params[weight_param].count, row = count / channels;
    const size_t each = cask_dtype_size(cask_device_parameter_dtype(plan->device));
    void *weight = cask_buffer_alloc(plan->device, (size_t)count * each);
    void *bias = cask_buffer_alloc(plan->device, (size_t)channels * each);
    double *host = cask_alloc(2 * (size_t)channels + (size_t)row, sizeof *host);
    if (weight == NULL || bias == NULL || host == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)count * each, "folded weights"));
    }
    double *scale = host, *b = scale + channels, *taps = b + channels;
    CASK_TRY(cask_net_fold(plan->net, conv, bn, scale, b, err));
    for (int c = 0; c < channels; c++) {
        cask_net_read(plan->net, weight_param, c * row, row, taps);
        for (int64_t i = 0; i < row; i++) {
            taps[i] *= scale[c];
        }
        upload(plan, weight, c * row, row, taps);
    }
    upload(plan, bias, 0, channels, b);
    CASK_TRY(plan->ops->conv_set_weights(step->conv, weight, bias, err));
done:
    cask_free(host);
    cask_buffer_free(plan->device, bias);
    cask_buffer_free(plan->device, weight);
    return st;
}

static bool up_to_date(const struct cask_plan *plan)
{
    const struct cask_net *net = plan->net;
    bool same_statistics =
        plan->mode == CASK_MODE_TRAIN || plan->packed_statistics == net->statistics;
    return plan->packed && plan->packed_version == net->version && same_statistics;
}

enum cask_status cask_plan_pack(struct cask_plan *plan, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (up_to_date(plan)) {
        return CASK_OK;
    }
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        if (step->conv == NULL) {
            continue;
        }
        if (step->folded != NULL) {
            CASK_TRY(pack_folded(plan, step, err));
        } else {
            CASK_TRY(plan->ops->conv_set_weights(
                step->conv, cask_net_slot(plan->net, step->node, CASK_SLOT_WEIGHT),
                cask_net_slot(plan->net, step->node, CASK_SLOT_BIAS), err));
        }
    }
    plan->packed = true;
    plan->packed_version = plan->net->version;
    plan->packed_statistics = plan->net->statistics;
done:
    return st;
}
