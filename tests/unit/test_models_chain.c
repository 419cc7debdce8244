/* Chains: what batch norms give to their neighbours, and that a step with chains is the step
 * without them. */
#include "tests/support/test.h"

#include "tests/support/networks.h"

static struct cask_error err;

enum { BATCH = 6, D = 64, STEPS = 50 };

static struct cask_plan *plan_for(struct cask_net *net, int batch, enum cask_plan_path path)
{
    struct cask_plan *plan = NULL;
    assert_ok(cask_plan_create_way(net, batch, CASK_MODE_TRAIN,
                                   (struct cask_plan_way){.path = path}, &plan, &err));
    return plan;
}

static struct cask_plan *plan_of(struct cask_net *net, enum cask_plan_path path)
{
    return plan_for(net, BATCH, path);
}

/* ---------------------------------------------------------------- structure */

static void test_what_neighbours_take(void **state)
{
    struct cask_device *device = open_threads("cpu", CASK_PRECISION_FP32, 1);
    struct cask_graph *graph = build("mobilefacenet", 112);
    struct cask_net *net = filled(graph, device, true);
    struct cask_plan *chained = plan_of(net, CASK_PATH_CHAINED),
                     *fused = plan_of(net, CASK_PATH_FUSED), *plain = plan_of(net, CASK_PATH_PLAIN);
    int norms = 0, whole = 0;
    (void)state;
    for (int i = 0; i < chained->step_count; i++) {
        const struct cask_norm_taken *taken = &chained->steps[i].taken;
        if (chained->steps[i].node->kind == CASK_LAYER_BATCHNORM) {
            norms++;
            whole += taken->statistics && taken->apply && taken->reduce && taken->gradient;
        }
    }
    /* All but the two around the embedding, which a linear layer reads and makes. */
    assert_int_equal(norms, 50);
    assert_int_equal(whole, norms - 2);
    assert_true(cask_plan_bytes(chained) * 10 < cask_plan_bytes(fused) * 6);
    assert_true(cask_plan_bytes(fused) < cask_plan_bytes(plain));
    assert_true(fused->step_count < plain->step_count);
    cask_plan_free(chained);
    cask_plan_free(fused);
    cask_plan_free(plain);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

/* ---------------------------------------------------------------- gradients */

static double element(const struct cask_net *net, const void *plane, size_t i)
{
    bool wide = cask_device_parameter_dtype(net->device) == CASK_F64;
    return wide ? ((const double *)plane)[i] : (double)((const float *)plane)[i];
}

static struct cask_net *step_on(const struct cask_graph *graph, struct cask_device *device,
                                enum cask_plan_path path, float *embedding)
{
    struct cask_net *net = filled(graph, device, true);
    struct cask_plan *plan = plan_of(net, path);
    float *pixels = noise(BATCH * image_floats(graph), "pixels"), *seed = noise(BATCH * D, "seed");
    for (int pass = 0; pass < 2; pass++) { /* a step leaves nothing behind for the next */
        assert_ok(cask_net_zero_grads(net, &err));
        memset(plan->allocation, 0xff, plan->memory.bytes); /* NaN */
        assert_ok(cask_plan_forward(plan, pixels, BATCH, embedding, &err));
        assert_ok(cask_plan_backward(plan, seed, &err));
    }
    cask_free(pixels);
    cask_free(seed);
    cask_plan_free(plan);
    return net;
}

/* Largest |difference| over all gradients, relative to the largest gradient of its parameter or a
 * thousandth of the largest of all. */
static double worst_gradient(const struct cask_graph *graph, struct cask_net *a, struct cask_net *b)
{
    double worst = 0, most = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int p = 0; p < cask_graph_param_count(graph); p++) {
            const void *x = cask_net_grad(a, p), *y = cask_net_grad(b, p);
            double largest = 0, difference = 0;
            for (size_t i = 0; x != NULL && i < (size_t)cask_graph_param(graph, p)->count; i++) {
                largest = fmax(largest, fabs(element(b, y, i)));
                double away = fabs(element(a, x, i) - element(b, y, i));
                difference = away <= difference ? difference : away;
            }
            most = fmax(most, largest);
            double relative = difference / fmax(largest, 1e-3 * most);
            if (pass == 1 && x != NULL && !(relative <= worst)) {
                worst = relative;
            }
        }
    }
    return worst;
}

