/* What stops a run that no longer trains: a number that is not finite and a loss that is stuck,
 * with the layer where it begins, on every way of planning a network and after a restart. */
#include "tests/support/test.h"

#include "tests/support/networks.h"
#include "train/watch.h"

static struct cask_error err;

enum { BATCH = 4, CLASSES = 6, SIDE = 4 };

/* conv1 > bn1 > prelu1 > conv2 > bn2 > fc > out: a network, its plan and a head without a teacher.
 */
struct scene {
    struct cask_device *device;
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_plan *plan;
    struct cask_criterion_config *settings;
    struct cask_config *config;
    struct cask_criterion *criterion;
    struct cask_watch watch;
    float *pixels;
};

static struct cask_graph *small_network(void)
{
    struct cask_graph *graph = NULL;
    const struct cask_conv_spec spec = {.out_c = 8,
                                        .kernel_h = 3,
                                        .kernel_w = 3,
                                        .stride = 1,
                                        .pad_top = 1,
                                        .pad_left = 1,
                                        .pad_bottom = 1,
                                        .pad_right = 1};
    assert_ok(cask_graph_begin("small", true, 3, SIDE, SIDE, &graph, &err));
    int x = cask_graph_add_conv(graph, CASK_GRAPH_INPUT, "conv1", &spec);
    x = cask_graph_add_batchnorm(graph, x, "bn1", 1e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_activation(graph, x, "prelu1", CASK_ACT_PRELU);
    x = cask_graph_add_conv(graph, x, "conv2", &spec);
    x = cask_graph_add_batchnorm(graph, x, "bn2", 1e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_linear(graph, x, "fc", 8, false);
    x = cask_graph_add_batchnorm(graph, x, "out", 1e-5, CASK_AFFINE_TRAINED);
    assert_ok(cask_graph_finish(graph, x, &err));
    return graph;
}

static void open_scene(struct scene *scene, enum cask_plan_path path)
{
    struct cask_config_section sections[80];
    memset(scene, 0, sizeof *scene);
    scene->device = open_device("cpu");
    scene->graph = small_network();
    scene->net = filled(scene->graph, scene->device, true);
    assert_ok(cask_plan_create_way(scene->net, BATCH, CASK_MODE_TRAIN,
                                   (struct cask_plan_way){.path = path}, &scene->plan, &err));
    assert_ok(cask_criterion_config_create(&scene->settings, &err));
    assert_ok(cask_config_create(sections,
                                 cask_criterion_config_sections(scene->settings, sections, 80),
                                 &scene->config, &err));
    const struct cask_criterion_options options = {
        .device = scene->device, .classes = CLASSES, .dim = 8, .batch = BATCH, .seed = 5};
    assert_ok(cask_criterion_create(scene->settings, &options, &scene->criterion, &err));
    scene->pixels = noise(BATCH * image_floats(scene->graph), "pixels");
}

static void close_scene(struct scene *scene)
{
    cask_free(scene->pixels);
    cask_criterion_free(scene->criterion);
    cask_config_free(scene->config);
    cask_criterion_config_free(scene->settings);
    cask_plan_free(scene->plan);
    cask_net_free(scene->net);
    cask_graph_free(scene->graph);
    cask_device_close(scene->device);
}

/* Every value of a parameter, or its first one alone. */
static void set_parameter(struct scene *scene, const char *name, float value, bool all)
{
    const int param = cask_graph_find_param(scene->graph, name);
    assert_true(param >= 0);
    const int64_t count = cask_graph_param(scene->graph, param)->count;
    float *values = cask_alloc((size_t)count, sizeof *values);
    cask_net_get(scene->net, param, values);
    for (int64_t i = 0; i < (all ? count : 1); i++) {
        values[i] = value;
    }
    assert_ok(cask_net_set(scene->net, param, values, &err));
    cask_free(values);
}

/* Forward, losses and what the watch says of them. `embedding`: taken instead of the network's. */
static enum cask_status one_step(struct scene *scene, int64_t step, const float *embedding)
{
    static const uint32_t labels[BATCH] = {0, 3, 3, 5};
    float own[BATCH * 8], gradient[BATCH * 8];
    double total = NAN;
    assert_ok(cask_plan_forward(scene->plan, scene->pixels, BATCH, own, &err));
    assert_ok(cask_criterion_step(scene->criterion, embedding != NULL ? embedding : own, labels,
                                  BATCH, NULL, (struct cask_progress_point){0}, false, gradient,
                                  &total, &err));
    const struct cask_watch_scene what = {.step = step,
                                          .net = scene->net,
                                          .plan = scene->plan,
                                          .device = scene->device,
                                          .criterion = scene->criterion,
                                          .pixels = scene->pixels,
                                          .count = BATCH};
    const enum cask_status st = cask_watch_losses(&scene->watch, &what, total, &err);
    if (st != CASK_OK) {
        return st;
    }
    assert_ok(cask_net_zero_grads(scene->net, &err));
    assert_ok(cask_plan_backward(scene->plan, gradient, &err));
    return cask_watch_gradients(&what, &err);
}

static const enum cask_plan_path paths[] = {CASK_PATH_CHAINED, CASK_PATH_FUSED, CASK_PATH_PLAIN};

static void a_number_that_is_not_finite(void **state)
{
    (void)state;
    static const struct {
        const char *parameter;
        float value;
        const char *message;
    } cases[] = {
        {"conv2.weight", NAN, "the first parameter that is not finite is conv2.weight"},
        {"prelu1.weight", INFINITY, "the first parameter that is not finite is prelu1.weight"},
        /* finite, but not what is made of them */
        {"conv1.weight", 3e38f, "the first layer with an output that is not finite is conv1 ("},
        {"bn1.weight", 3e38f, "the first layer with an output that is not finite is bn1 ("},
        {"fc.weight", 3e38f, "the first layer with an output that is not finite is fc ("},
    };
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct scene scene;
            open_scene(&scene, paths[p]);
            assert_ok(one_step(&scene, 0, NULL));
            set_parameter(&scene, cases[i].parameter, cases[i].value, true);
            const enum cask_status st = one_step(&scene, 1, NULL);
            if (st != CASK_ERR_RANGE || strncmp(err.message, "step 2: ", 8) != 0 ||
                strstr(err.message, "the loss \"arcface\" is ") == NULL ||
                strstr(err.message, cases[i].message) == NULL) {
                fail_msg("path %zu, %s: %s", p, cases[i].parameter, err.message);
            }
            close_scene(&scene);
        }
    }
}

