/* kernels/cpu/max_pool.c - the largest of a window of pixels. One task an image; gradients meet in
 * float and are stored once, so bf16 rounds a sum, not its parts. */
#include <string.h>

#include "kernels/cpu/cpu.h"

struct pool_run {
    struct cask_cpu *cpu;
    const struct cask_max_pool_kernels *kernels;
    const struct cask_cpu_kernels *all;
    const struct cask_window *window;
    const struct cask_tensor *x, *y, *dx; /* y is dy in backward */
    bool accumulate;
};

/* The part of a window that lies inside the picture. */
struct span {
    int first, end;
};

static struct span clip(const struct cask_window *window, int at, int size)
{
    const int begin = at * window->stride - window->pad, end = begin + window->size;
    return (struct span){begin < 0 ? 0 : begin, end > size ? size : end};
}

static const void *pixel(const struct cask_tensor *t, int64_t image, int h, int w)
{
    return cask_at(t->data, t->dtype, ((image * t->h + h) * t->w + w) * t->c);
}

/* best[c] over the window of output (p, q) */
static void find_best(const struct pool_run *run, int64_t image, const struct span *rows,
                      const struct span *columns, float *best)
{
    const int c = run->x->c;
    run->all->elementwise->to_float(pixel(run->x, image, rows->first, columns->first), best, c);
    for (int h = rows->first; h < rows->end; h++) {
        for (int w = columns->first; w < columns->end; w++) {
            run->kernels->largest(pixel(run->x, image, h, w), best, c);
        }
    }
}

static void forward_image(void *user, int64_t image, int thread)
{
    const struct pool_run *run = user;
    float *best = run->cpu->block_scratch[thread].data;
    for (int p = 0; p < run->y->h; p++) {
        const struct span rows = clip(run->window, p, run->x->h);
        for (int q = 0; q < run->y->w; q++) {
            const struct span columns = clip(run->window, q, run->x->w);
            find_best(run, image, &rows, &columns, best);
            void *to = (void *)(uintptr_t)pixel(run->y, image, p, q);
            run->all->elementwise->from_float(best, to, run->x->c);
        }
    }
}

static void backward_image(void *user, int64_t image, int thread)
{
    const struct pool_run *run = user;
    const int c = run->x->c;
    const int64_t elements = (int64_t)run->dx->h * run->dx->w * c;
    float *best = run->cpu->block_scratch[thread].data, *open = best + c, *sums = open + c;
    memset(sums, 0, (size_t)elements * sizeof *sums);
    for (int p = 0; p < run->y->h; p++) {
        const struct span rows = clip(run->window, p, run->x->h);
        for (int q = 0; q < run->y->w; q++) {
            const struct span columns = clip(run->window, q, run->x->w);
            find_best(run, image, &rows, &columns, best);
            for (int j = 0; j < c; j++) {
                open[j] = 1;
            }
            for (int h = rows.first; h < rows.end; h++) {
                for (int w = columns.first; w < columns.end; w++) {
                    run->kernels->give(pixel(run->x, image, h, w), pixel(run->y, image, p, q), best,
                                       open, sums + ((int64_t)h * run->dx->w + w) * c, c);
                }
            }
        }
    }
    run->kernels->put(sums, (void *)(uintptr_t)pixel(run->dx, image, 0, 0), elements,
                      run->accumulate);
}

static struct pool_run run_of(const struct cask_device *device, const struct cask_window *window,
                              const struct cask_tensor *x)
{
    struct cask_cpu *cpu = cask_cpu_of(device);
    const struct cask_cpu_kernels *kernels = cask_cpu_kernels_of(cpu, x->dtype);
    return (struct pool_run){
        .cpu = cpu, .kernels = kernels->max_pool, .all = kernels, .window = window, .x = x};
}

CASK_OP(max_pool_forward)
(struct cask_device *device, const struct cask_window *window, const struct cask_tensor *x,
 const struct cask_tensor *y, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct pool_run run = run_of(device, window, x);
    run.y = y;
    CASK_TRY(cask_cpu_reserve(run.cpu, run.cpu->block_scratch, (size_t)x->c * sizeof(float), err));
    cask_cpu_for(run.cpu, x->n, forward_image, &run);
done:
    return st;
}

CASK_OP(max_pool_backward)
(struct cask_device *device, const struct cask_window *window, const struct cask_tensor *x,
 const struct cask_tensor *dy, const struct cask_tensor *dx, bool accumulate,
 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct pool_run run = run_of(device, window, x);
    const size_t image = (size_t)dx->h * (size_t)dx->w * (size_t)dx->c;
    run.y = dy;
    run.dx = dx;
    run.accumulate = accumulate;
    CASK_TRY(cask_cpu_reserve(run.cpu, run.cpu->block_scratch,
                              (image + 2 * (size_t)dx->c) * sizeof(float), err));
    cask_cpu_for(run.cpu, dx->n, backward_image, &run);
done:
    return st;
}
