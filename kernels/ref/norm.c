/* kernels/ref/norm.c - rows of a matrix scaled to length 1.
 *
 *     e = x / r   with   r = max(|x|, 1e-12)
 *     dx = (G - (G.e) e) / r   with   G = dL/de
 * A row shorter than 1e-12 is left to the same formula; its gradient is large but finite.
 */
#include <math.h>

#include "kernels/ref/ref.h"

static const double shortest = 1e-12;

/* The comparison keeps NaN. */
static double divisor(double norm)
{
    return norm < shortest ? shortest : norm;
}

enum cask_status REF(l2norm_forward)(struct cask_device *device, const struct cask_tensor *x,
                                     const struct cask_tensor *unit, void *norm,
                                     struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < x->n; n++) {
        const real *from = ref_pixel(x, n, 0, 0);
        real *to = ref_pixel(unit, n, 0, 0);
        double squares = 0;
        for (int c = 0; c < x->c; c++) {
            squares += (double)from[c] * (double)from[c];
        }
        double length = sqrt(squares);
        for (int c = 0; c < x->c; c++) {
            to[c] = (real)((double)from[c] / divisor(length));
        }
        if (norm != NULL) {
            ((real *)norm)[n] = (real)length;
        }
    }
    return CASK_OK;
}

enum cask_status REF(l2norm_backward)(struct cask_device *device, const struct cask_tensor *unit,
                                      const void *norm, const struct cask_tensor *dunit,
                                      const struct cask_tensor *dx, bool accumulate,
                                      struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < unit->n; n++) {
        const real *e = ref_pixel(unit, n, 0, 0), *g = ref_pixel(dunit, n, 0, 0);
        real *to = ref_pixel(dx, n, 0, 0);
        double length = divisor((double)((const real *)norm)[n]), dot = 0;
        for (int c = 0; c < unit->c; c++) {
            dot += (double)g[c] * (double)e[c];
        }
        for (int c = 0; c < unit->c; c++) {
            ref_give(&to[c], accumulate, ((double)g[c] - dot * (double)e[c]) / length);
        }
    }
    return CASK_OK;
}
