/* The probe: the pictures are those of FORMAT.md, the numbers those of the teacher's embeddings,
 * and another teacher says something else. Also the vector exponentials of the top-k search. */
#include "tests/support/test.h"

#include "common/mem.h"
#include "common/rng.h"
#include "precompute/precompute.h"

enum { SIDE = 32, DIM = 16 };
static char folder[256], weights[300];

static int setup(void **state)
{
    (void)state;
    struct cask_error err = {0};
    const struct cask_device_options cpu = {"cpu", 1, CASK_PRECISION_FP32};
    const struct cask_graph_options shape = {DIM, SIDE, SIDE};
    const struct cask_preprocess pixels = {CASK_RGB, 127.5, 127.5, SIDE, SIDE};
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    test_make_folder(folder);
    snprintf(weights, sizeof weights, "%s/teacher.safetensors", folder);
    assert_ok(cask_device_open(&cpu, &device, &err));
    assert_ok(cask_graph_build("mobilefacenet", &shape, &graph, &err));
    assert_ok(cask_net_create(graph, device, false, &net, &err));
    assert_ok(cask_net_init(net, 5, &err));
    assert_ok(cask_net_save(net, weights, &pixels, NULL, 0, &err));
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(folder);
    return 0;
}

static void open_teacher(int64_t batch, const char *preprocess, struct teacher *teacher)
{
    struct cask_error err = {0};
    const struct precompute_options options = {.teacher = "mobilefacenet",
                                               .weights = weights,
                                               .preprocess = preprocess,
                                               .backend = "cpu",
                                               .batch = batch,
                                               .threads = 1,
                                               .precision = CASK_PRECISION_FP32};
    assert_ok(teacher_open(&options, teacher, &err));
}

static struct cask_manifest probe(int64_t batch, const char *preprocess)
{
    struct cask_error err = {0};
    struct cask_manifest manifest = {.precision = "fp32"};
    struct teacher teacher = {0};
    open_teacher(batch, preprocess, &teacher);
    assert_ok(probe_teacher(&teacher, &manifest, &err));
    assert_int_equal(manifest.probe_count, CASK_PROBE_NUMBERS);
    teacher_close(&teacher);
    return manifest;
}

/* FORMAT.md 5.1 once more, with division and remainder as they are written there. */
static void picture(int n, float *pixels)
{
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            for (int c = 0; c < 3; c++) {
                int p =
                    (3 + 2 * n) * x + (11 - 3 * n) * y + x * y / (4 << n % 3) + 64 * c * (n + 1);
                int w = ((p % 512) + 512) % 512, byte = w < 256 ? w : 511 - w;
                *pixels++ = ((float)byte - 127.5f) / 127.5f;
            }
        }
    }
}

static void numbers_are_those_of_the_embeddings(void **state)
{
    (void)state;
    struct cask_error err = {0};
    static float pixels[SIDE * SIDE * 3], unit[CASK_PROBE_PICTURES][DIM];
    struct cask_manifest manifest = probe(4, "");
    struct teacher teacher = {0};
    open_teacher(1, "", &teacher);
    for (int n = 0; n < CASK_PROBE_PICTURES; n++) {
        double squares = 0;
        picture(n, pixels);
        assert_ok(cask_plan_forward(teacher.plan, pixels, 1, unit[n], &err));
        for (int d = 0; d < DIM; d++) {
            squares += (double)unit[n][d] * (double)unit[n][d];
        }
        for (int d = 0; d < DIM; d++) {
            unit[n][d] = (float)((double)unit[n][d] / sqrt(squares));
        }
    }
    teacher_close(&teacher);
    const double *number = manifest.probe;
    for (int j = 1; j < CASK_PROBE_PICTURES; j++) {
        for (int i = 0; i < j; i++) {
            double dot = 0;
            for (int d = 0; d < DIM; d++) {
                dot += (double)unit[i][d] * (double)unit[j][d];
            }
            assert_close(*number++, dot, 1e-6);
        }
    }
    for (int n = 0; n < CASK_PROBE_PICTURES; n++) {
        for (int d = 0; d < CASK_PROBE_COMPONENTS; d++) {
            assert_close(*number++, (double)unit[n][d], 1e-6);
        }
    }
}

