/* kernels/ref/optim.c - one step of SGD, and the sum of squares that clipping needs. */
#include "kernels/ref/ref.h"

/* g' = scale*g + decay*w;   v = momentum*v + g';   w -= rate * (nesterov ? g' + momentum*v : v) */
enum cask_status REF(sgd_step)(struct cask_device *device, const struct cask_sgd *sgd, size_t count,
                               void *w, const void *g, void *v, struct cask_error *err)
{
    real *weight = w, *velocity = v;
    const real *gradient = g;
    (void)device;
    (void)err;
    for (size_t j = 0; j < count; j++) {
        double decayed = sgd->gradient_scale * (double)gradient[j] + sgd->decay * (double)weight[j];
        double moving = sgd->momentum * (double)velocity[j] + decayed;
        double step = sgd->nesterov ? decayed + sgd->momentum * moving : moving;
        velocity[j] = (real)moving;
        weight[j] = (real)((double)weight[j] - sgd->rate * step);
    }
    return CASK_OK;
}

/* sum_j x_j^2, in order of j */
enum cask_status REF(sum_squares)(struct cask_device *device, size_t count, const void *x,
                                  double *sum, struct cask_error *err)
{
    const real *from = x;
    (void)device;
    (void)err;
    *sum = 0;
    for (size_t j = 0; j < count; j++) {
        *sum += (double)from[j] * (double)from[j];
    }
    return CASK_OK;
}
