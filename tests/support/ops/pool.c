/* tests/support/ops/pool.c
 *
 *     subsample n2 c5 h7 w6 s2
 *     average_pool n2 c5 h7 w6
 */
#include "tests/support/ops/op.h"

enum { X, DY, Y, DX };

static void declare(struct op_case *parsed, struct op_spec *spec, int stride_h, int stride_w,
                    double length)
{
    int n = op_number(parsed, "n", 1), h = op_number(parsed, "h", 1);
    int w = op_number(parsed, "w", 1), c = op_number(parsed, "c", 1);
    int out_h = (h + stride_h - 1) / stride_h, out_w = (w + stride_w - 1) / stride_w;
    op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, n, out_h, out_w, c)->length = length;
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X);
}

static void declare_subsample(struct op_case *parsed, struct op_spec *spec)
{
    int stride = op_number(parsed, "s", 2);
    declare(parsed, spec, stride, stride, 1);
}

static void declare_average(struct op_case *parsed, struct op_spec *spec)
{
    int h = op_number(parsed, "h", 1), w = op_number(parsed, "w", 1);
    declare(parsed, spec, h, w, (double)h * w);
}

static enum cask_status forward_subsample(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    return run->ops->subsample_forward(run->device, op_number(run->parsed, "s", 2), &x, &y, err);
}

static enum cask_status backward_subsample(struct op_run *run, bool accumulate,
                                           struct cask_error *err)
{
    struct cask_tensor dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    return run->ops->subsample_backward(run->device, op_number(run->parsed, "s", 2), &dy, &dx,
                                        accumulate, err);
}

static enum cask_status forward_average(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    return run->ops->average_pool_forward(run->device, &x, &y, err);
}

static enum cask_status backward_average(struct op_run *run, bool accumulate,
                                         struct cask_error *err)
{
    struct cask_tensor dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    return run->ops->average_pool_backward(run->device, &dy, &dx, accumulate, err);
}

const struct op_family op_family_subsample = {
    .name = "subsample",
    .exact = true,
    .declare = declare_subsample,
    .forward = forward_subsample,
    .backward = backward_subsample,
};

const struct op_family op_family_average_pool = {
    .name = "average_pool",
    .declare = declare_average,
    .forward = forward_average,
    .backward = backward_average,
};
