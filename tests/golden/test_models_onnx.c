/* ONNX files exported by python3-torch, or put together by hand, against the outputs that PyTorch
 * computed: see make_onnx.py. */
#include "common/file.h"
#include "common/mem.h"
#include "models/models.h"
#include "tests/support/test.h"

static const char *folder(void)
{
    static char path[400];
    const char *source = getenv("CASK_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/onnx", source != NULL ? source : ".");
    return path;
}

struct expected {
    const char *name;
    int height, width, embedding;
    bool normalises;
};

static void check_outputs(struct cask_net *net, const struct expected *e, double tolerance)
{
    enum { IMAGES = 2, LARGEST = 3 * 16 * 16 };
    struct cask_error err;
    struct cask_plan *plan = NULL;
    char path[500], *data = NULL;
    size_t bytes = 0, pixels = (size_t)e->height * (size_t)e->width;
    float nhwc[IMAGES * LARGEST], out[IMAGES * 16];
    snprintf(path, sizeof path, "%s/%s.bin", folder(), e->name);
    assert_ok(cask_file_read_all(path, 1 << 20, &data, &bytes, &err));
    assert_int_equal(bytes, 4 * (IMAGES * 3 * pixels + (size_t)(IMAGES * e->embedding)));
    const float *nchw = (const float *)(const void *)data, *want = nchw + IMAGES * 3 * pixels;
    for (size_t i = 0; i < IMAGES * 3 * pixels; i++) {
        size_t image = i / (3 * pixels), c = i / pixels % 3, p = i % pixels;
        nhwc[(image * pixels + p) * 3 + c] = nchw[i];
    }
    assert_ok(cask_plan_create(net, IMAGES, CASK_MODE_EVAL, &plan, &err));
    assert_ok(cask_plan_forward(plan, nhwc, IMAGES, out, &err));
    assert_all_close_f32(out, want, (size_t)(IMAGES * e->embedding), tolerance);
    cask_plan_free(plan);
    cask_free(data);
}

static void check_file(const struct expected *e, const char *backend)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    struct cask_net *trained = NULL;
    bool normalises = false;
    char path[500];
    const struct cask_device_options options = {.backend = backend, .threads = 1};
    snprintf(path, sizeof path, "%s/%s.onnx", folder(), e->name);
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_onnx_open(device, path, &model, &normalises, &err));
    assert_int_equal(normalises, e->normalises);
    assert_int_equal(cask_graph_input_height(model.graph), e->height);
    assert_int_equal(cask_graph_input_width(model.graph), e->width);
    assert_int_equal(cask_graph_embedding(model.graph), e->embedding);
    check_outputs(model.net, e, 2e-6);
    assert_refused(CASK_ERR_UNSUPPORTED, "cannot be trained",
                   cask_net_create(model.graph, device, true, &trained, &err));
    cask_model_close(&model);
    cask_device_close(device);
}

static void outputs_match(void **state)
{
    (void)state;
    static const struct expected files[] = {
        {"residual", 8, 8, 10, false},     {"residual_unfused", 8, 8, 10, false},
        {"reshape_fixed", 8, 12, 9, true}, {"reshape_dynamic", 8, 12, 9, true},
        {"squeeze", 10, 10, 7, false},     {"squeeze_14", 10, 10, 7, false},
        {"typed", 5, 5, 6, false},         {"gated_11", 9, 9, 5, false},
        {"gated_13", 9, 9, 5, false},      {"unsqueeze_12", 4, 4, 6, false},
        {"unsqueeze_13", 4, 4, 6, false},  {"means_11", 9, 7, 6, false},
        {"means_13", 9, 7, 6, false},      {"mean_17", 4, 6, 5, false},
        {"mean_18", 4, 6, 5, false},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        print_message("%s\n", files[i].name);
        check_file(&files[i], "ref");
        check_file(&files[i], "ref64");
    }
}

