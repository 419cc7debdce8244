/* kernels/cpu/pooling.c - global average pooling, and scaling by a channel gate
 * (squeeze-excitation). */
#include <string.h>

#include "kernels/cpu/cpu.h"

struct image_run {
    struct cask_cpu *cpu;
    const struct cask_cpu_kernels *kernels;
    int64_t area;
    const struct cask_tensor *x, *gate, *y, *dgate;
    bool accumulate;
};

static struct image_run run_of(const struct cask_device *device, const struct cask_tensor *image)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    return (struct image_run){.cpu = cpu,
                              .kernels = cask_cpu_kernels_of(cpu, image->dtype),
                              .area = (int64_t)image->h * image->w};
}

static void *image_at(const struct cask_tensor *tensor, int64_t image)
{
    return cask_at(tensor->data, tensor->dtype, image * tensor->h * tensor->w * tensor->c);
}

static enum cask_status each_image(struct image_run *run, const struct cask_tensor *image,
                                   cask_task task, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(
        cask_cpu_reserve(run->cpu, run->cpu->block_scratch, (size_t)image->c * sizeof(float), err));
    cask_cpu_for(run->cpu, image->n, task, run);
done:
    return st;
}

static void pool_image(void *user, int64_t image, int thread)
{
    const struct image_run *run = user;
    int c = run->x->c;
    float *sum = run->cpu->block_scratch[thread].data;
    memset(sum, 0, (size_t)c * sizeof *sum);
    run->kernels->elementwise->sum(image_at(run->x, image), run->area, c, sum);
    for (int j = 0; j < c; j++) {
        sum[j] /= (float)run->area;
    }
    run->kernels->elementwise->from_float(sum, image_at(run->y, image), c);
}

CASK_OP(average_pool_forward)
(struct cask_device *device, const struct cask_tensor *x, const struct cask_tensor *y,
 struct cask_error *err)
{
    struct image_run run = run_of(device, x);
    run.x = x;
    run.y = y;
    return each_image(&run, x, pool_image, err);
}

static void unpool_image(void *user, int64_t image, int thread)
{
    const struct image_run *run = user;
    (void)thread;
    run->kernels->elementwise->spread(image_at(run->x, image), 1.0F / (float)run->area,
                                      image_at(run->y, image), run->area, run->y->c,
                                      run->accumulate);
}

CASK_OP(average_pool_backward)
(struct cask_device *device, const struct cask_tensor *dy, const struct cask_tensor *dx,
 bool accumulate, struct cask_error *err)
{
    struct image_run run = run_of(device, dx);
    run.x = dy;
    run.y = dx;
    run.accumulate = accumulate;
    return each_image(&run, dx, unpool_image, err);
}

static void scale_image(void *user, int64_t image, int thread)
{
    const struct image_run *run = user;
    (void)thread;
    run->kernels->elementwise->scale(image_at(run->x, image), image_at(run->gate, image),
                                     image_at(run->y, image), run->area, run->x->c,
                                     run->accumulate);
}

CASK_OP(scale_forward)
(struct cask_device *device, const struct cask_tensor *x, const struct cask_tensor *gate,
 const struct cask_tensor *y, struct cask_error *err)
{
    struct image_run run = run_of(device, x);
    run.x = x;
    run.gate = gate;
    run.y = y;
    return each_image(&run, x, scale_image, err);
}

/* dgate[c] = sum over pixels of x * dy. Before dx is written: dx may be dy. */
static void gate_image(void *user, int64_t image, int thread)
{
    const struct image_run *run = user;
    int c = run->x->c;
    float *sum = run->cpu->block_scratch[thread].data;
    memset(sum, 0, (size_t)c * sizeof *sum);
    run->kernels->elementwise->dot(image_at(run->x, image), image_at(run->y, image), run->area, c,
                                   sum);
    run->kernels->elementwise->from_float(sum, image_at(run->dgate, image), c);
}

CASK_OP(scale_backward)
(struct cask_device *device, const struct cask_tensor *x, const struct cask_tensor *gate,
 const struct cask_tensor *dy, const struct cask_tensor *dx, bool accumulate,
 const struct cask_tensor *dgate, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct image_run run = run_of(device, x);
    run.x = x;
    run.y = dy;
    run.dgate = dgate;
    CASK_TRY(each_image(&run, x, gate_image, err));
    run.x = dy;
    run.gate = gate;
    run.y = dx;
    run.accumulate = accumulate;
    CASK_TRY(each_image(&run, x, scale_image, err));
done:
    return st;
}
