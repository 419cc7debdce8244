/* Real files of others, as data/weights/README.md expects them to be treated. Each .contents.json
 * was made by an independent reader of the file. */
#include "common/json.h"
#include "common/mem.h"
#include "models/models.h"
#include "tests/support/test.h"

static const char *shared;

static const char *weights_path(const char *file)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/data/weights/%s", shared, file);
    return path;
}

/* Shape, sum and first element of one tensor against the json's. */
static void check_tensor(const struct cask_file_tensor *tensor, const struct cask_json *want)
{
    struct cask_error err;
    double sum = 0, magnitude = 0, want_sum = 0, want_magnitude = 0, want_first = 0;
    double first = NAN;
    const struct cask_json *shape = cask_json_get(want, "shape");
    assert_int_equal(tensor->rank, cask_json_size(shape));
    for (int i = 0; i < tensor->rank; i++) {
        int64_t size = -1;
        assert_true(cask_json_as_int(cask_json_at(shape, (size_t)i), &size));
        assert_int_equal(tensor->shape[i], size);
    }
    if (tensor->dtype == CASK_FILE_I64) {
        int64_t value = 0;
        assert_int_equal(tensor->count, 1);
        memcpy(&value, tensor->data, sizeof value);
        sum = magnitude = first = (double)value;
    } else {
        float *values = cask_alloc((size_t)tensor->count, sizeof *values);
        assert_ok(cask_file_tensor_to_f32(tensor, values, &err));
        for (int64_t i = 0; i < tensor->count; i++) {
            sum += (double)values[i];
            magnitude += fabs((double)values[i]);
        }
        first = (double)values[0];
        cask_free(values);
    }
    assert_true(cask_json_as_real(cask_json_get(want, "sum"), &want_sum));
    assert_true(cask_json_as_real(cask_json_get(want, "abs"), &want_magnitude));
    assert_true(cask_json_as_real(cask_json_get(want, "first"), &want_first));
    assert_close(sum, want_sum, 1e-9 * want_magnitude);
    assert_close(magnitude, want_magnitude, 1e-9 * want_magnitude);
    assert_close(first, want_first, 0);
}

static void check_contents(const char *file, const char *wrapper, int tensors)
{
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    struct cask_json *json = NULL;
    char contents[300];
    snprintf(contents, sizeof contents, "%s.contents.json", file);
    assert_ok(cask_checkpoint_open(weights_path(file), &checkpoint, &err));
    assert_string_equal(cask_checkpoint_container(checkpoint), "PyTorch legacy");
    assert_int_equal(cask_checkpoint_count(checkpoint), tensors);
    assert_ok(cask_json_read(weights_path(contents), 1 << 20, &json, &err));
    const struct cask_json *want = cask_json_get(json, "tensors"), *value = NULL;
    const char *name = NULL;
    int checked = 0;
    for (void *i = cask_json_next(want, NULL, &name, &value); i != NULL;
         i = cask_json_next(want, i, &name, &value)) {
        if (cask_json_kind(value) == CASK_JSON_OBJECT) {
            assert_int_equal(strncmp(name, wrapper, strlen(wrapper)), 0);
            const struct cask_file_tensor *tensor =
                cask_checkpoint_find(checkpoint, name + strlen(wrapper));
            assert_non_null(tensor);
            check_tensor(tensor, value);
            checked++;
        }
    }
    assert_int_equal(checked, tensors);
    cask_json_free(json);
    cask_checkpoint_close(checkpoint);
}

static void xiaoccer_legacy(void **state)
{
    (void)state;
    check_contents("xiaoccer_mobilefacenet_112x96_legacy.ckpt", "net_state_dict/", 333);
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    assert_ok(cask_checkpoint_open(weights_path("xiaoccer_mobilefacenet_112x96_legacy.ckpt"),
                                   &checkpoint, &err));
    assert_string_equal(cask_checkpoint_metadata(checkpoint, "epoch"), "68");
    cask_checkpoint_close(checkpoint);
}

static void foamliu_legacy(void **state)
{
    (void)state;
    check_contents("foamliu_mobilefacenetv2_legacy.pt", "", 307);
}

static void refused(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    assert_refused(CASK_ERR_UNSUPPORTED, "TorchScript",
                   cask_checkpoint_open(weights_path("refuse_torchscript.pth"), &checkpoint, &err));
    assert_non_null(strstr(err.message, "state_dict()"));
    assert_refused(
        CASK_ERR_UNSUPPORTED, "models.network_def.retinaface_def.RetinaFace",
        cask_checkpoint_open(weights_path("refuse_module_pickle.pkl"), &checkpoint, &err));
    assert_non_null(strstr(err.message, "opcode GLOBAL at byte 153"));
    print_message("%s\n", err.message);
}

/* What the model says of a picture that is a formula, p = (7y + 13x + 29c + xy) mod 256, as
 * (p - 127.5) / 127.5: the first sixteen numbers, the length and the sum. */
