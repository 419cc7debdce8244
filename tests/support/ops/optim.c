/* tests/support/ops/optim.c
 *
 *     sgd c1000 momentum nesterov decay clipped
 *     sum_squares c1000
 */
#include "tests/support/ops/op.h"

enum { W, G, V };

static void declare_sgd(struct op_case *parsed, struct op_spec *spec)
{
    int c = op_number(parsed, "c", 1);
    op_flag(parsed, "momentum");
    op_flag(parsed, "nesterov");
    op_flag(parsed, "decay");
    op_flag(parsed, "clipped");
    op_declare(spec, W, "w", OP_STATE, OP_PARAMETER, 1, 1, 1, c);
    op_declare(spec, G, "g", OP_INPUT, OP_PARAMETER, 1, 1, 1, c);
    op_declare(spec, V, "v", OP_STATE, OP_PARAMETER, 1, 1, 1, c);
}

static enum cask_status forward_sgd(struct op_run *run, struct cask_error *err)
{
    struct op_case *parsed = run->parsed;
    struct cask_sgd sgd = {
        .rate = 0.125,
        .momentum = op_flag(parsed, "momentum") ? 0.9 : 0,
        .decay = op_flag(parsed, "decay") ? 5e-2 : 0,
        .gradient_scale = op_flag(parsed, "clipped") ? 0.3 : 1,
        .nesterov = op_flag(parsed, "nesterov"),
    };
    return run->ops->sgd_step(run->device, &sgd, op_count(&run->spec->operands[W]), op_data(run, W),
                              op_data(run, G), op_data(run, V), err);
}

const struct op_family op_family_sgd = {
    .name = "sgd", .declare = declare_sgd, .forward = forward_sgd};

static void declare_squares(struct op_case *parsed, struct op_spec *spec)
{
    int c = op_number(parsed, "c", 1);
    op_declare(spec, 0, "x", OP_INPUT, OP_PARAMETER, 1, 1, 1, c);
    op_declare(spec, 1, "sum", OP_OUTPUT, OP_HOST, 1, 1, 1, 1)->length = c;
}

static enum cask_status forward_squares(struct op_run *run, struct cask_error *err)
{
    return run->ops->sum_squares(run->device, op_count(&run->spec->operands[0]), op_data(run, 0),
                                 op_data(run, 1), err);
}

const struct op_family op_family_sum_squares = {
    .name = "sum_squares", .exact = true, .declare = declare_squares, .forward = forward_squares};
