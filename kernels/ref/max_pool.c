/* kernels/ref/max_pool.c - the largest of a window of pixels, channel by channel. */
#include "kernels/ref/ref.h"

/* Where the window of output (p, q) has its largest value: the first one in row order. A NaN is
 * larger than every number. */
static void find_winner(const struct cask_window *window, const struct cask_tensor *x, int n, int p,
                        int q, int c, int *best_h, int *best_w)
{
    *best_h = *best_w = -1;
    for (int i = 0; i < window->size; i++) {
        for (int j = 0; j < window->size; j++) {
            int h = p * window->stride - window->pad + i, w = q * window->stride - window->pad + j;
            if (h < 0 || h >= x->h || w < 0 || w >= x->w) {
                continue;
            }
            const real value = ref_pixel(x, n, h, w)[c];
            if (*best_h < 0 || value > ref_pixel(x, n, *best_h, *best_w)[c] || value != value) {
                *best_h = h;
                *best_w = w;
            }
        }
    }
}

/* y[n,p,q,c] = max_{i,j} x[n, pS - P + i, qS - P + j, c] */
enum cask_status REF(max_pool_forward)(struct cask_device *device, const struct cask_window *window,
                                       const struct cask_tensor *x, const struct cask_tensor *y,
                                       struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < y->n; n++) {
        for (int p = 0; p < y->h; p++) {
            for (int q = 0; q < y->w; q++) {
                for (int c = 0; c < y->c; c++) {
                    int h, w;
                    find_winner(window, x, n, p, q, c, &h, &w);
                    ref_pixel(y, n, p, q)[c] = ref_pixel(x, n, h, w)[c];
                }
            }
        }
    }
    return CASK_OK;
}

/* dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows that (h, w) wins */
enum cask_status REF(max_pool_backward)(struct cask_device *device,
                                        const struct cask_window *window,
                                        const struct cask_tensor *x, const struct cask_tensor *dy,
                                        const struct cask_tensor *dx, bool accumulate,
                                        struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < dx->n; n++) {
        for (int h = 0; h < dx->h; h++) {
            for (int w = 0; w < dx->w; w++) {
                for (int c = 0; c < dx->c; c++) {
                    double sum = 0;
                    for (int p = 0; p < dy->h; p++) {
                        for (int q = 0; q < dy->w; q++) {
                            int best_h, best_w;
                            find_winner(window, x, n, p, q, c, &best_h, &best_w);
                            bool won = best_h == h && best_w == w;
                            sum += won ? (double)ref_pixel(dy, n, p, q)[c] : 0;
                        }
                    }
                    ref_give(&ref_pixel(dx, n, h, w)[c], accumulate, sum);
                }
            }
        }
    }
    return CASK_OK;
}
