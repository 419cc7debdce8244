/* bench_step - one training step of a student, three ways, and where its time goes.
 *
 *   bench_step [--net mobilefacenet] [--batch 64] [--classes 10000] [--repeats 5] [--quick]
 *
 * A step is forward, backward and the weights packed anew. The ways (models/plan.h):
 *   chained   batch norms run inside their neighbours, products in pieces that fit the L2 cache
 *   fused     batch norm and activation are one pass, everything else a pass of its own
 *   plain     every node is a pass of its own over the whole batch: "op by op"
 * They take turns, and the fastest of each counts. All ratios are of one run.
 *
 * The table counts, for each kind of layer, what must be computed and what goes through memory, and
 * sets both against what this machine can do: the 512^3 matmul, and a + b of arrays larger than any
 * cache. Memory that comes from a cache is faster than that, so a share can pass 100 %.
 */
#include "tests/bench/bench_main.h"
#include "tests/bench/bench_student.h"
#include "train/options.h"
#include "train/trainer.h"

struct options {
    const char *net;
    int64_t batch, classes, repeats;
    bool quick;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"net", CASK_CONFIG_TEXT, ROW(net), "mobilefacenet", 0, 0, NULL, "NAME", "student network"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "64", 2, 4096, NULL, "N", "images in a step"},
    {"classes", CASK_CONFIG_INT, ROW(classes), "10000", 0, 1e7, NULL, "N",
     "identities of the step with an ArcFace head; 0: without"},
    {"repeats", CASK_CONFIG_INT, ROW(repeats), "5", 1, 1000, NULL, "N",
     "steps of which the fastest counts"},
    {"quick", CASK_CONFIG_BOOL, ROW(quick), "false", 0, 0, NULL, NULL,
     "8 images and one repeat: does it run at all"},
};

enum { PATHS = BENCH_PATHS };
static const char *const path_names[PATHS] = {
    [CASK_PATH_CHAINED] = "chained", [CASK_PATH_FUSED] = "fused", [CASK_PATH_PLAIN] = "plain"};

/* -------------------------------------------------------------------- steps */

static enum cask_status time_paths(struct bench_student *s, int64_t repeats, double best[PATHS],
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    for (int64_t i = 0; i <= repeats; i++) {
        for (int path = 0; path < PATHS; path++) {
            double seconds = 0;
            CASK_TRY(bench_student_step(s, s->plans[path], &seconds, err));
            best[path] = i == 0 ? 1e30 : seconds < best[path] ? seconds : best[path];
        }
    }
done:
    return st;
}

/* ----------------------------------------------------------------- roofline */

enum kind { STEM, POINTWISE, DENSE, DEPTHWISE, LINEAR, NORM, ADD, OTHER, KINDS };
static const char *const kind_names[KINDS] = {
    "first convolution", "1x1", "dense k x k", "depthwise, grouped", "linear",
    "batch norm",        "add", "other"};

struct account {
    double seconds, flops, bytes;
};

static enum kind kind_of(const struct cask_step *step)
{
    const struct cask_conv_spec *conv = &step->node->conv;
    switch (step->node->kind) {
    case CASK_LAYER_CONV:
        return step->inputs[0] == CASK_GRAPH_INPUT ? STEM
               : conv->groups > 1                  ? DEPTHWISE
               : conv->kernel_h == 1               ? POINTWISE
                                                   : DENSE;
    case CASK_LAYER_LINEAR:
        return LINEAR;
    case CASK_LAYER_BATCHNORM:
        return NORM;
    case CASK_LAYER_ADD:
        return ADD;
    default:
        return OTHER;
    }
}

static double bytes_of(const struct cask_plan *plan, int value)
{
    return (double)cask_tensor_bytes(&plan->tensors[value]);
}

static double flops_of(const struct cask_plan *plan, const struct cask_step *step)
{
    return 2 * (double)cask_layer_macs(plan->net->graph, step->node) * plan->batch;
}

/* Every tensor that the step must read or write once. */
static struct account count_forward(const struct cask_plan *plan, const struct cask_step *step)
{
    struct account a = {.flops = flops_of(plan, step)};
    const double x = bytes_of(plan, step->inputs[0]), y = bytes_of(plan, step->output);
    if (step->node->kind == CASK_LAYER_BATCHNORM) {
        a.bytes = (step->taken.statistics ? 0 : x) + (step->taken.apply ? 0 : x + y);
    } else {
        a.bytes = x + y + (step->inputs[1] >= 0 ? bytes_of(plan, step->inputs[1]) : 0);
    }
    return a;
}

