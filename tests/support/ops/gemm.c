/* tests/support/ops/gemm.c - matrix product.
 *
 *     gemm m5 n7 k3 ta tb alpha beta wide single product packed
 *          ta, tb         A, B transposed
 *          alpha, beta    times -2; plus half of what C was
 *          wide           rows with gaps
 *          single         parameter type even on a bf16 device
 *          product        as a planned product; packed: of a B that one of another m has packed
 */
#include "common/mem.h"
#include "tests/support/ops/op.h"

enum { A, B, C };

static struct cask_gemm describe(struct op_case *parsed)
{
    struct cask_gemm g = {
        .trans_a = op_flag(parsed, "ta"),
        .trans_b = op_flag(parsed, "tb"),
        .m = op_number(parsed, "m", 1),
        .n = op_number(parsed, "n", 1),
        .k = op_number(parsed, "k", 1),
        .alpha = op_flag(parsed, "alpha") ? -2 : 1,
        .beta = op_flag(parsed, "beta") ? 0.5 : 0,
        .packed_b = op_flag(parsed, "packed"),
    };
    if (op_flag(parsed, "wide")) {
        g.lda = (g.trans_a ? g.m : g.k) + 3;
        g.ldb = (g.trans_b ? g.k : g.n) + 1;
        g.ldc = g.n + 5;
    }
    return g;
}

static void declare(struct op_case *parsed, struct op_spec *spec)
{
    struct cask_gemm g = describe(parsed);
    enum op_type in = op_flag(parsed, "single") ? OP_PARAMETER : OP_ACTIVATION;
    int a_rows = (int)(g.trans_a ? g.k : g.m), b_rows = (int)(g.trans_b ? g.n : g.k);
    int a_row = (int)(g.lda ? g.lda : g.trans_a ? g.m : g.k);
    int b_row = (int)(g.ldb ? g.ldb : g.trans_b ? g.k : g.n);
    int c_row = (int)(g.ldc ? g.ldc : g.n);
    (void)op_flag(parsed, "product"); /* read when it runs */
    enum op_role role = g.beta != 0 ? OP_STATE : OP_OUTPUT;
    op_declare(spec, A, "a", OP_INPUT, in, a_rows, 1, 1, a_row)->padded = g.lda != 0;
    op_declare(spec, B, "b", OP_INPUT, in, b_rows, 1, 1, b_row);
    struct op_operand *c = op_declare(spec, C, "c", role, OP_PARAMETER, (int)g.m, 1, 1, c_row);
    c->length = (double)g.k;
    c->padded = g.ldc != 0;
}

static enum cask_status packed(const struct op_run *run, const struct cask_gemm *gemm, void **b,
                               struct cask_error *err)
{
    struct cask_gemm other = *gemm;
    struct cask_planned_gemm *product = NULL;
    enum cask_status st = CASK_OK;
    other.m = gemm->m + 5;
    other.lda = 0;
    CASK_TRY(run->ops->product_open(run->device, &other, &product, err));
    *b = cask_alloc(run->ops->product_packed_bytes(product), 1);
    if (*b == NULL || !run->ops->serial_pack(product, 0, op_data(run, B), *b)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "B could not be packed"));
    }
done:
    run->ops->product_close(product);
    return st;
}

static enum cask_status planned(const struct op_run *run, const struct cask_gemm *gemm,
                                struct cask_error *err)
{
    struct cask_planned_gemm *product = NULL;
    void *copy = NULL;
    enum cask_status st = CASK_OK;
    if (gemm->packed_b) {
        CASK_TRY(packed(run, gemm, &copy, err));
    }
    CASK_TRY(run->ops->product_open(run->device, gemm, &product, err));
    if (!run->ops->serial_product(product, 0, op_data(run, A), copy ? copy : op_data(run, B),
                                  op_data(run, C), NULL)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_DEVICE, "the product failed"));
    }
done:
    run->ops->product_close(product);
    cask_free(copy);
    return st;
}

static enum cask_status forward(struct op_run *run, struct cask_error *err)
{
    struct cask_gemm g = describe(run->parsed);
    g.in_dtype = run->buffers[A].dtype;
    g.out_dtype = run->buffers[C].dtype;
    run->any_threads = false;
    if (op_flag(run->parsed, "product")) {
        return planned(run, &g, err);
    }
    return run->ops->gemm(run->device, &g, op_data(run, A), op_data(run, B), op_data(run, C), err);
}

const struct op_family op_family_gemm = {
    .name = "gemm", .exact = true, .declare = declare, .forward = forward};
