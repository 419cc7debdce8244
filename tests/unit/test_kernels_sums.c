/* tests/unit/test_kernels_sums.c - the sums of a batch norm's gradient over rows in cache
 * (kernels/cpu/norm.c, vector/lines.c, vector/pair_sums_native.h) against sums in double, at every
 * instruction set and in both types. Many x lie exactly where z is zero, the bend of PReLU: norms
 * rise, fall and stand still, and zero comes with either sign. */
#include "kernels/cpu/norm.h"
#include "tests/support/test.h"

/* Whole registers, a half and some; an odd number of rows, more than one run of them. */
enum { CHANNELS = 85, ROWS = 201, COUNT = ROWS * CHANNELS };

static float x[COUNT], dy[COUNT];
static char stored_x[COUNT * sizeof(float)], stored_dy[COUNT * sizeof(float)];
static float gamma_[CHANNELS], beta[CHANNELS], slope[CHANNELS], mean[CHANNELS], inv_std[CHANNELS];

/* Eighths: all arithmetic of a norm with them is exact in both types. */
static void fill(const struct cask_cpu_kernels *kernels)
{
    static const float scales[] = {1, -1, 0.5F, 0, -2}, shifts[] = {0, 0.25F, -0.25F, 0.5F};
    static const float means[] = {0, 0.5F, -1};
    uint32_t state = 3;
    for (int j = 0; j < CHANNELS; j++) {
        gamma_[j] = scales[j % 5];
        beta[j] = shifts[j % 4];
        mean[j] = means[j % 3];
        slope[j] = 0.25F * (float)(j % 7 - 2);
        inv_std[j] = j % 2 == 0 ? 1 : 2;
    }
    for (int i = 0; i < COUNT; i++) {
        state = state * 1664525U + 1013904223U;
        const float eighths = (float)(state >> 24 & 31) - 16;
        x[i] = eighths == 0 && (state >> 23 & 1) == 0 ? -0.0F : eighths / 8;
        dy[i] = (float)(state >> 16 & 127) / 64 - 1;
    }
    kernels->elementwise->from_float(x, stored_x, COUNT);
    kernels->elementwise->from_float(dy, stored_dy, COUNT);
}

struct expected {
    double dz, dz_d, slope, size; /* size: of all terms together */
};

static struct expected expect(enum cask_activation activation, int j)
{
    struct expected e = {0, 0, 0, 0};
    for (int i = j; i < COUNT; i += CHANNELS) {
        const double d = (double)x[i] - (double)mean[j], g = (double)dy[i];
        const double z = d * (double)gamma_[j] * (double)inv_std[j] + (double)beta[j];
        const double low = activation == CASK_ACT_RELU    ? 0
                           : activation == CASK_ACT_PRELU ? (double)slope[j]
                                                          : 1;
        const double dz = z > 0 ? g : low * g;
        e.dz += dz;
        e.dz_d += dz * d;
        e.slope += z > 0 ? 0 : z * g;
        e.size += fabs(g) * (1 + fabs((double)x[i]) + fabs((double)mean[j]) + fabs(z));
    }
    return e;
}

static void check_close(float found, double wanted, double size)
{
    assert_true(fabs((double)found - wanted) <= 1e-6 * size);
}

static void check(struct cask_cpu *cpu, enum cask_isa isa, enum cask_dtype dtype,
                  enum cask_activation activation)
{
    float dgamma[CHANNELS], dbeta[CHANNELS], dslope[CHANNELS]; /* there before: added to */
    float mean_dz[CHANNELS], pull[CHANNELS];
    for (int j = 0; j < CHANNELS; j++) {
        dgamma[j] = 3;
        dbeta[j] = -2;
        dslope[j] = 0.5F;
    }
    const struct cask_tensor stored = {
        .dtype = dtype, .n = ROWS, .h = 1, .w = 1, .c = CHANNELS, .data = stored_x};
    const struct cask_batchnorm norm = {.activation = activation,
                                        .gamma = gamma_,
                                        .beta = beta,
                                        .slope = slope,
                                        .saved_mean = mean,
                                        .saved_inv_std = inv_std,
                                        .saved_mean_dz = mean_dz,
                                        .saved_pull = pull};
    const struct cask_reduction reduction = {&norm, &stored, {dgamma, dbeta, dslope}};
    struct cask_sink sink = {.cpu = cpu,
                             .kernels = cask_isa_kernels(isa, dtype),
                             .dtype = dtype,
                             .c = CHANNELS,
                             .rows = ROWS};
    struct cask_error err;
    fill(sink.kernels);
    assert_ok(cask_norms_begin(cpu, CHANNELS, &err));
    assert_ok(cask_sink_reduce(&sink, &reduction, 1, 0, CHANNELS, &err));
    assert_ok(cask_sink_open(&sink, 1, &err));
    cask_sink_begin(&sink, 0, 0, NULL);
    cask_sink_rows(&sink, 0, 0, stored_dy, 0, ROWS);
    cask_sink_end(&sink, 0, 0);
    cask_sink_finish(&sink);
    for (int j = 0; j < CHANNELS; j++) {
        const struct expected e = expect(activation, j);
        check_close(dbeta[j], e.dz - 2, e.size);
        check_close(dgamma[j], e.dz_d * (double)inv_std[j] + 3, e.size * (double)inv_std[j]);
        check_close(dslope[j], (activation == CASK_ACT_PRELU ? e.slope : 0) + 0.5, e.size);
    }
}

static void sums_know_the_bend(void **state)
{
    struct cask_device *device = NULL;
    struct cask_error err;
    enum cask_isa most;
    (void)state;
    assert_ok(cask_isa_detect(&most, &err));
    assert_ok(cask_device_open(&(struct cask_device_options){"cpu", 1, CASK_PRECISION_FP32},
                               &device, &err));
    for (int isa = CASK_ISA_SCALAR; isa <= (int)most && isa <= CASK_ISA_AVX512; isa++) {
        for (int activation = CASK_ACT_NONE; activation <= CASK_ACT_PRELU; activation++) {
            check(cask_cpu_of(device), (enum cask_isa)isa, CASK_F32,
                  (enum cask_activation)activation);
            check(cask_cpu_of(device), (enum cask_isa)isa, CASK_BF16,
                  (enum cask_activation)activation);
        }
    }
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_know_the_bend)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