/* Nothing of the network is wrong, the class rows are; and nothing at all but the loss. */
static void what_is_not_the_network(void **state)
{
    (void)state;
    struct scene scene;
    const struct cask_state_array *arrays = NULL;
    open_scene(&scene, CASK_PATH_CHAINED);
    assert_true(cask_criterion_state(scene.criterion, &arrays) > 0);
    arrays[0].values[7] = NAN;
    assert_refused(CASK_ERR_RANGE, "step 1: ", one_step(&scene, 0, NULL));
    assert_non_null(
        strstr(err.message, "finite up to its embedding; of the criterion, head.weight"));
    close_scene(&scene);
}

/* Large activations and small weights: all of forward is finite, and so is the loss, but a weight's
 * gradient is as large as its input. */
static void a_gradient_that_is_not_finite(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        struct scene scene;
        open_scene(&scene, paths[p]);
        set_parameter(&scene, "bn2.weight", 1e37f, true);
        set_parameter(&scene, "fc.weight", 2e-38f, true);
        assert_refused(CASK_ERR_RANGE, "step 8: the gradient of fc.weight is not finite",
                       one_step(&scene, 7, NULL));
        close_scene(&scene);
    }
}

/* A dead layer: from there on all images look alike, so the loss cannot change. */
static void a_stuck_loss_names_the_layer(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
        struct scene scene;
        open_scene(&scene, paths[p]);
        set_parameter(&scene, "conv2.weight", 0, true);
        for (int i = 0; i + 1 < CASK_WATCH_STUCK; i++) {
            formula_fill(scene.pixels, BATCH * image_floats(scene.graph), "pixels", 0.01 * i, 1);
            assert_ok(one_step(&scene, i, NULL));
        }
        assert_refused(CASK_ERR_RANGE, "step 20: the loss \"arcface\" has been ",
                       one_step(&scene, CASK_WATCH_STUCK - 1, NULL));
        assert_non_null(strstr(err.message, "for 20 steps of different images: it is stuck"));
        assert_non_null(strstr(err.message, "from layer conv2 on the network gives the same"));
        close_scene(&scene);
    }
}

