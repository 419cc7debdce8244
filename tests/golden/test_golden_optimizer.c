/* Decay groups, clipping and freezing against torch.optim.SGD (optimizer.json, written by
 * make_optimizer.py). */
#include "tests/support/test.h"

#include "tests/support/formula.h"
#include "tests/support/golden.h"
#include "train/optimizer.h"

static struct cask_error err;
static struct cask_json *golden;

static const char *text(const struct cask_json *object, const char *key)
{
    const char *value = NULL;
    assert_true(cask_json_as_text(cask_json_get(object, key), &value));
    return value;
}

static double real(const struct cask_json *object, const char *key)
{
    double value = NAN;
    assert_true(cask_json_as_real(cask_json_get(object, key), &value));
    return value;
}

static void read_options(const struct cask_json *one, struct cask_train_options *options)
{
    const char *rule = text(one, "decay_on"), *freeze = text(one, "freeze");
    *options = (struct cask_train_options){
        .momentum = 0.9, .weight_decay = 0.05, .clip = real(one, "clip")};
    options->decay_on = strcmp(rule, "tface") == 0        ? CASK_DECAY_TFACE
                        : strcmp(rule, "no_bn_bias") == 0 ? CASK_DECAY_NO_BN_BIAS
                                                          : CASK_DECAY_ALL;
    assert_true(cask_json_as_bool(cask_json_get(one, "nesterov"), &options->nesterov));
    if (freeze[0] != '\0') {
        options->freeze.values[options->freeze.count++] = freeze;
    }
}

/* Of the ref64 device: doubles on the host. */
static void fill_gradients(struct cask_net *net, int step)
{
    const struct cask_graph *graph = cask_net_graph(net);
    for (int p = 0; p < cask_graph_param_count(graph); p++) {
        const struct cask_param_info *info = cask_graph_param(graph, p);
        double *grad = cask_net_grad(net, p);
        char name[200];
        snprintf(name, sizeof name, "%s.grad%d", info->name, step);
        const uint32_t hash = cask_crc32(0, name, strlen(name));
        for (int64_t i = 0; grad != NULL && i < info->count; i++) {
            grad[i] = (double)(float)(0.01 * formula_uniform(hash, (uint64_t)i));
        }
    }
}

static void check_values(struct cask_net *net, const struct cask_json *wanted, double tolerance)
{
    const struct cask_graph *graph = cask_net_graph(net);
    const struct cask_json *want = NULL;
    const char *name = NULL;
    int checked = 0;
    for (void *i = cask_json_next(wanted, NULL, &name, &want); i != NULL;
         i = cask_json_next(wanted, i, &name, &want)) {
        const int p = cask_graph_find_param(graph, name);
        char probe[200];
        double expected = NAN, sum = 0, scale = 0;
        assert_true(p >= 0 && cask_json_as_real(want, &expected));
        const double *values = cask_net_value(net, p);
        snprintf(probe, sizeof probe, "%s.probe", name);
        const uint32_t hash = cask_crc32(0, probe, strlen(probe));
        for (int64_t k = 0; k < cask_graph_param(graph, p)->count; k++) {
            const double product = values[k] * (double)(float)formula_uniform(hash, (uint64_t)k);
            sum += product;
            scale += fabs(product);
        }
        if (!(fabs(sum - expected) <= tolerance * scale)) {
            fail_msg("%s: %.15g, PyTorch %.15g", name, sum, expected);
        }
        checked++;
    }
    assert_true(checked > 50);
}

static void check_case(struct cask_device *device, const struct cask_json *one)
{
    static const double rates[] = {0.1, 0.05, 0.02};
    const struct cask_graph_options shape = {.width = 32, .height = 32};
    struct cask_train_options options;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    const struct cask_json *norms = cask_json_get(one, "norms");
    int frozen = -1, trained = 0;
    double want_trained = real(one, "trained");
    read_options(one, &options);
    assert_ok(cask_graph_build(text(one, "net"), &shape, &graph, &err));
    assert_ok(cask_net_create(graph, device, true, &net, &err));
    assert_ok(formula_net(net, &err));
    assert_ok(cask_optimizer_freeze(net, &options, &frozen, &err));
    for (int p = 0; p < cask_graph_param_count(graph); p++) {
        trained += cask_graph_param(graph, p)->trained;
    }
    assert_int_equal(trained - frozen, (int)want_trained);
    for (int step = 0; step < 3; step++) {
        double norm = 0, scale = 0, want = 0;
        fill_gradients(net, step);
        assert_ok(
            cask_optimizer_network(net, device, &options, rates[step], 0, &norm, &scale, &err));
        assert_int_equal(isnan(norm), options.clip == 0);
        if (options.clip > 0) {
            assert_true(cask_json_as_real(cask_json_at(norms, (size_t)step), &want));
            assert_close(norm, want, 1e-10 * want);
            /* PyTorch adds 1e-6 to the norm before it divides. */
            assert_close(scale, options.clip / want, 1e-6);
        }
    }
    print_message("%s, decay on %s, clip %g, frozen \"%s\": %d parameters\n", text(one, "net"),
                  text(one, "decay_on"), options.clip, text(one, "freeze"), trained - frozen);
    check_values(net, cask_json_get(one, "values"), options.clip > 0 ? 1e-6 : 1e-10);
    cask_net_free(net);
    cask_graph_free(graph);
}

static void sgd_is_torchs(void **state)
{
    struct cask_device *device = NULL;
    const struct cask_device_options plain = {.backend = "ref64", .threads = 1};
    const struct cask_json *cases = cask_json_get(golden, "cases");
    (void)state;
    assert_ok(cask_device_open(&plain, &device, &err));
    assert_true(cask_json_size(cases) >= 7);
    for (size_t i = 0; i < cask_json_size(cases); i++) {
        check_case(device, cask_json_at(cases, i));
    }
    cask_device_close(device);
}

static void words_that_name_nothing_are_refused(void **state)
{
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    const struct cask_device_options plain = {.backend = "ref", .threads = 1};
    struct cask_train_options options = {.freeze = {.values = {"bn", "layer9.*"}, .count = 2}};
    int frozen = 0;
    (void)state;
    assert_ok(cask_device_open(&plain, &device, &err));
    assert_ok(cask_graph_build("ir18", NULL, &graph, &err));
    assert_ok(cask_net_create(graph, device, true, &net, &err));
    assert_refused(CASK_ERR_USAGE, "\"layer9.*\" names no trained parameter of ir18",
                   cask_optimizer_freeze(net, &options, &frozen, &err));
    options.freeze.values[1] = "backbone";
    assert_ok(cask_optimizer_freeze(net, &options, &frozen, &err));
    assert_int_equal(frozen, 93);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_device_close(device);
}

static int load(void **state)
{
    (void)state;
    golden = golden_read("optimizer");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    cask_json_free(golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_is_torchs),
        cmocka_unit_test(words_that_name_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
