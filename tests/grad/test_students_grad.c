/* One training step of every student network, as it is trained (batch norms inside their
 * neighbours), against ref64: embedding and every parameter's gradient, in fp32 and bf16, at each
 * instruction set. How far they may be apart is derived from the unit roundoff u and the depth.
 *
 * A rounding changes a number by 0.425 u of itself, root mean square over all mantissas (rho). Each
 * convolution makes three: of what it reads, of its weights, of what it writes; and where it sums K
 * terms in the type itself (fp32) another K / 2, because a sum of random terms grows as it is
 * rounded. A batch norm takes the mean away and leaves the error, so both count more, A times,
 * where the mean is large against the spread. After r such roundings a value is off by rho sqrt(r),
 * and a gradient that has come back through R - r others by rho sqrt(2 R - r).
 *
 * Where an activation has a kink there is more: a value nearer to it than its error may fall on the
 * other side, and then all of its gradient changes by the kink's height. ref64 counts those.
 *
 * docs/numerics.md has what was measured. */
#include "tests/support/test.h"

#include <sys/wait.h>

#include "tests/support/networks.h"

static struct cask_error err;

enum { MOST = 8, D = 64, PRECISIONS = 2 };

/* Batches are small and errors not quite independent. */
static const double allowed = 4;

static const struct precision {
    const char *name;
    enum cask_precision precision;
    double unit; /* roundoff */
    bool rounds_sums;
    /* Of the values within `reach` expected errors of a kink this share falls on the other side: a
     * tenth of those within 4, if errors are normal. In fp32 few are near, and any may. */
    double reach, share;
} precisions[PRECISIONS] = {{"fp32", CASK_PRECISION_FP32, 0x1p-24, true, 32, 1},
                            {"bf16", CASK_PRECISION_BF16, 0x1p-8, false, 4, 0.1}};

/* Nearly linear, so that rounding is seen and not only its magnification by kinks: slopes around
 * 0.95 where there are slopes, else batch norms whose outputs are mostly over zero. */
static const struct student {
    const char *network;
    int size, batch;
    double slope, gamma, beta;
} students[] = {
    {"mobilefacenet", 32, 8, 0.95, 1, 0},
    {"mbf", 32, 8, 0.95, 1, 0},
    {"mobilenetv3_large", 32, 8, 0, 0.4, 1},
    {"ir18", 16, 8, 0.95, 1, 0},
    {"ir34", 16, 8, 0.95, 1, 0},
    {"resnet18", 32, 8, 0, 0.4, 1.2},
};

enum { STUDENTS = sizeof students / sizeof *students };

/* What ref64 says, and how far from it others may be: relative errors. */
struct oracle {
    struct cask_graph *graph;
    struct cask_device *device;
    struct cask_net *net;
    float embedding[MOST * D];
    struct {
        double embedding, *gradients; /* by parameter */
    } expected[PRECISIONS];
};

static double element(const struct cask_net *net, const void *plane, size_t i)
{
    bool wide = cask_device_parameter_dtype(net->device) == CASK_F64;
    return wide ? ((const double *)plane)[i] : (double)((const float *)plane)[i];
}

static size_t count_of(const struct cask_graph *graph, int param)
{
    return (size_t)cask_graph_param(graph, param)->count;
}

/* ---------------------------------------------------------------- a step */

static void fill(struct cask_net *net, int param, double centre, double spread)
{
    const size_t count = count_of(net->graph, param);
    float *values = cask_alloc(count, sizeof *values);
    assert_non_null(values);
    formula_fill(values, count, cask_graph_param(net->graph, param)->name, centre, spread);
    assert_ok(cask_net_set(net, param, values, &err));
    cask_free(values);
}

static struct cask_net *net_of(const struct cask_graph *graph, const struct student *student,
                               struct cask_device *device)
{
    struct cask_net *net = filled(graph, device, true);
    for (int p = 0; p < cask_graph_param_count(graph); p++) {
        switch (cask_graph_param(graph, p)->role) {
        case CASK_PARAM_PRELU_SLOPE:
            fill(net, p, student->slope, 0.1);
            break;
        case CASK_PARAM_BN_GAMMA:
            fill(net, p, student->gamma, 0.2 * student->gamma);
            break;
        case CASK_PARAM_BN_BETA:
            fill(net, p, student->beta, 0.1);
            break;
        default:
            break;
        }
    }
    return net;
}

