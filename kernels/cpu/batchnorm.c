/* kernels/cpu/batchnorm.c - batch normalisation with its activation as ops of their own: each pass
 * goes once over memory. The passes inside other ops are the same code, see norm.h. */
#include <math.h>

#include "kernels/cpu/norm.h"

enum { BLOCK_ELEMENTS = 32 * 1024, BLOCKS = 64 };

struct bn_run {
    struct cask_source source;
    struct cask_sink *sink;
    struct cask_blocks blocks;
    void *to;
    bool accumulate;
};

static struct cask_blocks blocks_of(const struct cask_tensor *x)
{
    return cask_blocks_of(cask_tensor_rows(x), x->c, BLOCK_ELEMENTS, BLOCKS);
}

static struct cask_sink sink_of(struct cask_cpu *cpu, const struct cask_tensor *x)
{
    return (struct cask_sink){.cpu = cpu,
                              .kernels = cask_cpu_kernels_of(cpu, x->dtype),
                              .dtype = x->dtype,
                              .c = x->c,
                              .rows = cask_tensor_rows(x)};
}

/* ----------------------------------------------------------------- forward */

CASK_OP(batchnorm_statistics)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 struct cask_error *err)
{
    struct cask_sink sink = sink_of(cask_cpu_of(device), x);
    sink.statistics = bn;
    return cask_sink_whole(&sink, x->data, err);
}

static void apply_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    const struct cask_source *s = &run->source;
    int64_t first = cask_block_begin(&run->blocks, index);
    (void)thread;
    cask_source_rows(s, first, cask_block_rows(&run->blocks, index),
                     cask_at(run->to, s->dtype, first * s->c));
}

static void apply(struct cask_cpu *cpu, const struct cask_bn_block *block,
                  const struct cask_tensor *x, const struct cask_tensor *y)
{
    struct bn_run run = {
        .source = cask_source_plain(cpu, x), .blocks = blocks_of(x), .to = y->data};
    run.source.through = true;
    run.source.block = *block;
    cask_cpu_for(cpu, run.blocks.count, apply_block, &run);
}

CASK_OP(batchnorm_apply)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    CASK_TRY(cask_norms_begin(cpu, x->c, err));
    struct cask_bn_block block = cask_norm_block(cpu, 0, x->c, bn, x->c);
    apply(cpu, &block, x, y);
done:
    return st;
}

CASK_OP(batchnorm_train)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_cpu_batchnorm_statistics(device, bn, x, err));
    CASK_TRY(cask_cpu_batchnorm_apply(device, bn, x, y, err));
done:
    return st;
}

CASK_OP(batchnorm_eval)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_batchnorm running = *bn;
    const float *running_var = bn->running_var;
    float *inv_std = cask_scratch_take(&cpu->shared, (size_t)x->c * sizeof *inv_std);
    if (inv_std == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)x->c * sizeof *inv_std, "batch normalisation"));
    }
    for (int j = 0; j < x->c; j++) {
        inv_std[j] = (float)(1 / sqrt((double)running_var[j] + bn->eps));
    }
    running.saved_mean = bn->running_mean;
    running.saved_inv_std = inv_std;
    CASK_TRY(cask_cpu_batchnorm_apply(device, &running, x, y, err));
done:
    return st;
}

/* ---------------------------------------------------------------- backward */

CASK_OP(batchnorm_reduce)
(struct cask_device *device, const struct cask_reduction *reduction, const struct cask_tensor *dy,
 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_sink sink = sink_of(cpu, dy);
    CASK_TRY(cask_norms_begin(cpu, dy->c, err));
    CASK_TRY(cask_sink_reduce(&sink, reduction, 1, 0, dy->c, err));
    CASK_TRY(cask_sink_whole(&sink, dy->data, err));
done:
    return st;
}

static void gradient_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    const struct cask_source *s = &run->source;
    int64_t first = cask_block_begin(&run->blocks, index),
            rows = cask_block_rows(&run->blocks, index), at = first * s->c;
    void *to = cask_at(run->to, s->dtype, at);
    s->kernels->batchnorm->gradient(&s->block, cask_at(s->data, s->dtype, at),
                                    cask_at(s->gradient, s->dtype, at), to, run->accumulate, rows,
                                    s->c);
    cask_sink_begin(run->sink, index, thread, to);
    cask_sink_rows(run->sink, index, thread, to, first, rows);
    cask_sink_end(run->sink, index, thread);
}

CASK_OP(batchnorm_gradient)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *dy, const struct cask_tensor *dx, bool accumulate,
 const struct cask_reduction *reductions, int reduction_count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_sink sink = sink_of(cpu, x);
    struct bn_run run = {.source = cask_source_plain(cpu, x),
                         .sink = &sink,
                         .blocks = blocks_of(x),
                         .to = dx->data,
                         .accumulate = accumulate};
    CASK_TRY(cask_norms_begin(cpu, x->c, err));
    run.source.gradient = dy->data;
    run.source.block = cask_norm_block(cpu, 0, x->c, bn, x->c);
    CASK_TRY(cask_sink_reduce(&sink, reductions, reduction_count, 1, x->c, err));
    CASK_TRY(cask_sink_open(&sink, run.blocks.count, err));
    cask_cpu_for(cpu, run.blocks.count, gradient_block, &run);
    cask_sink_finish(&sink);
done:
    return st;
}

CASK_OP(batchnorm_backward)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *dy, const struct cask_tensor *dx, bool accumulate,
 const struct cask_batchnorm_grads *grads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct cask_batchnorm kept = *bn;
    float *room = cask_scratch_take(&cpu->shared, 2 * (size_t)x->c * sizeof *room);
    if (room == NULL) {
        CASK_TRY(cask_error_memory(err, 2 * (size_t)x->c * sizeof *room, "batch normalisation"));
    }
    kept.saved_mean_dz = room;
    kept.saved_pull = room + x->c;
    const struct cask_reduction reduction = {&kept, x, *grads};
    CASK_TRY(cask_cpu_batchnorm_reduce(device, &reduction, dy, err));
    CASK_TRY(cask_cpu_batchnorm_gradient(device, &kept, x, dy, dx, accumulate, NULL, 0, err));
done:
    return st;
}
