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

INLINE vec vec_load(const element *from)
{
    return *(const loose_vec *)from;
}

INLINE void vec_store(element *to, vec value)
{
    *(loose_vec *)to = value;
}

/* See outer.c. */
enum { DEPTH = 1 };
typedef float cell;
typedef vec cells;

static inline cell cell_of(element first, element second)
{
    (void)second;
    return first;
}

INLINE cell cell_load(const element *from)
{
    return *from;
}

typedef vec both_vec;

INLINE both_vec both_narrow(vec first, vec second)
{
    (void)second;
    return first;
}

INLINE cells cells_of(both_vec both)
{
    return both;
}

INLINE void both_store(element *to, both_vec both, int row)
{
    (void)row;
    vec_store(to, both);
}

INLINE void cells_store(cell *to, cells value)
{
    *(loose_vec *)to = value;
}

INLINE cells cells_load(const cell *from)
{
    return *(const loose_vec *)from;
}

INLINE vec cells_madd(vec sum, cell a, cells b)
{
    return sum + a * b;
}

#endif