static void compare_paths(const char *network, const char *backend, int size, double tolerance)
{
    struct cask_device *device = open_threads(backend, CASK_PRECISION_FP32, 1);
    struct cask_graph *graph = build(network, size);
    float chained[BATCH * D], other[BATCH * D];
    struct cask_net *a = step_on(graph, device, CASK_PATH_CHAINED, chained);
    for (enum cask_plan_path path = CASK_PATH_FUSED; path <= CASK_PATH_PLAIN; path++) {
        struct cask_net *b = step_on(graph, device, path, other);
        assert_all_close_f32(chained, other, BATCH * D, tolerance < 1e-6 ? 1e-6 : tolerance);
        double worst = worst_gradient(graph, a, b);
        printf("%s on %s: chained against %s, worst gradient %.2g\n", network, backend,
               path == CASK_PATH_FUSED ? "fused" : "plain", worst);
        assert_true(worst <= tolerance);
        cask_net_free(b);
    }
    cask_net_free(a);
    cask_graph_free(graph);
    cask_device_close(device);
}

static void test_same_gradients(void **state)
{
    static const char *const networks[] = {"mobilefacenet", "mbf", "ir18", "mobilenetv3_large"};
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        compare_paths(networks[i], "ref64", 16, 1e-8);
        compare_paths(networks[i], "cpu", 32, 2e-3);
    }
}

static void check_threads(enum cask_precision precision)
{
    struct cask_device *one = open_threads("cpu", precision, 1),
                       *two = open_threads("cpu", precision, 2);
    static const char *const networks[] = {"mobilefacenet", "mbf", "ir18"};
    for (size_t n = 0; n < sizeof networks / sizeof *networks; n++) {
        struct cask_graph *graph = build(networks[n], 32);
        float a[BATCH * D], b[BATCH * D];
        struct cask_net *first = step_on(graph, one, CASK_PATH_CHAINED, a);
        struct cask_net *second = step_on(graph, two, CASK_PATH_CHAINED, b);
        assert_memory_equal(a, b, sizeof a);
        assert_memory_equal(first->grads, second->grads, first->plane_bytes);
        assert_memory_equal(first->values, second->values, first->plane_bytes);
        cask_net_free(first);
        cask_net_free(second);
        cask_graph_free(graph);
    }
    cask_device_close(one);
    cask_device_close(two);
}

static void test_same_bits_for_two_threads(void **state)
{
    (void)state;
    check_threads(CASK_PRECISION_FP32);
}

static void test_same_bits_for_two_threads_bf16(void **state)
{
    (void)state;
    check_threads(CASK_PRECISION_BF16);
}

/* ------------------------------------------------------------------- curves */

enum { CURVE_BATCH = 12 };

/* Rates are small: the last batch norm sees few samples of 64 numbers and multiplies every
 * rounding. So that it does not multiply more, pictures are not only noise: each has a colour of
 * its own. */
static float *pictures(const struct cask_graph *graph)
{
    const size_t each = image_floats(graph);
    float *pixels = noise(CURVE_BATCH * each, "pixels"),
          *colours = noise(CURVE_BATCH * 3, "colours");
    for (size_t i = 0; i < CURVE_BATCH * each; i++) {
        pixels[i] = 0.5F * pixels[i] + colours[3 * (i / each) + i % 3];
    }
    cask_free(colours);
    return pixels;
}

struct curve {
    const char *network;
    int size;
    double rate;
};

struct curve_run {
    enum cask_precision precision;
    enum cask_plan_path path;
    int threads, steps;
};

