/* tests/unit/test_kernels_shapes.c - shapes of convolutions, and descriptors that make no sense. */
#include <limits.h>

#include "kernels/shapes.h"
#include "tests/support/test.h"

static struct cask_conv_desc sound(void)
{
    return (struct cask_conv_desc){.n = 2,
                                   .h = 9,
                                   .w = 7,
                                   .in_c = 6,
                                   .out_c = 9,
                                   .kernel_h = 3,
                                   .kernel_w = 5,
                                   .stride = 2,
                                   .pad_top = 1,
                                   .pad_left = 2,
                                   .pad_bottom = 0,
                                   .pad_right = 2,
                                   .groups = 3,
                                   .bias = true};
}

static void sizes_follow_from_the_descriptor(void **state)
{
    struct cask_conv_desc d = sound();
    struct cask_error err;
    (void)state;
    assert_ok(cask_conv_check(&d, &err));
    assert_int_equal(cask_conv_out_h(&d), 4); /* (9 + 1 - 3) / 2 + 1, rounded down */
    assert_int_equal(cask_conv_out_w(&d), 4); /* (7 + 4 - 5) / 2 + 1 */
    assert_int_equal(cask_conv_weight_count(&d), 9 * 2 * 3 * 5);
    assert_int_equal(cask_conv_macs(&d), 2 * 4 * 4 * 9 * 2 * 3 * 5);
}

static void a_linear_layer_is_one_pixel(void **state)
{
    struct cask_conv_desc d = {.n = 1,
                               .h = 7,
                               .w = 7,
                               .in_c = 512,
                               .out_c = 512,
                               .kernel_h = 7,
                               .kernel_w = 7,
                               .stride = 1,
                               .groups = 1};
    (void)state;
    assert_int_equal(cask_conv_out_h(&d), 1);
    assert_int_equal(cask_conv_out_w(&d), 1);
    assert_int_equal(cask_conv_weight_count(&d), 25088 * 512);
}

static void each_field_is_named_when_it_is_wrong(void **state)
{
    struct cask_conv_desc d = sound();
    struct cask_error err;
    const struct {
        int *field;
        int value;
        const char *message;
    } wrong[] = {
        {&d.n, 0, "n is 0"},
        {&d.h, -1, "h is -1"},
        {&d.w, INT_MAX, "w is 2147483647"},
        {&d.in_c, 0, "in_c is 0"},
        {&d.in_c, 7, "groups is 3"},
        {&d.out_c, 10, "groups is 3"},
        {&d.out_c, INT_MIN, "out_c"},
        {&d.kernel_h, 0, "kernel_h"},
        {&d.kernel_h, 11, "larger than the padded input, 10 x 11"},
        {&d.kernel_w, 12, "larger than the padded input, 10 x 11"},
        {&d.kernel_w, 5000, "kernel_w"},
        {&d.stride, 0, "stride is 0"},
        {&d.pad_top, -1, "pad_top is -1"},
        {&d.pad_left, -2, "pad_left"},
        {&d.pad_bottom, 1 << 20, "pad_bottom"},
        {&d.pad_right, INT_MAX, "pad_right"},
        {&d.groups, 0, "groups is 0"},
        {&d.groups, 4, "groups is 4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        d = sound();
        *wrong[i].field = wrong[i].value;
        assert_refused(CASK_ERR_RANGE, wrong[i].message, cask_conv_check(&d, &err));
    }
}

static void a_product_that_overflows_is_refused(void **state)
{
    struct cask_conv_desc d = sound();
    struct cask_error err;
    (void)state;
    d.n = d.h = d.w = 1 << 24;
    assert_refused(CASK_ERR_RANGE, "2^40", cask_conv_check(&d, &err));
    d = sound();
    d.in_c = d.out_c = 3 << 22;
    assert_refused(CASK_ERR_RANGE, "2^40", cask_conv_check(&d, &err));
}

static void types_and_tensors_have_their_size(void **state)
{
    struct cask_tensor t = {.dtype = CASK_BF16, .n = 3, .h = 5, .w = 7, .c = 11};
    (void)state;
    assert_int_equal(cask_tensor_count(&t), 1155);
    assert_int_equal(cask_tensor_bytes(&t), 2310);
    t.dtype = CASK_F64;
    assert_int_equal(cask_tensor_bytes(&t), 9240);
    assert_int_equal(cask_dtype_size(CASK_F32), 4);
    assert_string_equal(cask_dtype_name(CASK_BF16), "bf16");
    t = (struct cask_tensor){.dtype = CASK_F32, .n = 1 << 20, .h = 1 << 10, .w = 1, .c = 1 << 4};
    assert_true(cask_tensor_bytes(&t) == (size_t)1 << 36);
}

/* Which taps of the kernel fall on the input, as bits, found by looking at each. */
static unsigned taps_inside(const struct cask_axis *axis, int position)
{
    unsigned inside = 0;
    for (int tap = 0; tap < axis->kernel; tap++) {
        int at = position * axis->stride - axis->pad + tap;
        inside |= at >= 0 && at < axis->in ? 1U << tap : 0;
    }
    return inside;
}

static void regions_are_the_runs_of_equal_taps(void **state)
{
    int checked = 0;
    (void)state;
    for (int in = 1; in <= 9; in++) {
        for (int kernel = 1; kernel <= 7; kernel++) {
            for (int stride = 1; stride <= 3; stride++) {
                for (int pad = 0; pad <= 8 && in + 2 * pad >= kernel; pad++, checked++) {
                    const struct cask_axis axis = {in, (in + 2 * pad - kernel) / stride + 1, kernel,
                                                   stride, pad};
                    int region = 0;
                    for (int i = 0; i < axis.out; i++) {
                        int first, end;
                        cask_axis_taps(&axis, i, &first, &end);
                        unsigned inside = taps_inside(&axis, i);
                        assert_int_equal(inside, ((1U << end) - 1) & ~((1U << first) - 1));
                        region += i > 0 && inside != taps_inside(&axis, i - 1) ? 1 : 0;
                        if (inside != 0) { /* without any tap it does not matter */
                            assert_true(cask_axis_region(&axis, i) >= region);
                        }
                    }
                    assert_true(cask_axis_regions(&axis) > region);
                }
            }
        }
    }
    assert_true(checked > 1000);
    const struct cask_axis usual = {14, 14, 3, 1, 1};
    assert_int_equal(cask_axis_regions(&usual), 3);
    struct cask_conv_desc d = sound();
    d.border = true;
    d.inference = false;
    struct cask_error err;
    assert_refused(CASK_ERR_RANGE, "border", cask_conv_check(&d, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_from_the_descriptor),
        cmocka_unit_test(a_linear_layer_is_one_pixel),
        cmocka_unit_test(each_field_is_named_when_it_is_wrong),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(types_and_tensors_have_their_size),
        cmocka_unit_test(regions_are_the_runs_of_equal_taps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
