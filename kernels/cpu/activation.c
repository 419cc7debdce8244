/* kernels/cpu/activation.c - activations that do not stand behind a batch normalisation. */
#include <string.h>

#include "kernels/cpu/cpu.h"

enum { BLOCK_ELEMENTS = 16 * 1024, GRADIENT_BLOCKS = 256 };

struct activation_run {
    const struct cask_cpu_kernels *kernels;
    struct cask_blocks blocks;
    enum cask_dtype dtype;
    int c;
    enum cask_activation activation;
    const void *slope, *x, *dy;
    void *to;
    bool accumulate;
    float *partials; /* [block][c], NULL where the slope has no gradient */
};

static struct activation_run run_of(const struct cask_device *device,
                                    enum cask_activation activation, const void *slope,
                                    const struct cask_tensor *x)
{
    return (struct activation_run){
        .kernels = cask_cpu_kernels_of(cask_cpu_of(device), x->dtype),
        .blocks = cask_blocks_of(cask_tensor_rows(x), x->c, BLOCK_ELEMENTS, GRADIENT_BLOCKS),
        .dtype = x->dtype,
        .c = x->c,
        .activation = activation,
        .slope = slope,
        .x = x->data};
}

static void forward_block(void *user, int64_t index, int thread)
{
    const struct activation_run *run = user;
    int64_t at = cask_block_begin(&run->blocks, index) * run->c;
    (void)thread;
    run->kernels->activation->forward(run->activation, run->slope, cask_at(run->x, run->dtype, at),
                                      cask_at(run->to, run->dtype, at),
                                      cask_block_rows(&run->blocks, index), run->c);
}

CASK_OP(activation_forward)
(struct cask_device *device, enum cask_activation activation, const void *slope,
 const struct cask_tensor *x, const struct cask_tensor *y, struct cask_error *err)
{
    struct activation_run run = run_of(device, activation, slope, x);
    (void)err;
    run.to = y->data;
    cask_cpu_for(cask_cpu_of(device), run.blocks.count, forward_block, &run);
    return CASK_OK;
}

static void backward_block(void *user, int64_t index, int thread)
{
    const struct activation_run *run = user;
    int64_t at = cask_block_begin(&run->blocks, index) * run->c;
    float *partial = run->partials != NULL ? run->partials + index * run->c : NULL;
    struct cask_activation_block block = {run->slope,
                                          cask_at(run->x, run->dtype, at),
                                          cask_at(run->dy, run->dtype, at),
                                          cask_at(run->to, run->dtype, at),
                                          run->accumulate,
                                          partial};
    (void)thread;
    if (partial != NULL) {
        memset(partial, 0, (size_t)run->c * sizeof *partial);
    }
    run->kernels->activation->backward(run->activation, &block,
                                       cask_block_rows(&run->blocks, index), run->c);
}

CASK_OP(activation_backward)
(struct cask_device *device, enum cask_activation activation, const void *slope,
 const struct cask_tensor *x, const struct cask_tensor *dy, const struct cask_tensor *dx,
 bool accumulate, void *dslope, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_cpu *cpu = cask_cpu_of(device);
    struct activation_run run = run_of(device, activation, slope, x);
    float *slope_gradient = activation == CASK_ACT_PRELU ? dslope : NULL;
    run.dy = dy->data;
    run.to = dx->data;
    run.accumulate = accumulate;
    if (slope_gradient != NULL) {
        size_t bytes = (size_t)run.blocks.count * (size_t)run.c * sizeof(float);
        run.partials = cask_scratch_take(&cpu->shared, bytes);
        if (run.partials == NULL) {
            CASK_TRY(cask_error_memory(err, bytes, "slope gradient"));
        }
    }
    cask_cpu_for(cpu, run.blocks.count, backward_block, &run);
    for (int j = 0; slope_gradient != NULL && j < run.c; j++) {
        double sum = 0;
        for (int64_t block = 0; block < run.blocks.count; block++) {
            sum += (double)run.partials[block * run.c + j];
        }
        slope_gradient[j] += (float)sum;
    }
done:
    return st;
}
