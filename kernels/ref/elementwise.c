/* kernels/ref/elementwise.c - sum of two tensors, channel gates, and change of type. */
#include <string.h>

#include "kernels/ref/ref.h"

/* y = a + b */
enum cask_status REF(add)(struct cask_device *device, const struct cask_tensor *a,
                          const struct cask_tensor *b, const struct cask_tensor *y,
                          struct cask_error *err)
{
    (void)device;
    (void)err;
    for (size_t j = 0; j < cask_tensor_count(y); j++) {
        ((real *)y->data)[j] =
            (real)((double)((const real *)a->data)[j] + (double)((const real *)b->data)[j]);
    }
    return CASK_OK;
}

/* y[n,h,w,c] = x[n,h,w,c] * gate[n,c] */
enum cask_status REF(scale_forward)(struct cask_device *device, const struct cask_tensor *x,
                                    const struct cask_tensor *gate, const struct cask_tensor *y,
                                    struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < x->n; n++) {
        for (int h = 0; h < x->h; h++) {
            for (int w = 0; w < x->w; w++) {
                for (int c = 0; c < x->c; c++) {
                    ref_pixel(y, n, h, w)[c] = (real)((double)ref_pixel(x, n, h, w)[c] *
                                                      (double)ref_pixel(gate, n, 0, 0)[c]);
                }
            }
        }
    }
    return CASK_OK;
}

/* dx[n,h,w,c] = dy[n,h,w,c] * gate[n,c];   dgate[n,c] = sum_{h,w} dy[n,h,w,c] * x[n,h,w,c] */
enum cask_status REF(scale_backward)(struct cask_device *device, const struct cask_tensor *x,
                                     const struct cask_tensor *gate, const struct cask_tensor *dy,
                                     const struct cask_tensor *dx, bool accumulate,
                                     const struct cask_tensor *dgate, struct cask_error *err)
{
    (void)device;
    (void)err;
    for (int n = 0; n < x->n; n++) {
        for (int c = 0; c < x->c; c++) {
            double factor = (double)ref_pixel(gate, n, 0, 0)[c], sum = 0;
            for (int h = 0; h < x->h; h++) {
                for (int w = 0; w < x->w; w++) {
                    double d = (double)ref_pixel(dy, n, h, w)[c];
                    sum += d * (double)ref_pixel(x, n, h, w)[c];
                    ref_give(&ref_pixel(dx, n, h, w)[c], accumulate, d * factor);
                }
            }
            ref_pixel(dgate, n, 0, 0)[c] = (real)sum;
        }
    }
    return CASK_OK;
}

/* bfloat16 is the upper half of a float. */
static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even. A NaN stays one: rounding could carry its payload into the exponent. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double read_element(const struct cask_tensor *t, size_t j)
{
    switch (t->dtype) {
    case CASK_F64:
        return ((const double *)t->data)[j];
    case CASK_F32:
        return (double)((const float *)t->data)[j];
    case CASK_BF16:
        break;
    }
    return (double)from_bf16(((const uint16_t *)t->data)[j]);
}

static void write_element(const struct cask_tensor *t, size_t j, double value)
{
    switch (t->dtype) {
    case CASK_F64:
        ((double *)t->data)[j] = value;
        return;
    case CASK_F32:
        ((float *)t->data)[j] = (float)value;
        return;
    case CASK_BF16:
        ((uint16_t *)t->data)[j] = to_bf16((float)value);
        return;
    }
}

/* Every pair of types. */
enum cask_status REF(convert)(struct cask_device *device, const struct cask_tensor *x,
                              const struct cask_tensor *y, struct cask_error *err)
{
    (void)device;
    (void)err;
    for (size_t j = 0; j < cask_tensor_count(x); j++) {
        write_element(y, j, read_element(x, j));
    }
    return CASK_OK;
}
