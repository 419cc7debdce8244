/* kernels/cpu/conv.c - which kind of convolution runs where, and what all kinds share. */
#include <assert.h>
#include <string.h>

#include "common/mem.h"
#include "kernels/cpu/conv_finish.h"
#include "kernels/cpu/norm.h"
#include "kernels/shapes.h"

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
    conv->kind = desc->groups == 1 ? &cask_conv_matmul : &cask_conv_depthwise;
    CASK_TRY(conv->kind->open(conv, err));
    if (desc->border) {
        CASK_TRY(cask_border_open(conv, err));
    }
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
        cask_border_close(conv->border);
        cask_free(conv);
    }
}

CASK_OP(conv_set_weights)
(struct cask_conv *conv, const void *weight, const void *bias, struct cask_error *err)
{
    assert((bias != NULL) == conv->desc.bias);
    return conv->kind->set_weights(conv, weight,
                                   conv->border != NULL ? cask_border_set(conv, bias) : bias, err);
}

/* -------------------------------------------------------------------- runs */

static struct cask_sink sink_of(struct cask_cpu *cpu, const struct cask_tensor *written)
{
    return (struct cask_sink){.cpu = cpu,
                              .kernels = cask_cpu_kernels_of(cpu, written->dtype),
                              .dtype = written->dtype,
                              .c = written->c,
                              .rows = cask_tensor_rows(written)};
}

/* Slots of cask_norm_block(): of x, of dy, then of reductions. */
enum { X_SLOT, DY_SLOT, REDUCTION_SLOT };

static int most_channels(const struct cask_conv *conv)
{
    return conv->desc.in_c > conv->desc.out_c ? conv->desc.in_c : conv->desc.out_c;
}

static struct cask_source source_of(const struct cask_conv *conv, const struct cask_operand *x)
{
    struct cask_source source = cask_source_plain(conv->cpu, x->x);
    if (x->norm != NULL) {
        source.through = true;
        source.block = cask_norm_block(conv->cpu, X_SLOT, most_channels(conv), x->norm, x->x->c);
    }
    return source;
}

CASK_OP(conv_forward_chained)
(struct cask_conv *conv, const struct cask_operand *x, const struct cask_tensor *y,
 const struct cask_batchnorm *statistics, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    assert(x->x->dtype == conv->cpu->dtype && y->dtype == conv->cpu->dtype &&
           x->x->n == conv->desc.n);
    CASK_TRY(cask_norms_begin(conv->cpu, most_channels(conv), err));
    const struct cask_source source = source_of(conv, x);
    struct cask_sink sink = sink_of(conv->cpu, y);
    sink.statistics = statistics;
    CASK_TRY(conv->kind->forward(conv, &source, y->data, &sink, NULL, err));
done:
    return st;
}

CASK_OP(conv_forward)
(struct cask_conv *conv, const struct cask_tensor *x, const struct cask_tensor *y,
 struct cask_error *err)
{
    const struct cask_operand operand = {x, NULL};
    return cask_cpu_conv_forward_chained(conv, &operand, y, NULL, err);
}

CASK_OP(conv_forward_finish)
(struct cask_conv *conv, const struct cask_tensor *x, const struct cask_conv_finish *finish,
 const struct cask_tensor *y, struct cask_error *err)
{
    const struct cask_source source = cask_source_plain(conv->cpu, x);
    struct cask_sink sink = sink_of(conv->cpu, y);
    const struct cask_finish rows = {conv, sink.kernels,
                                     finish->residual != NULL ? finish->residual->data : NULL,
                                     finish->activation, finish->slope};
    bool needed = conv->border != NULL || rows.residual != NULL || rows.activation != CASK_ACT_NONE;
    assert(x->dtype == conv->cpu->dtype && y->dtype == conv->cpu->dtype && x->n == conv->desc.n);
    return conv->kind->forward(conv, &source, y->data, &sink, needed ? &rows : NULL, err);
}

CASK_OP(conv_backward_data)
(struct cask_conv *conv, const struct cask_tensor *dy, const struct cask_tensor *dx,
 bool accumulate, struct cask_error *err)
{
    const struct cask_source source = cask_source_plain(conv->cpu, dy);
    struct cask_sink sink = sink_of(conv->cpu, dx);
    const struct cask_conv_gradient gradient = {
        .dy = &source, .dx = dx->data, .accumulate = accumulate, .sink = &sink};
    assert(!conv->desc.inference && dy->dtype == conv->cpu->dtype && dx->dtype == conv->cpu->dtype);
    return conv->kind->backward(conv, &gradient, err);
}