/* Forward; `look` at the plan, if given; backward. */
static void step(struct cask_net *net, int batch, enum cask_plan_path path, float *embedding,
                 void (*look)(struct oracle *, const struct cask_plan *), struct oracle *oracle)
{
    struct cask_plan *plan = NULL;
    float *pixels = noise((size_t)batch * image_floats(net->graph), "pixels"),
          *seed = noise((size_t)batch * D, "seed");
    assert_ok(cask_plan_create_way(net, batch, CASK_MODE_TRAIN,
                                   (struct cask_plan_way){.path = path}, &plan, &err));
    assert_ok(cask_net_zero_grads(net, &err));
    assert_ok(cask_plan_forward(plan, pixels, batch, embedding, &err));
    if (look != NULL) {
        look(oracle, plan);
    }
    assert_ok(cask_plan_backward(plan, seed, &err));
    cask_free(pixels);
    cask_free(seed);
    cask_plan_free(plan);
}

/* ------------------------------------------------------ the expected error */

/* A = (mean^2 + variance) / variance of a value, over all channels. */
static double against_spread(const struct cask_tensor *x)
{
    const double *values = x->data;
    const size_t rows = cask_tensor_count(x) / (size_t)x->c;
    double all = 0, spread = 0;
    for (int c = 0; c < x->c; c++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < rows; i++) {
            double value = values[i * (size_t)x->c + (size_t)c];
            sum += value;
            squares += value * value;
        }
        all += squares;
        spread += squares - sum * sum / (double)rows;
    }
    return all / spread;
}

/* Roundings on the longest way to each value, by value. */
static double *roundings(const struct cask_plan *plan, const struct precision *precision)
{
    const struct cask_graph *graph = plan->net->graph;
    double *r = cask_alloc((size_t)graph->value_count, sizeof *r);
    assert_non_null(r);
    r[CASK_GRAPH_INPUT] = 1;
    for (int i = 0; i < graph->node_count; i++) {
        const struct cask_node *node = &graph->nodes[i];
        double before = r[node->inputs[0]], made = 1;
        if (node->kind == CASK_LAYER_SCALE) {
            made = 2; /* the gate's error is a part of a factor: the long way is through x */
        } else if (node->inputs[1] >= 0) {
            before = fmax(before, r[node->inputs[1]]);
        }
        if (node->kind == CASK_LAYER_CONV || node->kind == CASK_LAYER_LINEAR) {
            double terms = (double)count_of(graph, node->params[CASK_SLOT_WEIGHT]) /
                           graph->values[node->output].c;
            made = (3 + (precision->rounds_sums ? terms / 2 : 0)) *
                   against_spread(&plan->tensors[node->inputs[0]]);
        } else if (node->kind == CASK_LAYER_BATCHNORM || node->kind == CASK_LAYER_ACTIVATION) {
            made = 0; /* never stored */
        }
        r[node->output] = before + made;
    }
    return r;
}

/* Where an activation's derivative jumps, by how much, and the derivative. */
struct kinks {
    double at[2], jump;
    int count;
};

static struct kinks kinks_of(enum cask_activation activation, double slope)
{
    switch (activation) {
    case CASK_ACT_RELU:
        return (struct kinks){.count = 1, .jump = 1};
    case CASK_ACT_PRELU:
        return (struct kinks){.count = 1, .jump = 1 - slope};
    case CASK_ACT_HARD_SWISH:
        return (struct kinks){.at = {-3, 3}, .count = 2, .jump = 0.5};
    default:
        return (struct kinks){.count = 0};
    }
}

static double derivative(enum cask_activation activation, double slope, double z)
{
    if (activation == CASK_ACT_HARD_SWISH) {
        return z <= -3 ? 0 : z >= 3 ? 1 : (2 * z + 3) / 6;
    }
    return z > 0 ? 1 : activation == CASK_ACT_PRELU ? slope : 0;
}

/* The squared relative error of a gradient behind an activation from values that fall on the other
 * side of a kink, if all do that are nearer to one than `reach`. */
