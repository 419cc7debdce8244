/* tests/support/ops/chain.c - ops with batch norms inside, from the first x to the last z:
 *
 *     x > BN > f > conv > y > BN > f > z
 *
 *     chain n2 c8 h4 w4 k16 r3 s1 p1 g1 prelu|relu|smooth
 *          raw         no batch norm in front: the convolution reads x
 *          open        no batch norm behind: z is y
 *          second      one more batch norm shares the gradient of the convolution's input, as where
 *                      a block's sum has two
 *          smooth      f is nothing; with a bend, bf16 is not asked: roundings decide sides
 *     add_chain n2 c5 h3 w3 prelu|smooth
 *          z = f(BN(a)) + f(BN(b)), and the statistics of z;  left: b is read as it lies
 */
#include <string.h>

#include "kernels/shapes.h"
#include "tests/support/ops/op.h"

enum {
    X,
    WEIGHT,
    BIAS,
    GAMMA, /* of the norm in front */
    BETA,
    SLOPE,
    GAMMA_Y, /* of the norm behind */
    BETA_Y,
    SLOPE_Y,
    MEAN, /* running, of y */
    VAR,
    OTHER, /* x of the second norm; add_chain: b */
    DZ,
    Y,
    SAVED_MEAN, /* of y */
    SAVED_INV_STD,
    Z,
    DX,
    DWEIGHT,
    DBIAS,
    DGAMMA,
    DBETA,
    DSLOPE,
    DGAMMA_Y,
    DBETA_Y,
    DSLOPE_Y,
    DBETA_OTHER,
    DOTHER,
};

/* Statistics that are nobody's operand: of x and of OTHER, and of y what is not. */
struct room {
    void *of_x[6], *of_other[6], *of_y[6]; /* running mean, var; saved: four */
    void *da;                              /* gradient of f(BN(x)) */
};
static struct room *room_of(const struct op_run *run)
{
    return run->user;
}

static void declare_vector(struct op_spec *spec, int index, const char *name, enum op_role role,
                           int c, double low, double high)
{
    struct op_operand *o = op_declare(spec, index, name, role, OP_PARAMETER, 1, 1, 1, c);
    o->low = low;
    o->high = high;
}

/* Parameters of a norm at `gamma`, beta and slope after it, and their gradients at `dgamma`. */
static void declare_norm(struct op_case *parsed, struct op_spec *spec, int gamma, int dgamma, int c)
{
    declare_vector(spec, gamma, "gamma", OP_INPUT, c, 0.5, 1.5);
    declare_vector(spec, gamma + 1, "beta", OP_INPUT, c, -1, 1);
    op_declare_like(spec, dgamma, "dgamma", OP_PARAM_GRAD, gamma);
    op_declare_like(spec, dgamma + 1, "dbeta", OP_PARAM_GRAD, gamma + 1);
    if (op_flag(parsed, "prelu")) {
        declare_vector(spec, gamma + 2, "slope", OP_INPUT, c, 0.1, 0.4);
        op_declare_like(spec, dgamma + 2, "dslope", OP_PARAM_GRAD, gamma + 2);
    }
}

static void declare_bounds(struct op_spec *spec, double terms)
{
    for (int i = 0; i < spec->count; i++) {
        spec->operands[i].length = terms;
        spec->operands[i].gain = 32;
        spec->operands[i].coarse = 16;
    }
}

static void declare_statistics(struct op_spec *spec, int c)
{
    declare_vector(spec, MEAN, "running mean", OP_STATE, c, -1, 1);
    declare_vector(spec, VAR, "running var", OP_STATE, c, 0.5, 2);
    declare_vector(spec, SAVED_MEAN, "saved mean", OP_OUTPUT, c, 0, 0);
    declare_vector(spec, SAVED_INV_STD, "saved inv_std", OP_OUTPUT, c, 0, 0);
}

