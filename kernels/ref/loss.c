/* kernels/ref/loss.c - softmax cross-entropy.
 *
 * Over the N rows that carry a label l, with LSE(z) = log sum_c exp(z_c):
 *     loss = 1/N sum (LSE(z) - z_l),   dz_c = (exp(z_c - LSE(z)) - [c = l]) / N
 */
#include <math.h>

#include "kernels/ref/ref.h"

/* The largest logit is taken out of the sum, so that exp cannot overflow. */
static double log_sum_exp(const real *z, int classes)
{
    double largest = (double)z[0], sum = 0;
    for (int c = 1; c < classes; c++) {
        largest = (double)z[c] > largest ? (double)z[c] : largest;
    }
    for (int c = 0; c < classes; c++) {
        sum += exp((double)z[c] - largest);
    }
    return largest + log(sum);
}

static double count_labelled(const uint32_t *labels, int rows)
{
    double labelled = 0;
    for (int n = 0; n < rows; n++) {
        labelled += labels[n] != UINT32_MAX;
    }
    return labelled;
}

enum cask_status REF(softmax_cross_entropy)(struct cask_device *device, const struct cask_tensor *z,
                                            const uint32_t *labels, const struct cask_tensor *dz,
                                            double *loss, struct cask_error *err)
{
    double rows = count_labelled(labels, z->n), sum = 0;
    (void)device;
    (void)err;
    for (int n = 0; n < z->n; n++) {
        const real *from = ref_pixel(z, n, 0, 0);
        real *to = ref_pixel(dz, n, 0, 0);
        bool labelled = labels[n] != UINT32_MAX;
        double lse = log_sum_exp(from, z->c);
        sum += labelled ? lse - (double)from[labels[n]] : 0;
        for (int c = 0; c < z->c; c++) {
            double hit = labelled && (uint32_t)c == labels[n];
            to[c] = (real)(labelled ? (exp((double)from[c] - lse) - hit) / rows : 0);
        }
    }
    *loss = rows > 0 ? sum / rows : 0;
    return CASK_OK;
}
