/* kernels/cpu/conv.c - which kind of convolution runs where, and what all kinds share. */
#include <assert.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/shapes.h"

static const struct cask_conv_kind *choose_kind(const struct cask_conv_desc *desc)
{
    if (desc->groups == 1) {
        return &cask_conv_matmul;
    }
    return desc->groups == desc->in_c && desc->in_c == desc->out_c ? &cask_conv_depthwise
                                                                   : &cask_conv_grouped;
}

CASK_OP(conv_open)
(struct cask_device *device, const struct cask_conv_desc *desc, struct cask_conv **result,
 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_conv *conv = NULL;
    *result = NULL;
    CASK_TRY(cask_conv_check(desc, err));
    conv = cask_alloc(1, sizeof *conv);
    if (conv == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *conv, "convolution"));
    }
    conv->cpu = cask_cpu_of(device);
    conv->desc = *desc;
    conv->out_h = cask_conv_out_h(desc);
    conv->out_w = cask_conv_out_w(desc);
    conv->kind = choose_kind(desc);
    CASK_TRY(conv->kind->open(conv, err));
    *result = conv;
    conv = NULL;
done:
    cask_cpu_conv_close(conv);
    return st;
}

void cask_cpu_conv_close(struct cask_conv *conv)
{
    if (conv != NULL) {
        conv->kind->close(conv);
        cask_free(conv);
    }
}

CASK_OP(conv_set_weights)
(struct cask_conv *conv, const void *weight, const void *bias, struct cask_error *err)
{
    assert((bias != NULL) == conv->desc.bias);
    return conv->kind->set_weights(conv, weight, bias, err);
}

CASK_OP(conv_forward)
(struct cask_conv *conv, const struct cask_tensor *x, const struct cask_tensor *y,
 struct cask_error *err)
{
    assert(x->dtype == conv->cpu->dtype && y->dtype == conv->cpu->dtype && x->n == conv->desc.n);
    return conv->kind->forward(conv, x->data, y->data, err);
}

CASK_OP(conv_backward_data)
(struct cask_conv *conv, const struct cask_tensor *dy, const struct cask_tensor *dx,
 bool accumulate, struct cask_error *err)
{
    assert(!conv->desc.inference && dy->dtype == conv->cpu->dtype && dx->dtype == conv->cpu->dtype);
    return conv->kind->backward_data(conv, dy->data, dx->data, accumulate, err);
}

/* ------------------------------------------------------------ bias gradient */

enum { BIAS_BLOCK = 32 * 1024, BIAS_BLOCKS = 64 };

struct bias_run {
    const struct cask_cpu_kernels *kernels;
    struct cask_blocks blocks;
    const struct cask_tensor *dy;
    float *partials;
};

static void sum_bias(void *user, int64_t index, int thread)
{
    const struct bias_run *run = user;
    int c = run->dy->c;
    float *partial = run->partials + index * c;
    (void)thread;
    memset(partial, 0, (size_t)c * sizeof *partial);
    run->kernels->depthwise->bias(
        cask_at(run->dy->data, run->dy->dtype, cask_block_begin(&run->blocks, index) * c),
        cask_block_rows(&run->blocks, index), c, partial);
}

static enum cask_status add_bias_gradient(struct cask_conv *conv, const struct cask_tensor *dy,
                                          float *dbias, struct cask_error *err)
{
    struct cask_blocks blocks =
        cask_blocks_of(cask_tensor_rows(dy), dy->c, BIAS_BLOCK, BIAS_BLOCKS);
    size_t bytes = (size_t)blocks.count * (size_t)dy->c * sizeof(float);
    struct bias_run run = {cask_cpu_kernels_of(conv->cpu, dy->dtype), blocks, dy,
                           cask_scratch_take(&conv->cpu->shared, bytes)};
    if (run.partials == NULL) {
        return cask_error_memory(err, bytes, "bias gradient");
    }
    cask_cpu_for(conv->cpu, blocks.count, sum_bias, &run);
    for (int c = 0; c < dy->c; c++) {
        double sum = 0;
        for (int64_t block = 0; block < blocks.count; block++) {
            sum += (double)run.partials[block * dy->c + c];
        }
        dbias[c] += (float)sum;
    }
    return CASK_OK;
}

CASK_OP(conv_backward_weights)
(struct cask_conv *conv, const struct cask_tensor *x, const struct cask_tensor *dy, void *dweight,
 void *dbias, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    assert(!conv->desc.inference && x->dtype == conv->cpu->dtype && dy->dtype == conv->cpu->dtype);
    if (dweight != NULL) {
        CASK_TRY(conv->kind->backward_weights(conv, x->data, dy->data, dweight, err));
    }
    if (dbias != NULL) {
        CASK_TRY(add_bias_gradient(conv, dy, dbias, err));
    }
done:
    return st;
}

const char *cask_cpu_conv_describe(const struct cask_conv *conv)
{
    return conv->description;
}
