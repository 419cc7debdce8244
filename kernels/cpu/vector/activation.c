/* kernels/cpu/vector/activation.c - element-wise activations, one block of rows. */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/exponential.h"
#include "kernels/cpu/vector/vector.h"

/* Comparisons are written so that a NaN passes through: it fails both and is returned. */
INLINE float relu6(float value)
{
    value = value < 0 ? 0 : value;
    return value > 6 ? 6 : value;
}

INLINE float value_of(enum cask_activation activation, float x, float slope)
{
    float low = x * slope;
    switch (activation) {
    case CASK_ACT_RELU:
        return x <= 0 ? 0 : x;
    case CASK_ACT_PRELU:
        return x > 0 ? x : low;
    case CASK_ACT_SIGMOID:
        return 1.0F / (1.0F + exponential(-x));
    case CASK_ACT_HARD_SIGMOID:
        return relu6(x + 3) * (1.0F / 6);
    case CASK_ACT_HARD_SWISH:
        return x * relu6(x + 3) * (1.0F / 6);
    default:
        return x;
    }
}

INLINE float slope_of(enum cask_activation activation, float x, float slope)
{
    float sigmoid = 1;
    switch (activation) {
    case CASK_ACT_RELU:
        return x <= 0 ? 0 : 1;
    case CASK_ACT_PRELU:
        return x > 0 ? 1 : slope;
    case CASK_ACT_SIGMOID:
        sigmoid = 1.0F / (1.0F + exponential(-x));
        return sigmoid * (1 - sigmoid);
    case CASK_ACT_HARD_SIGMOID:
        return ((x <= -3) | (x >= 3)) ? 0 : 1.0F / 6;
    case CASK_ACT_HARD_SWISH:
        sigmoid = x < -3 ? 0 : (2 * x + 3) * (1.0F / 6);
        return x > 3 ? 1 : sigmoid;
    default:
        return 1;
    }
}

INLINE void forward_as(enum cask_activation activation, const float *slope, const element *x,
                       element *y, int64_t rows, int c)
{
    for (int64_t row = 0; row < rows; row++, x += c, y += c) {
#pragma omp simd
        for (int j = 0; j < c; j++) {
            y[j] = element_put(value_of(activation, element_get(x[j]),
                                        activation == CASK_ACT_PRELU ? slope[j] : 0));
        }
    }
}

INLINE void backward_as(enum cask_activation activation, const struct cask_activation_block *at,
                        int64_t rows, int c)
{
    const float *slope = at->slope;
    const element *x = at->x, *dy = at->dy;
    element *dx = at->dx;
    float *restrict dslope = at->dslope;
    bool slope_wanted = activation == CASK_ACT_PRELU && dslope != NULL;
    for (int64_t row = 0; row < rows; row++, x += c, dy += c, dx += c) {
        if (slope_wanted) {
#pragma omp simd
            for (int j = 0; j < c; j++) {
                float low = element_get(x[j]) * element_get(dy[j]);
                dslope[j] += element_get(x[j]) > 0 ? 0 : low;
            }
        }
#pragma omp simd
        for (int j = 0; j < c; j++) {
            float value =
                element_get(dy[j]) * slope_of(activation, element_get(x[j]),
                                              activation == CASK_ACT_PRELU ? slope[j] : 0);
            dx[j] = element_put(at->accumulate ? element_get(dx[j]) + value : value);
        }
    }
}

/* One copy of the loop per activation. */
#define EACH_ACTIVATION(activation, CALL)                                                          \
    switch (activation) {                                                                          \
    case CASK_ACT_RELU:                                                                            \
        CALL(CASK_ACT_RELU);                                                                       \
        return;                                                                                    \
    case CASK_ACT_PRELU:                                                                           \
        CALL(CASK_ACT_PRELU);                                                                      \
        return;                                                                                    \
    case CASK_ACT_SIGMOID:                                                                         \
        CALL(CASK_ACT_SIGMOID);                                                                    \
        return;                                                                                    \
    case CASK_ACT_HARD_SIGMOID:                                                                    \
        CALL(CASK_ACT_HARD_SIGMOID);                                                               \
        return;                                                                                    \
    case CASK_ACT_HARD_SWISH:                                                                      \
        CALL(CASK_ACT_HARD_SWISH);                                                                 \
        return;                                                                                    \
    case CASK_ACT_NONE:                                                                            \
        CALL(CASK_ACT_NONE);                                                                       \
        return;                                                                                    \
    }

static void forward(enum cask_activation activation, const float *slope, const void *x, void *y,
                    int64_t rows, int c)
{
#define CALL(kind) forward_as(kind, slope, x, y, rows, c)
    EACH_ACTIVATION(activation, CALL)
#undef CALL
}

static void backward(enum cask_activation activation, const struct cask_activation_block *at,
                     int64_t rows, int c)
{
#define CALL(kind) backward_as(kind, at, rows, c)
    EACH_ACTIVATION(activation, CALL)
#undef CALL
}

const struct cask_activation_kernels KERNEL(activation) = {.forward = forward,
                                                           .backward = backward};
