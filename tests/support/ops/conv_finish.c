/* tests/support/ops/conv_finish.c - convolution for inference, with what follows it in the cache.
 *
 *     conv_finish n2 c8 h9 w7 k16 r3 s2 p1 g1 border residual prelu|relu|hard_swish
 */
#include "kernels/shapes.h"
#include "tests/support/ops/op.h"

enum { X, W, BIAS, RESIDUAL, SLOPE, Y };

static struct cask_conv_desc describe(struct op_case *parsed)
{
    struct cask_conv_desc desc = op_conv_desc(parsed);
    desc.bias = desc.inference = true;
    desc.border = op_flag(parsed, "border");
    return desc;
}

static enum cask_activation which(struct op_case *parsed)
{
    return op_flag(parsed, "prelu")        ? CASK_ACT_PRELU
           : op_flag(parsed, "relu")       ? CASK_ACT_RELU
           : op_flag(parsed, "hard_swish") ? CASK_ACT_HARD_SWISH
                                           : CASK_ACT_NONE;
}

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    const struct cask_conv_desc d = describe(parsed);
    const int group_in = d.in_c / d.groups, h = cask_conv_out_h(&d), w = cask_conv_out_w(&d);
    const int regions = (int)cask_conv_bias_count(&d) / d.out_c;
    op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, d.n, d.h, d.w, d.in_c);
    op_declare(spec, W, "weight", OP_INPUT, OP_PARAMETER, d.out_c, group_in, d.kernel_h, d.kernel_w)
        ->packed = true;
    op_declare(spec, BIAS, "bias", OP_INPUT, OP_PARAMETER, 1, 1, regions, d.out_c)->packed =
        d.border; /* differences of biases are held in the activation's type */
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, d.n, h, w, d.out_c)->length =
        (double)d.kernel_h * d.kernel_w * group_in + 3;
    if (op_flag(parsed, "residual")) {
        op_declare(spec, RESIDUAL, "residual", OP_INPUT, OP_ACTIVATION, d.n, h, w, d.out_c);
    }
    if (which(parsed) == CASK_ACT_PRELU) {
        op_declare(spec, SLOPE, "slope", OP_INPUT, OP_PARAMETER, 1, 1, 1, d.out_c);
    }
}

static enum cask_status open_conv(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_conv_desc d = describe(run->parsed);
    CASK_TRY(run->ops->conv_open(run->device, &d, &run->conv, err));
    run->any_threads = d.groups > 1; /* as for conv */
done:
    return st;
}

static enum cask_status pack(struct op_run *run, struct cask_error *err)
{
    return run->ops->conv_set_weights(run->conv, op_data(run, W), op_data(run, BIAS), err);
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    const struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    struct cask_conv_finish finish = {.activation = which(run->parsed),
                                      .slope = op_data(run, SLOPE)};
    struct cask_tensor residual;
    if (op_data(run, RESIDUAL) != NULL) {
        residual = op_tensor(run, RESIDUAL);
        finish.residual = &residual;
    }
    return run->ops->conv_forward_finish(run->conv, &x, &finish, &y, err);
}

static void close_conv(struct op_run *run)
{
    run->ops->conv_close(run->conv);
}

const struct op_family op_family_conv_finish = {
    .name = "conv_finish",
    .declare = declare,
    .open = open_conv,
    .prepare = pack,
    .forward = forward,
    .close = close_conv,
};
