/* tests/bench/bench.h - what benchmarks share: the best of several runs, the matmul peak that they
 * are compared with, and one line about the machine. */
#ifndef CASK_TESTS_BENCH_BENCH_H
#define CASK_TESTS_BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"
#include "common/thread.h"
#include "kernels/kernels.h"

/* Seconds of the fastest of `repeats` calls, after one that is not counted: shared machines only
 * ever make things slower. */
typedef enum cask_status (*bench_action)(void *user, struct cask_error *err);
static inline enum cask_status bench_best(bench_action act, void *user, int64_t repeats,
                                          double *best, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *best = 1e30;
    CASK_TRY(act(user, err));
    for (int64_t i = 0; i < repeats; i++) {
        double start = cask_now();
        CASK_TRY(act(user, err));
        double seconds = cask_now() - start;
        *best = seconds < *best ? seconds : *best;
    }
done:
    return st;
}

static inline void bench_fill(float *values, size_t count, uint64_t stream)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)cask_rng_normal(1, stream, i);
    }
}

struct bench_matmul {
    struct cask_device *device;
    struct cask_gemm gemm;
    void *a, *b, *c;
};

static inline enum cask_status bench_matmul_some(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct bench_matmul *m = user;
    for (int i = 0; i < 20; i++) {
        CASK_TRY(cask_device_ops(m->device)->gemm(m->device, &m->gemm, m->a, m->b, m->c, err));
    }
done:
    return st;
}

/* GFLOP/s of a 512^3 product in the device's activation type. */
static inline enum cask_status bench_peak(struct cask_device *device, int64_t repeats,
                                          double *gflops, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum { N = 512 };
    enum cask_dtype type = cask_device_activation_dtype(device);
    struct bench_matmul m = {
        .device = device,
        .gemm = {.m = N, .n = N, .k = N, .alpha = 1, .in_dtype = type, .out_dtype = CASK_F32}};
    m.a = cask_buffer_alloc(device, sizeof(float) * N * N);
    m.b = cask_buffer_alloc(device, sizeof(float) * N * N);
    m.c = cask_buffer_alloc(device, sizeof(float) * N * N);
    double best = 0;
    if (m.a == NULL || m.b == NULL || m.c == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof(float) * N * N, "the matmul peak"));
    }
    CASK_TRY(bench_best(bench_matmul_some, &m, 3 * repeats, &best, err));
    *gflops = 20 * 2e-9 * N * N * N / best;
done:
    cask_buffer_free(device, m.a);
    cask_buffer_free(device, m.b);
    cask_buffer_free(device, m.c);
    return st;
}

/* CPU, vector kernels, whether the matrix unit is there, and how busy the machine was. */
static inline void bench_machine(void)
{
    char line[512], model[128] = "unknown CPU";
    bool amx = false;
    double load[1] = {-1};
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (colon != NULL && strncmp(line, "model name", 10) == 0) {
            snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        }
        amx = amx || strstr(line, " amx_bf16") != NULL;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (getloadavg(load, 1) != 1) {
        load[0] = -1;
    }
    printf("%s, %d CPUs, vector kernels %s, %s, load %.2f\n", model, cask_cpu_count(),
           cask_cpu_isa(), amx ? "AMX" : "no AMX", load[0]);
}

#endif
