/* tests/support/ops/max_pool.c
 *
 *     max_pool n2 c5 h7 w6 k3 s2 p1      k: pixels of the window's side
 */
#include "tests/support/ops/op.h"

enum { X, DY, Y, DX };

static struct cask_window window_of(struct op_case *parsed)
{
    return (struct cask_window){.size = op_number(parsed, "k", 3),
                                .stride = op_number(parsed, "s", 2),
                                .pad = op_number(parsed, "p", 0)};
}

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    const struct cask_window window = window_of(parsed);
    int n = op_number(parsed, "n", 1), h = op_number(parsed, "h", 1);
    int w = op_number(parsed, "w", 1), c = op_number(parsed, "c", 1);
    int out_h = (h + 2 * window.pad - window.size) / window.stride + 1;
    int out_w = (w + 2 * window.pad - window.size) / window.stride + 1;
    op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, n, out_h, out_w, c);
    op_declare_like(spec, DY, "dy", OP_COTANGENT, Y);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X)->length =
        (double)window.size * window.size / (window.stride * window.stride);
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    const struct cask_window window = window_of(run->parsed);
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y);
    return run->ops->max_pool_forward(run->device, &window, &x, &y, err);
}

static enum cask_status backward(struct op_run *run, bool accumulate, struct cask_error *err)
{
    const struct cask_window window = window_of(run->parsed);
    struct cask_tensor x = op_tensor(run, X), dy = op_tensor(run, DY), dx = op_tensor(run, DX);
    return run->ops->max_pool_backward(run->device, &window, &x, &dy, &dx, accumulate, err);
}

const struct op_family op_family_max_pool = {
    .name = "max_pool",
    .exact = true,
    .declare = declare,
    .forward = forward,
    .backward = backward,
};
