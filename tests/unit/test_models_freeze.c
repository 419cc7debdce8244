/* Frozen parameters: backward stops below the lowest layer that trains, and what trains gets the
 * bits of a full backward, whichever way the plan was made. */
#include "tests/support/test.h"

#include "tests/support/networks.h"

static struct cask_error err;

enum { BATCH = 4, STEPS = 2 };

static const enum cask_plan_path paths[] = {CASK_PATH_CHAINED, CASK_PATH_FUSED, CASK_PATH_PLAIN};

/* What is frozen of a net's parameters. */
typedef bool (*frozen_rule)(const struct cask_graph *graph, int param);

static bool none(const struct cask_graph *graph, int param)
{
    (void)graph;
    (void)param;
    return false;
}

static bool everything(const struct cask_graph *graph, int param)
{
    (void)graph;
    (void)param;
    return true;
}

static bool all_but_the_last(const struct cask_graph *graph, int param)
{
    return param < cask_graph_param_count(graph) - 6;
}

static bool first_half(const struct cask_graph *graph, int param)
{
    return param < cask_graph_param_count(graph) / 2;
}

/* A little below the middle one batch norm or slope trains, above nothing else does: the lowest
 * trained layer is none that backward can end at. */
static bool all_but_a_norm(const struct cask_graph *graph, int param)
{
    const int middle = cask_graph_param_count(graph) / 2;
    for (int i = middle; i >= 0; i--) {
        if (cask_graph_param(graph, i)->role == CASK_PARAM_BN_GAMMA) {
            return param != i;
        }
    }
    return true;
}

static bool norms(const struct cask_graph *graph, int param)
{
    const enum cask_param_role role = cask_graph_param(graph, param)->role;
    return role == CASK_PARAM_BN_GAMMA || role == CASK_PARAM_BN_BETA;
}

static bool scattered(const struct cask_graph *graph, int param)
{
    return param < cask_graph_param_count(graph) / 3 || param % 7 < 4;
}

struct outcome {
    struct cask_net *net;
    float *embedding; /* of every step */
    size_t bytes;     /* of the plan */
    int steps_back;
};

/* Steps without an optimiser, from gradients that are not zero. */
static struct outcome run(const struct cask_graph *graph, struct cask_device *device,
                          enum cask_plan_path path, frozen_rule frozen)
{
    struct outcome out = {.net = filled(graph, device, true)};
    struct cask_plan *plan = NULL;
    const size_t outputs = (size_t)BATCH * (size_t)cask_graph_embedding(graph),
                 pixels = (size_t)BATCH * image_floats(graph);
    float *images = cask_alloc(pixels, sizeof *images), *seed = noise(outputs, "seed");
    out.embedding = cask_alloc(STEPS * outputs, sizeof *out.embedding);
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        if (info->trained) {
            formula_fill(cask_net_grad(out.net, i), (size_t)info->count, info->name, 0, 0.1);
        }
        if (info->trained && frozen(graph, i)) {
            cask_net_freeze(out.net, i);
            assert_false(cask_net_trains(out.net, i));
        }
    }
    assert_ok(cask_plan_create_way(out.net, BATCH, CASK_MODE_TRAIN,
                                   (struct cask_plan_way){.path = path}, &plan, &err));
    for (int step = 0; step < STEPS; step++) {
        formula_fill(images, pixels, step == 0 ? "pixels" : "others", 0, 1);
        assert_ok(
            cask_plan_forward(plan, images, BATCH, out.embedding + (size_t)step * outputs, &err));
        assert_ok(cask_plan_backward(plan, seed, &err));
    }
    for (int i = 0; i < plan->step_count; i++) {
        out.steps_back += plan->steps[i].back;
    }
    out.bytes = cask_plan_bytes(plan);
    cask_plan_free(plan);
    cask_free(images);
    cask_free(seed);
    return out;
}

static void drop(struct outcome *out)
{
    cask_net_free(out->net);
    cask_free(out->embedding);
}

static void check_same(const char *what, const struct cask_graph *graph, struct outcome *whole,
                       struct outcome *part)
{
    const size_t outputs = STEPS * (size_t)BATCH * (size_t)cask_graph_embedding(graph);
    assert_memory_equal(whole->embedding, part->embedding, outputs * sizeof(float));
    double largest = 0;
    for (int i = 0; i < cask_graph_param_count(graph); i++) {
        const struct cask_param_info *info = cask_graph_param(graph, i);
        const size_t bytes = (size_t)info->count * sizeof(float);
        if (memcmp(cask_net_value(whole->net, i), cask_net_value(part->net, i), bytes) != 0) {
            fail_msg("%s: value of %s", what, info->name); /* running statistics too */
        }
        if (!cask_net_trains(part->net, i)) {
            continue;
        }
        const float *gradient = cask_net_grad(part->net, i);
        if (memcmp(cask_net_grad(whole->net, i), gradient, bytes) != 0) {
            fail_msg("%s: gradient of %s", what, info->name);
        }
        for (int64_t k = 0; k < info->count; k++) {
            largest = fmax(largest, fabs((double)gradient[k]));
        }
    }
    if (part->steps_back > 2 && !(largest > 0.2)) {
        fail_msg("%s: no gradient to speak of", what);
    }
}

static const struct {
    frozen_rule rule;
    const char *name;
    bool saves; /* fewer steps run backward */
} rules[] = {
    {everything, "everything", true}, {all_but_the_last, "all but the last", true},
    {first_half, "first half", true}, {all_but_a_norm, "all but a norm", true},
    {scattered, "scattered", true},   {norms, "norms", false},
};

static void check_network(const char *network, int size, enum cask_precision precision)
{
    struct cask_device *device = open_with("cpu", precision);
    struct cask_graph *graph = build(network, size);
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        struct outcome whole = run(graph, device, paths[p], none);
        for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
            char what[200];
            struct outcome part = run(graph, device, paths[p], rules[r].rule);
            snprintf(what, sizeof what, "%s, path %zu, %s", network, p, rules[r].name);
            check_same(what, graph, &whole, &part);
            if ((part.steps_back < whole.steps_back) != rules[r].saves ||
                (rules[r].saves ? part.bytes > whole.bytes : part.bytes != whole.bytes)) {
                fail_msg("%s: %d of %d steps, %zu of %zu bytes", what, part.steps_back,
                         whole.steps_back, part.bytes, whole.bytes);
            }
            drop(&part);
        }
        drop(&whole);
    }
    cask_graph_free(graph);
    cask_device_close(device);
}

static void every_kind_of_network(void **state)
{
    (void)state;
    check_network("mobilefacenet", 32, CASK_PRECISION_FP32);
    check_network("ir18", 16, CASK_PRECISION_FP32);
    check_network("mobilenetv3_large", 32, CASK_PRECISION_FP32);
    check_network("resnet18", 16, CASK_PRECISION_FP32);
}

static void in_bf16(void **state)
{
    (void)state;
    check_network("mobilefacenet", 16, CASK_PRECISION_BF16);
}

static void everything_frozen_costs_next_to_nothing(void **state)
{
    (void)state;
    struct cask_device *device = open_device("cpu");
    struct cask_graph *graph = build("ir18", 32);
    struct outcome out = run(graph, device, CASK_PATH_CHAINED, everything);
    assert_true(out.steps_back <= 2); /* the embedding's batch norm and what feeds it */
    drop(&out);
    cask_graph_free(graph);
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_network),
        cmocka_unit_test(in_bf16),
        cmocka_unit_test(everything_frozen_costs_next_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
