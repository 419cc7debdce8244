/* kernels/cpu/vector/element_f32.h - activations are floats. */
#ifndef CASK_KERNELS_CPU_ELEMENT_H
#define CASK_KERNELS_CPU_ELEMENT_H

typedef float element;

static inline float element_get(element stored)
{
    return stored;
}

static inline element element_put(float value)
{
    return value;
}

#endif
