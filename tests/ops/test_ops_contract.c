/* tests/ops/test_ops_contract.c - the sentences of kernels.h that a table of random cases does not
 * reach, on every backend: what is refused, what may be NULL, and the odd values. */
#include "kernels/kernels.h"
#include "tests/support/ops/op.h"
#include "tests/support/test.h"

static const char *const backends[] = {"ref64", "ref", "cpu"};

/* One case on one backend, for a test that sets its own values. */
struct bench {
    struct cask_device *device;
    struct op_case parsed;
    const struct op_family *family;
    struct op_spec spec;
    struct op_run run;
};

static struct cask_device *open_device(const char *backend)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_device_options options = {
        .backend = backend, .threads = 1, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&options, &device, &err));
    return device;
}

static void bench_open(struct bench *b, const char *backend, const char *text)
{
    struct cask_error err;
    b->device = open_device(backend);
    assert_ok(op_case_parse(text, &b->parsed, &err));
    assert_ok(op_spec_build(&b->parsed, &b->family, &b->spec, &err));
    assert_ok(op_run_open(&b->run, b->device, &b->parsed, b->family, &b->spec, &err));
}

static void bench_close(struct bench *b)
{
    op_run_close(&b->run);
    cask_device_close(b->device);
}

static int index_of(const struct bench *b, const char *name)
{
    int index = op_find(&b->spec, name);
    assert_true(index >= 0);
    return index;
}

static void set(struct bench *b, const char *name, const double *values)
{
    op_upload(&b->run, index_of(b, name), values);
}

static void expect(const struct bench *b, const char *name, const double *want, double relative)
{
    int index = index_of(b, name);
    double got[128];
    assert_true(op_count(&b->spec.operands[index]) <= 128);
    op_download(&b->run, index, got);
    for (size_t j = 0; j < op_count(&b->spec.operands[index]); j++) {
        assert_close(got[j], want[j], relative * fabs(want[j]));
    }
}

#define EACH_BACKEND(backend)                                                                      \
    for (size_t each_ = 0; each_ < sizeof backends / sizeof backends[0]; each_++)                  \
        for (const char *backend = backends[each_]; backend != NULL; backend = NULL)

static void every_op_is_offered(void **state)
{
    (void)state;
    EACH_BACKEND(backend)
    {
        struct cask_device *device = open_device(backend);
        /* The table is a name and function pointers, all as wide as a pointer. */
        unsigned char members[sizeof(struct cask_ops)], none[sizeof(void *)] = {0};
        memcpy(members, cask_device_ops(device), sizeof members);
        for (size_t i = 0; i < sizeof members; i += sizeof none) {
            if (memcmp(members + i, none, sizeof none) == 0) {
                fail_msg("backend %s: member %zu of cask_ops is NULL", backend, i / sizeof none);
            }
        }
        assert_string_equal(cask_device_ops(device)->name, backend);
        cask_device_close(device);
    }
}

static void a_device_says_what_it_is(void **state)
{
    char text[200];
    (void)state;
    EACH_BACKEND(backend)
    {
        struct cask_device *device = open_device(backend);
        cask_device_describe(device, text, sizeof text);
        assert_memory_equal(text, backend, strlen(backend));
        enum cask_dtype want = strcmp(backend, "ref64") == 0 ? CASK_F64 : CASK_F32;
        assert_int_equal(cask_device_activation_dtype(device), want);
        assert_int_equal(cask_device_parameter_dtype(device), want);
        assert_int_equal(cask_device_threads(device), 1);
        cask_device_close(device);
    }
}

static void wrong_device_options_are_refused(void **state)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_device_options options = {.backend = "cuda"};
    (void)state;
    assert_refused(CASK_ERR_USAGE, "cpu, ref, ref64", cask_device_open(&options, &device, &err));
    assert_null(device);
    options.backend = NULL;
    assert_refused(CASK_ERR_USAGE, "cpu, ref, ref64", cask_device_open(&options, &device, &err));
    options = (struct cask_device_options){.backend = "ref", .threads = -1};
    assert_refused(CASK_ERR_RANGE, "threads", cask_device_open(&options, &device, &err));
    options = (struct cask_device_options){.backend = "ref", .precision = CASK_PRECISION_BF16};
    assert_refused(CASK_ERR_UNSUPPORTED, "bf16", cask_device_open(&options, &device, &err));
    cask_device_close(NULL);
}

