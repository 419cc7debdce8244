/* Whole networks against central differences, in double on ref64: every layer kind, residuals,
 * values with several readers, shared and in-place gradients. */
#include "tests/support/test.h"

#include "common/mem.h"
#include "common/rng.h"
#include "models/plan.h"

static struct cask_error err;
static struct cask_device *device;

enum { SEED = 7, START = 2 }; /* gradient buffers start at START, not at zero */

struct subject {
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_plan *plan;
    float *pixels, *weights; /* the loss is sum(weights * embedding) */
    int batch;
};

static double draw(uint64_t stream, uint64_t at)
{
    return cask_rng_normal(SEED, stream, at);
}

static void open_subject(struct subject *s, struct cask_graph *graph, int batch)
{
    *s = (struct subject){.graph = graph, .batch = batch};
    size_t pixels = (size_t)batch * 3 * (size_t)cask_graph_input_height(graph) *
                    (size_t)cask_graph_input_width(graph);
    size_t outputs = (size_t)batch * (size_t)cask_graph_embedding(graph);
    assert_ok(cask_net_create(graph, device, true, &s->net, &err));
    assert_ok(cask_plan_create(s->net, batch, CASK_MODE_TRAIN, &s->plan, &err));
    s->pixels = cask_alloc(pixels, sizeof *s->pixels);
    s->weights = cask_alloc(outputs, sizeof *s->weights);
    for (size_t i = 0; i < pixels; i++) {
        s->pixels[i] = (float)draw(1, i);
    }
    for (size_t i = 0; i < outputs; i++) {
        s->weights[i] = (float)draw(2, i);
    }
    /* Nothing at a special value: gammas around 1, slopes around 0.25, everything else around 0. */
    for (int p = 0; p < graph->param_count; p++) {
        enum cask_param_role role = graph->params[p].role;
        double centre = role == CASK_PARAM_BN_GAMMA ? 1 : role == CASK_PARAM_PRELU_SLOPE ? 0.25 : 0;
        double spread =
            role == CASK_PARAM_CONV_WEIGHT || role == CASK_PARAM_LINEAR_WEIGHT ? 0.4 : 0.1;
        double *values = cask_net_value(s->net, p);
        for (int64_t i = 0; i < graph->params[p].count; i++) {
            values[i] = centre + spread * draw(16 + (uint64_t)p, (uint64_t)i);
        }
    }
}

static void close_subject(struct subject *s)
{
    cask_plan_free(s->plan);
    cask_net_free(s->net);
    cask_graph_free(s->graph);
    cask_free(s->pixels);
    cask_free(s->weights);
}

/* In double: the public call rounds the embedding to float. */
static double loss(struct subject *s)
{
    size_t count = (size_t)s->batch * (size_t)cask_graph_embedding(s->graph);
    float *rounded = cask_alloc(count, sizeof *rounded);
    cask_net_changed(s->net);
    assert_ok(cask_plan_forward(s->plan, s->pixels, s->batch, rounded, &err));
    const double *embedding = s->plan->tensors[s->graph->output].data;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)s->weights[i] * embedding[i];
    }
    cask_free(rounded);
    return sum;
}

/* Every byte of the plan's memory NaN: whoever reads before it is written is found out. */
static void poison(struct subject *s)
{
    memset(s->plan->allocation, 0xff, s->plan->memory.bytes);
}

