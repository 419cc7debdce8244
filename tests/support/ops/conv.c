/* tests/support/ops/conv.c - convolution and linear layers.
 *
 *     conv n2 c8 h9 w7 k16 r3 q3 s2 p1 g4 bias      kernel r x q (q as r if absent), k out channels
 *          pt0 pl1 pb1 pr0                          each side apart, instead of p
 */
#include <string.h>

#include "kernels/shapes.h"
#include "tests/support/ops/op.h"

enum { X, W, BIAS, DY, Y, DX, DW, DBIAS };

struct cask_conv_desc op_conv_desc(struct op_case *parsed)
{
    int kernel = op_number(parsed, "r", 1), pad = op_number(parsed, "p", 0);
    return (struct cask_conv_desc){
        .n = op_number(parsed, "n", 1),
        .h = op_number(parsed, "h", 1),
        .w = op_number(parsed, "w", 1),
        .in_c = op_number(parsed, "c", 1),
        .out_c = op_number(parsed, "k", 1),
        .kernel_h = kernel,
        .kernel_w = op_number(parsed, "q", kernel),
        .stride = op_number(parsed, "s", 1),
        .pad_top = op_number(parsed, "pt", pad),
        .pad_left = op_number(parsed, "pl", pad),
        .pad_bottom = op_number(parsed, "pb", pad),
        .pad_right = op_number(parsed, "pr", pad),
        .groups = op_number(parsed, "g", 1),
        .bias = op_flag(parsed, "bias"),
        .inference = op_flag(parsed, "inference"),
    };
}

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    struct cask_conv_desc d = op_conv_desc(parsed);
    int group_in = d.in_c / d.groups, group_out = d.out_c / d.groups;
    int h = cask_conv_out_h(&d), w = cask_conv_out_w(&d);
    double taps = (double)d.kernel_h * d.kernel_w, pixels = (double)d.n * h * w;
    op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, d.n, d.h, d.w, d.in_c);
    op_declare(spec, W, "weight", OP_INPUT, OP_PARAMETER, d.out_c, group_in, d.kernel_h, d.kernel_w)
        ->packed = true;
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, d.n, h, w, d.out_c)->length =
        taps * group_in;
    if (d.bias) {
        op_declare(spec, BIAS, "bias", OP_INPUT, OP_PARAMETER, 1, 1, 1, d.out_c);
    }
    if (d.inference) {
        return;
    }
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X)->length = taps * group_out;
    op_declare_like(spec, DW, "dweight", OP_PARAM_GRAD, W)->length = pixels;
    if (d.bias) {
        op_declare_like(spec, DBIAS, "dbias", OP_PARAM_GRAD, BIAS)->length = pixels;
    }
}

static enum cask_status open_conv(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_conv_desc d = op_conv_desc(run->parsed);
    CASK_TRY(run->ops->conv_open(run->device, &d, &run->conv, err));
    /* Products go to oneDNN, which promises equal bits only for an equal number of threads. */
    run->any_threads = strstr(run->ops->conv_describe(run->conv), "matmul") == NULL;
done:
    return st;
}

static enum cask_status pack(struct op_run *run, struct cask_error *err)
{
    return run->ops->conv_set_weights(run->conv, op_data(run, W), op_data(run, BIAS), err);
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    return run->ops->conv_forward(run->conv, &x, &y, err);
}

static enum cask_status backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (op_data(run, DX) == NULL) {
        return st; /* planned for inference */
    }
    struct cask_tensor x = op_tensor(run, X), dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    CASK_TRY(run->ops->conv_backward_data(run->conv, &dy, &dx, accumulate, err));
    CASK_TRY(run->ops->conv_backward_weights(run->conv, &x, &dy, op_data(run, DW),
                                             op_data(run, DBIAS), err));
done:
    return st;
}

static void close_conv(struct op_run *run)
{
    run->ops->conv_close(run->conv);
}

const struct op_family op_family_conv = {
    .name = "conv",
    .exact = true,
    .declare = declare,
    .open = open_conv,
    .prepare = pack,
    .forward = forward,
    .backward = backward,
    .close = close_conv,
};
