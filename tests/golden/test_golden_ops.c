/* tests/golden/test_golden_ops.c - ops against PyTorch's numbers (tests/golden/make_ops.py).
 *
 * A golden case names a family and its operands; feeding, running and comparing are generic.
 */
#include "common/mem.h"
#include "kernels/kernels.h"
#include "tests/support/golden.h"
#include "tests/support/ops/op.h"

static const char *const files[] = {"conv", "batchnorm", "activation", "reduce", "sgd"};

static int find_operand(const struct op_spec *spec, const char *name)
{
    int index = op_find(spec, name);
    if (index < 0) {
        fail_msg("no operand \"%s\"", name);
    }
    return index;
}

/* The numbers of an operand, whose count must be the operand's. The caller frees. */
static double *read_numbers(const struct cask_json *array, const struct op_operand *o)
{
    size_t count = cask_json_size(array);
    double *numbers = calloc(count > 0 ? count : 1, sizeof *numbers);
    assert_non_null(numbers);
    if (count != op_count(o)) {
        fail_msg("%s: expected %zu numbers, found %zu", o->name, op_count(o), count);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(cask_json_as_real(cask_json_at(array, i), &numbers[i]));
    }
    return numbers;
}

static void feed(struct op_run *run, const struct cask_json *operands)
{
    const char *name;
    const struct cask_json *array;
    for (void *at = NULL; (at = cask_json_next(operands, at, &name, &array)) != NULL;) {
        int index = find_operand(run->spec, name);
        double *numbers = read_numbers(array, &run->spec->operands[index]);
        op_upload(run, index, numbers);
        free(numbers);
    }
}

/* A gradient buffer may hold anything before data is written, and zero before it is added to. */
static void clear_gradients(struct op_run *run)
{
    for (int i = 0; i < run->spec->count; i++) {
        if (run->buffers[i].block != NULL && run->spec->operands[i].role == OP_PARAM_GRAD) {
            memset(op_data(run, i), 0, run->buffers[i].bytes);
        }
    }
}

static void compare(const struct op_run *run, const struct cask_json *operands, double tolerance)
{
    const char *name;
    const struct cask_json *array;
    for (void *at = NULL; (at = cask_json_next(operands, at, &name, &array)) != NULL;) {
        int index = find_operand(run->spec, name);
        const struct op_operand *o = &run->spec->operands[index];
        double *want = read_numbers(array, o), *got = calloc(op_count(o), sizeof *got);
        double largest = 0;
        assert_non_null(got);
        op_download(run, index, got);
        for (size_t j = 0; j < op_count(o); j++) {
            largest = fmax(largest, fabs(want[j]));
        }
        assert_true(largest > 0);
        for (size_t j = 0; j < op_count(o); j++) {
            if (!(fabs(got[j] - want[j]) <= tolerance * largest)) {
                fail_msg("%s: %s[%zu] is %.15g, PyTorch has %.15g", run->parsed->text, name, j,
                         got[j], want[j]);
            }
        }
        free(want);
        free(got);
    }
}

static void run_case(struct cask_device *device, const struct cask_json *golden, double tolerance)
{
    struct cask_error err;
    struct op_case parsed;
    const struct op_family *family;
    struct op_spec spec;
    struct op_run run;
    const char *text = NULL;
    const struct cask_json *runs = cask_json_get(golden, "runs");
    assert_true(cask_json_as_text(cask_json_get(golden, "case"), &text));
    assert_ok(op_case_parse(text, &parsed, &err));
    assert_ok(op_spec_build(&parsed, &family, &spec, &err));
    assert_ok(op_run_open(&run, device, &parsed, family, &spec, &err));
    assert_true(cask_json_size(runs) > 0);
    for (size_t i = 0; i < cask_json_size(runs); i++) {
        const struct cask_json *one = cask_json_at(runs, i);
        feed(&run, cask_json_get(one, "in"));
        clear_gradients(&run);
        assert_ok(op_forward(&run, &err));
        if (family->backward != NULL) {
            assert_ok(op_backward(&run, false, &err));
        }
        compare(&run, cask_json_get(one, "out"), tolerance);
    }
    op_run_close(&run);
}

static void run_file(struct cask_device *device, const char *name, double tolerance)
{
    char file[64];
    (void)snprintf(file, sizeof file, "ops/%s", name);
    struct cask_json *golden = golden_read(file);
    const struct cask_json *cases = cask_json_get(golden, "cases");
    assert_true(cask_json_size(cases) > 0);
    for (size_t i = 0; i < cask_json_size(cases); i++) {
        run_case(device, cask_json_at(cases, i), tolerance);
    }
    cask_json_free(golden);
}

static void run_all(const char *backend, double tolerance)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_device_options options = {
        .backend = backend, .threads = 1, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&options, &device, &err));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        run_file(device, files[i], tolerance);
    }
    cask_device_close(device);
}

/* PyTorch computed in double too: only the order of sums differs. */
static void ref64_agrees_with_pytorch(void **state)
{
    (void)state;
    run_all("ref64", 1e-12);
}

/* The longest sum has 54 terms, logits reach 64: 64 * 2^-23, with some room. */
static void ref_agrees_with_pytorch(void **state)
{
    (void)state;
    run_all("ref", 1e-5);
}

static void cpu_agrees_with_pytorch(void **state)
{
    (void)state;
    run_all("cpu", 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref64_agrees_with_pytorch),
        cmocka_unit_test(ref_agrees_with_pytorch),
        cmocka_unit_test(cpu_agrees_with_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