/* Damage is refused, whatever byte it hits; a truncated file never loads as something else. */
static void damage(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    bool normalises = false;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    char path[500], broken[300], temporary[256], *data = NULL;
    size_t bytes = 0;
    assert_ok(cask_device_open(&options, &device, &err));
    snprintf(path, sizeof path, "%s/typed.onnx", folder());
    assert_ok(cask_file_read_all(path, 1 << 20, &data, &bytes, &err));
    test_make_folder(temporary);
    snprintf(broken, sizeof broken, "%s/broken.onnx", temporary);
    for (size_t keep = 0; keep < bytes; keep += 37) {
        assert_ok(cask_file_write_all(broken, data, keep, &err));
        enum cask_status got = cask_onnx_open(device, broken, &model, &normalises, &err);
        assert_int_not_equal(got, CASK_OK);
        assert_non_null(strstr(err.message, "broken.onnx"));
    }
    char *op = memmem(data, bytes, "Flatten", 7);
    assert_non_null(op);
    memcpy(op, "Flattop", 7);
    assert_ok(cask_file_write_all(broken, data, bytes, &err));
    assert_refused(CASK_ERR_UNSUPPORTED,
                   "operator Flattop \"f\" is not supported; supported are Add",
                   cask_onnx_open(device, broken, &model, &normalises, &err));
    cask_free(data);
    cask_device_close(device);
    test_remove_folder(temporary);
}

/* The file, with the first bytes `from` behind the first `after` replaced by `to`, is refused. */
static void check_patched(const char *name, const char *after, size_t bytes, const char *from,
                          const char *to, const char *message)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model = {0};
    bool normalises = false;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    char path[500], patched[300], temporary[256], *data = NULL;
    size_t all = 0;
    snprintf(path, sizeof path, "%s/%s.onnx", folder(), name);
    assert_ok(cask_file_read_all(path, 1 << 20, &data, &all, &err));
    char *place = memmem(data, all, after, strlen(after));
    assert_non_null(place);
    place += strlen(after);
    place = memmem(place, all - (size_t)(place - data), from, bytes);
    assert_non_null(place);
    memcpy(place, to, bytes);
    test_make_folder(temporary);
    snprintf(patched, sizeof patched, "%s/patched.onnx", temporary);
    assert_ok(cask_file_write_all(patched, data, all, &err));
    assert_ok(cask_device_open(&options, &device, &err));
    assert_refused(CASK_ERR_UNSUPPORTED, message,
                   cask_onnx_open(device, patched, &model, &normalises, &err));
    cask_device_close(device);
    cask_free(data);
    test_remove_folder(temporary);
}

/* An Unsqueeze of features is a view only if its ones come behind the channels, and nothing reads
 * what is neither flat nor an image. */
static void only_ones_behind_the_channels(void **state)
{
    (void)state;
    static const char minus_one[] = "\xff\xff\xff\xff\xff\xff\xff\xff", two[] = "\2\0\0\0\0\0\0\0",
                      one[] = "\1\0\0\0\0\0\0\0";
    static const char expected[] = "expected [batch, channels] and the axes 2 and 3";
    check_patched("unsqueeze_13", "axes", 8, two, one, expected);
    check_patched("unsqueeze_13", "axes", 8, minus_one, two, expected); /* twice the same */
    check_patched("unsqueeze_12", "Unsqueeze", 4, "axes", "axis", "input 1 should be integers");
    check_patched("unsqueeze_12", "x", 7, "Flatten", "Sigmoid", expected);
    check_patched("gated_11", "\"\x09Unsqueeze", 11, "\"\x09Unsqueeze", "\"\x09HardSwish",
                  "is [batch, channels, 1]; expected an Unsqueeze");
}

/* A mean is an average pool over both axes of pixels, of a value that still has them; nothing else.
 */
static void means_are_over_pixels(void **state)
{
    (void)state;
    static const char minus_one[] = "\xff\xff\xff\xff\xff\xff\xff\xff", two[] = "\2\0\0\0\0\0\0\0",
                      one[] = "\1\0\0\0\0\0\0\0", large[] = "\xff\xff\xff\xff\xff\xff\xff\x7f";
    static const char expected[] = "expected the axes 2 and 3 of [batch, channels, height, width]";
    check_patched("mean_18", "Gemm", 8, two, one, expected);
    check_patched("mean_18", "Gemm", 8, minus_one, two, "found the axes 2, -2 of an image");
    check_patched("mean_18", "Gemm", 8, minus_one, large, expected);
    check_patched("mean_18", "Mul", 7, "Sigmoid", "Flatten",
                  "found the axes 2, -1 of what was flattened before");
    check_patched("mean_17", "ReduceMean", 4, "axes", "axis", "found the axes none of an image");
}

/* Exported face models often end in a normalisation. */
static void normalisation_has_a_way_out(void **state)
{
    (void)state;
    check_patched("typed", "alias", 8, "Identity", "ReduceL2",
                  "operator ReduceL2 \"alias\" is not supported (export the model without");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_match),
        cmocka_unit_test(damage),
        cmocka_unit_test(only_ones_behind_the_channels),
        cmocka_unit_test(means_are_over_pixels),
        cmocka_unit_test(normalisation_has_a_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
