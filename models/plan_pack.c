/* models/plan_pack.c - hands convolutions their weights; in eval with the batch norms before and
 * behind them folded in. A batch norm is x -> s x + t per channel (fold.c), so W (s1 x + t1) + b,
 * and behind it s2 and t2, is
 *
 *     (s2 W s1) x  +  s2 (b + W t1) + t2
 *
 * Padding is zero where the convolution reads, behind the first batch norm: t1 counts only at the
 * taps that fall on the input. Hence one bias for each region of the output (kernels/shapes.h).
 * Everything is computed in double, so the only rounding is that of storing the products.
 */
#include "kernels/shapes.h"
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

/* x -> scale x + shift, per channel. */
struct affine {
    double *scale, *shift;
};

/* Of the batch norm; the identity where there is none. */
static enum cask_status affine_of(const struct cask_plan *plan, const struct cask_node *bn,
                                  int channels, struct affine *affine, struct cask_error *err)
{
    affine->scale = cask_alloc(2 * (size_t)channels, sizeof *affine->scale);
    if (affine->scale == NULL) {
        return cask_error_memory(err, 2 * (size_t)channels * sizeof *affine->scale,
                                 "folded batch norm");
    }
    affine->shift = affine->scale + channels;
    if (bn != NULL) {
        return cask_net_affine(plan->net, bn, channels, affine->scale, affine->shift, err);
    }
    for (int c = 0; c < channels; c++) {
        affine->scale[c] = 1;
    }
    return CASK_OK;
}

/* W t1 at each tap of one output channel, then the scaled taps. weights: [in][tap] */
static void scale_inputs(const struct affine *before, int64_t inputs, int64_t taps,
                         double output_scale, double *weights, double *tap_shift)
{
    for (int64_t t = 0; t < taps; t++) {
        tap_shift[t] = 0;
    }
    for (int64_t i = 0; i < inputs; i++) {
        for (int64_t t = 0; t < taps; t++) {
            tap_shift[t] += weights[i * taps + t] * before->shift[i];
            weights[i * taps + t] *= before->scale[i] * output_scale;
        }
    }
}

/* The sum over the taps that fall on the input at output pixel (h, w). */
static double shift_at(const struct cask_axis axes[2], const double *tap_shift, int h, int w)
{
    int first_h, end_h, first_w, end_w;
    double sum = 0;
    cask_axis_taps(&axes[0], h, &first_h, &end_h);
    cask_axis_taps(&axes[1], w, &first_w, &end_w);
    for (int r = first_h; r < end_h; r++) {
        for (int q = first_w; q < end_w; q++) {
            sum += tap_shift[r * axes[1].kernel + q];
        }
    }
    return sum;
}

/* Bias of one output channel in every region. */
static void fill_bias(const struct cask_conv_desc *desc, const double *tap_shift, double bias,
                      double scale, double shift, int channel, double *out)
{
    const struct cask_axis axes[2] = {cask_conv_axis_h(desc), cask_conv_axis_w(desc)};
    const int columns = cask_axis_regions(&axes[1]);
    int row = -1;
    for (int h = 0; h < (desc->border ? axes[0].out : 1); h++) {
        int region_h = cask_axis_region(&axes[0], h), column = -1;
        if (region_h == row) {
            continue;
        }
        row = region_h;
        for (int w = 0; w < (desc->border ? axes[1].out : 1); w++) {
            int region_w = cask_axis_region(&axes[1], w);
            if (region_w != column) {
                column = region_w;
                out[((int64_t)row * columns + column) * desc->out_c + channel] =
                    scale * (bias + shift_at(axes, tap_shift, h, w)) + shift;
            }
        }
    }
}

struct folded {
    struct affine before, behind;
    double *bias, *weights, *tap_shift,
        *biases; /* [out], one output channel's, [tap], [regions][out] */
    void *device_weight, *device_bias;
};

static enum cask_status fold_create(struct cask_plan *plan, const struct cask_step *step,
                                    const struct cask_conv_desc *desc, struct folded *f,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const size_t each = cask_dtype_size(cask_device_parameter_dtype(plan->device));
    const size_t count = cask_conv_weight_count(desc), biases = cask_conv_bias_count(desc);
    const size_t out_c = (size_t)desc->out_c, row = count / out_c;
    const size_t taps = (size_t)desc->kernel_h * (size_t)desc->kernel_w;
    *f = (struct folded){0};
    CASK_TRY(affine_of(plan, step->before, desc->in_c / desc->groups, &f->before, err));
    CASK_TRY(affine_of(plan, step->folded, desc->out_c, &f->behind, err));
    f->bias = cask_alloc(out_c + row + taps + biases, sizeof *f->bias);
    f->device_weight = cask_buffer_alloc(plan->device, count * each);
    f->device_bias = cask_buffer_alloc(plan->device, biases * each);
    if (f->bias == NULL || f->device_weight == NULL || f->device_bias == NULL) {
        CASK_TRY(cask_error_memory(err, count * each, "folded weights"));
    }
    f->weights = f->bias + out_c;
    f->tap_shift = f->weights + row;
    f->biases = f->tap_shift + taps;
done:
    return st;
}

static void fold_release(struct cask_plan *plan, struct folded *f)
{
    cask_buffer_free(plan->device, f->device_bias);
    cask_buffer_free(plan->device, f->device_weight);
    cask_free(f->bias);
    cask_free(f->behind.scale);
    cask_free(f->before.scale);
}

static enum cask_status pack_folded(struct cask_plan *plan, const struct cask_step *step,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc desc = cask_plan_conv_desc(plan, step);
    const int weight_param = step->node->params[CASK_SLOT_WEIGHT];
    const int64_t row = (int64_t)cask_conv_weight_count(&desc) / desc.out_c;
    const int64_t taps = (int64_t)desc.kernel_h * desc.kernel_w;
    struct folded f;
    CASK_TRY(fold_create(plan, step, &desc, &f, err));
    cask_net_read_or(plan->net, step->node, CASK_SLOT_BIAS, 0, desc.out_c, f.bias);
    for (int c = 0; c < desc.out_c; c++) {
        cask_net_read(plan->net, weight_param, c * row, row, f.weights);
        scale_inputs(&f.before, row / taps, taps, f.behind.scale[c], f.weights, f.tap_shift);
        upload(plan, f.device_weight, c * row, row, f.weights);
        fill_bias(&desc, f.tap_shift, f.bias[c], f.behind.scale[c], f.behind.shift[c], c, f.biases);
    }
    upload(plan, f.device_bias, 0, (int64_t)cask_conv_bias_count(&desc), f.biases);
    CASK_TRY(plan->ops->conv_set_weights(step->conv, f.device_weight, f.device_bias, err));
done:
    fold_release(plan, &f);
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
        if (step->before != NULL || step->folded != NULL) {
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
