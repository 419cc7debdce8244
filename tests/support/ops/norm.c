/* tests/support/ops/norm.c
 *
 *     l2norm n3 c7       n rows of length c
 */
#include "tests/support/ops/op.h"

enum { X, G, UNIT, NORM, DX };

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    int n = op_number(parsed, "n", 1), c = op_number(parsed, "c", 1);
    op_declare(spec, X, "x", OP_INPUT, OP_PARAMETER, n, 1, 1, c);
    op_declare(spec, UNIT, "unit", OP_OUTPUT, OP_PARAMETER, n, 1, 1, c)->length = c;
    op_declare(spec, NORM, "norm", OP_OUTPUT, OP_PARAMETER, 1, 1, 1, n)->length = c;
    op_declare_like(spec, G, "dunit", OP_COTANGENT, UNIT);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X)->length = c;
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), unit = op_tensor(run, UNIT);
    return run->ops->l2norm_forward(run->device, &x, &unit, op_data(run, NORM), err);
}

static enum cask_status backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    struct cask_tensor unit = op_tensor(run, UNIT), g = op_tensor(run, G), dx = op_tensor(run, DX);
    return run->ops->l2norm_backward(run->device, &unit, op_data(run, NORM), &g, &dx, accumulate,
                                     err);
}

const struct op_family op_family_l2norm = {
    .name = "l2norm",
    .declare = declare,
    .forward = forward,
    .backward = backward,
};