static void only_another_teacher_differs(void **state)
{
    (void)state;
    struct cask_error err = {0};
    int overrides;
    struct cask_manifest one = probe(1, ""), many = probe(16, "");
    assert_ok(cask_manifest_compare(&one, &many, NULL, 0, &overrides, &err));
    for (int i = 0; i < CASK_PROBE_NUMBERS; i++) { /* far inside the tolerance */
        assert_close(many.probe[i], one.probe[i], 2e-6);
    }
    struct cask_manifest swapped = probe(4, "bgr:127.5:127.5");
    assert_refused(CASK_ERR_MISMATCH, "probe: expected ",
                   cask_manifest_compare(&one, &swapped, NULL, 0, &overrides, &err));
    struct cask_manifest scaled = probe(4, "rgb:120:127.5");
    assert_refused(CASK_ERR_MISMATCH, "(tolerance 2e-05)",
                   cask_manifest_compare(&one, &scaled, NULL, 0, &overrides, &err));
}

/* ---------------------------------------------------------------- exponentials */

/* Every instruction set that the CPU has, or CASK_CPU_ISA leaves; returns how many. */
static int levels(const struct class_scan *scans[3])
{
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    for (int n = 0; n < 3; n++) {
        scans[n] = class_scan_at(names[n]);
        if (strcmp(names[n], cask_cpu_isa()) == 0) {
            return n + 1;
        }
    }
    fail_msg("%s is no level", cask_cpu_isa());
    return 0;
}

static void exponentials_are_those_of_the_library(void **state)
{
    (void)state;
    const struct class_scan *scan = class_scan_at(cask_cpu_isa());
    for (double x = 0; x > -690; x = x * 1.01 - 0.0137) {
        float cosine = (float)(x / 690);
        double want = exp(690 * ((double)cosine - 0.0));
        assert_close(scan->exponentials(&cosine, 1, 690, 0.0) / want, 1.0, 1e-15);
    }
    const float lowest = -1;
    assert_true(scan->exponentials(&lowest, 1, 1e6, 1.0) < 1e-300);
    const float nan = NAN;
    assert_true(isnan(scan->exponentials(&nan, 1, 64, 0.5)));
    assert_close(scan->exponentials(&lowest, 0, 64, 0.5), 0, 0);
}

/* Every length around the vector's, in sums and in maxima. */
static void lengths_that_are_no_multiple(void **state)
{
    (void)state;
    enum { MOST = 100 };
    const struct class_scan *scan = class_scan_at(cask_cpu_isa());
    float cosines[MOST], most[MOST / CLASS_BLOCK + 1];
    for (int i = 0; i < MOST; i++) {
        cosines[i] = (float)cask_rng_uniform(3, 0, (uint64_t)i) * 2 - 1;
    }
    for (int64_t count = 1; count <= MOST; count++) {
        double want = 0;
        for (int64_t i = 0; i < count; i++) {
            want += exp(16 * ((double)cosines[i] - 1));
        }
        assert_close(scan->exponentials(cosines, count, 16, 1) / want, 1, 1e-14);
        scan->maxima(cosines, count, most);
        for (int64_t b = 0; b * CLASS_BLOCK < count; b++) {
            float largest = -2;
            for (int64_t i = b * CLASS_BLOCK; i < count && i < (b + 1) * CLASS_BLOCK; i++) {
                largest = cosines[i] > largest ? cosines[i] : largest;
            }
            assert_true(most[b] == largest);
        }
    }
}

static void every_level_has_the_same_bits(void **state)
{
    (void)state;
    enum { COUNT = 4096 + 13 };
    const struct class_scan *scans[3];
    float cosines[COUNT], most[2][COUNT / CLASS_BLOCK + 1] = {{0}, {0}};
    const int count = levels(scans);
    for (int i = 0; i < COUNT; i++) {
        cosines[i] = (float)cask_rng_uniform(4, 0, (uint64_t)i) * 2 - 1;
    }
    for (int n = 1; n < count; n++) {
        for (double factor = 0.5; factor < 1e5; factor *= 3) {
            const double want = scans[0]->exponentials(cosines, COUNT, factor, 1),
                         got = scans[n]->exponentials(cosines, COUNT, factor, 1);
            assert_true(want > 0);
            assert_memory_equal(&got, &want, sizeof want);
        }
        scans[0]->maxima(cosines, COUNT, most[0]);
        scans[n]->maxima(cosines, COUNT, most[1]);
        assert_true(most[0][COUNT / CLASS_BLOCK] > -1);
        assert_memory_equal(most[0], most[1], sizeof most[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_the_embeddings),
        cmocka_unit_test(only_another_teacher_differs),
        cmocka_unit_test(exponentials_are_those_of_the_library),
        cmocka_unit_test(lengths_that_are_no_multiple),
        cmocka_unit_test(every_level_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