/* ------------------------------------------------------------ bias gradient */

enum { BIAS_BLOCK = 32 * 1024, BIAS_BLOCKS = 64 };

struct bias_run {
    const struct cask_cpu *cpu;
    struct cask_blocks blocks;
    const struct cask_source *dy;
    float *partials;
};

static void sum_bias(void *user, int64_t index, int thread)
{
    const struct bias_run *run = user;
    int c = run->dy->c;
    float *partial = run->partials + index * c;
    int64_t rows = cask_block_rows(&run->blocks, index);
    const void *dy = cask_source_rows(run->dy, cask_block_begin(&run->blocks, index), rows,
                                      run->cpu->block_scratch[thread].data);
    memset(partial, 0, (size_t)c * sizeof *partial);
    run->dy->kernels->depthwise->bias(dy, rows, c, partial);
}

static enum cask_status add_bias_gradient(struct cask_conv *conv, const struct cask_source *dy,
                                          float *dbias, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int64_t rows = (int64_t)conv->desc.n * conv->out_h * conv->out_w;
    struct cask_blocks blocks = cask_blocks_of(rows, dy->c, BIAS_BLOCK, BIAS_BLOCKS);
    size_t bytes = (size_t)blocks.count * (size_t)dy->c * sizeof(float);
    struct bias_run run = {conv->cpu, blocks, dy, cask_scratch_take(&conv->cpu->shared, bytes)};
    if (run.partials == NULL) {
        CASK_TRY(cask_error_memory(err, bytes, "bias gradient"));
    }
    CASK_TRY(cask_cpu_reserve(conv->cpu, conv->cpu->block_scratch,
                              (size_t)blocks.per_block * (size_t)dy->c * cask_dtype_size(dy->dtype),
                              err));
    cask_cpu_for(conv->cpu, blocks.count, sum_bias, &run);
    for (int c = 0; c < dy->c; c++) {
        double sum = 0;
        for (int64_t block = 0; block < blocks.count; block++) {
            sum += (double)run.partials[block * dy->c + c];
        }
        dbias[c] += (float)sum;
    }
done:
    return st;
}

CASK_OP(conv_backward_weights)
(struct cask_conv *conv, const struct cask_tensor *x, const struct cask_tensor *dy, void *dweight,
 void *dbias, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_source source_x = cask_source_plain(conv->cpu, x),
                             source_dy = cask_source_plain(conv->cpu, dy);
    const struct cask_conv_gradient gradient = {
        .x = &source_x, .dy = &source_dy, .dweight = dweight};
    assert(!conv->desc.inference && x->dtype == conv->cpu->dtype && dy->dtype == conv->cpu->dtype);
    if (dweight != NULL) {
        CASK_TRY(conv->kind->backward(conv, &gradient, err));
    }
    if (dbias != NULL) {
        CASK_TRY(add_bias_gradient(conv, &source_dy, dbias, err));
    }
done:
    return st;
}

CASK_OP(conv_backward_chained)
(struct cask_conv *conv, const struct cask_conv_chain *chain, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_tensor *dy = chain->dy;
    struct cask_cpu *cpu = conv->cpu;
    const int most = most_channels(conv);
    struct cask_source source_dy = cask_source_plain(cpu, dy);
    struct cask_sink sink = sink_of(cpu, chain->dx != NULL ? chain->dx : chain->x.x);
    CASK_TRY(cask_norms_begin(cpu, most, err));
    const struct cask_source source_x = source_of(conv, &chain->x);
    if (chain->norm != NULL) {
        source_dy.through = true;
        source_dy.data = chain->y->data;
        source_dy.gradient = dy->data;
        source_dy.block = cask_norm_block(cpu, DY_SLOT, most, chain->norm, dy->c);
    }
    CASK_TRY(cask_sink_reduce(&sink, chain->reductions, chain->reduction_count, REDUCTION_SLOT,
                              most, err));
    const struct cask_conv_gradient gradient = {.x = &source_x,
                                                .dy = &source_dy,
                                                .dx = chain->dx != NULL ? chain->dx->data : NULL,
                                                .accumulate = chain->accumulate,
                                                .dweight = chain->dweight,
                                                .sink = &sink};
    CASK_TRY(conv->kind->backward(conv, &gradient, err));
    if (chain->dbias != NULL) {
        CASK_TRY(add_bias_gradient(conv, &source_dy, chain->dbias, err));
    }
done:
    return st;
}

const char *cask_cpu_conv_describe(const struct cask_conv *conv)
{
    return conv->description;
}
