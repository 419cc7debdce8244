/* kernels/ref/activation.c - activation functions, by value and by derivative. */
#include <math.h>

#include "kernels/ref/ref.h"

/* min(max(v, 0), 6), keeping NaN */
static double relu6(double v)
{
    return v < 0 ? 0 : v > 6 ? 6 : v;
}

double REF(activation_value)(enum cask_activation activation, double slope, double z)
{
    switch (activation) {
    case CASK_ACT_NONE:
        return z;
    case CASK_ACT_RELU:
        return z <= 0 ? 0 : z;
    case CASK_ACT_PRELU:
        return z > 0 ? z : slope * z;
    case CASK_ACT_SIGMOID:
        return 1 / (1 + exp(-z));
    case CASK_ACT_HARD_SIGMOID:
        return relu6(z + 3) / 6;
    case CASK_ACT_HARD_SWISH:
        return z * relu6(z + 3) / 6;
    }
    return NAN;
}

/* dy f'(z). At a kink the derivative is a convention; these are PyTorch's. (Hard-swish at 3: there
 * PyTorch's own loops disagree; this is the value its scalar loop has.) Where f is flat nothing
 * goes back, not even a NaN. */
double REF(activation_gradient)(enum cask_activation activation, double slope, double z, double dy)
{
    switch (activation) {
    case CASK_ACT_NONE:
        return dy;
    case CASK_ACT_RELU:
        return z <= 0 ? 0 : dy;
    case CASK_ACT_PRELU:
        return z > 0 ? dy : slope * dy;
    case CASK_ACT_SIGMOID: {
        double y = 1 / (1 + exp(-z));
        return dy * y * (1 - y);
    }
    case CASK_ACT_HARD_SIGMOID:
        return z <= -3 || z >= 3 ? 0 : dy / 6;
    case CASK_ACT_HARD_SWISH: /* (z (z + 3) / 6)' = z / 3 + 1 / 2 between the kinks */
        return z < -3 ? 0 : z > 3 ? dy : dy * (z / 3 + 0.5);
    }
    return NAN;
}

static double slope_of(const void *slope, size_t c)
{
    return slope ? (double)((const real *)slope)[c] : 0;
}

enum cask_status REF(activation_forward)(struct cask_device *device,
                                         enum cask_activation activation, const void *slope,
                                         const struct cask_tensor *x, const struct cask_tensor *y,
                                         struct cask_error *err)
{
    const real *from = x->data;
    real *to = y->data;
    (void)device;
    (void)err;
    for (size_t j = 0; j < cask_tensor_count(x); j++) {
        double a = slope_of(slope, j % (size_t)x->c);
        to[j] = (real)REF(activation_value)(activation, a, (double)from[j]);
    }
    return CASK_OK;
}

/* dx_j = dy_j f'(x_j);   for PReLU also dslope_c = sum over x_j <= 0 of x_j dy_j */
enum cask_status REF(activation_backward)(struct cask_device *device,
                                          enum cask_activation activation, const void *slope,
                                          const struct cask_tensor *x, const struct cask_tensor *dy,
                                          const struct cask_tensor *dx, bool accumulate,
                                          void *dslope, struct cask_error *err)
{
    const real *from = x->data, *gradient = dy->data;
    real *to = dx->data;
    (void)device;
    (void)err;
    for (size_t c = 0; c < (size_t)x->c; c++) {
        double a = slope_of(slope, c), slope_sum = 0;
        for (size_t j = c; j < cask_tensor_count(x); j += (size_t)x->c) {
            double z = (double)from[j], d = (double)gradient[j];
            slope_sum += z > 0 ? 0 : z * d;
            ref_give(&to[j], accumulate, REF(activation_gradient)(activation, a, z, d));
        }
        if (dslope != NULL) {
            ref_give((real *)dslope + c, true, slope_sum);
        }
    }
    return CASK_OK;
}
