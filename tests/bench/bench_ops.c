/* tests/bench/bench_ops.c - how fast single ops are, from the same text cases as tests/ops.
 *
 *     bench_ops [BACKEND [THREADS [fp32|bf16 [CASE...]]]]      default: cpu 1 fp32, the list below
 *
 * A row: milliseconds of forward and of backward (the best of several, weights already packed), the
 * multiply-adds and the bytes of forward a second, and what a convolution runs as.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "tests/support/ops/op.h"

/* What IResNet and MobileFaceNet spend their time in, at a batch of eight. */
static const char *const default_cases[] = {
    "conv n8 c3 h112 w112 k64 r3 p1",
    "conv n8 c64 h112 w112 k64 r3 s2 p1",
    "conv n8 c64 h56 w56 k64 r3 p1",
    "conv n8 c64 h56 w56 k128 r3 s2 p1",
    "conv n8 c128 h28 w28 k128 r3 p1",
    "conv n8 c256 h14 w14 k256 r3 p1",
    "conv n8 c512 h7 w7 k512 r3 p1",
    "conv n8 c512 h7 w7 k512 r7 bias",
    "conv n8 c64 h56 w56 k128 r1",
    "conv n8 c128 h28 w28 k128 r3 p1 g128",
    "conv n8 c256 h14 w14 k256 r3 p1 g256",
    "conv n8 c512 h7 w7 k512 r7 g512",
    "gemm m128 n8192 k512 tb single",
    "batchnorm n8 c64 h56 w56 prelu",
    "batchnorm n8 c256 h14 w14",
    "batchnorm_eval n8 c64 h56 w56 prelu",
    "activation n8 c64 h56 w56 prelu",
    "add n8 c64 h56 w56 onto_a",
    "l2norm n128 c512",
    "softmax n128 c8192",
    "sgd c4000000 momentum decay",
    NULL,
};

enum { LEAST_CALLS = 3 };
static const double seconds_per_measure = 0.3;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum cask_status measure(struct op_run *run, bool backward, double *best,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double begin = now();
    for (int calls = 0; calls < LEAST_CALLS || now() - begin < seconds_per_measure; calls++) {
        double start = now();
        CASK_TRY(backward ? run->family->backward(run, false, err)
                          : run->family->forward(run, err));
        double seconds = now() - start;
        *best = calls == 0 || seconds < *best ? seconds : *best;
    }
done:
    return st;
}

/* One call before the clock starts: pages are touched, primitives are warm. */
static enum cask_status measure_case(struct op_run *run, const struct op_values *fed,
                                     double *forward, double *backward, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int i = 0; i < run->spec->count; i++) {
        if (run->buffers[i].block != NULL) {
            op_upload(run, i, fed->of[i]);
        }
    }
    CASK_TRY(op_forward(run, err));
    CASK_TRY(measure(run, false, forward, err));
    if (run->family->backward != NULL) {
        CASK_TRY(measure(run, true, backward, err));
    }
done:
    return st;
}

/* A result sums `length` products for each of its elements. */
static void print_row(const struct op_run *run, double forward, double backward)
{
    double macs = 0, bytes = 0;
    for (int i = 0; i < run->spec->count; i++) {
        const struct op_operand *o = &run->spec->operands[i];
        bool result = o->role == OP_OUTPUT || o->role == OP_STATE;
        if (result || o->role == OP_INPUT) {
            bytes += (double)run->buffers[i].bytes;
        }
        if (result && (run->conv != NULL || run->family == &op_family_gemm)) {
            macs += (double)op_count(o) * o->length;
        }
    }
    printf("%-40s %9.3f %9.3f %9.1f %8.1f  %s\n", run->parsed->text, forward * 1e3, backward * 1e3,
           macs / forward * 1e-9, bytes / forward * 1e-9,
           run->conv ? run->ops->conv_describe(run->conv) : "");
}

static enum cask_status bench_case(struct cask_device *device, const char *text,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct op_case parsed;
    const struct op_family *family;
    struct op_spec spec;
    struct op_values fed = {0};
    struct op_run run = {0};
    double forward = 0, backward = 0;
    CASK_TRY(op_case_parse(text, &parsed, err));
    CASK_TRY(op_spec_build(&parsed, &family, &spec, err));
    CASK_TRY(op_values_alloc(&spec, &fed, err));
    op_values_fill(&parsed, &spec, OP_FILL_REAL, cask_device_activation_dtype(device) == CASK_BF16,
                   &fed);
    CASK_TRY(op_run_open(&run, device, &parsed, family, &spec, err));
    CASK_TRY(measure_case(&run, &fed, &forward, &backward, err));
    print_row(&run, forward, backward);
done:
    op_run_close(&run);
    op_values_free(&fed);
    return st;
}

int main(int argc, char **argv)
{
    enum cask_status st = CASK_OK;
    struct cask_error error, *err = &error;
    struct cask_device *device = NULL;
    struct cask_device_options options = {
        .backend = argc > 1 ? argv[1] : "cpu",
        .threads = argc > 2 ? atoi(argv[2]) : 1,
        .precision =
            argc > 3 && strcmp(argv[3], "bf16") == 0 ? CASK_PRECISION_BF16 : CASK_PRECISION_FP32,
    };
    const char *const *cases = argc > 4 ? (const char *const *)(argv + 4) : default_cases;
    char name[200];
    CASK_TRY(cask_device_open(&options, &device, err));
    cask_device_describe(device, name, sizeof name);
    printf("%s\n%-40s %9s %9s %9s %8s\n", name, "case", "fwd ms", "bwd ms", "GMAC/s", "GB/s");
    for (; *cases != NULL; cases++) {
        CASK_TRY(bench_case(device, *cases, err));
    }
done:
    if (st != CASK_OK) {
        cask_error_print(err, "bench_ops");
    }
    cask_device_close(device);
    return cask_status_exit_code(st);
}
