/* tests/ops/test_ops_table.c - every op case of tests/support/ops/table.c on every CPU backend,
 * against ref64. All failing cases are printed, not only the first. */
#include "kernels/kernels.h"
#include "tests/support/ops/op.h"
#include "tests/support/test.h"

static struct cask_device *oracle;
static int every = 1; /* n: a slow tool is shown each n-th case */

static int open_oracle(void **state)
{
    struct cask_error err;
    struct cask_device_options options = {.backend = "ref64"};
    (void)state;
    return cask_device_open(&options, &oracle, &err) == CASK_OK ? 0 : -1;
}

static int close_oracle(void **state)
{
    (void)state;
    cask_device_close(oracle);
    return 0;
}

static void run_table(const struct op_devices *devices)
{
    struct cask_error err;
    char name[200];
    int cases = 0, failures = 0;
    cask_device_describe(devices->tested, name, sizeof name);
    for (int i = 0; op_cases[i] != NULL; i++) {
        if (i % every != 0) {
            continue;
        }
        if (op_check(devices, op_cases[i], &err) != CASK_OK) {
            print_error("FAILED %s: %s\n", op_cases[i], err.message);
            failures++;
        }
        cases++;
    }
    print_message("%s: %d of %d cases pass\n", name, cases - failures, cases);
    assert_int_equal(failures, 0);
    assert_true(cases > 100 / every);
}

static void test_backend(const char *backend, enum cask_precision precision)
{
    struct cask_error err;
    struct op_devices devices = {.oracle = oracle};
    struct cask_device_options options = {.backend = backend, .threads = 1, .precision = precision};
    enum cask_status st = cask_device_open(&options, &devices.tested, &err);
    if (st == CASK_ERR_UNSUPPORTED) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    assert_ok(st);
    options.threads = 2;
    assert_ok(cask_device_open(&options, &devices.threaded, &err));
    run_table(&devices);
    cask_device_close(devices.tested);
    cask_device_close(devices.threaded);
}

static void ref_float(void **state)
{
    (void)state;
    test_backend("ref", CASK_PRECISION_FP32);
}

static void cpu_fp32(void **state)
{
    (void)state;
    test_backend("cpu", CASK_PRECISION_FP32);
}

static void cpu_bf16(void **state)
{
    (void)state;
    test_backend("cpu", CASK_PRECISION_BF16);
}

/* An argument such as "cpu_*" selects backends; "5" behind it takes each fifth case. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_float),
        cmocka_unit_test(cpu_fp32),
        cmocka_unit_test(cpu_bf16),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    if (argc > 2) {
        every = atoi(argv[2]) > 1 ? atoi(argv[2]) : 1;
    }
    return cmocka_run_group_tests(tests, open_oracle, close_oracle);
}
