/* Plans: folding, partial batches, memory, repacking, hostile graphs, refusals. */
#include "tests/support/test.h"

#include "common/rng.h"
#include "tests/support/networks.h"

static struct cask_error err;

/* ---------------------------------------------------------------- inference */

static void check_fold(const char *backend, const char *network, int size, double tolerance)
{
    enum { BATCH = 3 };
    struct cask_device *device = open_device(backend);
    struct cask_graph *graph = build(network, size);
    struct cask_net *net = filled(graph, device, false);
    struct cask_plan *folded = NULL, *plain = NULL;
    float *pixels = noise(BATCH * image_floats(graph), "pixels"), a[BATCH * 64], b[BATCH * 64];
    assert_ok(cask_plan_create_folded(net, BATCH, CASK_MODE_EVAL, true, &folded, &err));
    assert_ok(cask_plan_create_folded(net, BATCH, CASK_MODE_EVAL, false, &plain, &err));
    assert_true(folded->step_count < plain->step_count);
    for (int i = 0; i < folded->step_count; i++) { /* nothing is left beside convolutions */
        assert_non_null(folded->steps[i].conv);
    }
    assert_ok(cask_plan_forward(folded, pixels, BATCH, a, &err));
    assert_ok(cask_plan_forward(plain, pixels, BATCH, b, &err));
    assert_all_close_f32(a, b, BATCH * 64, tolerance);
    cask_free(pixels);
    cask_plan_free(folded);
    cask_plan_free(plain);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

static void test_folding_is_exact(void **state)
{
    (void)state;
    check_fold("ref64", "mobilefacenet", 16, 1e-7); /* the embedding is rounded to float */
    check_fold("ref64", "ir18", 16, 1e-7);
    check_fold("cpu", "mobilefacenet", 32, 1e-5);
    check_fold("cpu", "ir18", 32, 1e-5);
    check_fold("cpu", "mbf", 32, 1e-5);
}

/* y = a + b + relu(b) with b = bn(a): nothing may fold or fuse, both values have other readers. */
static void test_values_with_other_readers_stay(void **state)
{
    static const char *const backends[] = {"ref64", "cpu"};
    const float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, gamma[3] = {2, 2, -2};
    const float beta[3] = {1, -8, 0}, mean[3] = {1, 1, 1}, var[3] = {4, 1, 1},
                pixels[3] = {3, 4, 5};
    const double b[3] = {3, -2, -8}; /* gamma (a - mean) / sqrt(var) + beta */
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct cask_device *device = open_device(backends[i]);
        struct cask_graph *graph = NULL;
        struct cask_net *net = NULL;
        struct cask_plan *plan = NULL;
        float y[3];
        const struct cask_conv_spec spec = {.out_c = 3, .kernel_h = 1, .kernel_w = 1, .stride = 1};
        assert_ok(cask_graph_begin("readers", false, 3, 1, 1, &graph, &err));
        int x = cask_graph_add_conv(graph, CASK_GRAPH_INPUT, "conv", &spec);
        int normal = cask_graph_add_batchnorm(graph, x, "bn", 0, CASK_AFFINE_TRAINED);
        int active = cask_graph_add_activation(graph, normal, "relu", CASK_ACT_RELU);
        int sum =
            cask_graph_add_add(graph, cask_graph_add_add(graph, x, normal, "add1"), active, "add2");
        assert_ok(
            cask_graph_finish(graph, cask_graph_add_linear(graph, sum, "fc", 3, false), &err));
        assert_ok(cask_net_create(graph, device, false, &net, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "conv.weight"), identity, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "fc.weight"), identity, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "bn.weight"), gamma, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "bn.bias"), beta, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "bn.running_mean"), mean, &err));
        assert_ok(cask_net_set(net, cask_graph_find_param(graph, "bn.running_var"), var, &err));
        assert_ok(cask_plan_create(net, 1, CASK_MODE_EVAL, &plan, &err));
        assert_ok(cask_plan_forward(plan, pixels, 1, y, &err));
        for (int c = 0; c < 3; c++) {
            assert_close((double)y[c], (double)pixels[c] + b[c] + fmax(b[c], 0), 1e-5);
        }
        cask_plan_free(plan);
        cask_net_free(net);
        cask_graph_free(graph);
        cask_device_close(device);
    }
}

