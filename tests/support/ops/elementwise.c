/* tests/support/ops/elementwise.c
 *
 *     add n2 c5 h3 w3 onto_a|onto_b  y is a, or b
 *     scale n2 c5 h3 w3              channel gates
 *     convert n2 c5 h3 w3 narrow     activation to parameter type; narrow: the other way
 */
#include "tests/support/ops/op.h"

static struct op_operand *declare_image(struct op_case *parsed, struct op_spec *spec, int index,
                                        const char *name, enum op_role role)
{
    return op_declare(spec, index, name, role, OP_ACTIVATION, op_number(parsed, "n", 1),
                      op_number(parsed, "h", 1), op_number(parsed, "w", 1),
                      op_number(parsed, "c", 1));
}

/* -------------------------------------------------------------------- add */

enum { ADD_A, ADD_B, ADD_Y };

static void declare_add(struct op_case *parsed, struct op_spec *spec)
{
    op_flag(parsed, "onto_a");
    op_flag(parsed, "onto_b");
    declare_image(parsed, spec, ADD_A, "a", OP_INPUT);
    declare_image(parsed, spec, ADD_B, "b", OP_INPUT);
    declare_image(parsed, spec, ADD_Y, "y", OP_OUTPUT);
}

static enum cask_status forward_add(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor a = op_tensor(run, ADD_A), b = op_tensor(run, ADD_B);
    struct cask_tensor y = op_tensor(run, ADD_Y);
    if (op_flag(run->parsed, "onto_a")) {
        op_copy(run, ADD_Y, ADD_A);
        a = y;
    }
    if (op_flag(run->parsed, "onto_b")) {
        op_copy(run, ADD_Y, ADD_B);
        b = y;
    }
    return run->ops->add(run->device, &a, &b, &y, err);
}

const struct op_family op_family_add = {
    .name = "add", .exact = true, .declare = declare_add, .forward = forward_add};

/* ------------------------------------------------------------------ scale */

enum { X, GATE, DY, Y, DX, DGATE };

static void declare_scale(struct op_case *parsed, struct op_spec *spec)
{
    const struct op_operand *x = declare_image(parsed, spec, X, "x", OP_INPUT);
    op_declare(spec, GATE, "gate", OP_INPUT, OP_ACTIVATION, x->n, 1, 1, x->c);
    declare_image(parsed, spec, Y, "y", OP_OUTPUT);
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X);
    op_declare_like(spec, DGATE, "dgate", OP_DATA_GRAD, GATE)->length = (double)x->h * x->w;
}

static enum cask_status forward_scale(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), gate = op_tensor(run, GATE), y = op_tensor(run, Y);
    return run->ops->scale_forward(run->device, &x, &gate, &y, err);
}

static enum cask_status backward_scale(struct op_run *run, bool accumulate, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, X), gate = op_tensor(run, GATE), dy = op_tensor(run, DY);
    struct cask_tensor dx = op_tensor(run, DX), dgate = op_tensor(run, DGATE);
    return run->ops->scale_backward(run->device, &x, &gate, &dy, &dx, accumulate, &dgate, err);
}

const struct op_family op_family_scale = {
    .name = "scale",
    .exact = true,
    .declare = declare_scale,
    .forward = forward_scale,
    .backward = backward_scale,
};

/* ---------------------------------------------------------------- convert */

static void declare_convert(struct op_case *parsed, struct op_spec *spec)
{
    bool narrow = op_flag(parsed, "narrow");
    declare_image(parsed, spec, 0, "x", OP_INPUT);
    declare_image(parsed, spec, 1, "y", OP_OUTPUT);
    spec->operands[narrow ? 0 : 1].type = OP_PARAMETER;
}

static enum cask_status forward_convert(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor x = op_tensor(run, 0), y = op_tensor(run, 1);
    return run->ops->convert(run->device, &x, &y, err);
}

const struct op_family op_family_convert = {
    .name = "convert", .exact = true, .declare = declare_convert, .forward = forward_convert};
