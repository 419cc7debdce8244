/* train/losses/check/run.h - private to check_loss. */
#ifndef CASK_TRAIN_LOSSES_CHECK_RUN_H
#define CASK_TRAIN_LOSSES_CHECK_RUN_H

#include "kernels/kernels.h"
#include "train/losses/check/case.h"

/* What an engine made of a case; matrices as double, caller releases. */
struct check_run {
    double loss;
    struct case_matrix gradient[CASE_INPUTS];
};
enum cask_status check_run(const struct check_case *check, struct cask_device *device,
                           struct check_run *run, struct cask_error *err);
void check_run_release(struct check_run *run);

#endif