static double count_reductions(const struct cask_plan *plan, const struct cask_step *step)
{
    double bytes = 0;
    for (int i = 0; i < step->reduce_count; i++) {
        const int x = plan->steps[step->reduces[i]].inputs[0];
        bytes += x == cask_step_stored(plan, step, 0) ? 0 : bytes_of(plan, x);
    }
    return bytes;
}

static struct account count_backward(const struct cask_plan *plan, const struct cask_step *step)
{
    struct account a = {0};
    const struct cask_step_gradient *todo = &step->gradients[0];
    const double x = bytes_of(plan, step->inputs[0]), y = bytes_of(plan, step->output);
    const double dx = todo->wanted ? x * (todo->accumulate ? 2 : 1) : 0;
    switch (step->node->kind) {
    case CASK_LAYER_CONV:
    case CASK_LAYER_LINEAR:
        a.flops = flops_of(plan, step) * (todo->wanted ? 2 : 1);
        a.bytes = x + y + dx + (step->behind >= 0 ? y : 0) +
                  (plan->way.path != CASK_PATH_CHAINED && todo->wanted ? y : 0);
        break;
    case CASK_LAYER_BATCHNORM:
        a.bytes = (step->taken.reduce ? 0 : x + y) + (step->taken.gradient ? 0 : x + y + dx);
        break;
    case CASK_LAYER_ADD:
        a.bytes = todo->shared ? 0 : y + dx;
        break;
    default:
        a.bytes = x + y + dx;
    }
    a.bytes += count_reductions(plan, step);
    return a;
}

static void add_account(struct account *to, struct account a, double seconds)
{
    to->seconds += seconds;
    to->flops += a.flops;
    to->bytes += a.bytes;
}

/* One step taken apart; [2]: forward, backward. */
static enum cask_status take_apart(struct bench_student *s, struct cask_plan *plan,
                                   struct account table[KINDS][2], struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    memset(table, 0, KINDS * sizeof *table);
    double whole;
    CASK_TRY(
        bench_student_step(s, plan, &whole, err)); /* gives the gradients something to start from */
    for (int i = 0; i < plan->step_count; i++) {
        const struct cask_step *step = &plan->steps[i];
        double start = cask_now();
        CASK_TRY(cask_layer(step->node->kind)->forward(plan, step, err));
        add_account(&table[kind_of(step)][0], count_forward(plan, step), cask_now() - start);
    }
    for (int i = plan->step_count - 1; i >= 0; i--) {
        const struct cask_step *step = &plan->steps[i];
        if (plan->gradients[step->output].data == NULL) {
            continue;
        }
        double start = cask_now();
        CASK_TRY(cask_layer(step->node->kind)->backward(plan, step, err));
        add_account(&table[kind_of(step)][1], count_backward(plan, step), cask_now() - start);
    }
done:
    return st;
}

static void print_row(const char *name, const char *pass, const struct account *a, double total,
                      double peak, double stream)
{
    const double compute = a->flops / peak, memory = a->bytes / stream;
    printf("  %-19s %-8s %8.2f ms %4.0f %%  %8.2f GFLOP %7.0f GFLOP/s  %7.1f MB %6.1f GB/s  %s\n",
           name, pass, 1e3 * a->seconds, 100 * a->seconds / total, 1e-9 * a->flops,
           1e-9 * a->flops / a->seconds, 1e-6 * a->bytes, 1e-9 * a->bytes / a->seconds,
           compute > memory ? "arithmetic" : "memory");
    printf("  %-28s %8.2f ms by %s alone: %.0f %% of its time\n", "",
           1e3 * (compute > memory ? compute : memory),
           compute > memory ? "the matmul peak" : "memory",
           100 * (compute > memory ? compute : memory) / a->seconds);
}