/* Runs forward and backward twice on buffers that start at START and halves what was added. */
static void run_backward(struct subject *s)
{
    for (int p = 0; p < s->graph->param_count; p++) {
        double *grad = cask_net_grad(s->net, p);
        for (int64_t i = 0; grad != NULL && i < s->graph->params[p].count; i++) {
            grad[i] = START;
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        poison(s);
        loss(s);
        assert_ok(cask_plan_backward(s->plan, s->weights, &err));
    }
    for (int p = 0; p < s->graph->param_count; p++) {
        double *grad = cask_net_grad(s->net, p);
        for (int64_t i = 0; grad != NULL && i < s->graph->params[p].count; i++) {
            grad[i] = (grad[i] - START) / 2;
        }
    }
}

/* Central difference of each element in turn. */
static void check_every_element(struct subject *s)
{
    const double step = 1e-5;
    double scale = 0;
    run_backward(s);
    for (int p = 0; p < s->graph->param_count; p++) {
        const double *grad = cask_net_grad(s->net, p);
        for (int64_t i = 0; grad != NULL && i < s->graph->params[p].count; i++) {
            scale = fmax(scale, fabs(grad[i]));
        }
    }
    int checked = 0, large = 0;
    for (int p = 0; p < s->graph->param_count; p++) {
        const double *grad = cask_net_grad(s->net, p);
        double *values = cask_net_value(s->net, p);
        for (int64_t i = 0; grad != NULL && i < s->graph->params[p].count; i++) {
            const double kept = values[i];
            values[i] = kept + step;
            double above = loss(s);
            values[i] = kept - step;
            double below = loss(s);
            values[i] = kept;
            double difference = (above - below) / (2 * step);
            if (!(fabs(grad[i] - difference) <= 1e-7 * scale)) {
                fail_msg("%s[%lld]: backward %.12g, central difference %.12g",
                         s->graph->params[p].name, (long long)i, grad[i], difference);
            }
            checked++;
            large += fabs(grad[i]) > 1e-3 * scale;
        }
    }
    assert_true(large > checked / 2); /* else the comparison would be one of zeros */
}

static int conv3(struct cask_graph *g, int x, const char *name, int out_c, int stride, int groups)
{
    const struct cask_conv_spec spec = {.out_c = out_c,
                                        .kernel_h = 3,
                                        .kernel_w = 3,
                                        .stride = stride,
                                        .pad_top = 1,
                                        .pad_left = 1,
                                        .pad_bottom = 1,
                                        .pad_right = 1,
                                        .groups = groups};
    return cask_graph_add_conv(g, x, name, &spec);
}

static struct cask_graph *finished(struct cask_graph *g, int output)
{
    assert_ok(cask_graph_finish(g, output, &err));
    return g;
}

/* The pre-activation block of IResNet: bn1 reads x, and the shortcut reads the same raw x. */
static void test_residual_blocks(void **state)
{
    struct cask_graph *g = NULL;
    struct subject s;
    (void)state;
    assert_ok(cask_graph_begin("blocks", true, 3, 6, 6, &g, &err));
    int x = cask_graph_add_batchnorm(g, conv3(g, CASK_GRAPH_INPUT, "stem", 4, 1, 1), "stem_bn",
                                     1e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_activation(g, x, "stem_prelu", CASK_ACT_PRELU);
    for (int i = 0; i < 3; i++) {
        const int stride = i == 1 ? 2 : 1;
        int y = cask_graph_add_batchnorm(g, x, cask_graph_text(g, "%d.bn1", i), 1e-5,
                                         CASK_AFFINE_TRAINED);
        y = conv3(g, y, cask_graph_text(g, "%d.conv1", i), 4, 1, 1);
        y = cask_graph_add_batchnorm(g, y, cask_graph_text(g, "%d.bn2", i), 1e-5,
                                     CASK_AFFINE_TRAINED);
        y = cask_graph_add_activation(g, y, cask_graph_text(g, "%d.prelu", i), CASK_ACT_PRELU);
        y = conv3(g, y, cask_graph_text(g, "%d.conv2", i), 4, stride, 1);
        y = cask_graph_add_batchnorm(g, y, cask_graph_text(g, "%d.bn3", i), 1e-5,
                                     CASK_AFFINE_TRAINED);
        int shortcut = x;
        if (stride == 2) {
            const struct cask_conv_spec spec = {
                .out_c = 4, .kernel_h = 1, .kernel_w = 1, .stride = 2};
            shortcut = cask_graph_add_conv(g, x, cask_graph_text(g, "%d.down", i), &spec);
            shortcut = cask_graph_add_batchnorm(g, shortcut, cask_graph_text(g, "%d.down_bn", i),
                                                1e-5, CASK_AFFINE_TRAINED);
        }
        x = cask_graph_add_add(g, y, shortcut, cask_graph_text(g, "%d.add", i));
    }
    x = cask_graph_add_batchnorm(g, x, "bn2", 1e-5, CASK_AFFINE_TRAINED);
    x = cask_graph_add_linear(g, x, "fc", 5, true);
    x = cask_graph_add_batchnorm(g, x, "features", 1e-5, CASK_AFFINE_FROZEN_GAMMA);
    open_subject(&s, finished(g, x), 4);
    assert_null(cask_net_grad(s.net, cask_graph_find_param(s.graph, "features.weight")));
    assert_non_null(cask_net_grad(s.net, cask_graph_find_param(s.graph, "features.bias")));
    check_every_element(&s);
    close_subject(&s);
}

static void test_every_layer_kind(void **state)
{
    struct cask_graph *g = NULL;
    struct subject s;
    (void)state;
    assert_ok(cask_graph_begin("kinds", true, 3, 7, 5, &g, &err));
    const struct cask_conv_spec lopsided = {.out_c = 6,
                                            .kernel_h = 3,
                                            .kernel_w = 2,
                                            .stride = 1,
                                            .pad_top = 1,
                                            .pad_left = 0,
                                            .pad_bottom = 0,
                                            .pad_right = 1,
                                            .bias = true};
    int x = cask_graph_add_conv(g, CASK_GRAPH_INPUT, "conv", &lopsided);
    x = cask_graph_add_activation(g, x, "prelu", CASK_ACT_PRELU);
    int stem = x;
    x = cask_graph_add_batchnorm(g, conv3(g, x, "grouped", 6, 2, 2), "bn", 1e-5,
                                 CASK_AFFINE_TRAINED);
    x = cask_graph_add_activation(g, x, "relu", CASK_ACT_RELU);
    x = cask_graph_add_add(g, x, cask_graph_add_subsample(g, stem, "subsample", 2), "add1");
    /* squeeze and excitation */
    int gate = cask_graph_add_linear(g, cask_graph_add_average_pool(g, x, "pool"), "fc1", 4, true);
    gate = cask_graph_add_activation(g, gate, "fc1_relu", CASK_ACT_HARD_SWISH);
    gate = cask_graph_add_linear(g, gate, "fc2", 6, true);
    gate = cask_graph_add_activation(g, gate, "gate", CASK_ACT_HARD_SIGMOID);
    int scaled = cask_graph_add_scale(g, x, gate, "scale");
    /* x has four readers by now; add2 and add3 pass one gradient on to several places */
    int sum = cask_graph_add_add(g, scaled, x, "add2");
    int smooth = cask_graph_add_activation(g, sum, "sigmoid", CASK_ACT_SIGMOID);
    int again = cask_graph_add_add(g, sum, smooth, "add3");
    again = cask_graph_add_add(g, x, again, "add4");
    x = cask_graph_add_batchnorm(g, conv3(g, again, "depthwise", 6, 1, 6), "bn_plain", 1e-3,
                                 CASK_AFFINE_NONE);
    x = cask_graph_add_linear(g, x, "linear", 5, false);
    open_subject(&s, finished(g, x), 3);
    check_every_element(&s);
    close_subject(&s);
}

/* A random graph of smooth layers on one shape: many sums, values with many readers. */
static struct cask_graph *random_graph(uint64_t number)
{
    enum { LAYERS = 14 };
    struct cask_graph *g = NULL;
    int values[LAYERS + 1], count = 0;
    assert_ok(cask_graph_begin("random", true, 3, 3, 3, &g, &err));
    values[count++] = conv3(g, CASK_GRAPH_INPUT, "stem", 3, 1, 1);
    for (int i = 0; i < LAYERS; i++) {
        const uint64_t stream = 1000 + number, at = 8 * (uint64_t)i;
        int a = values[cask_rng_below(SEED, stream, at, (uint64_t)count)];
        int b = values[cask_rng_below(SEED, stream, at + 1, (uint64_t)count)];
        const char *name = cask_graph_text(g, "layer%d", i);
        switch (cask_rng_below(SEED, stream, at + 2, 6)) {
        case 0:
            values[count++] = conv3(g, a, name, 3, 1, 1);
            break;
        case 1:
        case 2:
            values[count++] = cask_graph_add_batchnorm(g, a, name, 1e-2, CASK_AFFINE_TRAINED);
            break;
        case 3:
            values[count++] = cask_graph_add_activation(g, a, name, CASK_ACT_SIGMOID);
            break;
        default:
            if (a != b) {
                values[count++] = cask_graph_add_add(g, a, b, name);
            }
        }
    }
    /* Everything nobody read joins the output. */
    int x = values[--count];
    while (count > 0) {
        int other = values[--count];
        if (g->values[other].consumers == 0) {
            x = cask_graph_add_add(g, x, other, cask_graph_text(g, "join%d", count));
        }
    }
    return finished(g, cask_graph_add_linear(g, x, "fc", 4, true));
}

static void test_random_graphs(void **state)
{
    const double step = 1e-5;
    int shared = 0, in_place = 0;
    (void)state;
    for (uint64_t number = 0; number < 200; number++) {
        struct subject s;
        open_subject(&s, random_graph(number), 2);
        run_backward(&s);
        double slope = 0, ends[2];
        for (int sign = 0; sign < 2; sign++) {
            for (int p = 0; p < s.graph->param_count; p++) {
                double *values = cask_net_value(s.net, p), *grad = cask_net_grad(s.net, p);
                for (int64_t i = 0; grad != NULL && i < s.graph->params[p].count; i++) {
                    double direction = draw(5000 + (uint64_t)p, (uint64_t)i);
                    values[i] += (sign == 0 ? step : -2 * step) * direction;
                    slope += sign == 0 ? grad[i] * direction : 0;
                }
            }
            ends[sign] = loss(&s);
        }
        double difference = (ends[0] - ends[1]) / (2 * step);
        if (!(fabs(slope - difference) <= 1e-6 * fmax(1, fabs(slope)))) {
            cask_plan_print(s.plan, stdout);
            fail_msg("graph %llu: backward %.12g, central difference %.12g",
                     (unsigned long long)number, slope, difference);
        }
        for (int i = 0; i < s.plan->step_count; i++) {
            const struct cask_step *one = &s.plan->steps[i];
            shared += one->gradients[0].shared + one->gradients[1].shared;
            in_place +=
                one->node->kind == CASK_LAYER_BATCHNORM && one->gradients[0].wanted &&
                s.plan->gradients[one->inputs[0]].data == s.plan->gradients[one->output].data;
        }
        close_subject(&s);
    }
    assert_true(shared > 100 && in_place > 50); /* the cases that need care did occur */
}

static int open_device(void **state)
{
    (void)state;
    return cask_device_open(&(struct cask_device_options){.backend = "ref64", .threads = 1},
                            &device, &err) != CASK_OK;
}

static int close_device(void **state)
{
    (void)state;
    cask_device_close(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_residual_blocks),
        cmocka_unit_test(test_every_layer_kind),
        cmocka_unit_test(test_random_graphs),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
