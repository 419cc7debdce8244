/* kernels/cpu/batchnorm.c - batch normalisation with its activation: two passes over memory each
 * way.
 *
 * Sums are float over runs of 128 rows, double above that, and taken about the first row of the
 * tensor, so that a large mean does not cancel the variance:
 *     mean = o + S1/m,  var = S2/m - (S1/m)^2   with S1 = sum(x - o), S2 = sum((x - o)^2)
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

enum { RUN_ROWS = 128, BLOCK_ELEMENTS = 32 * 1024, BLOCKS = 64, SUMS = 3 };

struct bn_run {
    const struct cask_cpu_kernels *kernels;
    const struct cask_cpu *cpu;
    struct cask_blocks blocks;
    enum cask_dtype dtype;
    int c;
    struct cask_bn_block bn;
    const void *x, *dy;
    void *to;
    bool accumulate;
    int sums;            /* how many are in use */
    double *partials;    /* [block][sum][c] */
    const float *origin; /* [c] */
};

static const void *block_of(const struct bn_run *run, const void *data, int64_t index)
{
    return cask_at(data, run->dtype, cask_block_begin(&run->blocks, index) * run->c);
}

/* ----------------------------------------------------------------- scratch */

/* Parameters as the kernels want them, then partial sums. */
enum { MEAN, SCALE, SHIFT, ORIGIN, MEAN_DZ, PULL, ARRAYS };

static enum cask_status prepare(struct cask_cpu *cpu, const struct cask_tensor *x, int sums,
                                struct bn_run *run, float **arrays, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t c = (size_t)x->c;
    *run = (struct bn_run){.kernels = cask_cpu_kernels_of(cpu, x->dtype),
                           .cpu = cpu,
                           .dtype = x->dtype,
                           .c = x->c,
                           .x = x->data,
                           .sums = sums};
    run->blocks = cask_blocks_of(cask_tensor_rows(x), x->c, BLOCK_ELEMENTS, BLOCKS);
    size_t partials = (size_t)run->blocks.count * (size_t)sums * c * sizeof(double);
    char *memory = cask_scratch_take(&cpu->shared, partials + ARRAYS * c * sizeof(float));
    if (memory == NULL) {
        CASK_TRY(cask_error_memory(err, partials, "batch normalisation"));
    }
    CASK_TRY(cask_cpu_reserve(cpu, cpu->block_scratch, SUMS * c * sizeof(float), err));
    run->partials = (double *)(void *)memory;
    *arrays = (float *)(void *)(memory + partials);
done:
    return st;
}

static void set_affine(const struct cask_batchnorm *bn, const float *mean, const float *inv_std,
                       int c, float *arrays, struct cask_bn_block *block)
{
    const float *gamma = bn->gamma, *beta = bn->beta;
    float *scale = arrays + SCALE * (int64_t)c, *shift = arrays + SHIFT * (int64_t)c;
    for (int j = 0; j < c; j++) {
        scale[j] = (gamma != NULL ? gamma[j] : 1) * inv_std[j];
        shift[j] = beta != NULL ? beta[j] : 0;
    }
    block->activation = bn->activation;
    block->mean = mean;
    block->scale = scale;
    block->shift = shift;
    block->slope = bn->slope;
}

/* Adds the float sums of one run of rows to the block's double ones. */
static void fold(float *run_sums, double *sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sums[i] += (double)run_sums[i];
        run_sums[i] = 0;
    }
}

/* The total of sum `which`, channel j, blocks in order. */
static double total(const struct bn_run *run, int which, int j)
{
    double sum = 0;
    for (int64_t block = 0; block < run->blocks.count; block++) {
        sum += run->partials[(block * run->sums + which) * run->c + j];
    }
    return sum;
}

/* ----------------------------------------------------------------- forward */

static void apply_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    (void)thread;
    run->kernels->batchnorm->apply(
        &run->bn, block_of(run, run->x, index),
        cask_at(run->to, run->dtype, cask_block_begin(&run->blocks, index) * run->c),
        cask_block_rows(&run->blocks, index), run->c);
}

static void sum_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    int64_t c = run->c, rows = cask_block_rows(&run->blocks, index);
    float *sums = run->cpu->block_scratch[thread].data;
    double *partial = run->partials + index * 2 * c;
    memset(sums, 0, (size_t)(2 * c) * sizeof *sums);
    memset(partial, 0, (size_t)(2 * c) * sizeof *partial);
    for (int64_t row = 0; row < rows; row += RUN_ROWS) {
        const void *x = cask_at(block_of(run, run->x, index), run->dtype, row * c);
        run->kernels->batchnorm->sums(x, rows - row < RUN_ROWS ? rows - row : RUN_ROWS, run->c,
                                      run->origin, sums, sums + c);
        fold(sums, partial, 2 * c);
    }
}

static void finish_statistics(const struct bn_run *run, const struct cask_batchnorm *bn)
{
    float *mean = bn->saved_mean, *inv_std = bn->saved_inv_std, *running_mean = bn->running_mean,
          *running_var = bn->running_var;
    double m = (double)run->blocks.rows;
    for (int j = 0; j < run->c; j++) {
        double offset = total(run, 0, j) / m, square = total(run, 1, j) / m;
        double batch_mean = (double)run->origin[j] + offset, var = square - offset * offset;
        var = var < 0 ? 0 : var;
        mean[j] = (float)batch_mean;
        inv_std[j] = (float)(1 / sqrt(var + bn->eps));
        double unbiased = m > 1 ? var * m / (m - 1) : 0;
        running_mean[j] =
            (float)((1 - bn->momentum) * (double)running_mean[j] + bn->momentum * batch_mean);
        running_var[j] =
            (float)((1 - bn->momentum) * (double)running_var[j] + bn->momentum * unbiased);
    }
}

