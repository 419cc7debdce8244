/* What bench_onednn measures Cask against is the training step that Cask takes: a small network
 * with every kind of layer, embedding and gradients of oneDNN's own primitives against the oracle.
 */
#include "tests/bench/onednn_step.h"
#include "tests/support/networks.h"

static struct cask_error err;

enum { BATCH = 6, SIZE = 16, WIDE = 16, OUT = 8 };

static int conv_norm(struct cask_graph *graph, int x, const char *name, int out_c, int kernel,
                     int stride, int groups)
{
    x = cask_graph_add_square_conv(graph, x, cask_graph_text(graph, "%s.conv", name), out_c, kernel,
                                   stride, groups);
    return cask_graph_add_plain_batchnorm(graph, x, cask_graph_text(graph, "%s.bn", name));
}

static int gate(struct cask_graph *graph, int x)
{
    const struct cask_conv_spec spec = {
        .out_c = WIDE, .kernel_h = 1, .kernel_w = 1, .stride = 1, .bias = true};
    int y = cask_graph_add_average_pool(graph, x, "gate.pool");
    y = cask_graph_add_conv(graph, y, "gate.fc1", &spec);
    y = cask_graph_add_activation(graph, y, "gate.act1", CASK_ACT_RELU);
    y = cask_graph_add_conv(graph, y, "gate.fc2", &spec);
    y = cask_graph_add_activation(graph, y, "gate.act2", CASK_ACT_HARD_SIGMOID);
    return cask_graph_add_scale(graph, x, y, "gate.scale");
}

/* `global`: a depthwise kernel as large as the picture in front of the linear layer. */
static struct cask_graph *every_layer(bool global)
{
    struct cask_graph *graph = NULL;
    assert_ok(cask_graph_begin("every layer", true, 3, SIZE, SIZE, &graph, &err));
    int x = conv_norm(graph, CASK_GRAPH_INPUT, "stem", WIDE, 3, 2, 1);
    const int a = cask_graph_add_activation(graph, x, "stem.act", CASK_ACT_PRELU);
    x = conv_norm(graph, a, "depthwise", WIDE, 3, 1, WIDE);
    x = cask_graph_add_activation(graph, x, "depthwise.act", CASK_ACT_HARD_SWISH);
    x = conv_norm(graph, gate(graph, x), "project", WIDE, 1, 1, 1);
    x = cask_graph_add_add(graph, x, a, "sum");
    x = cask_graph_add_max_pool(graph, x, "pool", 3, 2, 1);
    x = cask_graph_add_activation(graph, x, "sigmoid", CASK_ACT_SIGMOID);
    const int b = cask_graph_add_subsample(graph, x, "subsample", 2);
    x = conv_norm(graph, x, "dense", WIDE, 3, 2, 1);
    x = cask_graph_add_add(graph, x, b, "shortcut");
    x = cask_graph_add_activation(graph, x, "relu", CASK_ACT_RELU);
    x = global ? cask_graph_add_global_depthwise(graph, x, "global") : x;
    x = cask_graph_add_linear(graph, x, "fc", OUT, true);
    x = cask_graph_add_batchnorm(graph, x, "features", 1e-5, CASK_AFFINE_NONE);
    assert_ok(cask_graph_finish(graph, x, &err));
    return graph;
}

/* |found - want| / |want| */
static double apart(const float *found, const float *want, size_t count)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        const double difference = (double)found[i] - (double)want[i];
        error += difference * difference;
        size += (double)want[i] * (double)want[i];
    }
    assert_true(size > 0);
    return sqrt(error / size);
}

/* In front of the last batch norm a bias changes nothing: its gradient is rounding. */
static bool has_gradient(const struct cask_param_info *info)
{
    return strcmp(info->name, "fc.bias") != 0;
}

static void check_against(struct cask_net *oracle, const float *want_embedding,
                          const struct onednn_step *step, const float *embedding, double tolerance)
{
    const struct cask_graph *graph = cask_net_graph(oracle);
    int compared = 0;
    assert_true(apart(embedding, want_embedding, BATCH * OUT) <= tolerance / 5);
    for (int p = 0; p < cask_graph_param_count(graph); p++) {
        const struct cask_param_info *info = cask_graph_param(graph, p);
        const double *grad = cask_net_grad(oracle, p);
        if (!cask_net_trains(oracle, p) || !has_gradient(info)) {
            continue;
        }
        float *want = cask_alloc((size_t)info->count, sizeof *want);
        for (int64_t i = 0; i < info->count; i++) {
            want[i] = (float)grad[i];
        }
        const double found = apart(step->grads[p], want, (size_t)info->count);
        if (!(found <= tolerance)) {
            fail_msg("%s: the gradient is %.2e of its length away, expected %.2e", info->name,
                     found, tolerance);
        }
        cask_free(want);
        compared++;
    }
    assert_true(compared >= 17);
}

static void check_step(bool global, enum cask_precision precision, int threads, bool search,
                       double tolerance)
{
    struct cask_device *device = open_threads("cpu", precision, threads),
                       *exact = open_device("ref64");
    struct cask_graph *graph = every_layer(global);
    struct cask_net *net = filled(graph, device, true), *oracle = filled(graph, exact, true);
    struct cask_plan *plan = NULL, *reference = NULL;
    struct onednn_step step = {0};
    float *pixels = noise(BATCH * image_floats(graph), "pixels"),
          *seed = noise(BATCH * OUT, "seed"), want[BATCH * OUT], found[BATCH * OUT];
    double seconds;
    assert_ok(cask_plan_create(oracle, BATCH, CASK_MODE_TRAIN, &reference, &err));
    assert_ok(cask_plan_forward(reference, pixels, BATCH, want, &err));
    assert_ok(cask_plan_backward(reference, seed, &err));
    assert_ok(cask_plan_create_way(net, BATCH, CASK_MODE_TRAIN,
                                   (struct cask_plan_way){.path = CASK_PATH_PLAIN}, &plan, &err));
    omp_set_num_threads(threads);
    assert_ok(onednn_step_open(&step, plan, search, pixels, found, seed, &err));
    for (int turn = 0; turn < 2; turn++) { /* a step leaves nothing behind for the next */
        memset(found, 0, sizeof found);
        assert_ok(onednn_run(&step.o, &seconds, &err));
        check_against(oracle, want, &step, found, tolerance);
    }
    onednn_step_close(&step);
    cask_free(pixels);
    cask_free(seed);
    cask_plan_free(plan);
    cask_plan_free(reference);
    cask_net_free(net);
    cask_net_free(oracle);
    cask_graph_free(graph);
    cask_device_close(device);
    cask_device_close(exact);
}

static void test_fp32(void **state)
{
    (void)state;
    for (int global = 0; global < 2; global++) {
        check_step(global != 0, CASK_PRECISION_FP32, 1, false, 2e-5);
        check_step(global != 0, CASK_PRECISION_FP32, 2, false, 2e-5);
        check_step(global != 0, CASK_PRECISION_FP32, 1, true, 2e-5);
    }
}

/* The same calls on another type. One value that rounds to the other side of a kink, or another
 * winner of the pooling, is a tenth of a gradient in a network as small as this. */
static void test_bf16(void **state)
{
    (void)state;
    for (int global = 0; global < 2; global++) {
        check_step(global != 0, CASK_PRECISION_BF16, 1, false, 0.4);
        check_step(global != 0, CASK_PRECISION_BF16, 2, true, 0.4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
