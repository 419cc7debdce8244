/* Nets filled from files of other programs: every student of the registry goes to ONNX, with and
 * without its batch norms, and to both containers of state_dicts, and comes back as what it was. */
#include "models/graph_match.h"
#include "models/net.h"
#include "tests/support/folder.h"
#include "tests/support/networks.h"

enum { D = 64, BATCH = 2 };

static struct cask_error err;

/* One of each kind of block and head; the others are built by the same code. */
static const struct {
    const char *name;
    int size;
} students[] = {
    {"ir18", 16},
    {"mobilefacenet", 32},
    {"mbf", 32},
    {"mobilenetv3_large", 32},
    {"resnet18", 32},
    {"resnet50", 32},
    {"tface_ir18", 16},
    {"tface_ir_se50", 16},
    {"evolve_ir50", 16},
    {"cavaface_ir50", 16},
    {"cavaface_mobilefacenet", 32},
    {"facex_mobilefacenet", 32},
    {"xiaoccer_mobilefacenet", 32},
    {"yakhyo_mobilenetv3_large", 32},
    {"torchvision_mobilenetv3_large", 32},
    {"evolve_resnet50", 32},
};

static void embed(struct cask_net *net, float *out)
{
    struct cask_plan *plan = NULL;
    float *pixels = noise(BATCH * image_floats(cask_net_graph(net)), "pixels");
    assert_ok(cask_plan_create(net, BATCH, CASK_MODE_EVAL, &plan, &err));
    assert_ok(cask_plan_forward(plan, pixels, BATCH, out, &err));
    cask_plan_free(plan);
    cask_free(pixels);
}

