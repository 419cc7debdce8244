/* kernels/ref/chain.c - chains, spelled out: what a chained op does without storing it, this file
 * stores and does with the plain ops. */
#include "kernels/ref/conv.h"

/* The operand as a tensor: x, or `room` filled with f(BN(x)). */
static enum cask_status read_operand(struct cask_device *device, const struct cask_operand *operand,
                                     real *room, struct cask_tensor *result, struct cask_error *err)
{
    *result = *operand->x;
    if (operand->norm == NULL) {
        return CASK_OK;
    }
    result->data = room;
    return REF(batchnorm_apply)(device, operand->norm, operand->x, result, err);
}

enum cask_status REF(conv_forward_chained)(struct cask_conv *conv, const struct cask_operand *x,
                                           const struct cask_tensor *y,
                                           const struct cask_batchnorm *statistics,
                                           struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_tensor operand;
    CASK_TRY(read_operand(conv->device, x, conv->operand, &operand, err));
    CASK_TRY(REF(conv_forward)(conv, &operand, y, err));
    if (statistics != NULL) {
        CASK_TRY(REF(batchnorm_statistics)(conv->device, statistics, y, err));
    }
done:
    return st;
}

enum cask_status REF(conv_backward_chained)(struct cask_conv *conv,
                                            const struct cask_conv_chain *chain,
                                            struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_tensor operand, dy = *chain->dy;
    if (chain->norm != NULL) {
        dy.data = conv->gradient;
        CASK_TRY(REF(batchnorm_gradient)(conv->device, chain->norm, chain->y, chain->dy, &dy, false,
                                         NULL, 0, err));
    }
    CASK_TRY(read_operand(conv->device, &chain->x, conv->operand, &operand, err));
    CASK_TRY(REF(conv_backward_weights)(conv, &operand, &dy, chain->dweight, chain->dbias, err));
    if (chain->dx != NULL) {
        CASK_TRY(REF(conv_backward_data)(conv, &dy, chain->dx, chain->accumulate, err));
    }
    for (int i = 0; i < chain->reduction_count; i++) {
        CASK_TRY(REF(batchnorm_reduce)(conv->device, &chain->reductions[i], chain->dx, err));
    }
done:
    return st;
}

/* y = f(BN(a)) + f(BN(b)) */
enum cask_status REF(add_chained)(struct cask_device *device, const struct cask_operand *a,
                                  const struct cask_operand *b, const struct cask_tensor *y,
                                  const struct cask_batchnorm *statistics, struct cask_error *err)
{
    for (size_t j = 0; j < cask_tensor_count(y); j++) {
        ((real *)y->data)[j] = (real)(REF(operand_value)(a, j) + REF(operand_value)(b, j));
    }
    return statistics == NULL ? CASK_OK : REF(batchnorm_statistics)(device, statistics, y, err);
}
