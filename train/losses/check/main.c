/* train/losses/check/main.c - check_loss FILE...: golden loss cases through every number type.
 *
 * A line a case and number type: name, type, relative error of the loss, worst error of a gradient
 * over its largest entry, ok or FAIL. Exit 0 only if all passed.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/losses/check/run.h"

/* Bounds for double: against central differences, and against analytic values; for float. A case
 * says how far its own two gradients are apart; its central differences are not held to more than
 * that. */
static const double numeric_bound = 1e-8, analytic_bound = 1e-11, float_bound = 1e-5;

/* max|got - want| / max|want|; a gradient that is zero everywhere is compared as it is. */
static double gradient_error(const struct case_matrix *got, const struct case_matrix *want)
{
    double largest = 0, worst = 0;
    const int64_t count = want->rows * want->columns;
    if (got->values == NULL) {
        return NAN;
    }
    for (int64_t j = 0; j < count; j++) {
        double error = fabs(got->values[j] - want->values[j]);
        worst = error <= worst ? worst : error; /* NaN stays */
        largest = fmax(largest, fabs(want->values[j]));
    }
    return largest > 0 ? worst / largest : worst;
}

static double own_error(const struct check_case *check, int input)
{
    return check->analytic[input].values != NULL
               ? gradient_error(&check->analytic[input], &check->grad[input])
               : 0;
}

static bool compare(const struct check_case *check, const struct check_run *run, const char *type,
                    bool f32)
{
    const double scale = fabs(check->loss);
    const double loss = fabs(run->loss - check->loss) / (scale > 0 ? scale : 1);
    double worst = 0;
    int compared = 0;
    bool ok = loss <= (f32 ? float_bound : analytic_bound);
    for (int i = 0; i < CASE_INPUTS; i++) {
        if (check->grad[i].values != NULL) {
            double error = gradient_error(&run->gradient[i], &check->grad[i]);
            ok = ok && error <= (f32 ? float_bound : numeric_bound + own_error(check, i));
            worst = error <= worst ? worst : error;
            compared++;
        }
        if (check->analytic[i].values != NULL) {
            double error = gradient_error(&run->gradient[i], &check->analytic[i]);
            ok = ok && error <= (f32 ? float_bound : analytic_bound);
            worst = check->grad[i].values != NULL || error <= worst ? worst : error;
            compared++;
        }
    }
    ok = ok && compared > 0;
    printf("%-28s %-14s loss %.2e gradient %.2e %s\n", check->name, type, loss, worst,
           ok ? "ok" : "FAIL");
    return ok;
}

static bool run_case(const char *path)
{
    static const char *const backends[] = {"ref64", "ref", "cpu"};
    struct cask_error err;
    struct check_case check;
    bool ok = true;
    if (check_case_load(path, &check, &err) != CASK_OK) {
        cask_error_print(&err, "check_loss");
        return false;
    }
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        const struct cask_device_options options = {
            .backend = backends[i], .threads = 2, .precision = CASK_PRECISION_FP32};
        struct cask_device *device = NULL;
        struct check_run run = {0};
        if (cask_device_open(&options, &device, &err) != CASK_OK ||
            check_run(&check, device, &run, &err) != CASK_OK) {
            cask_error_prefix(&err, "%s, %s", path, backends[i]);
            cask_error_print(&err, "check_loss");
            ok = false;
        } else {
            ok = compare(&check, &run, backends[i], strcmp(backends[i], "ref64") != 0) && ok;
        }
        check_run_release(&run);
        cask_device_close(device);
    }
    check_case_release(&check);
    return ok;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: check_loss FILE...\nruns golden loss cases (JSON) in double, float "
                        "and on the cpu backend\n");
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    for (int i = 1; i < argc; i++) {
        failed += !run_case(argv[i]);
    }
    fflush(stdout);
    fprintf(stderr, "check_loss: %d of %d cases passed\n", argc - 1 - failed, argc - 1);
    return failed == 0 ? 0 : 3;
}