static double smallest_cosine(const float *a, const float *b)
{
    double smallest = 2;
    for (int r = 0; r < BATCH; r++) {
        double ab = 0, aa = 0, bb = 0;
        for (int d = 0; d < D; d++) {
            const double x = (double)a[r * D + d], y = (double)b[r * D + d];
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        const double cosine = ab / sqrt(aa * bb);
        smallest = cosine >= smallest ? smallest : cosine; /* NaN stays */
    }
    return smallest;
}

/* The largest difference of a parameter, relative to the largest of its values. */
static double difference_of(struct cask_net *a, struct cask_net *b, int param)
{
    const struct cask_param_info *info = cask_graph_param(cask_net_graph(a), param);
    float *x = cask_alloc((size_t)info->count, sizeof *x);
    float *y = cask_alloc((size_t)info->count, sizeof *y);
    double worst = 0, largest = 0;
    cask_net_get(a, param, x);
    cask_net_get(b, param, y);
    for (int64_t i = 0; i < info->count; i++) {
        const double away = fabs((double)x[i] - (double)y[i]);
        worst = away <= worst ? worst : away;
        largest = fmax(largest, fabs((double)x[i]));
    }
    cask_free(x);
    cask_free(y);
    return largest > 0 ? worst / largest : worst;
}

static void check_parameters(struct cask_net *a, struct cask_net *b, const char *what)
{
    for (int p = 0; p < cask_graph_param_count(cask_net_graph(a)); p++) {
        const double difference = difference_of(a, b, p);
        if (!(difference <= 1e-6)) {
            fail_msg("%s: %s differs by %.2g", what, cask_graph_param(cask_net_graph(a), p)->name,
                     difference);
        }
    }
}

static void there_and_back(struct cask_net *net, enum cask_export_format format, bool keep,
                           int folded, const float *want)
{
    const struct cask_graph *graph = cask_net_graph(net);
    const struct cask_preprocess pixels = {.order = CASK_BGR, .mean = 100, .scale = 50};
    const struct cask_export_options options = {.format = format,
                                                .keep_batchnorm = keep,
                                                .preprocess_in_graph =
                                                    format == CASK_EXPORT_ONNX && keep};
    struct cask_start start = {0};
    struct cask_net *again = NULL;
    float got[BATCH * D];
    assert_ok(cask_net_export(net, in_folder("file"), &pixels, &options, NULL, 0, &err));
    assert_ok(cask_net_create(graph, net->device, false, &again, &err));
    assert_ok(cask_net_start(again, in_folder("file"), &start, &err));
    assert_true(start.knows_pixels && start.pixels.order == CASK_BGR);
    assert_close(start.pixels.mean, 100, 1e-4);
    assert_close(start.pixels.scale, 50, 1e-4);
    assert_int_equal(start.folded, folded);
    embed(again, got);
    assert_true(smallest_cosine(want, got) > 1 - 1e-7);
    if (folded == 0) {
        check_parameters(net, again, cask_graph_name(graph));
    }
    cask_net_free(again);
    unlink(in_folder("file"));
}

static int foldable(const struct cask_graph *graph)
{
    int count = 0;
    for (int i = 0; i < graph->node_count; i++) {
        count += cask_graph_foldable(graph, &graph->nodes[i]) != NULL;
    }
    return count;
}

static void every_student_comes_back(void **state)
{
    struct cask_device *device = open_device("cpu");
    (void)state;
    for (size_t i = 0; i < sizeof students / sizeof *students; i++) {
        struct cask_graph *graph = build(students[i].name, students[i].size);
        struct cask_net *net = filled(graph, device, false);
        float want[BATCH * D];
        embed(net, want);
        there_and_back(net, CASK_EXPORT_ONNX, false, foldable(graph), want);
        if (cask_graph_parameters(graph) < 10 << 20) { /* large files take long, and add nothing */
            there_and_back(net, CASK_EXPORT_ONNX, true, 0, want);
            there_and_back(net, CASK_EXPORT_SAFETENSORS, false, 0, want);
            there_and_back(net, CASK_EXPORT_PTH, false, 0, want);
        }
        cask_net_free(net);
        cask_graph_free(graph);
    }
    cask_device_close(device);
}

/* ----------------------------------------------------------------- refusals */

static void write_onnx(struct cask_device *device, const char *name, int size)
{
    const struct cask_preprocess pixels = cask_preprocess_default();
    const struct cask_export_options options = {.format = CASK_EXPORT_ONNX};
    struct cask_graph *graph = build(name, size);
    struct cask_net *net = filled(graph, device, false);
    assert_ok(cask_net_export(net, in_folder("file.onnx"), &pixels, &options, NULL, 0, &err));
    cask_net_free(net);
    cask_graph_free(graph);
}

static void check_refusal(struct cask_device *device, const char *name,
                          const struct cask_graph_options *options, const char *const *texts)
{
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_start start = {0};
    assert_ok(cask_graph_build(name, options, &graph, &err));
    assert_ok(cask_net_create(graph, device, false, &net, &err));
    assert_refused(CASK_ERR_MISMATCH, "file.onnx: this ONNX graph is not ",
                   cask_net_start(net, in_folder("file.onnx"), &start, &err));
    for (; *texts != NULL; texts++) {
        if (strstr(err.message, *texts) == NULL) {
            fail_msg("\"%s\" is not in: %s", *texts, err.message);
        }
    }
    print_message("%s\n", err.message);
    cask_net_free(net);
    cask_graph_free(graph);
}

static void what_does_not_fit_is_told(void **state)
{
    struct cask_device *device = open_device("ref");
    const struct cask_graph_options own = {D, 32, 32}, wide = {512, 32, 32}, large = {D, 48, 48};
    (void)state;
    write_onnx(device, "mobilefacenet", 32);
    check_refusal(
        device, "mbf", &own,
        (const char *[]){
            "behind the picture expected conv layers.0.layers.0, 3 x 3, 3 to "
            "128 channels, stride 2",
            "found conv conv1.conv, 3 x 3, 3 to 64 channels",
            "is a \"mobilefacenet\" with embedding 64 for pictures of 32 x 32: name that network",
            NULL});
    check_refusal(
        device, "mobilefacenet", &wide,
        (const char *[]){
            "not mobilefacenet with embedding 512",
            "expected linear output_layer.linear, 512 x 1 x 1 to 512", "512 x 1 x 1 to 64",
            "is a \"mobilefacenet\" with embedding 64 for pictures of 32 x 32: set these", NULL});
    check_refusal(device, "mobilefacenet", &large,
                  (const char *[]){"pictures of 48 x 48", "pictures of 32 x 32", NULL});
    /* A block more than the file has: its first batch norm is taken for the next stage's. */
    write_onnx(device, "ir18", 32);
    check_refusal(
        device, "ir34", &own,
        (const char *[]){"behind layer1.2.bn1 expected conv layer1.2.conv1, 3 x 3, 64 to 64",
                         "found conv layer2.0.conv1, 3 x 3, 64 to 128", "is a \"ir18\"", NULL});
    cask_device_close(device);
}

/* A weight that is no number, in every container. */
static void what_is_not_finite_is_refused(void **state)
{
    static const struct {
        struct cask_export_options options;
        float value;
        const char *text;
    } cases[] = {
        {{.format = CASK_EXPORT_SAFETENSORS}, NAN, "nan"},
        {{.format = CASK_EXPORT_SAFETENSORS, .half = true}, -INFINITY, "-inf"},
        {{.format = CASK_EXPORT_PTH}, INFINITY, "inf"},
        {{.format = CASK_EXPORT_ONNX}, NAN, "nan"},
        {{.format = CASK_EXPORT_ONNX, .keep_batchnorm = true}, INFINITY, "inf"},
    };
    struct cask_device *device = open_device("ref");
    struct cask_graph *graph = build("mobilefacenet", 32);
    struct cask_net *net = filled(graph, device, false), *again = NULL;
    const struct cask_preprocess pixels = cask_preprocess_default();
    const int param = cask_graph_find_param(graph, "conv1.conv.weight");
    float weight[64 * 3 * 3 * 3];
    (void)state;
    assert_ok(cask_net_create(graph, device, false, &again, &err));
    cask_net_get(net, param, weight);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        struct cask_start start = {0};
        weight[1000] = cases[i].value;
        assert_ok(cask_net_set(net, param, weight, &err));
        assert_ok(
            cask_net_export(net, in_folder("file"), &pixels, &cases[i].options, NULL, 0, &err));
        snprintf(text, sizeof text,
                 "file: tensor \"conv1.conv.weight\": element 1000 of 1728 is %s", cases[i].text);
        assert_refused(CASK_ERR_FORMAT, text,
                       cask_net_start(again, in_folder("file"), &start, &err));
    }
    cask_net_free(again);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

/* The registry has one network for each set of layers, but for those that differ in names only. */
static void a_graph_is_known_by_its_layers(void **state)
{
    struct cask_device *device = open_device("ref");
    (void)state;
    static const char *const names[] = {"mbf", "resnet18", "torchvision_mobilenetv3_large",
                                        "xiaoccer_mobilefacenet"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct cask_model file = {0};
        bool normalises = false;
        write_onnx(device, names[i], 32);
        assert_ok(cask_onnx_open(device, in_folder("file.onnx"), &file, &normalises, &err));
        const char *found = cask_match_registry(file.graph);
        assert_non_null(found);
        assert_string_equal(found, strcmp(names[i], "xiaoccer_mobilefacenet") == 0 ? "mobilefacenet"
                                                                                   : names[i]);
        cask_model_close(&file);
    }
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_student_comes_back),
        cmocka_unit_test(what_does_not_fit_is_told),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(a_graph_is_known_by_its_layers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
