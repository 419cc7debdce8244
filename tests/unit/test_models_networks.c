/* Networks as graphs: sizes, keys and their order against the counts of the source repositories,
 * and the statistics of initial weights. */
#include "tests/support/test.h"

#include "common/mem.h"
#include "models/models.h"

static struct cask_error err;

static struct cask_graph *build(const char *name, int embedding, int width, int height)
{
    const struct cask_graph_options options = {
        .embedding = embedding, .width = width, .height = height};
    struct cask_graph *graph = NULL;
    assert_ok(cask_graph_build(name, &options, &graph, &err));
    return graph;
}

/* Counted on the public PyTorch modules (insightface 7fadd420, TFace 171ec143, FaceX-Zoo 16b793a7,
 * cavaface 822651f0, Xiaoccer 26bd8d26, face.evoLVe a9897bda, yakhyo 7e6237fa, torchvision 0.14).
 */
static void test_golden_counts(void **state)
{
    static const struct {
        const char *name;
        int embedding;
        int64_t parameters;
        int keys;
        int64_t macs;
        int convs, batchnorms, prelus;
    } rows[] = {
        {"ir18", 0, 24025600, 187, 2609954816, 21, 30, 9},
        {"ir34", 0, 34139328, 331, 4459642880, 37, 54, 17},
        {"ir50", 0, 43590848, 475, 6309330944, 53, 78, 25},
        {"ir100", 0, 65156160, 925, 12089606144, 103, 153, 50},
        {"ir200", 0, 118833920, 1807, 23418945536, 201, 300, 99},
        {"mobilefacenet", 0, 1199488, 331, 221161984, 0, 0, 0},
        {"mobilefacenet", 128, 1002880, 331, 220965376, 0, 0, 0},
        {"mbf", 0, 2059520, 333, 437520896, 49, 49, 33},
        {"mbf_large", 0, 6314880, 606, 1816482816, 0, 0, 0},
        {"tface_ir18", 0, 24020352, 179, 2597109760, 0, 0, 0},
        {"tface_ir34", 0, 34134080, 323, 4446797824, 0, 0, 0},
        {"tface_ir50", 0, 43585600, 467, 6296485888, 0, 0, 0},
        {"tface_ir101", 0, 65150912, 917, 12076761088, 0, 0, 0},
        {"tface_ir152", 0, 109636736, 1291, 12892422144, 0, 0, 0},
        {"tface_ir200", 0, 114138240, 1691, 16386277376, 0, 0, 0},
        {"tface_ir_se50", 0, 43808320, 515, 6296708608, 0, 0, 0},
        {"tface_ir_se101", 0, 65523136, 1015, 12077133312, 0, 0, 0},
        {"evolve_ir50", 0, 43574976, 349, 6296485888, 0, 0, 0},
        {"evolve_ir101", 0, 65129792, 674, 12076761088, 0, 0, 0},
        {"evolve_ir152", 0, 70737600, 687, 12307972096, 0, 0, 0},
        {"evolve_ir_se50", 0, 43797696, 397, 6296708608, 0, 0, 0},
        {"cavaface_ir50", 0, 43574976, 349, 6296485888, 0, 0, 0},
        {"cavaface_mobilefacenet", 0, 1200512, 333, 221161984, 0, 0, 0},
        {"facex_mobilefacenet", 0, 1200512, 333, 221161984, 0, 0, 0},
        {"evolve_resnet50", 0, 40290880, 330, 1092628480, 0, 0, 0},
        {"torchvision_mobilenetv3_large", 0, 4857904, 312, 60061000, 0, 0, 0},
        {"xiaoccer_mobilefacenet", 0, 999552, 333, 189408256, 0, 0, 0},
        {"mobilenetv3_large", 0, 3199200, 351, 210855872, 0, 0, 0},
        {"yakhyo_mobilenetv3_large", 0, 3526568, 377, 214619520, 0, 0, 0},
        {"resnet18", 0, 11439168, 122, 485109760, 0, 0, 0},
        {"resnet50", 0, 24557120, 320, 1076899840, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cask_graph *graph = build(rows[i].name, rows[i].embedding, 0, 0);
        int convs = 0, batchnorms = 0, prelus = 0;
        for (int p = 0; p < cask_graph_param_count(graph); p++) {
            enum cask_param_role role = cask_graph_param(graph, p)->role;
            convs += role == CASK_PARAM_CONV_WEIGHT;
            /* PyTorch's BatchNorm1d at the end is not counted among the 2d ones. */
            batchnorms += role == CASK_PARAM_BN_MEAN;
            prelus += role == CASK_PARAM_PRELU_SLOPE;
        }
        assert_int_equal(cask_graph_parameters(graph), rows[i].parameters);
        assert_int_equal(cask_graph_param_count(graph), rows[i].keys);
        assert_int_equal(cask_graph_macs(graph), rows[i].macs);
        if (rows[i].convs > 0) {
            assert_int_equal(convs, rows[i].convs);
            assert_int_equal(batchnorms - 1, rows[i].batchnorms);
            assert_int_equal(prelus, rows[i].prelus);
        }
        const int embedding = strncmp(rows[i].name, "xiaoccer", 8) == 0 ? 128 : 512;
        assert_int_equal(cask_graph_embedding(graph),
                         rows[i].embedding ? rows[i].embedding : embedding);
        cask_graph_free(graph);
    }
}

struct key {
    int index;
    const char *name;
    int rank;
    int64_t shape[4];
    bool trained;
};

static void check_keys(const char *network, const struct key *keys, size_t count)
{
    struct cask_graph *graph = build(network, 0, 0, 0);
    for (size_t i = 0; i < count; i++) {
        int index =
            keys[i].index < 0 ? cask_graph_param_count(graph) + keys[i].index : keys[i].index;
        const struct cask_param_info *info = cask_graph_param(graph, index);
        assert_string_equal(info->name, keys[i].name);
        assert_int_equal(info->rank, keys[i].rank);
        assert_int_equal(info->trained, keys[i].trained);
        assert_int_equal(cask_graph_find_param(graph, keys[i].name), index);
        int64_t elements = 1;
        for (int d = 0; d < info->rank; d++) {
            assert_int_equal(info->shape[d], keys[i].shape[d]);
            elements *= info->shape[d];
        }
        assert_int_equal(info->count, elements);
    }
    assert_int_equal(cask_graph_find_param(graph, "nothing"), -1);
    cask_graph_free(graph);
}

static void test_keys_in_order(void **state)
{
    static const struct key r18[] = {
        {0, "conv1.weight", 4, {64, 3, 3, 3}, true},
        {1, "bn1.weight", 1, {64}, true},
        {2, "bn1.bias", 1, {64}, true},
        {3, "bn1.running_mean", 1, {64}, false},
        {4, "bn1.running_var", 1, {64}, false},
        {5, "bn1.num_batches_tracked", 0, {0}, false},
        {6, "prelu.weight", 1, {64}, true},
        {7, "layer1.0.bn1.weight", 1, {64}, true},
        {12, "layer1.0.conv1.weight", 4, {64, 64, 3, 3}, true},
        {13, "layer1.0.bn2.weight", 1, {64}, true},
        {18, "layer1.0.prelu.weight", 1, {64}, true},
        {19, "layer1.0.conv2.weight", 4, {64, 64, 3, 3}, true},
        {20, "layer1.0.bn3.weight", 1, {64}, true},
        {25, "layer1.0.downsample.0.weight", 4, {64, 64, 1, 1}, true},
        {26, "layer1.0.downsample.1.weight", 1, {64}, true},
        {31, "layer1.1.bn1.weight", 1, {64}, true},
        {49, "layer2.0.bn1.weight", 1, {64}, true},
        {54, "layer2.0.conv1.weight", 4, {128, 64, 3, 3}, true},
        {67, "layer2.0.downsample.0.weight", 4, {128, 64, 1, 1}, true},
        {-12, "bn2.weight", 1, {512}, true},
        {-7, "fc.weight", 2, {512, 25088}, true},
        {-6, "fc.bias", 1, {512}, true},
        {-5, "features.weight", 1, {512}, false},
        {-4, "features.bias", 1, {512}, true},
        {-1, "features.num_batches_tracked", 0, {0}, false},
    };
    static const struct key mobilefacenet[] = {
        {0, "conv1.conv.weight", 4, {64, 3, 3, 3}, true},
        {1, "conv1.bn.weight", 1, {64}, true},
        {6, "conv1.prelu.weight", 1, {64}, true},
        {7, "conv2_dw.conv.weight", 4, {64, 1, 3, 3}, true},
        {14, "conv_23.conv.conv.weight", 4, {128, 64, 1, 1}, true},
        {21, "conv_23.conv_dw.conv.weight", 4, {128, 1, 3, 3}, true},
        {28, "conv_23.project.conv.weight", 4, {64, 128, 1, 1}, true},
        {34, "conv_3.model.0.conv.conv.weight", 4, {128, 64, 1, 1}, true},
        {-10, "output_layer.conv_6_dw.conv.weight", 4, {512, 1, 7, 7}, true},
        {-4, "output_layer.linear.weight", 2, {512, 512}, true},
        {-3, "output_layer.bn.running_mean", 1, {512}, false},
        {-1, "output_layer.bn.num_batches_tracked", 0, {0}, false},
    };
    static const struct key mbf[] = {
        {0, "layers.0.layers.0.weight", 4, {128, 3, 3, 3}, true},
        {6, "layers.0.layers.2.weight", 1, {128}, true},
        {7, "layers.1.layers.0.weight", 4, {128, 2, 3, 3}, true},
        {14, "layers.2.layers.0.layers.0.weight", 4, {128, 128, 1, 1}, true},
        {34, "layers.3.layers.0.layers.0.layers.0.weight", 4, {128, 128, 1, 1}, true},
        {-12, "features.layers.0.layers.0.weight", 4, {512, 1, 7, 7}, true},
        {-6, "features.layers.2.weight", 2, {512, 512}, true},
        {-5, "features.layers.3.weight", 1, {512}, true},
    };
    (void)state;
    check_keys("ir18", r18, sizeof r18 / sizeof *r18);
    check_keys("mobilefacenet", mobilefacenet, sizeof mobilefacenet / sizeof *mobilefacenet);
    check_keys("mbf", mbf, sizeof mbf / sizeof *mbf);
}

static void test_heads_follow_the_input(void **state)
{
    (void)state;
    struct cask_graph *graph = build("ir18", 64, 64, 48);
    assert_int_equal(cask_graph_param(graph, cask_graph_find_param(graph, "fc.weight"))->shape[1],
                     512 * 3 * 4);
    assert_int_equal(cask_graph_input_width(graph), 64);
    assert_int_equal(cask_graph_input_height(graph), 48);
    cask_graph_free(graph);
    graph = build("mobilefacenet", 0, 32, 64);
    const struct cask_param_info *global =
        cask_graph_param(graph, cask_graph_find_param(graph, "output_layer.conv_6_dw.conv.weight"));
    assert_int_equal(global->shape[2], 4);
    assert_int_equal(global->shape[3], 2);
    cask_graph_free(graph);
}

static void test_refusals(void **state)
{
    struct cask_graph *graph = NULL;
    (void)state;
    assert_refused(CASK_ERR_USAGE, "mobilefacenet",
                   cask_graph_build("resnet17", NULL, &graph, &err));
    assert_null(graph);
    assert_refused(
        CASK_ERR_RANGE, "multiples of 16",
        cask_graph_build("ir18", &(struct cask_graph_options){.width = 100}, &graph, &err));
    assert_refused(
        CASK_ERR_RANGE, "embedding is -1",
        cask_graph_build("ir18", &(struct cask_graph_options){.embedding = -1}, &graph, &err));
    for (int i = 0; cask_graph_network(i) != NULL; i++) {
        double gmac = -1;
        const char *about = strrchr(cask_graph_network_about(i), ';');
        assert_ok(cask_graph_build(cask_graph_network(i), NULL, &graph, &err));
        assert_string_equal(cask_graph_name(graph), cask_graph_network(i));
        /* What --help says about its cost is rounded to two digits or better. */
        assert_true(about != NULL && sscanf(about, "; %lf GMAC", &gmac) == 1);
        assert_close(gmac, 1e-9 * (double)cask_graph_macs(graph), 0.05 * gmac);
        cask_graph_free(graph);
    }
    assert_null(cask_graph_network(-1));
}

/* ------------------------------------------------------------ initial weights */

static float *values_of(struct cask_net *net, const char *name, size_t *count)
{
    int param = cask_graph_find_param(cask_net_graph(net), name);
    assert_true(param >= 0);
    *count = (size_t)cask_graph_param(cask_net_graph(net), param)->count;
    float *values = cask_alloc(*count, sizeof *values);
    assert_non_null(values);
    cask_net_get(net, param, values);
    return values;
}

/* Standard deviation within 4 standard errors of `std`, mean within 4 of zero. */
static void check_normal(struct cask_net *net, const char *name, double std)
{
    size_t count;
    float *values = values_of(net, name, &count);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    assert_close(sum / (double)count, 0, 4 * std / sqrt((double)count));
    assert_close(sqrt(squares / (double)count), std, 4 * std / sqrt(2 * (double)count));
    cask_free(values);
}

static void check_uniform(struct cask_net *net, const char *name, double bound)
{
    size_t count;
    float *values = values_of(net, name, &count);
    double largest = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)values[i]));
        squares += (double)values[i] * (double)values[i];
    }
    assert_true(largest <= bound * 1.000001 && largest > bound * (1 - 20 / (double)count));
    assert_close(sqrt(squares / (double)count), bound / sqrt(3), 4 * bound / sqrt((double)count));
    cask_free(values);
}

