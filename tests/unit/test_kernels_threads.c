/* tests/unit/test_kernels_threads.c - what an op computes does not depend on how many threads share
 * it, and the instruction set can be chosen. Shapes are large enough to be cut into many blocks. */
#include "kernels/kernels.h"
#include "kernels/shapes.h"
#include "tests/support/test.h"

enum { BATCH = 6, SIZE = 20, CHANNELS = 48, PARAMS = 8 };

struct machine {
    struct cask_device *device;
    const struct cask_ops *ops;
    struct cask_tensor x, y, dy, dx;
    float *params; /* PARAMS rows of CHANNELS */
    float *weight, *dweight;
    size_t weights;
};

static float noise(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return (float)(*state >> 8) / 8388608.0F - 1.0F;
}

static void fill(void *memory, size_t count, uint32_t seed)
{
    float *values = memory;
    for (size_t i = 0; i < count; i++) {
        values[i] = noise(&seed);
    }
}

static struct cask_tensor make_tensor(struct cask_device *device, int size, int channels,
                                      uint32_t seed)
{
    struct cask_tensor tensor = {NULL, CASK_F32, BATCH, size, size, channels};
    tensor.data = cask_buffer_alloc(device, cask_tensor_bytes(&tensor));
    assert_non_null(tensor.data);
    fill(tensor.data, cask_tensor_count(&tensor), seed);
    return tensor;
}

static struct machine open_machine(int threads, int out_size, int out_c, size_t weights)
{
    struct cask_error err;
    struct machine m = {.weights = weights};
    struct cask_device_options options = {
        .backend = "cpu", .threads = threads, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&options, &m.device, &err));
    m.ops = cask_device_ops(m.device);
    m.x = make_tensor(m.device, SIZE, CHANNELS, 1);
    m.dx = make_tensor(m.device, SIZE, CHANNELS, 2);
    m.y = make_tensor(m.device, out_size, out_c, 3);
    m.dy = make_tensor(m.device, out_size, out_c, 4);
    m.params = cask_buffer_alloc(m.device, PARAMS * CHANNELS * sizeof(float));
    m.weight = cask_buffer_alloc(m.device, weights * sizeof(float));
    m.dweight = cask_buffer_alloc(m.device, weights * sizeof(float));
    fill(m.params, PARAMS * CHANNELS, 5);
    fill(m.weight, weights, 6);
    fill(m.dweight, weights, 7);
    return m;
}

static void close_machine(struct machine *m)
{
    void *memory[] = {m->x.data, m->y.data, m->dy.data, m->dx.data,
                      m->params, m->weight, m->dweight};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) {
        cask_buffer_free(m->device, memory[i]);
    }
    cask_device_close(m->device);
}

static void assert_same_machines(const struct machine *a, const struct machine *b)
{
    assert_memory_equal(a->y.data, b->y.data, cask_tensor_bytes(&a->y));
    assert_memory_equal(a->dx.data, b->dx.data, cask_tensor_bytes(&a->dx));
    assert_memory_equal(a->params, b->params, PARAMS * CHANNELS * sizeof(float));
    assert_memory_equal(a->dweight, b->dweight, a->weights * sizeof(float));
}

/* ------------------------------------------------------------ convolution */

static void run_conv(struct machine *m, const struct cask_conv_desc *desc)
{
    struct cask_error err;
    struct cask_conv *conv;
    assert_ok(m->ops->conv_open(m->device, desc, &conv, &err));
    assert_ok(m->ops->conv_set_weights(conv, m->weight, NULL, &err));
    assert_ok(m->ops->conv_forward(conv, &m->x, &m->y, &err));
    assert_ok(m->ops->conv_backward_data(conv, &m->dy, &m->dx, true, &err));
    assert_ok(m->ops->conv_backward_weights(conv, &m->x, &m->dy, m->dweight, NULL, &err));
    m->ops->conv_close(conv);
}

static void same_conv_on_any_threads(int out_c, int kernel, int stride, int groups)
{
    int pad = kernel == 3 ? 1 : 0;
    struct cask_conv_desc desc = {.n = BATCH,
                                  .h = SIZE,
                                  .w = SIZE,
                                  .in_c = CHANNELS,
                                  .out_c = out_c,
                                  .kernel_h = kernel,
                                  .kernel_w = kernel,
                                  .stride = stride,
                                  .pad_top = pad,
                                  .pad_left = pad,
                                  .pad_bottom = pad,
                                  .pad_right = pad,
                                  .groups = groups};
    struct machine one =
        open_machine(1, cask_conv_out_h(&desc), out_c, cask_conv_weight_count(&desc));
    run_conv(&one, &desc);
    for (int threads = 2; threads <= 5; threads++) {
        struct machine many =
            open_machine(threads, cask_conv_out_h(&desc), out_c, cask_conv_weight_count(&desc));
        run_conv(&many, &desc);
        assert_same_machines(&one, &many);
        close_machine(&many);
    }
    close_machine(&one);
}

