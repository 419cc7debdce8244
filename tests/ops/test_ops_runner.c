/* tests/ops/test_ops_runner.c - does the runner see a broken kernel?
 *
 * Each test takes "ref", spoils one op in one way, and expects op_check to say so.
 */
#include "kernels/backend.h"
#include "tests/support/ops/op.h"
#include "tests/support/test.h"

struct devices {
    struct op_devices all;
    struct cask_ops ops; /* of the tested device: the table of ref, to be spoilt */
};

static struct cask_device *open_device(const char *backend)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_device_options options = {.backend = backend, .threads = 1};
    assert_ok(cask_device_open(&options, &device, &err));
    return device;
}

static int open_devices(void **state)
{
    struct devices *devices = calloc(1, sizeof *devices);
    assert_non_null(devices);
    devices->all.oracle = open_device("ref64");
    devices->all.tested = open_device("ref");
    devices->ops = *devices->all.tested->ops;
    devices->all.tested->ops = &devices->ops;
    *state = devices;
    return 0;
}

static int close_devices(void **state)
{
    struct devices *devices = *state;
    cask_device_close(devices->all.oracle);
    cask_device_close(devices->all.tested);
    free(devices);
    return 0;
}

static const struct cask_ops *good(void)
{
    return cask_backend_ref.ops;
}

static void expect_seen(void **state, const char *text, const char *message)
{
    struct devices *devices = *state;
    struct cask_error err;
    assert_refused(CASK_ERR_MISMATCH, message, op_check(&devices->all, text, &err));
}

static enum cask_status add_off(struct cask_device *device, const struct cask_tensor *a,
                                const struct cask_tensor *b, const struct cask_tensor *y,
                                struct cask_error *err)
{
    enum cask_status st = good()->add(device, a, b, y, err);
    ((float *)y->data)[cask_tensor_count(y) - 1] *= 1.00001F;
    return st;
}

static void a_wrong_last_element(void **state)
{
    ((struct devices *)*state)->ops.add = add_off;
    expect_seen(state, "add n1 c17 h2 w2", "y[67 of 68]");
}

static enum cask_status add_beyond(struct cask_device *device, const struct cask_tensor *a,
                                   const struct cask_tensor *b, const struct cask_tensor *y,
                                   struct cask_error *err)
{
    enum cask_status st = good()->add(device, a, b, y, err);
    ((float *)y->data)[cask_tensor_count(y)] = 0;
    return st;
}

static void a_write_behind_the_end(void **state)
{
    ((struct devices *)*state)->ops.add = add_beyond;
    expect_seen(state, "add n1 c5", "wrote outside of y");
}

static enum cask_status add_into_input(struct cask_device *device, const struct cask_tensor *a,
                                       const struct cask_tensor *b, const struct cask_tensor *y,
                                       struct cask_error *err)
{
    enum cask_status st = good()->add(device, a, b, y, err);
    ((float *)b->data)[0] = 0;
    return st;
}

static void a_changed_input(void **state)
{
    ((struct devices *)*state)->ops.add = add_into_input;
    expect_seen(state, "add n1 c5", "changed one of its inputs");
}

static enum cask_status add_nothing(struct cask_device *device, const struct cask_tensor *a,
                                    const struct cask_tensor *b, const struct cask_tensor *y,
                                    struct cask_error *err)
{
    (void)device;
    (void)a;
    (void)b;
    (void)y;
    (void)err;
    return CASK_OK;
}

static void a_missing_write(void **state)
{
    ((struct devices *)*state)->ops.add = add_nothing;
    expect_seen(state, "add n1 c5", "is nan");
}

static enum cask_status pool_always_writes(struct cask_device *device, const struct cask_tensor *dy,
                                           const struct cask_tensor *dx, bool accumulate,
                                           struct cask_error *err)
{
    (void)accumulate;
    return good()->average_pool_backward(device, dy, dx, false, err);
}

static void a_data_gradient_that_is_not_added(void **state)
{
    ((struct devices *)*state)->ops.average_pool_backward = pool_always_writes;
    expect_seen(state, "average_pool n2 c3 h2 w2", "(second backward)");
}