static void a_buffer_is_zeroed_and_aligned(void **state)
{
    (void)state;
    EACH_BACKEND(backend)
    {
        struct cask_device *device = open_device(backend);
        unsigned char *buffer = cask_buffer_alloc(device, 1000), back[3] = {9, 9, 9};
        assert_non_null(buffer);
        assert_true((uintptr_t)buffer % 64 == 0);
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(buffer[i], 0);
        }
        cask_buffer_upload(device, buffer + 5, "abc", 3);
        cask_buffer_download(device, back, buffer + 5, 3);
        assert_memory_equal(back, "abc", 3);
        cask_buffer_free(device, buffer);
        cask_buffer_free(device, NULL);
        cask_device_close(device);
    }
}

static void a_senseless_convolution_is_refused(void **state)
{
    struct cask_error err;
    (void)state;
    EACH_BACKEND(backend)
    {
        struct cask_device *device = open_device(backend);
        const struct cask_ops *ops = cask_device_ops(device);
        struct cask_conv *conv = NULL;
        struct cask_conv_desc desc = {.n = 1,
                                      .h = 4,
                                      .w = 4,
                                      .in_c = 6,
                                      .out_c = 4,
                                      .kernel_h = 3,
                                      .kernel_w = 3,
                                      .stride = 1,
                                      .groups = 4};
        assert_refused(CASK_ERR_RANGE, "groups", ops->conv_open(device, &desc, &conv, &err));
        assert_null(conv);
        ops->conv_close(NULL);
        cask_device_close(device);
    }
}

static void conv_copies_its_weights(void **state)
{
    struct cask_error err;
    const double x[] = {2, 3}, weight[] = {5, 7}, y[] = {2 * 5 + 3 * 7};
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        bench_open(&b, backend, "conv n1 c2 k1 h1 w1");
        set(&b, "x", x);
        set(&b, "weight", weight);
        assert_ok(b.run.ops->conv_set_weights(b.run.conv, op_data(&b.run, index_of(&b, "weight")),
                                              NULL, &err));
        op_fill_nan(&b.run, index_of(&b, "weight"));
        struct cask_tensor in = op_tensor(&b.run, index_of(&b, "x"));
        struct cask_tensor out = op_tensor(&b.run, index_of(&b, "y"));
        assert_ok(b.run.ops->conv_forward(b.run.conv, &in, &out, &err));
        expect(&b, "y", y, 0);
        bench_close(&b);
    }
}

static void one_value_a_channel_has_no_variance(void **state)
{
    struct cask_error err;
    const double x[] = {3, -2}, ones[] = {1, 1}, beta[] = {0.25, 0.5}, two[] = {2, 2};
    const double mean[] = {0.9 * 1 + 0.1 * 3, 0.9 * 1 + 0.1 * -2}, variance[] = {0.9 * 2, 0.9 * 2};
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        bench_open(&b, backend, "batchnorm n1 c2");
        set(&b, "x", x);
        set(&b, "gamma", ones);
        set(&b, "beta", beta);
        set(&b, "running mean", ones);
        set(&b, "running var", two);
        assert_ok(op_forward(&b.run, &err));
        expect(&b, "y", beta, 1e-6);
        expect(&b, "running mean", mean, 1e-6);
        expect(&b, "running var", variance, 1e-6);
        bench_close(&b);
    }
}

static void no_labelled_row_gives_no_loss(void **state)
{
    struct cask_error err;
    const double z[] = {1, 2, 3, 4}, labels[] = {-1, -1}, zeros[4] = {0};
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        bench_open(&b, backend, "softmax n2 c2");
        set(&b, "z", z);
        set(&b, "labels", labels);
        assert_ok(op_forward(&b.run, &err));
        expect(&b, "loss", zeros, 0);
        expect(&b, "dz of forward", zeros, 0);
        bench_close(&b);
    }
}

/* exp overflows at 89 in float and at 710 in double; a margin head is far inside, a bug is not. */
static void huge_logits_do_not_overflow(void **state)
{
    struct cask_error err;
    const double z[] = {-5000, 5000, 4999}, labels[] = {2};
    double p = 1 / (1 + exp(-1)); /* of class 1 */
    const double loss[] = {-log(1 - p)}, dz[] = {0, p, 1 - p - 1};
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        bench_open(&b, backend, "softmax n1 c3");
        set(&b, "z", z);
        set(&b, "labels", labels);
        assert_ok(op_forward(&b.run, &err));
        expect(&b, "loss", loss, 1e-3); /* 5000 has 11 bits behind the point in float */
        expect(&b, "dz of forward", dz, 1e-3);
        bench_close(&b);
    }
}

static void a_row_of_zeros_keeps_finite(void **state)
{
    struct cask_error err;
    const double zeros[3] = {0}, g[] = {1, -2, 4}, dx[] = {1e12, -2e12, 4e12};
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        bench_open(&b, backend, "l2norm n1 c3");
        set(&b, "x", zeros);
        set(&b, "dunit", g);
        assert_ok(op_forward(&b.run, &err));
        assert_ok(op_backward(&b.run, false, &err));
        expect(&b, "unit", zeros, 0);
        expect(&b, "norm", zeros, 0);
        expect(&b, "dx", dx, 1e-6);
        bench_close(&b);
    }
}

