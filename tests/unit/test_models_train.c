/* Training plans: running statistics as PyTorch keeps them, the cpu backend against ref64 and bf16
 * against fp32 on whole networks. */
#include "tests/support/test.h"

#include "tests/support/networks.h"

static struct cask_error err;

/* running = 0.9 running + 0.1 batch, with the variance over n - 1. */
static void check_running_statistics(const char *backend)
{
    enum { BATCH = 3, SIDE = 4, PIXELS = BATCH * SIDE * SIDE };
    struct cask_device *device = open_device(backend);
    struct cask_graph *graph = NULL;
    struct cask_plan *plan = NULL;
    assert_ok(cask_graph_begin("statistics", true, 3, SIDE, SIDE, &graph, &err));
    const struct cask_conv_spec spec = {.out_c = 3, .kernel_h = 1, .kernel_w = 1, .stride = 1};
    int x = cask_graph_add_conv(graph, CASK_GRAPH_INPUT, "conv", &spec);
    x = cask_graph_add_batchnorm(graph, x, "bn", 1e-5, CASK_AFFINE_TRAINED);
    assert_ok(cask_graph_finish(graph, cask_graph_add_linear(graph, x, "fc", 4, false), &err));
    struct cask_net *net = filled(graph, device, true);
    const float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    float *pixels = noise(PIXELS * 3, "pixels"), embedding[BATCH * 4], mean[3], var[3], start[2][3];
    assert_ok(cask_net_set(net, cask_graph_find_param(graph, "conv.weight"), identity, &err));
    cask_net_get(net, cask_graph_find_param(graph, "bn.running_mean"), start[0]);
    cask_net_get(net, cask_graph_find_param(graph, "bn.running_var"), start[1]);
    assert_ok(cask_plan_create(net, BATCH, CASK_MODE_TRAIN, &plan, &err));
    for (int step = 0; step < 2; step++) {
        assert_ok(cask_plan_forward(plan, pixels, BATCH, embedding, &err));
    }
    cask_net_get(net, cask_graph_find_param(graph, "bn.running_mean"), mean);
    cask_net_get(net, cask_graph_find_param(graph, "bn.running_var"), var);
    for (int c = 0; c < 3; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < PIXELS; i++) {
            sum += (double)pixels[3 * i + c];
        }
        for (int i = 0; i < PIXELS; i++) {
            double away = (double)pixels[3 * i + c] - sum / PIXELS;
            squares += away * away;
        }
        assert_close((double)mean[c], 0.81 * (double)start[0][c] + 0.19 * sum / PIXELS, 1e-6);
        assert_close((double)var[c], 0.81 * (double)start[1][c] + 0.19 * squares / (PIXELS - 1),
                     1e-6);
    }
    float seen;
    cask_net_get(net, cask_graph_find_param(graph, "bn.num_batches_tracked"), &seen);
    assert_close((double)seen, 2, 0);
    cask_free(pixels);
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

static void test_running_statistics(void **state)
{
    (void)state;
    check_running_statistics("ref");
    check_running_statistics("ref64");
    check_running_statistics("cpu");
}

static double element(const struct cask_net *net, const void *plane, size_t i)
{
    bool wide = cask_device_parameter_dtype(net->device) == CASK_F64;
    return wide ? ((const double *)plane)[i] : (double)((const float *)plane)[i];
}

/* One training step on `backend`: embedding, and the net with its gradients. */
static struct cask_net *one_step(const struct cask_graph *graph, struct cask_device *device,
                                 int batch, int passes, float *embedding)
{
    struct cask_net *net = filled(graph, device, true);
    struct cask_plan *plan = NULL;
    const size_t outputs = (size_t)batch * (size_t)cask_graph_embedding(graph);
    float *pixels = noise((size_t)batch * image_floats(graph), "pixels"),
          *seed = noise(outputs, "seed");
    assert_ok(cask_plan_create(net, batch, CASK_MODE_TRAIN, &plan, &err));
    for (int pass = 0; pass < passes; pass++) {
        assert_ok(cask_net_zero_grads(net, &err));
        memset(plan->allocation, 0xff, plan->memory.bytes);
        assert_ok(cask_plan_forward(plan, pixels, batch, embedding, &err));
        assert_ok(cask_plan_backward(plan, seed, &err));
    }
    assert_refused(CASK_ERR_INTERNAL, "without a training forward",
                   cask_plan_backward(plan, seed, &err));
    cask_free(pixels);
    cask_free(seed);
    cask_plan_free(plan);
    return net;
}

/* |difference| / |gradient| of each parameter in the 2-norm; tiny gradients count against a
 * thousandth of the network's largest. */