static enum cask_status weights_written(struct cask_conv *conv, const struct cask_tensor *x,
                                        const struct cask_tensor *dy, void *dweight, void *dbias,
                                        struct cask_error *err)
{
    memset(dweight, 0, (size_t)x->c * (size_t)dy->c * sizeof(float));
    return good()->conv_backward_weights(conv, x, dy, dweight, dbias, err);
}

static void a_parameter_gradient_that_is_not_added(void **state)
{
    ((struct devices *)*state)->ops.conv_backward_weights = weights_written;
    expect_seen(state, "conv n2 c3 k5 h2 w2", "dweight");
}

static enum cask_status relu_loses_nan(struct cask_device *device, enum cask_activation activation,
                                       const void *slope, const struct cask_tensor *x,
                                       const struct cask_tensor *y, struct cask_error *err)
{
    (void)device;
    (void)activation;
    (void)slope;
    (void)err;
    for (size_t j = 0; j < cask_tensor_count(x); j++) {
        float value = ((const float *)x->data)[j];
        ((float *)y->data)[j] = value > 0 ? value : 0;
    }
    return CASK_OK;
}

static void a_lost_nan(void **state)
{
    ((struct devices *)*state)->ops.activation_forward = relu_loses_nan;
    expect_seen(state, "activation n2 c5 relu", "NaN is lost");
}

static enum cask_status squares_restless(struct cask_device *device, size_t count, const void *x,
                                         double *sum, struct cask_error *err)
{
    static double nudge = 0;
    enum cask_status st = good()->sum_squares(device, count, x, sum, err);
    nudge = nudge > 0 ? 0 : 1e-12;
    *sum += nudge;
    return st;
}

static void bits_that_change_from_run_to_run(void **state)
{
    ((struct devices *)*state)->ops.sum_squares = squares_restless;
    expect_seen(state, "sum_squares c31", "a repetition gives other bits");
}

/* One unit in the last place: within the bound for reals, not for integers. */
static enum cask_status gemm_slightly_off(struct cask_device *device, const struct cask_gemm *g,
                                          const void *a, const void *b, void *c,
                                          struct cask_error *err)
{
    enum cask_status st = good()->gemm(device, g, a, b, c, err);
    ((float *)c)[0] = nextafterf(((float *)c)[0], INFINITY);
    return st;
}

static void an_ulp_on_integers(void **state)
{
    ((struct devices *)*state)->ops.gemm = gemm_slightly_off;
    expect_seen(state, "gemm m4 n5 k6", "small integers");
}

/* Only pixel (0,0) of a 4 x 4 image is kept: dx is 15/16 zeros. */
static void a_case_that_says_nothing(void **state)
{
    expect_seen(state, "subsample n1 c3 h4 w4 s4", "vacuous");
}

static void a_good_backend_passes(void **state)
{
    struct devices *devices = *state;
    struct cask_error err;
    assert_ok(op_check(&devices->all, "conv n2 c3 k5 h4 w4 r3 p1 bias", &err));
}

static void a_misspelt_case(void **state)
{
    struct devices *devices = *state;
    struct cask_error err;
    assert_refused(CASK_ERR_USAGE, "nothing reads \"biass\"",
                   op_check(&devices->all, "conv n1 c1 k1 h1 w1 biass", &err));
    assert_refused(CASK_ERR_USAGE, "no such family", op_check(&devices->all, "konv n1", &err));
}

#define RUNNER_TEST(name) cmocka_unit_test_setup_teardown(name, open_devices, close_devices)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUNNER_TEST(a_good_backend_passes),
        RUNNER_TEST(a_wrong_last_element),
        RUNNER_TEST(a_write_behind_the_end),
        RUNNER_TEST(a_changed_input),
        RUNNER_TEST(a_missing_write),
        RUNNER_TEST(a_data_gradient_that_is_not_added),
        RUNNER_TEST(a_parameter_gradient_that_is_not_added),
        RUNNER_TEST(a_lost_nan),
        RUNNER_TEST(bits_that_change_from_run_to_run),
        RUNNER_TEST(an_ulp_on_integers),
        RUNNER_TEST(a_case_that_says_nothing),
        RUNNER_TEST(a_misspelt_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