/* The embeddings are fine, the loss does not move: a clamp. One other value in between, a weight of
 * 0 or a value of 0 begins the count anew. */
static void a_stuck_loss_at_a_clamp(void **state)
{
    (void)state;
    struct scene scene;
    float fixed[BATCH * 8], other[BATCH * 8];
    open_scene(&scene, CASK_PATH_CHAINED);
    formula_fill(fixed, BATCH * 8, "fixed", 0, 1);
    formula_fill(other, BATCH * 8, "other", 0, 1);
    for (int i = 0; i < 3 * CASK_WATCH_STUCK; i++) {
        assert_ok(one_step(&scene, i, i % (CASK_WATCH_STUCK - 1) == 0 ? other : fixed));
    }
    enum cask_status st = CASK_OK;
    int steps = 0;
    for (; st == CASK_OK && steps < 2 * CASK_WATCH_STUCK; steps++) {
        st = one_step(&scene, steps, fixed);
    }
    assert_int_equal(st, CASK_ERR_RANGE);
    assert_true(steps <= CASK_WATCH_STUCK);
    assert_non_null(strstr(err.message, "still differ from image to image, so the loss sits at a"));
    close_scene(&scene);
}

/* The count is part of the state: stopped after 12 of the 20 steps, the run ends where it would
 * have. */
static void the_count_survives_a_restart(void **state)
{
    (void)state;
    struct scene scene;
    struct cask_state_list list = {0};
    float fixed[BATCH * 8];
    char folder[256];
    bool found = false;
    struct cask_checkpoint_note note = {.step = 12, .identity = "x", .device = "cpu"}, back;
    test_make_folder(folder);
    formula_fill(fixed, BATCH * 8, "fixed", 0, 1);
    open_scene(&scene, CASK_PATH_CHAINED);
    for (int i = 0; i < 12; i++) {
        assert_ok(one_step(&scene, i, fixed));
    }
    assert_ok(cask_watch_state(&scene.watch, &list, &err));
    assert_ok(cask_checkpoint_save_state(folder, &note, &list, &err));
    memset(&scene.watch, 0, sizeof scene.watch);
    assert_ok(cask_checkpoint_restore_state(folder, "x", &list, &back, &found, &err));
    assert_true(found);
    for (int i = 12; i + 1 < CASK_WATCH_STUCK; i++) {
        assert_ok(one_step(&scene, i, fixed));
    }
    assert_refused(CASK_ERR_RANGE, "step 20: ", one_step(&scene, CASK_WATCH_STUCK - 1, fixed));
    cask_state_release(&list);
    close_scene(&scene);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_that_is_not_finite),
        cmocka_unit_test(what_is_not_the_network),
        cmocka_unit_test(a_gradient_that_is_not_finite),
        cmocka_unit_test(a_stuck_loss_names_the_layer),
        cmocka_unit_test(a_stuck_loss_at_a_clamp),
        cmocka_unit_test(the_count_survives_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
