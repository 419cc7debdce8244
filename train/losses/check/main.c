/* train/losses/check/main.c - check_loss FILE...: golden loss cases through every number type.
 *
 * A line a case and number type: name, type, relative error of the loss, worst error of a gradient
 * over its largest entry, ok or FAIL. Exit 0 only if all passed.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/losses/check/run.h"

/* Bounds for double: against central differences, and against analytic values; for float. */
static const double numeric_bound = 1e-8, analytic_bound = 1e-11, float_bound = 1e-5;
/* What rounding leaves in the files themselves, which were written in double: differences of two
 * probabilities, times scales up to 64 and T^2. It decides only where loss or gradient is nearly 0.
 */
static const double file_rounding = 1024 * DBL_EPSILON;

/* Why a case passed although it is beyond the plain bound. */
enum allowance { NOTHING, OWN_DIFFERENCES, ROUNDING };
static const char *const allowance_text[] = {
    "", ", its central differences are that far from its own analytic gradient",
    ", all of it below the rounding of the file"};

struct gap {
    double worst, largest; /* max|got - want|, max|want| */
};

static struct gap gap_of(const struct case_matrix *got, const struct case_matrix *want)
{
    struct gap gap = {.worst = got->values == NULL ? NAN : 0};
    const int64_t count = got->values == NULL ? 0 : want->rows * want->columns;
    for (int64_t j = 0; j < count; j++) {
        double error = fabs(got->values[j] - want->values[j]);
        gap.worst = error <= gap.worst ? gap.worst : error; /* NaN stays */
        gap.largest = fmax(gap.largest, fabs(want->values[j]));
    }
    return gap;
}

static double relative(struct gap gap)
{
    return gap.largest > 0 ? gap.worst / gap.largest : gap.worst;
}

/* Is the gap within bound * max|want|? If not, `own`, how far the case's two gradients are apart,
 * and the file's rounding may still explain it. */
static bool within(struct gap gap, double bound, double own, double rounding,
                   enum allowance *allowance)
{
    if (gap.worst <= bound * gap.largest) {
        return true;
    }
    if (gap.worst <= (bound + own) * gap.largest) {
        *allowance = OWN_DIFFERENCES;
        return true;
    }
    *allowance = ROUNDING;
    return gap.worst <= bound * gap.largest + rounding;
}

static bool compare(const struct check_case *check, const struct check_run *run, const char *type,
                    bool f32)
{
    const struct gap loss = {fabs(run->loss - check->loss), fabs(check->loss)};
    enum allowance allowance = NOTHING;
    double worst = 0;
    int compared = 0;
    bool ok = within(loss, f32 ? float_bound : analytic_bound, 0, file_rounding, &allowance);
    for (int i = 0; i < CASE_INPUTS; i++) {
        const bool numeric = check->grad[i].values != NULL;
        const bool analytic = check->analytic[i].values != NULL;
        if (numeric) {
            const struct gap gap = gap_of(&run->gradient[i], &check->grad[i]);
            const double own =
                analytic && !f32 ? relative(gap_of(&check->analytic[i], &check->grad[i])) : 0;
            ok = within(gap, f32 ? float_bound : numeric_bound, own, file_rounding, &allowance) &&
                 ok;
            worst = relative(gap) <= worst ? worst : relative(gap);
        }
        if (analytic) {
            const struct gap gap = gap_of(&run->gradient[i], &check->analytic[i]);
            ok =
                within(gap, f32 ? float_bound : analytic_bound, 0, file_rounding, &allowance) && ok;
            worst = numeric || relative(gap) <= worst ? worst : relative(gap);
        }
        compared += numeric + analytic;
    }
    ok = ok && compared > 0;
    printf("%-28s %-6s loss %.2e gradient %.2e %s%s\n", check->name, type, relative(loss), worst,
           ok ? "ok" : "FAIL", ok ? allowance_text[allowance] : "");
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
