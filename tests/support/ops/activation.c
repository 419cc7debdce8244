/* tests/support/ops/activation.c
 *
 *     activation n2 c5 h3 w3 prelu|relu|sigmoid|hard_sigmoid|hard_swish inplace
 */
#include "tests/support/ops/op.h"

enum { X, SLOPE, DY, Y, DX, DSLOPE };

static enum cask_activation which(struct op_case *parsed)
{
    return op_flag(parsed, "prelu")          ? CASK_ACT_PRELU
           : op_flag(parsed, "relu")         ? CASK_ACT_RELU
           : op_flag(parsed, "sigmoid")      ? CASK_ACT_SIGMOID
           : op_flag(parsed, "hard_sigmoid") ? CASK_ACT_HARD_SIGMOID
           : op_flag(parsed, "hard_swish")   ? CASK_ACT_HARD_SWISH
                                             : CASK_ACT_NONE;
}

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    int n = op_number(parsed, "n", 1), h = op_number(parsed, "h", 1);
    int w = op_number(parsed, "w", 1), c = op_number(parsed, "c", 1);
    op_flag(parsed, "inplace");
    struct op_operand *x = op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    x->low = -5;
    x->high = 5;
    x->kinked = true;
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, n, h, w, c);
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X);
    if (which(parsed) == CASK_ACT_PRELU) {
        op_declare(spec, SLOPE, "slope", OP_INPUT, OP_PARAMETER, 1, 1, 1, c);
        op_declare_like(spec, DSLOPE, "dslope", OP_PARAM_GRAD, SLOPE)->length = (double)n * h * w;
    }
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    if (op_flag(run->parsed, "inplace")) {
        op_copy(run, Y, X);
        x = y;
    }
    return run->ops->activation_forward(run->device, which(run->parsed), op_data(run, SLOPE), &x,
                                        &y, err);
}

static enum cask_status backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    if (op_flag(run->parsed, "inplace") && !accumulate) {
        op_copy(run, DX, DY);
        dy = dx;
    }
    return run->ops->activation_backward(run->device, which(run->parsed), op_data(run, SLOPE), &x,
                                         &dy, &dx, accumulate, op_data(run, DSLOPE), err);
}

const struct op_family op_family_activation = {
    .name = "activation",
    .declare = declare,
    .forward = forward,
    .backward = backward,
};
