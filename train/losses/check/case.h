/* train/losses/check/case.h - a golden loss case, read and translated to the criterion's settings.
 *
 * One JSON file a case: method, options, inputs, loss, grad (central differences) and
 * grad_analytic. Options go through the same configuration rows as a training run's. Anything
 * unknown is an error.
 */
#ifndef CASK_TRAIN_LOSSES_CHECK_CASE_H
#define CASK_TRAIN_LOSSES_CHECK_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/json.h"
#include "common/status.h"
#include "train/criterion_config.h"

struct case_matrix {
    double *values; /* NULL: the case has none */
    int64_t rows, columns;
};

enum case_input {
    INPUT_Z,
    INPUT_Z_TEACHER,
    INPUT_F,
    INPUT_F_TEACHER,
    INPUT_W,
    INPUT_W_TEACHER,
    INPUT_MAP, /* M [D_T][D] of an embedding loss; its gradient is checked too */
    CASE_INPUTS
};
extern const char *const case_input_names[CASE_INPUTS];

struct check_case {
    char name[128];
    struct cask_json *json;
    struct cask_criterion_config *settings;
    struct cask_config *config;
    struct case_matrix inputs[CASE_INPUTS];
    struct case_matrix grad[CASE_INPUTS], analytic[CASE_INPUTS];
    uint32_t *labels;
    int batch;
    double loss;
    bool head;          /* a head's cross-entropy is part of the loss */
    const char *term;   /* loss in the registry; NULL: none */
    double weight;      /* of the term */
    int topk;           /* kd_topk_tail: the teacher is known at these only */
    double temperature; /* kd_topk_tail */
    int32_t (*triplets)[3];
    int triplet_count;
    double *thresholds[2]; /* ekd: student's and teacher's before the step */
    int threshold_count;
};

enum cask_status check_case_load(const char *path, struct check_case *out, struct cask_error *err);
void check_case_release(struct check_case *check);

#endif