static void check_constant(struct cask_net *net, const char *name, double value)
{
    size_t count;
    float *values = values_of(net, name, &count);
    for (size_t i = 0; i < count; i++) {
        assert_close((double)values[i], value, 0);
    }
    cask_free(values);
}

static struct cask_net *initialised(struct cask_device *device, const struct cask_graph *graph,
                                    uint64_t seed)
{
    struct cask_net *net = NULL;
    assert_ok(cask_net_create(graph, device, false, &net, &err));
    assert_ok(cask_net_init(net, seed, &err));
    return net;
}

static void test_init(void **state)
{
    struct cask_device *device = NULL;
    (void)state;
    assert_ok(cask_device_open(&(struct cask_device_options){.backend = "ref", .threads = 1},
                               &device, &err));
    struct cask_graph *graph = build("ir18", 0, 0, 0);
    struct cask_net *net = initialised(device, graph, 3);
    check_normal(net, "conv1.weight", 0.1);
    check_normal(net, "layer4.1.conv2.weight", 0.1);
    check_uniform(net, "fc.weight", 1 / sqrt(25088));
    check_uniform(net, "fc.bias", 1 / sqrt(25088));
    check_constant(net, "bn1.weight", 1);
    check_constant(net, "features.weight", 1);
    check_constant(net, "bn1.running_var", 1);
    check_constant(net, "bn1.running_mean", 0);
    check_constant(net, "bn1.bias", 0);
    check_constant(net, "prelu.weight", 0.25);
    cask_net_free(net);
    cask_graph_free(graph);

    graph = build("mobilefacenet", 0, 0, 0);
    net = initialised(device, graph, 3);
    check_normal(net, "conv_23.conv_dw.conv.weight", sqrt(2.0 / (9 * 128)));
    check_normal(net, "conv_23.conv.conv.weight", sqrt(2.0 / 128));
    check_normal(net, "output_layer.conv_6_dw.conv.weight", sqrt(2.0 / (49 * 512)));
    check_normal(net, "output_layer.linear.weight", sqrt(2.0 / 512));

    /* The same seed gives the same bits; another one, or another parameter, does not. */
    struct cask_net *same = initialised(device, graph, 3), *other = initialised(device, graph, 4);
    size_t count;
    float *a = values_of(net, "conv_3.model.0.conv.conv.weight", &count);
    float *b = values_of(same, "conv_3.model.0.conv.conv.weight", &count);
    float *c = values_of(other, "conv_3.model.0.conv.conv.weight", &count);
    float *d = values_of(net, "conv_3.model.1.conv.conv.weight", &count);
    assert_memory_equal(a, b, count * sizeof *a);
    assert_true(memcmp(a, c, count * sizeof *a) != 0);
    assert_true(memcmp(a, d, count * sizeof *a) != 0);
    cask_free(a);
    cask_free(b);
    cask_free(c);
    cask_free(d);
    cask_net_free(net);
    cask_net_free(same);
    cask_net_free(other);
    cask_graph_free(graph);
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_counts),
        cmocka_unit_test(test_keys_in_order),
        cmocka_unit_test(test_heads_follow_the_input),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
