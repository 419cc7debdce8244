/* tests/support/ops/gradient.c - backward against central differences, in double.
 *
 * For L = sum over outputs of cotangent * output (or the loss itself), and every element v of every
 * input that has a gradient:
 *     dL/dv = (L(v + h) - L(v - h)) / 2h,   h = 1e-5
 * The truncation error is h^2/6 * L''' and the rounding error 1e-16 * L / h: both about 1e-11.
 */
#include <math.h>

#include "tests/support/ops/op.h"

static const double step = 1e-5, relative_bound = 1e-6;

static enum cask_status objective(struct op_run *run, const struct op_values *fed,
                                  struct op_values *results, double *sum, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(op_forward(run, err));
    *sum = 0;
    for (int i = 0; i < run->spec->count; i++) {
        const struct op_operand *o = &run->spec->operands[i];
        if (o->name != NULL && o->role == OP_COTANGENT) {
            op_download(run, o->of, results->of[o->of]);
            for (size_t j = 0; j < op_count(o); j++) {
                *sum += fed->of[i][j] * results->of[o->of][j];
            }
        } else if (o->name != NULL && o->role == OP_OUTPUT && o->type == OP_HOST) {
            op_download(run, i, results->of[i]);
            *sum += results->of[i][0];
        }
    }
done:
    return st;
}

static enum cask_status difference(struct op_run *run, struct op_values *fed,
                                   struct op_values *results, int input, size_t at, double *slope,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double kept = fed->of[input][at], above, below;
    fed->of[input][at] = kept + step;
    op_upload(run, input, fed->of[input]);
    CASK_TRY(objective(run, fed, results, &above, err));
    fed->of[input][at] = kept - step;
    op_upload(run, input, fed->of[input]);
    CASK_TRY(objective(run, fed, results, &below, err));
    *slope = (above - below) / (2 * step);
done:
    fed->of[input][at] = kept;
    op_upload(run, input, fed->of[input]);
    return st;
}

/* `given` is what backward gave for operand `index`, a gradient of input o->of. */
static enum cask_status check_gradient_of(struct op_run *run, struct op_values *fed,
                                          struct op_values *results, int index, const double *given,
                                          struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct op_operand *o = &run->spec->operands[index];
    double largest = 0;
    for (size_t j = 0; j < op_count(o); j++) {
        largest = fmax(largest, fabs(given[j]));
    }
    if (!(largest > 0)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH, "vacuous: %s is zero", o->name));
    }
    for (size_t j = 0; j < op_count(o); j++) {
        double slope = 0;
        CASK_TRY(difference(run, fed, results, o->of, j, &slope, err));
        if (!(fabs(slope - given[j]) <= relative_bound * largest)) {
            CASK_TRY(cask_error_set(err, CASK_ERR_MISMATCH,
                                    "%s[%zu] is %.12g, but the difference quotient is %.12g",
                                    o->name, j, given[j], slope));
        }
    }
done:
    return st;
}

static enum cask_status check_run(struct op_run *run, struct op_values *fed,
                                  struct op_values *first, struct op_values *second,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    int gradients = 0;
    CASK_TRY(op_execute(run, fed, first, second, err));
    for (int i = 0; i < run->spec->count; i++) {
        const struct op_operand *o = &run->spec->operands[i];
        if (o->name == NULL || (o->role != OP_DATA_GRAD && o->role != OP_PARAM_GRAD)) {
            continue;
        }
        for (size_t j = 0; o->role == OP_PARAM_GRAD && j < op_count(o); j++) {
            first->of[i][j] -= fed->of[i][j];
        }
        CASK_TRY(check_gradient_of(run, fed, second, i, first->of[i], err));
        gradients++;
    }
    if (gradients == 0) {
        CASK_TRY(cask_error_set(err, CASK_ERR_USAGE, "the case has no gradient"));
    }
done:
    return st;
}

enum cask_status op_check_gradient(struct cask_device *ref64, const char *text,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct op_case parsed;
    const struct op_family *family;
    struct op_spec spec;
    struct op_values fed = {0}, first = {0}, second = {0};
    struct op_run run = {0};
    CASK_TRY(op_case_parse(text, &parsed, err));
    CASK_TRY(op_spec_build(&parsed, &family, &spec, err));
    CASK_TRY(op_values_alloc(&spec, &fed, err));
    CASK_TRY(op_values_alloc(&spec, &first, err));
    CASK_TRY(op_values_alloc(&spec, &second, err));
    op_values_fill(&parsed, &spec, OP_FILL_REAL, false, &fed);
    CASK_TRY(op_run_open(&run, ref64, &parsed, family, &spec, err));
    CASK_TRY(check_run(&run, &fed, &first, &second, err));
done:
    op_run_close(&run);
    op_values_free(&fed);
    op_values_free(&first);
    op_values_free(&second);
    return st;
}