static double worst_gradient(const struct cask_graph *graph, struct cask_net *got,
                             struct cask_net *want)
{
    double worst = 0, largest = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int p = 0; p < cask_graph_param_count(graph); p++) {
            const void *a = cask_net_grad(got, p), *b = cask_net_grad(want, p);
            const size_t count = (size_t)cask_graph_param(graph, p)->count;
            double difference = 0, norm = 0;
            for (size_t i = 0; a != NULL && i < count; i++) {
                double d = element(got, a, i) - element(want, b, i);
                difference += d * d;
                norm += element(want, b, i) * element(want, b, i);
            }
            largest = fmax(largest, sqrt(norm / (double)count));
            double floor = 1e-3 * largest * sqrt((double)count);
            double relative = sqrt(difference) / fmax(sqrt(norm), floor);
            if (pass == 1 && a != NULL && !(relative <= worst)) {
                worst = relative;
            }
        }
    }
    return worst;
}

static void check_training(const char *network, int size, double tolerance)
{
    enum { BATCH = 4, D = 64 };
    struct cask_device *cpu = open_device("cpu"), *oracle = open_device("ref64");
    struct cask_graph *graph = build(network, size);
    float got[BATCH * D], want[BATCH * D];
    /* Twice on the cpu, over memory full of NaN: a step must leave nothing behind. */
    struct cask_net *a = one_step(graph, cpu, BATCH, 2, got);
    struct cask_net *b = one_step(graph, oracle, BATCH, 1, want);
    assert_all_close_f32(got, want, BATCH * D, tolerance);
    double worst = worst_gradient(graph, a, b);
    printf("%s %d: worst relative gradient difference of cpu to ref64 %.2g\n", network, size,
           worst);
    assert_true(worst <= tolerance);
    cask_net_free(a);
    cask_net_free(b);
    cask_graph_free(graph);
    cask_device_close(cpu);
    cask_device_close(oracle);
}

static void test_training_on_cpu(void **state)
{
    (void)state;
    check_training("mobilefacenet", 32, 2e-3);
    check_training("mbf", 32, 2e-3);
    check_training("ir18", 16, 2e-3);
}

static double cosine(size_t count, const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

enum { BF16_BATCH = 4, BF16_D = 64 };

static void check_bf16_eval(const struct cask_graph *graph, struct cask_device *half,
                            struct cask_device *full)
{
    struct cask_device *const devices[2] = {half, full};
    float embeddings[2][BF16_BATCH * BF16_D];
    float *pixels = noise(BF16_BATCH * image_floats(graph), "pixels");
    for (int i = 0; i < 2; i++) {
        struct cask_net *net = filled(graph, devices[i], false);
        struct cask_plan *plan = NULL;
        assert_ok(cask_plan_create(net, BF16_BATCH, CASK_MODE_EVAL, &plan, &err));
        assert_ok(cask_plan_forward(plan, pixels, BF16_BATCH - 1, embeddings[i], &err));
        cask_plan_free(plan);
        cask_net_free(net);
    }
    for (int r = 0; r < BF16_BATCH - 1; r++) {
        double same = cosine(BF16_D, embeddings[0] + r * BF16_D, embeddings[1] + r * BF16_D);
        if (!(same > 0.999)) {
            fail_msg("%s row %d: cosine of bf16 to fp32 %.6f", cask_graph_name(graph), r, same);
        }
    }
    cask_free(pixels);
}

/* bf16 keeps 8 bits: embeddings and gradients point the same way, no more is promised. */
static void check_bf16(const char *network, int size, const char *head)
{
    struct cask_device *half = open_with("cpu", CASK_PRECISION_BF16), *full = open_device("cpu");
    struct cask_graph *graph = build(network, size);
    float got[BF16_BATCH * BF16_D], want[BF16_BATCH * BF16_D];
    check_bf16_eval(graph, half, full);
    struct cask_net *a = one_step(graph, half, BF16_BATCH, 1, got);
    struct cask_net *b = one_step(graph, full, BF16_BATCH, 1, want);
    const int last = cask_graph_find_param(graph, head);
    const size_t count = (size_t)cask_graph_param(graph, last)->count;
    double embedding = cosine(BF16_BATCH * BF16_D, got, want);
    double top = cosine(count, cask_net_grad(a, last), cask_net_grad(b, last));
    double stem = cosine(64 * 27, cask_net_grad(a, 0), cask_net_grad(b, 0));
    printf(
        "%s %d, bf16 to fp32: cosine of embedding %.5f, head gradient %.5f, stem gradient %.5f\n",
        network, size, embedding, top, stem);
    assert_true(embedding > 0.99 && top > 0.97 && stem > 0.85);
    cask_net_free(a);
    cask_net_free(b);
    cask_graph_free(graph);
    cask_device_close(half);
    cask_device_close(full);
}

static void test_bf16(void **state)
{
    (void)state;
    check_bf16("mobilefacenet", 32, "output_layer.linear.weight");
    check_bf16("ir18", 32, "fc.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running_statistics),
        cmocka_unit_test(test_training_on_cpu),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
