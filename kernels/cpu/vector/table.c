/* kernels/cpu/vector/table.c - all kernels of one element type and one instruction set. */
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector/vector.h"

extern const struct cask_batchnorm_kernels KERNEL(batchnorm);
extern const struct cask_activation_kernels KERNEL(activation);
extern const struct cask_line_kernels KERNEL(lines);
extern const struct cask_depthwise_kernels KERNEL(depthwise);
extern const struct cask_elementwise_kernels KERNEL(elementwise);
extern const struct cask_row_kernels KERNEL(rows);
extern const struct cask_max_pool_kernels KERNEL(max_pool);
extern const struct cask_cell_kernels KERNEL(cells);
extern const struct cask_outer_kernels KERNEL(outer);
extern const struct cask_inner_kernels KERNEL(inner);

const struct cask_cpu_kernels KERNEL(kernels) = {.lanes = LANES,
                                                 .batchnorm = &KERNEL(batchnorm),
                                                 .activation = &KERNEL(activation),
                                                 .lines = &KERNEL(lines),
                                                 .depthwise = &KERNEL(depthwise),
                                                 .elementwise = &KERNEL(elementwise),
                                                 .rows = &KERNEL(rows),
                                                 .max_pool = &KERNEL(max_pool),
                                                 .cells = &KERNEL(cells),
                                                 .outer = &KERNEL(outer),
                                                 .inner = &KERNEL(inner)};