static double from_kinks(const struct cask_plan *plan, const struct cask_node *node, double reach)
{
    const struct cask_tensor *z = &plan->tensors[node->inputs[0]];
    const double *values = z->data, *slopes = cask_net_slot(plan->net, node, CASK_SLOT_WEIGHT);
    double changed = 0, all = 0;
    assert_non_null(values);
    for (size_t i = 0; i < cask_tensor_count(z); i++) {
        const double slope = slopes != NULL ? slopes[i % (size_t)z->c] : 0,
                     here = derivative(node->activation, slope, values[i]);
        const struct kinks kinks = kinks_of(node->activation, slope);
        all += here * here;
        for (int k = 0; k < kinks.count; k++) {
            changed += fabs(values[i] - kinks.at[k]) < reach ? kinks.jump * kinks.jump : 0;
        }
    }
    return changed / all;
}

/* Behind a batch norm: values of size one. The activations of squeeze-and-excitation are not, and
 * theirs are factors that a whole channel shares. */
static bool has_kinks(const struct cask_graph *graph, const struct cask_node *node)
{
    const int producer = graph->values[node->inputs[0]].producer;
    return node->kind == CASK_LAYER_ACTIVATION && producer >= 0 &&
           graph->nodes[producer].kind == CASK_LAYER_BATCHNORM;
}

/* The gradient of a gate is the sum over the pixels of x dy. Behind a batch norm dy has no mean, so
 * that of x counts for the error only: A again, for all parameters between pool and product. */
static double in_gate(const struct cask_plan *plan, const struct cask_node *node, double outside)
{
    return node->kind == CASK_LAYER_SCALE          ? against_spread(&plan->tensors[node->inputs[0]])
           : node->kind == CASK_LAYER_AVERAGE_POOL ? 1
                                                   : outside;
}

static void look(struct oracle *oracle, const struct cask_plan *plan)
{
    const struct cask_graph *graph = oracle->graph;
    for (int k = 0; k < PRECISIONS; k++) {
        const double rho = 0.425 * precisions[k].unit;
        double *r = roundings(plan, &precisions[k]), kinks = 0, gate = 1;
        const double most = r[graph->output];
        oracle->expected[k].embedding = rho * sqrt(most);
        oracle->expected[k].gradients = cask_alloc((size_t)graph->param_count, sizeof(double));
        assert_non_null(oracle->expected[k].gradients);
        for (int i = graph->node_count - 1; i >= 0; i--) {
            const struct cask_node *node = &graph->nodes[i];
            const double before = fmin(r[node->inputs[0]], most),
                         reach = precisions[k].reach * rho * sqrt(before);
            gate = in_gate(plan, node, gate);
            if (has_kinks(graph, node)) {
                kinks += precisions[k].share * from_kinks(plan, node, reach);
            }
            for (int s = 0; s < CASK_SLOTS; s++) {
                if (node->params[s] >= 0) {
                    oracle->expected[k].gradients[node->params[s]] =
                        sqrt(gate * (rho * rho * (2 * most - before) + kinks));
                }
            }
        }
        cask_free(r);
    }
}

/* ----------------------------------------------------------------- compare */

struct difference {
    double norm, away, product, other; /* |want|, |got - want|, got * want, |got| */
};

static struct difference compare(size_t count, struct cask_net *a, const void *got,
                                 struct cask_net *b, const void *want)
{
    struct difference d = {0};
    for (size_t i = 0; i < count; i++) {
        const double x = element(a, got, i), y = element(b, want, i);
        d.norm += y * y;
        d.away += (x - y) * (x - y);
        d.product += x * y;
        d.other += x * x;
    }
    return (struct difference){sqrt(d.norm), sqrt(d.away), d.product, sqrt(d.other)};
}

struct summary {
    int compared, failed;
    double ratio, error, cosine; /* the worst */
    const char *worst;
};

/* A gradient may be zero by construction: a shift in front of a batch norm, say. It is a sum of as
 * many terms of the same size as the weights' gradient of the convolution before it, so it is
 * measured against half of that. */
