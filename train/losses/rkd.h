/* train/losses/rkd.h - the two halves of relational KD (Park et al. 2019), shared by three rows. */
#ifndef CASK_TRAIN_LOSSES_RKD_H
#define CASK_TRAIN_LOSSES_RKD_H

#include "train/losses/losses.h"

struct rkd_options {
    bool normalise, mean_scale;
    int denominator; /* 0: B*B, 1: B*(B-1) */
    double weight_d, weight_a;
};

/* Gram matrices of the chosen rows. */
struct rkd_step {
    int batch;
    const double *student, *teacher;
    double *d_student;
    double weight;
    struct cask_device *device;
};

#define rkd_distance NAME(cask_rkd_distance)
#define rkd_angle NAME(cask_rkd_angle)

double rkd_distance(const struct rkd_step *step, bool mean_scale, bool ordered_pairs);
double rkd_angle(const struct rkd_step *step);

#endif