static void train(const struct curve *curve, struct curve_run run, double losses[STEPS])
{
    struct cask_device *device = open_threads("cpu", run.precision, run.threads);
    struct cask_graph *graph = build(curve->network, curve->size);
    struct cask_net *net = NULL;
    const struct cask_sgd sgd = {.rate = curve->rate, .momentum = 0.9, .gradient_scale = 1};
    float *pixels = pictures(graph), *target = noise(CURVE_BATCH * D, "target"),
          embedding[CURVE_BATCH * D];
    assert_ok(cask_net_create(graph, device, true, &net, &err));
    assert_ok(cask_net_init(net, 3, &err));
    struct cask_plan *plan = plan_for(net, CURVE_BATCH, run.path);
    for (int step = 0; step < run.steps; step++) {
        assert_ok(cask_net_zero_grads(net, &err));
        assert_ok(cask_plan_forward(plan, pixels, CURVE_BATCH, embedding, &err));
        losses[step] = 0;
        for (int i = 0; i < CURVE_BATCH * D; i++) {
            embedding[i] -= target[i];
            losses[step] += 0.5 * (double)embedding[i] * (double)embedding[i] / CURVE_BATCH;
            embedding[i] /= BATCH;
        }
        assert_ok(cask_plan_backward(plan, embedding, &err));
        for (int p = 0; p < cask_graph_param_count(graph); p++) {
            if (cask_net_grad(net, p) != NULL) {
                assert_ok(cask_device_ops(device)->sgd_step(
                    device, &sgd, (size_t)cask_graph_param(graph, p)->count, cask_net_value(net, p),
                    cask_net_grad(net, p), cask_net_momentum(net, p), &err));
            }
        }
        cask_net_changed(net);
    }
    cask_free(pixels);
    cask_free(target);
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

static double worst_of(const double a[STEPS], const double b[STEPS])
{
    double worst = 0;
    for (int i = 0; i < STEPS; i++) {
        double relative = fabs(a[i] - b[i]) / b[i];
        worst = relative <= worst ? worst : relative;
    }
    return worst;
}

/* Again, on one thread: the same losses to the last bit. */
static void check_repeat(const struct curve *curve, enum cask_precision precision,
                         const double losses[STEPS])
{
    enum { AGAIN = 10 };
    double again[STEPS];
    train(curve, (struct curve_run){precision, CASK_PATH_CHAINED, 1, AGAIN}, again);
    assert_memory_equal(losses, again, AGAIN * sizeof *again);
}

static void check_curve(const struct curve *curve)
{
    double chained[STEPS], other[STEPS];
    struct cask_device *half = NULL;
    const struct cask_device_options options = {"cpu", 2, CASK_PRECISION_BF16};
    struct curve_run run = {CASK_PRECISION_FP32, CASK_PATH_CHAINED, 2, STEPS};
    train(curve, run, chained);
    run.path = CASK_PATH_PLAIN;
    train(curve, run, other);
    printf("%s: loss %.4f to %.4f in %d steps; chained to op by op within %.2g\n", curve->network,
           other[0], other[STEPS - 1], STEPS, worst_of(chained, other));
    assert_true(other[STEPS - 1] < 0.85 * other[0]); /* it did learn */
    assert_true(worst_of(chained, other) <= 1e-4);
    check_repeat(curve, CASK_PRECISION_FP32, chained);
    if (cask_device_open(&options, &half, &err) != CASK_OK) {
        printf("bf16 not tested: %s\n", err.message);
        return;
    }
    cask_device_close(half);
    run = (struct curve_run){CASK_PRECISION_BF16, CASK_PATH_CHAINED, 2, STEPS};
    train(curve, run, other);
    printf("%s: bf16 to fp32 within %.2g over %d steps\n", curve->network, worst_of(other, chained),
           STEPS);
    assert_true(worst_of(other, chained) <= 0.02);
    check_repeat(curve, CASK_PRECISION_BF16, other);
}

static void test_curves(void **state)
{
    static const struct curve curves[] = {{"mobilefacenet", 32, 1e-7}, {"ir18", 16, 1e-5}};
    (void)state;
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        check_curve(&curves[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_neighbours_take),
        cmocka_unit_test(test_same_gradients),
        cmocka_unit_test(test_same_bits_for_two_threads),
        cmocka_unit_test(test_same_bits_for_two_threads_bf16),
        cmocka_unit_test(test_curves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