/* Rows of a partial batch equal those of a full one, bit for bit, whatever ran before. */
static void test_partial_batches(void **state)
{
    enum { BATCH = 4, D = 64 };
    (void)state;
    struct cask_device *device = open_device("cpu");
    struct cask_graph *graph = build("mobilefacenet", 32);
    struct cask_net *net = filled(graph, device, false);
    struct cask_plan *plan = NULL;
    const size_t image = image_floats(graph);
    float *pixels = noise(BATCH * image, "pixels"), full[BATCH * D], part[BATCH * D];
    assert_ok(cask_plan_create(net, BATCH, CASK_MODE_EVAL, &plan, &err));
    assert_ok(cask_plan_forward(plan, pixels, BATCH, full, &err));
    assert_true(memcmp(full, full + D, D * sizeof *full) != 0);
    for (int count = 1; count <= BATCH; count++) {
        memset(plan->allocation, 0xff, plan->memory.bytes); /* NaN */
        memset(part, 0, sizeof part);
        assert_ok(cask_plan_forward(plan, pixels, count, part, &err));
        assert_memory_equal(part, full, (size_t)count * D * sizeof *full);
        for (int i = count * D; i < BATCH * D; i++) {
            assert_true(part[i] == 0);
        }
    }
    /* The third image alone, among others. */
    assert_ok(cask_plan_forward(plan, pixels + 2 * image, 2, part, &err));
    assert_memory_equal(part, full + 2 * D, 2 * D * sizeof *full);
    assert_refused(CASK_ERR_INTERNAL, "5 images", cask_plan_forward(plan, pixels, 5, part, &err));
    assert_refused(CASK_ERR_INTERNAL, "0 images", cask_plan_forward(plan, pixels, 0, part, &err));
    cask_free(pixels);
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

static void test_new_weights_are_packed(void **state)
{
    enum { D = 64 };
    (void)state;
    struct cask_device *device = open_device("cpu");
    struct cask_graph *graph = build("mobilefacenet", 32);
    struct cask_net *net = filled(graph, device, true);
    struct cask_plan *eval = NULL, *train = NULL;
    float *pixels = noise(2 * image_floats(graph), "pixels"), before[2 * D], after[2 * D],
          slope[64];
    assert_ok(cask_plan_create(net, 2, CASK_MODE_EVAL, &eval, &err));
    assert_ok(cask_plan_create(net, 2, CASK_MODE_TRAIN, &train, &err));
    assert_ok(cask_plan_forward(eval, pixels, 2, before, &err));

    int param = cask_graph_find_param(graph, "conv2_dw.conv.weight");
    float *values = noise((size_t)cask_graph_param(graph, param)->count, "other");
    assert_ok(cask_net_set(net, param, values, &err));
    assert_ok(cask_plan_forward(eval, pixels, 2, after, &err));
    assert_true(memcmp(before, after, sizeof after) != 0);

    /* A training step moves running statistics, which are inside the folded weights. */
    memcpy(before, after, sizeof before);
    assert_ok(cask_plan_forward(train, pixels, 2, after, &err));
    assert_ok(cask_plan_forward(eval, pixels, 2, after, &err));
    assert_true(memcmp(before, after, sizeof after) != 0);

    param = cask_graph_find_param(graph, "conv1.prelu.weight");
    formula_fill(slope, 64, "slopes", 0, 1);
    float back[64];
    assert_ok(cask_net_set(net, param, slope, &err));
    cask_net_get(net, param, back);
    assert_memory_equal(back, slope, sizeof slope);
    cask_free(values);
    cask_free(pixels);
    cask_plan_free(eval);
    cask_plan_free(train);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

/* ------------------------------------------------------------------- memory */

static void test_memory(void **state)
{
    (void)state;
    struct cask_device *device = open_device("cpu");
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_plan *eval = NULL, *train = NULL;
    assert_ok(cask_graph_build("mobilefacenet", NULL, &graph, &err));
    assert_ok(cask_net_create(graph, device, true, &net, &err));
    assert_ok(cask_plan_create(net, 2, CASK_MODE_EVAL, &eval, &err));
    assert_ok(cask_plan_create(net, 2, CASK_MODE_TRAIN, &train, &err));
    printf("mobilefacenet, batch 2: eval %.2f MB, train %.2f MB\n",
           (double)cask_plan_bytes(eval) / 1e6, (double)cask_plan_bytes(train) / 1e6);
    assert_true(cask_plan_bytes(eval) * 5 < cask_plan_bytes(train));
    /* The widest moment of eval is conv_23.conv: 64 channels in, 128 out, at 56 x 56. */
    assert_int_equal(cask_plan_bytes(eval), sizeof(float) * 2 * (64 + 128) * 56 * 56);

    char *table = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&table, &bytes);
    cask_plan_print(train, stream);
    fclose(stream);
    assert_non_null(strstr(table, "conv_3.model.0.conv_dw.bn"));
    assert_non_null(strstr(table, "batchnorm+prelu"));
    assert_non_null(strstr(table, "1199488 parameters, 221161984 MACs per image"));
    free(table);
    cask_plan_free(eval);
    cask_plan_free(train);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

/* No two buffers alive at one moment overlap; the sum of gaps stays small. */
static void test_placement(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct cask_memory memory = {0};
        size_t most = 0;
        for (uint64_t i = 0; i < 60; i++) {
            int buffer, first = (int)cask_rng_below(seed, 1, i, 100);
            int last = first + (int)cask_rng_below(seed, 2, i, 12);
            assert_ok(cask_memory_add(&memory, 1 + cask_rng_below(seed, 3, i, 5000), first, last,
                                      &buffer, &err));
        }
        assert_ok(cask_memory_place(&memory, &err));
        for (int moment = 0; moment < 112; moment++) {
            size_t alive = 0;
            for (int i = 0; i < memory.count; i++) {
                const struct cask_plan_buffer *a = &memory.buffers[i];
                if (a->first > moment || a->last < moment) {
                    continue;
                }
                alive += a->bytes;
                assert_true(a->offset + a->bytes <= memory.bytes && a->offset % 64 == 0);
                for (int j = 0; j < i; j++) {
                    const struct cask_plan_buffer *b = &memory.buffers[j];
                    bool together = b->first <= moment && b->last >= moment;
                    bool apart =
                        a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset;
                    assert_true(!together || apart);
                }
            }
            most = alive > most ? alive : most;
        }
        assert_true(memory.bytes <= most * 5 / 4);
        cask_memory_release(&memory);
    }
}

/* ----------------------------------------------------------------- refusals */

static void test_refusals(void **state)
{
    (void)state;
    struct cask_device *device = open_device("ref");
    struct cask_graph *graph = build("mobilefacenet", 16), *fixed = NULL;
    struct cask_net *net = filled(graph, device, false), *none = NULL;
    struct cask_plan *plan = NULL;
    assert_refused(CASK_ERR_INTERNAL, "for inference",
                   cask_plan_create(net, 4, CASK_MODE_TRAIN, &plan, &err));
    assert_null(plan);
    assert_refused(CASK_ERR_RANGE, "batch is 0; expected 1 to 65536",
                   cask_plan_create(net, 0, CASK_MODE_EVAL, &plan, &err));
    assert_refused(CASK_ERR_INTERNAL, "for inference", cask_net_zero_grads(net, &err));
    cask_net_free(net);
    net = filled(graph, device, true);
    assert_refused(CASK_ERR_RANGE, "at least 2",
                   cask_plan_create(net, 1, CASK_MODE_TRAIN, &plan, &err));
    assert_ok(cask_graph_begin("fixed", false, 3, 4, 4, &fixed, &err));
    int x = cask_graph_add_affine(fixed, CASK_GRAPH_INPUT, "normalise");
    assert_ok(cask_graph_finish(fixed, cask_graph_add_linear(fixed, x, "fc", 2, true), &err));
    assert_refused(CASK_ERR_UNSUPPORTED, "cannot be trained",
                   cask_net_create(fixed, device, true, &none, &err));
    assert_null(none);
    cask_net_free(net);
    cask_graph_free(fixed);
    cask_graph_free(graph);
    cask_device_close(device);
}

/* Every allocation on the way to an embedding fails once: an error each time, nothing leaks (the
 * address sanitizer looks), nothing crashes. */
static void test_memory_runs_out(void **state)
{
    struct cask_device *device = open_device("ref");
    const struct cask_graph_options options = {.width = 16, .height = 16};
    float pixels[3 * 16 * 16] = {1}, embedding[512];
    enum cask_status st = CASK_ERR_MEMORY;
    long failures = 0;
    (void)state;
    while (st != CASK_OK) {
        struct cask_graph *graph = NULL;
        struct cask_net *net = NULL;
        struct cask_plan *plan = NULL;
        cask_mem_fail_after(++failures);
        st = cask_graph_build("mobilefacenet", &options, &graph, &err);
        st = st != CASK_OK ? st : cask_net_create(graph, device, true, &net, &err);
        st = st != CASK_OK ? st : cask_plan_create(net, 1, CASK_MODE_EVAL, &plan, &err);
        st = st != CASK_OK ? st : cask_plan_forward(plan, pixels, 1, embedding, &err);
        cask_mem_fail_after(0);
        assert_true(st == CASK_OK || st == CASK_ERR_MEMORY);
        cask_plan_free(plan);
        cask_net_free(net);
        cask_graph_free(graph);
    }
    assert_true(failures > 100);
    cask_device_close(device);
}

/* Builders remember the first problem and report it at the end. */
static void test_broken_graphs(void **state)
{
    struct cask_graph *graph = NULL;
    (void)state;
    const struct cask_conv_spec spec = {.out_c = 4, .kernel_h = 9, .kernel_w = 9, .stride = 1};
    assert_ok(cask_graph_begin("broken", true, 3, 4, 4, &graph, &err));
    int x = cask_graph_add_conv(graph, CASK_GRAPH_INPUT, "too_wide", &spec);
    assert_int_equal(x, -1);
    x = cask_graph_add_activation(graph, x, "after", CASK_ACT_RELU);
    assert_refused(CASK_ERR_RANGE, "too_wide", cask_graph_finish(graph, x, &err));
    cask_graph_free(graph);

    assert_ok(cask_graph_begin("twins", true, 3, 4, 4, &graph, &err));
    x = cask_graph_add_linear(graph, CASK_GRAPH_INPUT, "fc", 4, false);
    x = cask_graph_add_linear(graph, x, "fc", 4, false);
    assert_refused(CASK_ERR_FORMAT, "fc.weight", cask_graph_finish(graph, x, &err));
    cask_graph_free(graph);

    assert_ok(cask_graph_begin("map", true, 3, 4, 4, &graph, &err));
    x = cask_graph_add_activation(graph, CASK_GRAPH_INPUT, "act", CASK_ACT_RELU);
    assert_refused(CASK_ERR_FORMAT, "C x 1 x 1", cask_graph_finish(graph, x, &err));
    cask_graph_free(graph);
}

/* Shapes that a hostile file could ask for are refused before anything is allocated. */
static void test_absurd_graphs(void **state)
{
    struct cask_graph *graph = NULL;
    (void)state;
    assert_refused(CASK_ERR_RANGE, "out of range",
                   cask_graph_begin("wide", false, 3, 1 << 20, 1 << 20, &graph, &err));
    assert_null(graph);
    assert_refused(CASK_ERR_RANGE, "out of range",
                   cask_graph_begin("flat", false, 3, 0, 112, &graph, &err));

    const struct cask_conv_spec padded = {.out_c = 1 << 20,
                                          .kernel_h = 1,
                                          .kernel_w = 1,
                                          .stride = 1,
                                          .pad_top = INT32_MAX - 8,
                                          .pad_left = 1 << 20};
    assert_ok(cask_graph_begin("padded", false, 3, 4, 4, &graph, &err));
    int x = cask_graph_add_conv(graph, CASK_GRAPH_INPUT, "conv", &padded);
    assert_refused(CASK_ERR_RANGE, "out of range", cask_graph_finish(graph, x, &err));
    cask_graph_free(graph);

    assert_ok(cask_graph_begin("deep", false, 3, 1, 1, &graph, &err));
    x = CASK_GRAPH_INPUT;
    for (int i = 0; i < 20000; i++) {
        x = cask_graph_add_activation(graph, x, "relu", CASK_ACT_RELU);
    }
    assert_refused(CASK_ERR_RANGE, "16384 layers", cask_graph_finish(graph, x, &err));
    cask_graph_free(graph);
}

/* y = scale * x + offset in front of everything, as in files that normalise pixels themselves. */
static void test_affine(void **state)
{
    static const char *const backends[] = {"ref", "ref64", "cpu"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct cask_device *device = open_device(backends[i]);
        struct cask_graph *graph = NULL;
        struct cask_net *net = NULL;
        struct cask_plan *plan = NULL;
        const float scale[3] = {2, 3, 4}, offset[3] = {-1, 0, 1},
                    pick[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
        const float pixels[3] = {10, 20, 30};
        float y[3];
        assert_ok(cask_graph_begin("affine", false, 3, 1, 1, &graph, &err));
        int x = cask_graph_add_affine(graph, CASK_GRAPH_INPUT, "normalise");
        assert_ok(cask_graph_finish(graph, cask_graph_add_linear(graph, x, "fc", 3, false), &err));
        assert_ok(cask_net_create(graph, device, false, &net, &err));
        assert_ok(cask_net_set(net, 0, scale, &err));
        assert_ok(cask_net_set(net, 1, offset, &err));
        assert_ok(cask_net_set(net, 2, pick, &err));
        assert_ok(cask_plan_create(net, 1, CASK_MODE_EVAL, &plan, &err));
        assert_ok(cask_plan_forward(plan, pixels, 1, y, &err));
        for (int c = 0; c < 3; c++) {
            assert_close((double)y[c], (double)(scale[c] * pixels[c] + offset[c]), 1e-5);
        }
        cask_plan_free(plan);
        cask_net_free(net);
        cask_graph_free(graph);
        cask_device_close(device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_broken_graphs),
        cmocka_unit_test(test_absurd_graphs),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_folding_is_exact),
        cmocka_unit_test(test_values_with_other_readers_stay),
        cmocka_unit_test(test_partial_batches),
        cmocka_unit_test(test_new_weights_are_packed),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_affine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
