/* tests/support/ops/loss.c
 *
 *     softmax n5 c7 unlabelled inplace hot    n rows, c classes
 *          unlabelled    about a third of the rows carry no label
 *          hot           logits up to 64 in size, as behind a margin head
 *          inplace       dz is z
 *
 * The op gives the value and the gradient together; forward here looks at the value and backward
 * at the gradient.
 */
#include "tests/support/ops/op.h"

enum { Z, LABELS, LOSS, SCRATCH, DZ };

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    int n = op_number(parsed, "n", 1), c = op_number(parsed, "c", 2);
    bool unlabelled = op_flag(parsed, "unlabelled");
    struct op_operand *z = op_declare(spec, Z, "z", OP_INPUT, OP_PARAMETER, n, 1, 1, c);
    struct op_operand *labels = op_declare(spec, LABELS, "labels", OP_INPUT, OP_LABELS, 1, 1, 1, n);
    z->high = op_flag(parsed, "hot") ? 64 : 3;
    z->low = -z->high;
    labels->low = unlabelled ? -c / 2.0 : 0;
    labels->high = c;
    op_flag(parsed, "inplace");
    op_declare(spec, LOSS, "loss", OP_OUTPUT, OP_HOST, 1, 1, 1, 1);
    op_declare_like(spec, SCRATCH, "dz of forward", OP_OUTPUT, Z);
    op_declare_like(spec, DZ, "dz", OP_DATA_GRAD, Z);
    for (int i = LOSS; i <= DZ; i++) {
        spec->operands[i].length = n + c;
        spec->operands[i].gain = z->high; /* exp turns an absolute error into a relative one */
    }
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    struct cask_tensor z = op_tensor(run, Z), dz = op_tensor(run, SCRATCH);
    if (op_flag(run->parsed, "inplace")) {
        op_copy(run, SCRATCH, Z);
        z = dz;
    }
    return run->ops->softmax_cross_entropy(run->device, &z, op_data(run, LABELS), &dz,
                                           op_data(run, LOSS), err);
}

static enum cask_status backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    struct cask_tensor z = op_tensor(run, Z), dz = op_tensor(run, DZ);
    double loss;
    (void)accumulate;
    return run->ops->softmax_cross_entropy(run->device, &z, op_data(run, LABELS), &dz, &loss, err);
}

const struct op_family op_family_softmax = {
    .name = "softmax",
    .once = true,
    .declare = declare,
    .forward = forward,
    .backward = backward,
};