static void gradients_nobody_wants_may_be_null(void **state)
{
    struct cask_error err;
    (void)state;
    EACH_BACKEND(backend)
    {
        struct bench b;
        struct op_values fed, first, second;
        /* Two runs of the same values: the second without the places for gradients. */
        static const char *const cases[][5] = {
            {"conv n2 c3 k4 h3 w3 r3 p1 bias", "dx", "dbias", NULL},
            {"conv n2 c4 k4 h3 w3 r3 p1 g4 bias", "dx", "dbias", NULL},
            {"batchnorm n2 c5 h2 w2 prelu", "dx", "dgamma", "dbeta", "dslope"},
            {"activation n2 c5 h2 w2 prelu", "dx", "dslope", NULL},
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            bench_open(&b, backend, cases[i][0]);
            assert_ok(op_values_alloc(&b.spec, &fed, &err));
            assert_ok(op_values_alloc(&b.spec, &first, &err));
            assert_ok(op_values_alloc(&b.spec, &second, &err));
            op_values_fill(&b.parsed, &b.spec, OP_FILL_REAL, false, &fed);
            assert_ok(op_execute(&b.run, &fed, &first, &second, &err));
            for (int name = 2; name < 5 && cases[i][name] != NULL; name++) {
                int index = index_of(&b, cases[i][name]);
                cask_buffer_free(b.device, b.run.buffers[index].block);
                b.run.buffers[index].block = NULL;
            }
            assert_ok(op_backward(&b.run, false, &err));
            expect(&b, "dx", first.of[index_of(&b, "dx")], 0);
            op_values_free(&fed);
            op_values_free(&first);
            op_values_free(&second);
            bench_close(&b);
        }
    }
}

/* Ties to even, the largest float (rounds up to infinity), infinity, NaN, and a sign of zero. */
static void convert_rounds_to_nearest_even(void **state)
{
    static const uint32_t from[] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0xbf818000,
                                    0x7f7fffff, 0xff800000, 0x80000000, 0x00000001, 0x7f800001,
                                    0xffffffff, 0x3f807fff, 0x42280000, 0xc2f6e979, 0x3dcccccd,
                                    0x3eaaaaab, 0x3f828000};
    static const uint16_t to[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf82, 0x7f80,
                                  0xff80, 0x8000, 0x0000, 0x7fc0, 0xffff, 0x3f80,
                                  0x4228, 0xc2f7, 0x3dcd, 0x3eab, 0x3f82};
    enum { COUNT = sizeof from / sizeof from[0] };
    struct cask_error err;
    (void)state;
    EACH_BACKEND(backend)
    {
        uint32_t wide[COUNT];
        uint16_t narrow[COUNT];
        struct cask_tensor x = {
            .data = wide, .dtype = CASK_F32, .n = 1, .h = 1, .w = 1, .c = COUNT};
        struct cask_tensor y = {
            .data = narrow, .dtype = CASK_BF16, .n = 1, .h = 1, .w = 1, .c = COUNT};
        struct cask_device *device = open_device(backend);
        memcpy(wide, from, sizeof wide);
        assert_ok(cask_device_ops(device)->convert(device, &x, &y, &err));
        for (int i = 0; i < COUNT; i++) {
            bool nan = (from[i] & 0x7fffffff) > 0x7f800000;
            if (nan ? (narrow[i] & 0x7fff) <= 0x7f80 : narrow[i] != to[i]) {
                fail_msg("%s: %08x became %04x, expected %04x", backend, from[i], narrow[i], to[i]);
            }
        }
        assert_ok(cask_device_ops(device)->convert(device, &y, &x, &err));
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(wide[i] >> 16 & 0x7f80, narrow[i] & 0x7f80);
            assert_int_equal(wide[i] & 0xffff, 0);
        }
        cask_device_close(device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_offered),
        cmocka_unit_test(a_device_says_what_it_is),
        cmocka_unit_test(wrong_device_options_are_refused),
        cmocka_unit_test(a_buffer_is_zeroed_and_aligned),
        cmocka_unit_test(a_senseless_convolution_is_refused),
        cmocka_unit_test(conv_copies_its_weights),
        cmocka_unit_test(one_value_a_channel_has_no_variance),
        cmocka_unit_test(no_labelled_row_gives_no_loss),
        cmocka_unit_test(huge_logits_do_not_overflow),
        cmocka_unit_test(a_row_of_zeros_keeps_finite),
        cmocka_unit_test(gradients_nobody_wants_may_be_null),
        cmocka_unit_test(convert_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
