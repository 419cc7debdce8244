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
        {"typed", 5, 5, 6, false},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_match),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