static void declare_chain(struct op_case *parsed, struct op_spec *spec)
{
    struct cask_conv_desc d = op_conv_desc(parsed);
    int h = cask_conv_out_h(&d), w = cask_conv_out_w(&d);
    bool relu = op_flag(parsed, "relu");
    op_flag(parsed, "smooth");
    spec->fp32_only = relu || op_flag(parsed, "prelu");
    struct op_operand *x = op_declare(spec, X, "x", OP_INPUT, OP_ACTIVATION, d.n, d.h, d.w, d.in_c);
    x->low = -1;
    x->high = 2;
    op_declare(spec, WEIGHT, "weight", OP_INPUT, OP_PARAMETER, d.out_c, d.in_c / d.groups,
               d.kernel_h, d.kernel_w)
        ->packed = true;
    op_declare(spec, Y, "y", OP_OUTPUT, OP_ACTIVATION, d.n, h, w, d.out_c);
    op_declare(spec, Z, "z", OP_OUTPUT, OP_ACTIVATION, d.n, h, w, d.out_c);
    op_declare_like(spec, DZ, "dz", OP_COTANGENT, Z);
    op_declare_like(spec, DX, "dx", OP_DATA_GRAD, X);
    op_declare_like(spec, DWEIGHT, "dweight", OP_PARAM_GRAD, WEIGHT);
    if (d.bias) {
        op_declare(spec, BIAS, "bias", OP_INPUT, OP_PARAMETER, 1, 1, 1, d.out_c);
        op_declare_like(spec, DBIAS, "dbias", OP_PARAM_GRAD, BIAS);
    }
    if (!op_flag(parsed, "raw")) {
        declare_norm(parsed, spec, GAMMA, DGAMMA, d.in_c);
    }
    if (!op_flag(parsed, "open")) {
        declare_norm(parsed, spec, GAMMA_Y, DGAMMA_Y, d.out_c);
        declare_statistics(spec, d.out_c);
    }
    if (op_flag(parsed, "second")) {
        op_declare(spec, OTHER, "other", OP_INPUT, OP_ACTIVATION, d.n, d.h, d.w, d.in_c);
        declare_vector(spec, DBETA_OTHER, "dgamma of other", OP_PARAM_GRAD, d.in_c, 0, 0);
    }
    declare_bounds(spec, (double)d.n * d.h * d.w + (double)d.kernel_h * d.kernel_w * d.in_c);
}

/* ------------------------------------------------------------------- norms */

static enum cask_status open_room(struct op_run *run, void *of[6], int c, struct cask_error *err)
{
    for (int i = 0; i < 6; i++) {
        of[i] = cask_buffer_alloc(run->device, (size_t)c * sizeof(double));
        if (of[i] == NULL) {
            return cask_error_memory(err, (size_t)c * sizeof(double), "statistics");
        }
    }
    return CASK_OK;
}

static struct cask_batchnorm norm_of(const struct op_run *run, void *const of[6], int gamma)
{
    bool prelu = op_flag(run->parsed, "prelu"), relu = op_flag(run->parsed, "relu");
    return (struct cask_batchnorm){
        .eps = 1e-5,
        .momentum = 0.1,
        .activation = prelu  ? CASK_ACT_PRELU
                      : relu ? CASK_ACT_RELU
                             : CASK_ACT_NONE,
        .gamma = op_data(run, gamma),
        .beta = op_data(run, gamma + 1),
        .slope = op_data(run, gamma + 2),
        .running_mean = of[0],
        .running_var = of[1],
        .saved_mean = of[2],
        .saved_inv_std = of[3],
        .saved_mean_dz = of[4],
        .saved_pull = of[5],
    };
}

/* The norm behind: its statistics are operands. */
static struct cask_batchnorm norm_behind(const struct op_run *run)
{
    struct cask_batchnorm bn = norm_of(run, room_of(run)->of_y, GAMMA_Y);
    bn.running_mean = op_data(run, MEAN);
    bn.running_var = op_data(run, VAR);
    bn.saved_mean = op_data(run, SAVED_MEAN);
    bn.saved_inv_std = op_data(run, SAVED_INV_STD);
    return bn;
}

/* The second norm has neither gamma nor activation. */
static struct cask_batchnorm norm_second(const struct op_run *run)
{
    struct cask_batchnorm bn = norm_of(run, room_of(run)->of_other, GAMMA);
    bn.activation = CASK_ACT_NONE;
    bn.gamma = bn.beta = bn.slope = NULL;
    return bn;
}

static struct cask_batchnorm_grads grads_of(const struct op_run *run, int dgamma)
{
    return (struct cask_batchnorm_grads){op_data(run, dgamma), op_data(run, dgamma + 1),
                                         op_data(run, dgamma + 2)};
}

