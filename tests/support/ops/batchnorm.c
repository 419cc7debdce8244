/* tests/support/ops/batchnorm.c - batch normalisation with its activation.
 *
 *     batchnorm n2 c5 h3 w3 prelu|relu       train forward and backward
 *          plain       gamma and beta absent
 *          offset      all values near 50: a variance taken as E[x^2] - E[x]^2 in float fails
 *          inplace     dx is dy, dx is written (batchnorm_eval: y is x)
 *     batchnorm_eval n2 c5 h3 w3 prelu       with running statistics
 */
#include "tests/support/ops/op.h"

enum {
    X,
    GAMMA,
    BETA,
    SLOPE,
    MEAN,
    VAR,
    DY,
    Y,
    SAVED_MEAN,
    SAVED_INV_STD,
    DX,
    DGAMMA,
    DBETA,
    DSLOPE
};

static struct op_operand *declare_vector(struct op_spec *spec, int index, const char *name,
                                         enum op_role role, double low, double high)
{
    struct op_operand *o =
        op_declare(spec, index, name, role, OP_PARAMETER, 1, 1, 1, spec->operands[X].c);
    o->low = low;
    o->high = high;
    return o;
}

static void declare_input(struct op_case *parsed, struct op_spec *spec, enum op_role statistics,
                          double offset)
{
    int n = op_number(parsed, "n", 1), h = op_number(parsed, "h", 1);
    int w = op_number(parsed, "w", 1), c = op_number(parsed, "c", 1);
    struct op_operand *x = op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    x->low = offset - 1;
    x->high = offset + 2;
    if (!op_flag(parsed, "plain")) {
        declare_vector(spec, GAMMA, "gamma", OP_INPUT, 0.5, 1.5);
        declare_vector(spec, BETA, "beta", OP_INPUT, -1, 1);
    }
    if (op_flag(parsed, "prelu")) {
        declare_vector(spec, SLOPE, "slope", OP_INPUT, 0.1, 0.4);
    }
    declare_vector(spec, MEAN, "running mean", statistics, -1, 1);
    declare_vector(spec, VAR, "running var", statistics, 0.5, 2);
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, n, h, w, c);
}

/* Everything is a sum over all rows, or follows from one; an offset costs digits of x - mean. */
static void declare_bounds(struct op_spec *spec, double offset)
{
    const struct op_operand *x = &spec->operands[X];
    for (int i = 0; i < spec->count; i++) {
        spec->operands[i].length = (double)x->n * x->h * x->w;
        spec->operands[i].gain = 2 * (offset + 1);
    }
}

static void declare_train(struct op_case *parsed, struct op_spec *spec)
{
    double offset = op_flag(parsed, "offset") ? 50 : 0;
    op_flag(parsed, "relu");
    op_flag(parsed, "inplace");
    declare_input(parsed, spec, OP_STATE, offset);
    declare_vector(spec, SAVED_MEAN, "saved mean", OP_OUTPUT, 0, 0);
    declare_vector(spec, SAVED_INV_STD, "saved inv_std", OP_OUTPUT, 0, 0);
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X);
    if (spec->operands[GAMMA].name != NULL) {
        op_declare_like(spec, DGAMMA, "dgamma", OP_PARAM_GRAD, GAMMA);
        op_declare_like(spec, DBETA, "dbeta", OP_PARAM_GRAD, BETA);
    }
    if (spec->operands[SLOPE].name != NULL) {
        op_declare_like(spec, DSLOPE, "dslope", OP_PARAM_GRAD, SLOPE);
    }
    declare_bounds(spec, offset);
}

static void declare_eval(struct op_case *parsed, struct op_spec *spec)
{
    op_flag(parsed, "relu");
    op_flag(parsed, "inplace");
    declare_input(parsed, spec, OP_INPUT, 0);
}

static struct cask_batchnorm describe(const struct op_run *run)
{
    bool relu = op_flag(run->parsed, "relu"), prelu = op_data(run, SLOPE) != NULL;
    return (struct cask_batchnorm){
        .eps = 1e-5,
        .momentum = 0.1,
        .activation = prelu  ? CASK_ACT_PRELU
                      : relu ? CASK_ACT_RELU
                             : CASK_ACT_NONE,
        .gamma = op_data(run, GAMMA),
        .beta = op_data(run, BETA),
        .slope = op_data(run, SLOPE),
        .running_mean = op_data(run, MEAN),
        .running_var = op_data(run, VAR),
        .saved_mean = op_data(run, SAVED_MEAN),
        .saved_inv_std = op_data(run, SAVED_INV_STD),
    };
}

static enum cask_status forward_train(struct op_run *run, struct cask_error *err)
{
    struct cask_batchnorm bn = describe(run);
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    return run->ops->batchnorm_train(run->device, &bn, &x, &y, err);
}

static enum cask_status forward_eval(struct op_run *run, struct cask_error *err)
{
    struct cask_batchnorm bn = describe(run);
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    if (op_flag(run->parsed, "inplace")) {
        op_copy(run, Y, X);
        x = y;
    }
    return run->ops->batchnorm_eval(run->device, &bn, &x, &y, err);
}

static enum cask_status backward_train(struct op_run *run, bool accumulate, struct cask_error *err)
{
    struct cask_batchnorm bn = describe(run);
    struct cask_batchnorm_grads grads = {op_data(run, DGAMMA), op_data(run, DBETA),
                                         op_data(run, DSLOPE)};
    struct cask_tensor x = op_tensor(run, X), dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    if (op_flag(run->parsed, "inplace") && !accumulate) {
        op_copy(run, DX, DY);
        dy = dx;
    }
    return run->ops->batchnorm_backward(run->device, &bn, &x, &dy, &dx, accumulate, &grads, err);
}

const struct op_family op_family_batchnorm = {
    .name = "batchnorm",
    .declare = declare_train,
    .forward = forward_train,
    .backward = backward_train,
};

const struct op_family op_family_batchnorm_eval = {
    .name = "batchnorm_eval",
    .declare = declare_eval,
    .forward = forward_eval,
};
