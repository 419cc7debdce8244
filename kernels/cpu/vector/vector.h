/* kernels/cpu/vector/vector.h - what every vector kernel starts from.
 *
 * The files of this folder are plain C. Each is compiled six times: for two element types (f32,
 * bf16) and three instruction sets (baseline, AVX2+FMA, AVX-512); CMakeLists.txt gives
 * CASK_ELEMENT, its header, CASK_ISA, the width and number of its registers, and the flags. A file
 * is right for any number of lanes. It defines one table of functions, named KERNEL(topic).
 *
 * Kernels are serial, see one block of memory, and know nothing of threads: how an op is cut into
 * blocks and in which order partial sums meet is decided one level up, once for all variants.
 */
#ifndef CASK_KERNELS_CPU_VECTOR_H
#define CASK_KERNELS_CPU_VECTOR_H

#include <stdint.h>

/* Into its caller, whose constants it then sees. */
#define INLINE static inline __attribute__((always_inline))

/* The floats of a register, and how many such registers there are. Wider types than a register's
 * would be split by the compiler, and badly: much of them would live on the stack. */
enum { LANES = CASK_LANES, REGISTERS = CASK_REGISTERS, VECTOR_BYTES = 4 * LANES };
typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
typedef float loose_vec __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

#include CASK_ELEMENT_HEADER

#define KERNEL__(name, element, isa) cask_##name##_##element##_##isa
#define KERNEL_(name, element, isa) KERNEL__(name, element, isa)
#define KERNEL(name) KERNEL_(name, CASK_ELEMENT, CASK_ISA)

INLINE vec vec_load_f32(const float *from)
{
    return *(const loose_vec *)from;
}

INLINE void vec_store_f32(float *to, vec value)
{
    *(loose_vec *)to = value;
}

/* Lane by lane: a where the mask is set (all bits, as comparisons give it), else b. */
typedef int32_t mask_vec __attribute__((vector_size(VECTOR_BYTES)));
INLINE vec vec_select(mask_vec mask, vec a, vec b)
{
    return (vec)((mask & (mask_vec)a) | (~mask & (mask_vec)b));
}

#endif
