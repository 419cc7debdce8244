/* train/losses/rows.h - reductions over a run of values; the inner loops that must vectorise.
 *
 * Sums run in `real` over at most TILE values, the caller adds them up in double.
 */
#ifndef CASK_TRAIN_LOSSES_ROWS_H
#define CASK_TRAIN_LOSSES_ROWS_H

#include "train/losses/two_group.h"

#define rows_range NAME(cask_rows_range)
#define rows_sum_exp NAME(cask_rows_sum_exp)
#define rows_add_exp NAME(cask_rows_add_exp)
#define rows_scale_clip NAME(cask_rows_scale_clip)
#define rows_unit NAME(cask_rows_unit)
#define rows_unit_backward NAME(cask_rows_unit_backward)
#define rows_dot NAME(cask_rows_dot)
#define rows_dot_double NAME(cask_rows_dot_double)

/* Lowers *low and raises *high to cover x. */
void rows_range(const real *x, int64_t count, real *low, real *high);
/* sum exp((x - high) * factor) */
double rows_sum_exp(const real *x, int64_t count, double high, double factor);
/* sum_j += by * exp((x_j - high) * factor - log_sum) */
void rows_add_exp(const real *x, int64_t count, double factor, double high, double log_sum,
                  double by, real *sum);
/* x_j = clip(x_j * scale_j, -1, 1); NaN stays NaN. */
void rows_scale_clip(real *x, const real *scale, int64_t count);
/* e = f / max(|f|, 1e-12), norm = |f|, row by row. */
void rows_unit(const real *raw, int batch, int dim, real *unit, real *norm);
/* d_raw += (G - (G.e) e) / |f|; nothing for rows without a direction (|f| < 1e-12). */
void rows_unit_backward(const real *unit, const real *norm, const real *d_unit, int batch, int dim,
                        real *d_raw);
double rows_dot(const real *a, const real *b, int64_t count);
double rows_dot_double(const real *a, const real *b, int64_t count); /* summed up in double */

#endif