static enum cask_status print_roofline(struct bench_student *s, struct cask_plan *plan,
                                       int64_t repeats, double peak, double stream,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct account best[KINDS][2], table[KINDS][2], sum = {0};
    for (int64_t r = 0; r < repeats; r++) {
        CASK_TRY(take_apart(s, plan, table, err));
        for (int i = 0; i < KINDS * 2; i++) {
            struct account *kept = &best[i / 2][i % 2], *now = &table[i / 2][i % 2];
            *kept = r == 0 || now->seconds < kept->seconds ? *now : *kept;
        }
    }
    for (int i = 0; i < KINDS * 2; i++) {
        add_account(&sum, best[i / 2][i % 2], best[i / 2][i % 2].seconds);
    }
    for (int i = 0; i < KINDS * 2; i++) {
        if (best[i / 2][i % 2].seconds > 0.001 * sum.seconds) {
            print_row(kind_names[i / 2], i % 2 == 0 ? "forward" : "backward", &best[i / 2][i % 2],
                      sum.seconds, peak, stream);
        }
    }
    print_row("all", "", &sum, sum.seconds, peak, stream);
done:
    return st;
}

/* ------------------------------------------------------------------- limits */

struct stream {
    struct cask_device *device;
    struct cask_tensor a, b, y;
};

static enum cask_status add_arrays(void *user, struct cask_error *err)
{
    const struct stream *s = user;
    return cask_device_ops(s->device)->add(s->device, &s->a, &s->b, &s->y, err);
}

/* Bytes a second of a + b, arrays of 100 MB. */
static enum cask_status measure_stream(struct cask_device *device, int64_t repeats, double *rate,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const size_t bytes = 100000000;
    enum cask_dtype dtype = cask_device_activation_dtype(device);
    int count = (int)(bytes / cask_dtype_size(dtype));
    struct cask_tensor shape = {.dtype = dtype, .n = 1, .h = 1, .w = 1, .c = count};
    struct stream s = {device, shape, shape, shape};
    double best;
    s.a.data = cask_buffer_alloc(device, bytes);
    s.b.data = cask_buffer_alloc(device, bytes);
    s.y.data = cask_buffer_alloc(device, bytes);
    if (s.a.data == NULL || s.b.data == NULL || s.y.data == NULL) {
        CASK_TRY(cask_error_memory(err, 3 * bytes, "three arrays"));
    }
    CASK_TRY(bench_best(add_arrays, &s, 2 * repeats, &best, err));
    *rate = 3 * (double)bytes / best;
done:
    cask_buffer_free(device, s.a.data);
    cask_buffer_free(device, s.b.data);
    cask_buffer_free(device, s.y.data);
    return st;
}

/* ---------------------------------------------------------------- with head */

struct headed {
    struct cask_trainer *trainer;
    struct cask_batch batch;
    int64_t number;
};

static enum cask_status headed_step(void *user, struct cask_error *err)
{
    struct headed *h = user;
    struct cask_teacher none = {0};
    struct cask_step_report report;
    return cask_trainer_step(h->trainer, h->number++, &h->batch, &none, false, &report, err);
}

/* The trainer's own step: the chained one, an ArcFace head over all classes, SGD. */
static enum cask_status bench_headed(const struct options *options, const struct bench_student *s,
                                     struct cask_device *device, double plain,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = NULL;
    struct headed h = {.batch = {.count = s->batch, .pixels = s->pixels}};
    char batch[32];
    double best = 0;
    const struct cask_trainer_setting with = {.device = device,
                                              .preprocess = cask_preprocess_default(),
                                              .classes = options->classes,
                                              .steps_per_epoch = 1000};
    snprintf(batch, sizeof batch, "%d", s->batch);
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_config_set_value(config->rows, "student.net", options->net, "bench", err));
    CASK_TRY(cask_config_set_value(config->rows, "train.batch", batch, "bench", err));
    CASK_TRY(cask_config_set_value(config->rows, "train.lr", "0.001", "bench", err));
    h.batch.labels = cask_alloc((size_t)s->batch, sizeof(uint32_t));
    if (h.batch.labels == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)s->batch * sizeof(uint32_t), "labels"));
    }
    for (int i = 0; i < s->batch; i++) {
        h.batch.labels[i] = (uint32_t)cask_rng_below(1, 6, (uint64_t)i, (uint64_t)options->classes);
    }
    CASK_TRY(cask_trainer_create(config, &with, &h.trainer, err));
    CASK_TRY(bench_best(headed_step, &h, options->repeats, &best, err));
    printf("  with an ArcFace head of %lld classes and SGD: %.1f images/s, x%.3f of the step\n",
           (long long)options->classes, s->batch / best, best / plain);