CASK_OP(batchnorm_train)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct bn_run run;
    float *arrays;
    CASK_TRY(prepare(cpu, x, 2, &run, &arrays, err));
    float *origin = arrays + ORIGIN * (int64_t)x->c;
    run.kernels->elementwise->to_float(x->data, origin, x->c);
    run.origin = origin;
    cask_cpu_for(cpu, run.blocks.count, sum_block, &run);
    finish_statistics(&run, bn);
    set_affine(bn, bn->saved_mean, bn->saved_inv_std, x->c, arrays, &run.bn);
    run.to = y->data;
    cask_cpu_for(cpu, run.blocks.count, apply_block, &run);
done:
    return st;
}

CASK_OP(batchnorm_eval)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct bn_run run;
    float *arrays;
    CASK_TRY(prepare(cpu, x, 2, &run, &arrays, err));
    const float *running_var = bn->running_var;
    float *inv_std = arrays + ORIGIN * (int64_t)x->c;
    for (int j = 0; j < x->c; j++) {
        inv_std[j] = (float)(1 / sqrt((double)running_var[j] + bn->eps));
    }
    set_affine(bn, bn->running_mean, inv_std, x->c, arrays, &run.bn);
    run.to = y->data;
    cask_cpu_for(cpu, run.blocks.count, apply_block, &run);
done:
    return st;
}

/* ---------------------------------------------------------------- backward */

static void gradient_sum_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    int64_t c = run->c, rows = cask_block_rows(&run->blocks, index);
    float *sums = run->cpu->block_scratch[thread].data;
    double *partial = run->partials + index * SUMS * c;
    memset(sums, 0, (size_t)(SUMS * c) * sizeof *sums);
    memset(partial, 0, (size_t)(SUMS * c) * sizeof *partial);
    for (int64_t row = 0; row < rows; row += RUN_ROWS) {
        const void *x = cask_at(block_of(run, run->x, index), run->dtype, row * c);
        const void *dy = cask_at(block_of(run, run->dy, index), run->dtype, row * c);
        run->kernels->batchnorm->gradient_sums(&run->bn, x, dy,
                                               rows - row < RUN_ROWS ? rows - row : RUN_ROWS,
                                               run->c, sums, sums + c, sums + 2 * c);
        fold(sums, partial, SUMS * c);
    }
}

static void gradient_block(void *user, int64_t index, int thread)
{
    const struct bn_run *run = user;
    (void)thread;
    run->kernels->batchnorm->gradient(
        &run->bn, block_of(run, run->x, index), block_of(run, run->dy, index),
        cask_at(run->to, run->dtype, cask_block_begin(&run->blocks, index) * run->c),
        run->accumulate, cask_block_rows(&run->blocks, index), run->c);
}

/* With d = x - mean: dbeta = sum dz, dgamma = inv_std * sum(dz d),
 *     dx = gamma inv_std (dz - dbeta/m - d inv_std^2 sum(dz d)/m)          (Ioffe and Szegedy,
 * 2015) */
static void finish_gradients(const struct bn_run *run, const struct cask_batchnorm *bn,
                             const struct cask_batchnorm_grads *grads, float *arrays)
{
    const float *inv_std = bn->saved_inv_std;
    float *dgamma = grads->gamma, *dbeta = grads->beta, *dslope = grads->slope;
    float *mean_dz = arrays + MEAN_DZ * (int64_t)run->c, *pull = arrays + PULL * (int64_t)run->c;
    double m = (double)run->blocks.rows;
    for (int j = 0; j < run->c; j++) {
        double sum_dz = total(run, 0, j), sum_dz_d = total(run, 1, j), inv = (double)inv_std[j];
        mean_dz[j] = (float)(sum_dz / m);
        pull[j] = (float)(inv * inv * sum_dz_d / m);
        if (dbeta != NULL) {
            dbeta[j] += (float)sum_dz;
        }
        if (dgamma != NULL) {
            dgamma[j] += (float)(inv * sum_dz_d);
        }
        if (dslope != NULL) {
            dslope[j] += (float)total(run, 2, j);
        }
    }
}

CASK_OP(batchnorm_backward)
(struct cask_device *device, const struct cask_batchnorm *bn, const struct cask_tensor *x,
 const struct cask_tensor *dy, const struct cask_tensor *dx, bool accumulate,
 const struct cask_batchnorm_grads *grads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct bn_run run;
    float *arrays;
    CASK_TRY(prepare(cpu, x, SUMS, &run, &arrays, err));
    set_affine(bn, bn->saved_mean, bn->saved_inv_std, x->c, arrays, &run.bn);
    run.dy = dy->data;
    cask_cpu_for(cpu, run.blocks.count, gradient_sum_block, &run);
    finish_gradients(&run, bn, grads, arrays);
    run.bn.mean_dz = arrays + MEAN_DZ * (int64_t)x->c;
    run.bn.pull = arrays + PULL * (int64_t)x->c;
    run.to = dx->data;
    run.accumulate = accumulate;
    cask_cpu_for(cpu, run.blocks.count, gradient_block, &run);
done:
    return st;
}
