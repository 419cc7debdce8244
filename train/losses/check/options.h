/* train/losses/check/options.h - private to check_loss. */
#ifndef CASK_TRAIN_LOSSES_CHECK_OPTIONS_H
#define CASK_TRAIN_LOSSES_CHECK_OPTIONS_H

#include "train/losses/check/case.h"

/* Sets check->config, head, term, weight and the method's own inputs from a case's options. */
enum cask_status check_case_options(struct check_case *check, const char *method,
                                    const struct cask_json *options, struct cask_error *err);

#endif
