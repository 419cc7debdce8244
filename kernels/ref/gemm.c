/* kernels/ref/gemm.c - matrix product. */
#include "kernels/ref/ref.h"

/* Element (row, column) of op(M), where M is stored row-major with this row stride. */
static double element(const real *m, bool transposed, int64_t stride, int64_t row, int64_t column)
{
    return (double)(transposed ? m[column * stride + row] : m[row * stride + column]);
}

/* C[i,j] = alpha * sum_l op(A)[i,l] * op(B)[l,j] + beta * C[i,j]; C is not read where beta is 0 */
enum cask_status REF(gemm)(struct cask_device *device, const struct cask_gemm *g, const void *a,
                           const void *b, void *c, struct cask_error *err)
{
    int64_t lda = g->lda ? g->lda : g->trans_a ? g->m : g->k;
    int64_t ldb = g->ldb ? g->ldb : g->trans_b ? g->k : g->n;
    int64_t ldc = g->ldc ? g->ldc : g->n;
    if (g->in_dtype != device->parameter_dtype || g->out_dtype != device->parameter_dtype) {
        return cask_error_set(err, CASK_ERR_UNSUPPORTED,
                              "backend %s: matrices must be %s, found %s to %s",
                              device->backend->name, cask_dtype_name(device->parameter_dtype),
                              cask_dtype_name(g->in_dtype), cask_dtype_name(g->out_dtype));
    }
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            real *to = (real *)c + i * ldc + j;
            double sum = 0;
            for (int64_t l = 0; l < g->k; l++) {
                sum += element(a, g->trans_a, lda, i, l) * element(b, g->trans_b, ldb, l, j);
            }
            *to = (real)(g->alpha * sum + (g->beta == 0 ? 0 : g->beta * (double)*to));
        }
    }
    return CASK_OK;
}