static void convolutions(void **state)
{
    (void)state;
    same_conv_on_any_threads(64, 3, 1, 1);
    same_conv_on_any_threads(40, 3, 2, 1);
    same_conv_on_any_threads(96, 1, 1, 1);
    same_conv_on_any_threads(96, 1, 2, 1);
    same_conv_on_any_threads(24, SIZE, 1, 1);
    same_conv_on_any_threads(CHANNELS, 3, 1, CHANNELS);
    same_conv_on_any_threads(CHANNELS, 3, 2, CHANNELS);
    same_conv_on_any_threads(CHANNELS, SIZE, 1, CHANNELS);
    same_conv_on_any_threads(CHANNELS, 3, 1, CHANNELS / 2);
}

/* ------------------------------------------------------------ normalisation */

static void run_batchnorm(struct machine *m)
{
    struct cask_error err;
    float *p = m->params;
    struct cask_batchnorm bn = {.eps = 1e-5,
                                .momentum = 0.1,
                                .activation = CASK_ACT_PRELU,
                                .gamma = m->weight,
                                .beta = m->weight + CHANNELS,
                                .slope = m->weight + 2 * CHANNELS,
                                .running_mean = p,
                                .running_var = p + CHANNELS,
                                .saved_mean = p + 2 * CHANNELS,
                                .saved_inv_std = p + 3 * CHANNELS};
    struct cask_batchnorm_grads grads = {p + 4 * CHANNELS, p + 5 * CHANNELS, p + 6 * CHANNELS};
    double squares;
    assert_ok(m->ops->batchnorm_train(m->device, &bn, &m->x, &m->y, &err));
    assert_ok(
        m->ops->batchnorm_backward(m->device, &bn, &m->x, &m->dy, &m->dx, true, &grads, &err));
    assert_ok(m->ops->activation_backward(m->device, CASK_ACT_PRELU, bn.slope, &m->x, &m->dy,
                                          &m->dx, true, p + 7 * CHANNELS, &err));
    assert_ok(
        m->ops->sum_squares(m->device, cask_tensor_count(&m->dx), m->dx.data, &squares, &err));
    m->dweight[0] = (float)squares;
}

static void normalisation_and_sums(void **state)
{
    (void)state;
    struct machine one = open_machine(1, SIZE, CHANNELS, 3 * CHANNELS);
    run_batchnorm(&one);
    assert_true(isfinite(one.dweight[0]) && one.dweight[0] > 0);
    for (int threads = 2; threads <= 5; threads++) {
        struct machine many = open_machine(threads, SIZE, CHANNELS, 3 * CHANNELS);
        run_batchnorm(&many);
        assert_same_machines(&one, &many);
        close_machine(&many);
    }
    close_machine(&one);
}

/* ------------------------------------------------------------------- choice */

static void instruction_sets(void **state)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_device_options options = {
        .backend = "cpu", .threads = 1, .precision = CASK_PRECISION_BF16};
    const char *before = getenv("CASK_CPU_ISA");
    char *saved = before != NULL ? strdup(before) : NULL;
    (void)state;
    assert_int_equal(setenv("CASK_CPU_ISA", "ref", 1), 0);
    assert_string_equal(cask_cpu_isa(), "scalar");
    assert_refused(CASK_ERR_UNSUPPORTED, "no bf16 instructions",
                   cask_device_open(&options, &device, &err));
    assert_null(device);
    assert_int_equal(setenv("CASK_CPU_ISA", "sse9", 1), 0);
    assert_refused(CASK_ERR_USAGE, "expected ref, avx2, avx512 or amx",
                   cask_device_open(&options, &device, &err));
    if (saved != NULL) {
        assert_int_equal(setenv("CASK_CPU_ISA", saved, 1), 0);
    } else {
        assert_int_equal(unsetenv("CASK_CPU_ISA"), 0);
    }
    free(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(normalisation_and_sums),
        cmocka_unit_test(instruction_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
