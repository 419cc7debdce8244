/* kernels/ref/pool.c - fewer pixels: every stride-th one, or the mean of all. */
#include "kernels/ref/ref.h"

/* y[n,p,q,c] = x[n,pS,qS,c] */
enum cask_status REF(subsample_forward)(struct cask_device *device, int stride,
                                        const struct cask_tensor *x, const struct cask_tensor *y,
                                        struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < y->n; n++) {
        for (int p = 0; p < y->h; p++) {
            for (int q = 0; q < y->w; q++) {
                for (int c = 0; c < y->c; c++) {
                    ref_pixel(y, n, p, q)[c] = ref_pixel(x, n, p * stride, q * stride)[c];
                }
            }
        }
    }
    return CASK_OK;
}

/* dx[n,h,w,c] = dy[n,h/S,w/S,c] where S divides h and w, else 0 */
enum cask_status REF(subsample_backward)(struct cask_device *device, int stride,
                                         const struct cask_tensor *dy, const struct cask_tensor *dx,
                                         bool accumulate, struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < dx->n; n++) {
        for (int h = 0; h < dx->h; h++) {
            for (int w = 0; w < dx->w; w++) {
                bool kept = h % stride == 0 && w % stride == 0;
                for (int c = 0; c < dx->c; c++) {
                    ref_give(&ref_pixel(dx, n, h, w)[c], accumulate,
                             kept ? (double)ref_pixel(dy, n, h / stride, w / stride)[c] : 0);
                }
            }
        }
    }
    return CASK_OK;
}

/* y[n,c] = sum_{h,w} x[n,h,w,c] / (H W) */
enum cask_status REF(average_pool_forward)(struct cask_device *device, const struct cask_tensor *x,
                                           const struct cask_tensor *y, struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < x->n; n++) {
        for (int c = 0; c < x->c; c++) {
            double sum = 0;
            for (int h = 0; h < x->h; h++) {
                for (int w = 0; w < x->w; w++) {
                    sum += (double)ref_pixel(x, n, h, w)[c];
                }
            }
            ref_pixel(y, n, 0, 0)[c] = (real)(sum / ((double)x->h * x->w));
        }
    }
    return CASK_OK;
}

/* dx[n,h,w,c] = dy[n,c] / (H W) */
enum cask_status REF(average_pool_backward)(struct cask_device *device,
                                            const struct cask_tensor *dy,
                                            const struct cask_tensor *dx, bool accumulate,
                                            struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < dx->n; n++) {
        for (int h = 0; h < dx->h; h++) {
            for (int w = 0; w < dx->w; w++) {
                for (int c = 0; c < dx->c; c++) {
                    ref_give(&ref_pixel(dx, n, h, w)[c], accumulate,
                             (double)ref_pixel(dy, n, 0, 0)[c] / ((double)dx->h * dx->w));
                }
            }
        }
    }
    return CASK_OK;
}
