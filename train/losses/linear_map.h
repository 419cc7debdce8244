/* train/losses/linear_map.h - y = M f, for students whose embedding is not as long as the
 * teacher's.
 *
 * M [D_T x D] has no bias and starts uniform in +-0.005, as the 1x1 map of lenscloth/RKD's FitNet.
 * It learns with the run's own rate, momentum and decay and is used for nothing but its loss.
 */
#ifndef CASK_TRAIN_LOSSES_LINEAR_MAP_H
#define CASK_TRAIN_LOSSES_LINEAR_MAP_H

#include "train/losses/losses.h"

struct linear_map {
    int from, to;                         /* D, D_T */
    real *weight, *momentum, *d_weight;   /* [to][from] */
    real *y, *unit, *norm, *d_y, *d_unit; /* [batch][to], norm [batch] */
};

#define linear_map_create NAME(cask_linear_map_create)
#define linear_map_free NAME(cask_linear_map_free)
#define linear_map_forward NAME(cask_linear_map_forward)
#define linear_map_backward NAME(cask_linear_map_backward)

/* `stream` keeps the draws of several maps apart. */
enum cask_status linear_map_create(const struct cask_engine_facts *facts, uint64_t stream,
                                   struct linear_map **map, struct cask_error *err);
void linear_map_free(struct linear_map *map); /* accepts NULL */
/* Fills y, its unit rows and norms; clears d_y and d_unit. */
void linear_map_forward(struct linear_map *map, const struct loss_step *step);
/* From d_y + what d_unit says: step->d_raw += d_y M, d_weight = d_y^T f. */
void linear_map_backward(struct linear_map *map, const struct loss_step *step);

#endif