static void compare_gradients(struct oracle *oracle, struct cask_net *net, int precision,
                              struct summary *s)
{
    const struct cask_graph *graph = oracle->graph;
    double size = 0;
    for (int p = 0; p < cask_graph_param_count(graph); p++) {
        const struct cask_param_info *info = cask_graph_param(graph, p);
        const void *got = cask_net_grad(net, p), *want = cask_net_grad(oracle->net, p);
        if (got == NULL) {
            continue;
        }
        const double terms = sqrt((double)info->count),
                     expected = oracle->expected[precision].gradients[p];
        const struct difference d = compare((size_t)info->count, net, got, oracle->net, want);
        if (info->role == CASK_PARAM_CONV_WEIGHT || info->role == CASK_PARAM_LINEAR_WEIGHT) {
            size = d.norm / terms;
            assert_true(size > 0);
        }
        const double error = d.away / fmax(d.norm, size / 2 * terms), bound = allowed * expected;
        const bool small = d.norm < size / 2 * terms;
        const double cosine = small ? 1 : d.product / (d.norm * d.other);
        s->compared++;
        if (!(error <= bound) || !(cosine >= 1 - bound * bound / 2)) {
            s->failed++;
            print_error("FAILED %s: gradient is off by %.3g of its norm, cosine %.6f; expected at "
                        "most %.3g\n",
                        info->name, error, cosine, bound);
        }
        s->cosine = cosine < s->cosine ? cosine : s->cosine;
        s->error = fmax(s->error, error);
        if (error / expected > s->ratio) {
            s->ratio = error / expected;
            s->worst = info->name;
        }
    }
}

static int check_precision(struct oracle *oracle, const struct student *student, int k)
{
    const struct cask_device_options options = {.backend = "cpu",
                                                .precision = precisions[k].precision};
    struct cask_device *device = NULL;
    float embedding[MOST * D];
    struct summary s = {.cosine = 1, .worst = ""};
    enum cask_status st = cask_device_open(&options, &device, &err);
    if (st == CASK_ERR_UNSUPPORTED) {
        return 0;
    }
    assert_ok(st);
    struct cask_net *net = net_of(oracle->graph, student, device);
    step(net, student->batch, CASK_PATH_CHAINED, embedding, NULL, NULL);
    double away = 0, norm = 0;
    for (int i = 0; i < student->batch * D; i++) {
        const double want = (double)oracle->embedding[i], d = (double)embedding[i] - want;
        away += d * d;
        norm += want * want;
    }
    const double off = sqrt(away / norm), expected = oracle->expected[k].embedding;
    if (!(off <= allowed * expected)) {
        print_error("FAILED embedding: off by %.3g of its norm, expected at most %.3g\n", off,
                    allowed * expected);
        s.failed++;
    }
    compare_gradients(oracle, net, k, &s);
    printf("%-18s %-6s %s: embedding %.2g, %d gradients within %.2g (%.2f of the model at %s), "
           "cosine >= %.6f; bounds %.2g to %.2g\n",
           student->network, cask_cpu_isa(), precisions[k].name, off, s.compared, s.error, s.ratio,
           s.worst, s.cosine, allowed * expected, allowed * oracle->expected[k].gradients[0]);
    cask_net_free(net);
    cask_device_close(device);
    return s.failed + (s.compared < 40);
}

/* oneDNN takes the instruction set once a process, so each has its own. */
static int check_isa(struct oracle *oracle, const struct student *student, const char *isa)
{
    int status = 0;
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int failed = setenv("CASK_CPU_ISA", isa, 1) != 0;
        for (int k = 0; k < PRECISIONS; k++) {
            failed += check_precision(oracle, student, k);
        }
        (void)fflush(NULL);
        _exit(failed > 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_student(void **state)
{
    static const char *const levels[] = {"ref", "avx2", "amx"}; /* amx: whatever there is */
    const struct student *student = *state;
    struct oracle oracle = {.device = open_device("ref64")};
    int failed = 0;
    oracle.graph = build(student->network, student->size);
    oracle.net = net_of(oracle.graph, student, oracle.device);
    step(oracle.net, student->batch, CASK_PATH_PLAIN, oracle.embedding, look, &oracle);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        failed += check_isa(&oracle, student, levels[i]);
    }
    for (int k = 0; k < PRECISIONS; k++) {
        cask_free(oracle.expected[k].gradients);
    }
    cask_net_free(oracle.net);
    cask_graph_free(oracle.graph);
    cask_device_close(oracle.device);
    assert_int_equal(failed, 0);
}

int main(void)
{
    struct CMUnitTest tests[STUDENTS];
    for (size_t i = 0; i < STUDENTS; i++) {
        tests[i] = (struct CMUnitTest){.name = students[i].network,
                                       .test_func = test_student,
                                       .initial_state = (void *)(uintptr_t)&students[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