static enum cask_status open_chain(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_conv_desc d = op_conv_desc(run->parsed);
    struct room *room = cask_buffer_alloc(run->device, sizeof *room);
    run->user = room;
    if (room == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *room, "statistics"));
    }
    CASK_TRY(open_room(run, room->of_x, d.in_c, err));
    CASK_TRY(open_room(run, room->of_other, d.in_c, err));
    CASK_TRY(open_room(run, room->of_y, d.out_c, err));
    room->da = cask_buffer_alloc(run->device, run->buffers[X].bytes);
    CASK_TRY(run->ops->conv_open(run->device, &d, &run->conv, err));
done:
    return st;
}

static void close_chain(struct op_run *run)
{
    struct room *room = room_of(run);
    if (run->conv != NULL) {
        run->ops->conv_close(run->conv);
    }
    for (int i = 0; room != NULL && i < 6; i++) {
        cask_buffer_free(run->device, room->of_x[i]);
        cask_buffer_free(run->device, room->of_other[i]);
        cask_buffer_free(run->device, room->of_y[i]);
    }
    if (room != NULL) {
        cask_buffer_free(run->device, room->da);
    }
    cask_buffer_free(run->device, room);
}

static enum cask_status pack(struct op_run *run, struct cask_error *err)
{
    return run->ops->conv_set_weights(run->conv, op_data(run, WEIGHT), op_data(run, BIAS), err);
}

/* -------------------------------------------------------------------- runs */

static enum cask_status forward_chain(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool raw = op_flag(run->parsed, "raw"), open = op_flag(run->parsed, "open");
    struct cask_batchnorm front = norm_of(run, room_of(run)->of_x, GAMMA);
    struct cask_batchnorm behind = norm_behind(run), second = norm_second(run);
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y), z = op_tensor(run, Z);
    const struct cask_operand operand = {&x, raw ? NULL : &front};
    if (!raw) {
        CASK_TRY(run->ops->batchnorm_statistics(run->device, &front, &x, err));
    }
    if (op_data(run, OTHER) != NULL) {
        struct cask_tensor other = op_tensor(run, OTHER);
        CASK_TRY(run->ops->batchnorm_statistics(run->device, &second, &other, err));
    }
    CASK_TRY(run->ops->conv_forward_chained(run->conv, &operand, &y, open ? NULL : &behind, err));
    if (open) {
        op_copy(run, Z, Y);
    } else {
        CASK_TRY(run->ops->batchnorm_apply(run->device, &behind, &y, &z, err));
    }
done:
    return st;
}

static enum cask_status backward_chain(struct op_run *run, bool accumulate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool raw = op_flag(run->parsed, "raw"), open = op_flag(run->parsed, "open");
    struct cask_batchnorm front = norm_of(run, room_of(run)->of_x, GAMMA);
    struct cask_batchnorm behind = norm_behind(run), second = norm_second(run);
    struct cask_tensor x = op_tensor(run, X), y = op_tensor(run, Y), dz = op_tensor(run, DZ);
    struct cask_tensor dx = op_tensor(run, DX), da = dx, other = op_tensor(run, OTHER);
    struct cask_reduction reductions[2];
    int count = 0;
    if (!raw) {
        da.data = room_of(run)->da;
        reductions[count++] = (struct cask_reduction){&front, &x, grads_of(run, DGAMMA)};
    }
    if (other.data != NULL) {
        reductions[count++] =
            (struct cask_reduction){&second, &other, {.gamma = op_data(run, DBETA_OTHER)}};
    }
    if (!open) {
        const struct cask_reduction last = {&behind, &y, grads_of(run, DGAMMA_Y)};
        CASK_TRY(run->ops->batchnorm_reduce(run->device, &last, &dz, err));
    }
    const struct cask_conv_chain chain = {.x = {&x, raw ? NULL : &front},
                                          .norm = open ? NULL : &behind,
                                          .y = &y,
                                          .dy = &dz,
                                          .dx = &da,
                                          .accumulate = accumulate,
                                          .dweight = op_data(run, DWEIGHT),
                                          .dbias = op_data(run, DBIAS),
                                          .reductions = reductions,
                                          .reduction_count = count};
    CASK_TRY(run->ops->conv_backward_chained(run->conv, &chain, err));
    if (!raw) {
        CASK_TRY(run->ops->batchnorm_gradient(run->device, &front, &x, &da, &dx, accumulate, NULL,
                                              0, err));
    }
done:
    return st;
}