static void check_embedding(const struct cask_model *model, const float first[16], double length,
                            double want_sum)
{
    enum { MOST_PIXELS = 112 * 112, MOST_NUMBERS = 512 };
    static float pixels[MOST_PIXELS * 3], out[MOST_NUMBERS];
    struct cask_error err;
    struct cask_plan *plan = NULL;
    double squares = 0, sum = 0;
    const int dim = cask_graph_embedding(model->graph);
    const int height = cask_graph_input_height(model->graph);
    const int width = cask_graph_input_width(model->graph);
    assert_true(height * width <= MOST_PIXELS && dim >= 16 && dim <= MOST_NUMBERS);
    for (int i = 0; i < height * width * 3; i++) {
        int y = i / (3 * width), x = i / 3 % width, c = i % 3;
        pixels[i] = ((float)((7 * y + 13 * x + 29 * c + x * y) % 256) - 127.5f) / 127.5f;
    }
    assert_ok(cask_plan_create(model->net, 1, CASK_MODE_EVAL, &plan, &err));
    assert_ok(cask_plan_forward(plan, pixels, 1, out, &err));
    for (int i = 0; i < dim; i++) {
        squares += (double)out[i] * (double)out[i];
        sum += (double)out[i];
    }
    for (int i = 0; i < 16; i++) {
        assert_close((double)out[i], (double)first[i], 2e-6);
    }
    assert_close(sqrt(squares), length, 5e-6);
    assert_close(sum, want_sum, 2e-5);
    cask_plan_free(plan);
}

/* OpenCV 4.6's DNN module on the same pixels as BGR. */
static void faceplugin_onnx(void **state)
{
    (void)state;
    enum { DIM = 512 };
    static const float first[16] = {-0.0705811f, 0.0690089f,  -0.0124808f, -0.0611208f,
                                    0.0667343f,  -0.0020268f, -0.0918059f, 0.0675358f,
                                    -0.0784716f, -0.0169249f, 0.0480596f,  -0.1419945f,
                                    0.0044623f,  0.1161698f,  -0.1107082f, -0.2280914f};
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model;
    struct cask_preprocess preprocess = cask_preprocess_default();
    bool known = true;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_model_open(device, "auto", weights_path("faceplugin_fr_feature.onnx"),
                              &preprocess, &known, &model, &err));
    assert_false(known);
    assert_false(cask_graph_trainable(model.graph));
    assert_int_equal(cask_graph_embedding(model.graph), DIM);
    assert_int_equal(cask_graph_macs(model.graph), 221161984);
    check_embedding(&model, first, 2.0320716, -3.1126451);
    cask_model_close(&model);
    assert_refused(CASK_ERR_MISMATCH, "The file is a \"mobilefacenet\"",
                   cask_model_open(device, "ir50", weights_path("faceplugin_fr_feature.onnx"),
                                   &preprocess, &known, &model, &err));
    cask_device_close(device);
}

/* PyTorch in double with the same file, loaded strictly; the same pattern on 112 x 96 pixels. */
static void xiaoccer_embeds(void **state)
{
    (void)state;
    enum { HEIGHT = 112, WIDTH = 96, DIM = 128 };
    static const float first[16] = {-0.1726801F, -0.2039578F,  -0.1129978F,  -0.1261373F,
                                    -0.1117098F, -0.09029563F, -0.08729496F, 0.165109F,
                                    0.1913897F,  0.3510514F,   0.1132271F,   0.01582477F,
                                    0.2177251F,  -0.1394046F,  0.1468114F,   0.4003798F};
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model;
    struct cask_preprocess preprocess = cask_preprocess_default();
    bool known = true;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_model_open(device, "auto",
                              weights_path("xiaoccer_mobilefacenet_112x96_legacy.ckpt"),
                              &preprocess, &known, &model, &err));
    assert_string_equal(cask_graph_name(model.graph), "xiaoccer_mobilefacenet");
    assert_int_equal(preprocess.width, WIDTH);
    assert_int_equal(preprocess.height, HEIGHT);
    assert_int_equal(cask_graph_embedding(model.graph), DIM);
    check_embedding(&model, first, 2.26730453, 1.1938077);
    cask_model_close(&model);
    cask_device_close(device);
}

static void other_networks_are_refused(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_device *device = NULL;
    struct cask_model model;
    struct cask_preprocess preprocess = cask_preprocess_default();
    bool known = true;
    const struct cask_device_options options = {.backend = "ref", .threads = 1};
    assert_ok(cask_device_open(&options, &device, &err));
    assert_refused(CASK_ERR_MISMATCH, "unknown: conv1.0.weight",
                   cask_model_open(device, "mobilefacenet",
                                   weights_path("foamliu_mobilefacenetv2_legacy.pt"), &preprocess,
                                   &known, &model, &err));
    print_message("%s\n", err.message);
    assert_refused(CASK_ERR_UNSUPPORTED, "MobileNetV2",
                   cask_model_open(device, NULL, weights_path("foamliu_mobilefacenetv2_legacy.pt"),
                                   &preprocess, &known, &model, &err));
    assert_refused(CASK_ERR_MISMATCH, "missing: conv1.weight",
                   cask_model_open(device, "ir18", weights_path("mnist_tinygrad_model.safetensors"),
                                   &preprocess, &known, &model, &err));
    print_message("%s\n", err.message);
    cask_device_close(device);
}

static void safetensors_of_another_net(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_checkpoint *checkpoint = NULL;
    assert_ok(
        cask_checkpoint_open(weights_path("mnist_tinygrad_model.safetensors"), &checkpoint, &err));
    assert_true(cask_checkpoint_count(checkpoint) > 0);
    for (int i = 0; i < cask_checkpoint_count(checkpoint); i++) {
        const struct cask_file_tensor *t = cask_checkpoint_tensor(checkpoint, i);
        assert_ptr_equal(cask_checkpoint_find(checkpoint, t->name), t);
    }
    cask_checkpoint_close(checkpoint);
}

int main(void)
{
    shared = test_shared_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xiaoccer_legacy),
        cmocka_unit_test(foamliu_legacy),
        cmocka_unit_test(refused),
        cmocka_unit_test(faceplugin_onnx),
        cmocka_unit_test(xiaoccer_embeds),
        cmocka_unit_test(other_networks_are_refused),
        cmocka_unit_test(safetensors_of_another_net),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