done:
    cask_trainer_free(h.trainer);
    cask_free(h.batch.labels);
    cask_train_config_free(config);
    return st;
}

/* --------------------------------------------------------------------- main */

/* images_per_second[path]: of this device, for the ratios between devices. */
static enum cask_status bench_device(const struct options *options, enum cask_precision precision,
                                     int threads, double images_per_second[PATHS],
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct bench_student s = {0};
    double best[PATHS], peak, stream;
    char text[200];
    CASK_TRY(
        cask_device_open(&(struct cask_device_options){"cpu", threads, precision}, &device, err));
    CASK_TRY(bench_peak(device, options->repeats, &peak, err));
    CASK_TRY(measure_stream(device, options->repeats, &stream, err));
    CASK_TRY(cask_graph_build(options->net, NULL, &graph, err));
    CASK_TRY(
        bench_student_open(&s, options->batch, graph, device, (bool[]){true, true, true}, err));
    CASK_TRY(time_paths(&s, options->repeats, best, err));
    cask_device_describe(device, text, sizeof text);
    printf("\n%s: matmul 512^3 %.0f GFLOP/s, a + b %.1f GB/s\n", text, peak, 1e-9 * stream);
    const double flops = 6e-9 * (double)cask_graph_macs(graph) * s.batch;
    for (int path = 0; path < PATHS; path++) {
        images_per_second[path] = s.batch / best[path];
        printf("  %-8s %8.1f images/s %8.1f ms  x%.2f of plain  %5.1f MB an image  %6.0f GFLOP/s, "
               "%2.0f %% of the matmul\n",
               path_names[path], images_per_second[path], 1e3 * best[path],
               best[CASK_PATH_PLAIN] / best[path],
               1e-6 * (double)cask_plan_bytes(s.plans[path]) / s.batch, flops / best[path],
               100 * flops / best[path] / peak);
    }
    CASK_TRY(
        print_roofline(&s, s.plans[CASK_PATH_CHAINED], options->repeats, 1e9 * peak, stream, err));
    if (options->classes > 1) {
        CASK_TRY(bench_headed(options, &s, device, best[CASK_PATH_CHAINED], err));
    }
done:
    bench_student_close(&s);
    cask_graph_free(graph);
    cask_device_close(device);
    return st;
}

static enum cask_status bench_all(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int most = cask_cpu_count() > 1 ? 2 : 1;
    double rate[2][2][PATHS] = {{{0}}}; /* [precision][threads - 1] */
    for (int half = 0; half < 2; half++) {
        for (int threads = 1; threads <= most; threads++) {
            st = bench_device(options, half ? CASK_PRECISION_BF16 : CASK_PRECISION_FP32, threads,
                              rate[half][threads - 1], err);
            if (half && st == CASK_ERR_UNSUPPORTED) {
                printf("\n%s\n", err->message);
                return CASK_OK;
            }
            CASK_TRY(st);
        }
        printf("%s: 2 cores are x%.2f of one\n", half ? "bf16" : "fp32",
               rate[half][1][CASK_PATH_CHAINED] / rate[half][0][CASK_PATH_CHAINED]);
    }
    printf("bf16 chained is x%.2f of bf16 plain, x%.2f of fp32 plain; one core x%.2f, x%.2f\n",
           rate[1][1][CASK_PATH_CHAINED] / rate[1][1][CASK_PATH_PLAIN],
           rate[1][1][CASK_PATH_CHAINED] / rate[0][1][CASK_PATH_PLAIN],
           rate[1][0][CASK_PATH_CHAINED] / rate[1][0][CASK_PATH_PLAIN],
           rate[1][0][CASK_PATH_CHAINED] / rate[0][0][CASK_PATH_PLAIN]);
done:
    return st;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    struct options *options = user;
    enum cask_status st = CASK_OK;
    if (options->quick) {
        options->batch = 8;
        options->repeats = 1;
        options->classes = options->classes > 100 ? 100 : options->classes;
    }
    bench_machine();
    printf("%s, batch %lld, best of %lld\n", options->net, (long long)options->batch,
           (long long)options->repeats);
    CASK_TRY(bench_all(options, err));
done:
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_step", rows, sizeof rows / sizeof *rows, &options, run, argc, argv);
}