const struct op_family op_family_chain = {
    .name = "chain",
    .declare = declare_chain,
    .open = open_chain,
    .prepare = pack,
    .forward = forward_chain,
    .backward = backward_chain,
    .close = close_chain,
};

/* --------------------------------------------------------------- add_chain */

static void declare_add(struct op_case *parsed, struct op_spec *spec)
{
    int n = op_number(parsed, "n", 1), h = op_number(parsed, "h", 1);
    int w = op_number(parsed, "w", 1), c = op_number(parsed, "c", 1);
    op_flag(parsed, "smooth");
    op_flag(parsed, "inplace");
    spec->fp32_only = op_flag(parsed, "prelu");
    op_declare(spec, X, "a", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    op_declare(spec, OTHER, "b", OP_INPUT, OP_ACTIVATION, n, h, w, c);
    op_declare(spec, Z, "z", OP_OUTPUT, OP_ACTIVATION, n, h, w, c);
    op_declare_like(spec, DZ, "dz", OP_COTANGENT, Z);
    op_declare_like(spec, DX, "da", OP_DATA_GRAD, X);
    declare_norm(parsed, spec, GAMMA, DGAMMA, c);
    if (!op_flag(parsed, "left")) {
        declare_norm(parsed, spec, GAMMA_Y, DGAMMA_Y, c);
        op_declare_like(spec, DOTHER, "db", OP_DATA_GRAD, OTHER);
    }
    declare_statistics(spec, c);
    declare_bounds(spec, (double)n * h * w);
}

static enum cask_status open_add(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct room *room = cask_buffer_alloc(run->device, sizeof *room);
    int c = run->spec->operands[X].c;
    run->user = room;
    if (room == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *room, "statistics"));
    }
    CASK_TRY(open_room(run, room->of_x, c, err));
    CASK_TRY(open_room(run, room->of_other, c, err));
    CASK_TRY(open_room(run, room->of_y, c, err));
done:
    return st;
}

static enum cask_status forward_add(struct op_run *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    bool left = op_flag(run->parsed, "left");
    struct cask_batchnorm of_a = norm_of(run, room_of(run)->of_x, GAMMA);
    struct cask_batchnorm of_b = norm_of(run, room_of(run)->of_other, GAMMA_Y);
    const struct cask_batchnorm of_z = norm_behind(run);
    struct cask_tensor a = op_tensor(run, X), b = op_tensor(run, OTHER), z = op_tensor(run, Z);
    CASK_TRY(run->ops->batchnorm_statistics(run->device, &of_a, &a, err));
    if (!left) {
        CASK_TRY(run->ops->batchnorm_statistics(run->device, &of_b, &b, err));
    }
    if (op_flag(run->parsed, "inplace")) {
        op_copy(run, Z, OTHER);
        b = z;
    }
    const struct cask_operand first = {&a, &of_a}, second = {&b, left ? NULL : &of_b};
    CASK_TRY(run->ops->add_chained(run->device, &first, &second, &z, &of_z, err));
done:
    return st;
}

static enum cask_status backward_of(struct op_run *run, const struct cask_batchnorm *norm, int x,
                                    int dx, int dgamma, bool accumulate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_tensor from = op_tensor(run, x), dz = op_tensor(run, DZ), to = op_tensor(run, dx);
    const struct cask_reduction reduction = {norm, &from, grads_of(run, dgamma)};
    CASK_TRY(run->ops->batchnorm_reduce(run->device, &reduction, &dz, err));
    CASK_TRY(
        run->ops->batchnorm_gradient(run->device, norm, &from, &dz, &to, accumulate, NULL, 0, err));
done:
    return st;
}

static enum cask_status backward_add(struct op_run *run, bool accumulate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_batchnorm of_a = norm_of(run, room_of(run)->of_x, GAMMA);
    struct cask_batchnorm of_b = norm_of(run, room_of(run)->of_other, GAMMA_Y);
    CASK_TRY(backward_of(run, &of_a, X, DX, DGAMMA, accumulate, err));
    if (!op_flag(run->parsed, "left")) {
        CASK_TRY(backward_of(run, &of_b, OTHER, DOTHER, DGAMMA_Y, accumulate, err));
    }
done:
    return st;
}

const struct op_family op_family_add_chain = {
    .name = "add_chain",
    .declare = declare_add,
    .open = open_add,
    .forward = forward_add,
    .backward = backward_add,
    .close = close_chain,
};
