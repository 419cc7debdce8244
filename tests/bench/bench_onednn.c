/* bench_onednn - a student's training step, Cask's against oneDNN's own primitives.
 *
 *   bench_onednn [--net mobilefacenet] [--batch 64] [--repeats 5] [--threads 0] [--search]
 * [--quick]
 *
 * "oneDNN" is the same network, batch and arithmetic as a program runs them that calls oneDNN op by
 * op: a primitive a layer, forward, backward of data, backward of weights (onednn_*.h). With two
 * threads these are OpenMP's, inside each primitive. --search takes, for each convolution, the
 * fastest of oneDNN's implementations instead of the one it offers first.
 *
 * The two steps take turns; the fastest of each counts. "Sum of parts" adds up the fastest run of
 * every single primitive, as if all had their best moment at once. Before a time is printed, the
 * embeddings and all gradients of both are compared: nobody is measured against an empty loop.
 */
#include <math.h>

#include "tests/bench/bench_main.h"
#include "tests/bench/bench_student.h"
#include "tests/bench/onednn_step.h"

struct options {
    const char *net;
    int64_t batch, repeats, threads;
    bool search, quick;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"net", CASK_CONFIG_TEXT, ROW(net), "mobilefacenet", 0, 0, NULL, "NAME", "student network"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "64", 2, 4096, NULL, "N", "images in a step"},
    {"repeats", CASK_CONFIG_INT, ROW(repeats), "5", 1, 1000, NULL, "N",
     "steps of which the fastest counts"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 256, NULL, "N", "0: one, then two"},
    {"search", CASK_CONFIG_BOOL, ROW(search), "false", 0, 0, NULL, NULL,
     "try all of oneDNN's implementations of each convolution"},
    {"quick", CASK_CONFIG_BOOL, ROW(quick), "false", 0, 0, NULL, NULL,
     "8 images and one repeat: does it run at all"},
};

static const char *const kind_names[ONEDNN_KINDS] = {"first convolution",
                                                     "1x1",
                                                     "dense k x k",
                                                     "depthwise, grouped",
                                                     "global depthwise",
                                                     "linear",
                                                     "batch norm",
                                                     "activation",
                                                     "sums",
                                                     "pooling, gates",
                                                     "reorders"};
static const char *const pass_names[ONEDNN_PASSES] = {"forward", "data", "weights"};

/* ----------------------------------------------------------------------- the same result */

struct distance {
    double apart, size; /* squares */
};

static void measure(struct distance *d, const float *found, const float *want, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double apart = (double)found[i] - (double)want[i];
        d->apart += apart * apart;
        d->size += (double)want[i] * (double)want[i];
    }
}

/* |found - want| / |want|; 1e30 if there is nothing to compare, or NaN. */
static double relative(struct distance d)
{
    return d.size > 0 && d.apart >= 0 ? sqrt(d.apart / d.size) : 1e30;
}

struct agreement {
    double embedding, whole; /* all gradients as one vector */
    double worst;            /* of one convolution's weights; what stands in front of a batch norm
                                can have a gradient of nothing but rounding, weights cannot */
    const char *where;
    int compared;
};

static struct agreement compare(struct bench_student *s, const struct onednn_step *step,
                                const float *embedding)
{
    struct agreement a = {.where = "nowhere"};
    struct distance outputs = {0}, all = {0};
    const struct cask_graph *graph = cask_net_graph(s->net);
    measure(&outputs, embedding, s->embedding,
            (size_t)s->batch * (size_t)cask_graph_embedding(graph));
    a.embedding = relative(outputs);
    for (int p = 0; p < graph->param_count; p++) {
        const struct cask_param_info *info = cask_graph_param(graph, p);
        struct distance one = {0};
        if (!cask_net_trains(s->net, p)) {
            continue;
        }
        measure(&one, step->grads[p], cask_net_grad(s->net, p), (size_t)info->count);
        all.apart += one.apart;
        all.size += one.size;
        a.compared++;
        if ((info->role == CASK_PARAM_CONV_WEIGHT || info->role == CASK_PARAM_LINEAR_WEIGHT) &&
            !(relative(one) <= a.worst)) {
            a.worst = relative(one);
            a.where = info->name;
        }
    }
    a.whole = relative(all);
    return a;
}

/* Runs both once from the same weights, pixels and seed. */
static enum cask_status check_step(struct bench_student *s, struct onednn_step *step,
                                   float *embedding, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const bool half = cask_device_activation_dtype(step->o.device) == CASK_BF16;
    double seconds;
    CASK_TRY(cask_net_zero_grads(s->net, err));
    CASK_TRY(bench_student_step(s, s->plans[CASK_PATH_CHAINED], &seconds, err));
    CASK_TRY(onednn_run(&step->o, &seconds, err));
    const struct agreement a = compare(s, step, embedding);
    printf("  the same step: embeddings differ by %.1e, %d gradients by %.1e of their length, %.1e "
           "at most (%s)\n",
           a.embedding, a.compared, a.whole, a.worst, a.where);
    const double embedding_bound = half ? 0.2 : 1e-3, gradient_bound = half ? 0.5 : 3e-2;
    if (!(a.embedding <= embedding_bound) || !(a.whole <= gradient_bound)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_INTERNAL,
                                "oneDNN's step is another one than ours: expected embeddings "
                                "within %g and gradients within %g",
                                embedding_bound, gradient_bound));
    }
done:
    return st;
}

/* --------------------------------------------------------------------------------- times */

static double sum_of(const struct onednn *o, int kind, int pass)
{
    double sum = 0;
    for (int i = 0; i < o->call_count; i++) {
        const struct onednn_call *call = &o->calls[i];
        sum += (kind < 0 || (int)call->kind == kind) && (pass < 0 || (int)call->pass == pass)
                   ? call->best
                   : 0;
    }
    return sum;
}

/* The implementations of a kind, each once. */
static void print_names(const struct onednn *o, int kind)
{
    const char *seen[8];
    int count = 0;
    for (int i = 0; i < o->call_count && count < 8; i++) {
        bool known = (int)o->calls[i].kind != kind;
        for (int k = 0; k < count && !known; k++) {
            known = strcmp(seen[k], o->calls[i].name) == 0;
        }
        if (!known) {
            printf("%s%s", count == 0 ? "" : ", ", o->calls[i].name);
            seen[count++] = o->calls[i].name;
        }
    }
    printf("\n");
}

/* oneDNN's reference code, and products through its own gemm: the implementations that a user of
 * the library should know about before comparing. */
static bool is_slow(const char *name)
{
    return strncmp(name, "ref", 3) == 0 || strncmp(name, "gemm", 4) == 0 ||
           strstr(name, ":gemm") != NULL || strncmp(name, "nspc_bnorm", 10) == 0;
}

/* Call `index`, with all that share its name, kind and pass, if it is the first of them. */
static void print_slow(const struct onednn *o, int index)
{
    const struct onednn_call *first = &o->calls[index];
    double seconds = 0;
    int count = 0;
    for (int i = 0; i < o->call_count && is_slow(first->name); i++) {
        const struct onednn_call *call = &o->calls[i];
        if (call->kind == first->kind && call->pass == first->pass &&
            strcmp(call->name, first->name) == 0) {
            if (i < index) {
                return;
            }
            seconds += call->best;
            count++;
        }
    }
    if (count > 0) {
        printf("  %s, %s: %s, %d calls, %.2f ms (%s, ...)\n", kind_names[first->kind],
               pass_names[first->pass], first->name, count, 1e3 * seconds, first->node);
    }
}

static void print_table(const struct onednn *o)
{
    const double all = sum_of(o, -1, -1);
    printf("  %-19s %10s %10s %10s %6s\n", "oneDNN, ms", pass_names[0], pass_names[1],
           pass_names[2], "share");
    for (int kind = 0; kind < ONEDNN_KINDS; kind++) {
        const double sum = sum_of(o, kind, -1);
        if (sum > 0) {
            printf("  %-19s %10.2f %10.2f %10.2f %4.0f %%  ", kind_names[kind],
                   1e3 * sum_of(o, kind, 0), 1e3 * sum_of(o, kind, 1), 1e3 * sum_of(o, kind, 2),
                   100 * sum / all);
            print_names(o, kind);
        }
    }
    for (int i = 0; i < o->call_count; i++) {
        print_slow(o, i);
    }
}

static enum cask_status time_both(struct bench_student *s, struct onednn_step *step,
                                  int64_t repeats, double *ours, double *theirs,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *ours = *theirs = 1e30;
    onednn_forget_times(&step->o);
    for (int64_t i = 0; i < repeats; i++) {
        double seconds;
        CASK_TRY(bench_student_step(s, s->plans[CASK_PATH_CHAINED], &seconds, err));
        *ours = seconds < *ours ? seconds : *ours;
        CASK_TRY(onednn_run(&step->o, &seconds, err));
        *theirs = seconds < *theirs ? seconds : *theirs;
    }
done:
    return st;
}

/* ---------------------------------------------------------------------------------- main */

/* images_per_second: Cask's, oneDNN's. */
static enum cask_status bench_device(const struct options *options, enum cask_precision precision,
                                     int threads, double images_per_second[2],
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct bench_student s = {0};
    struct onednn_step step = {0};
    float *embedding = NULL;
    double ours, theirs;
    char text[200];
    CASK_TRY(
        cask_device_open(&(struct cask_device_options){"cpu", threads, precision}, &device, err));
    omp_set_num_threads(threads);
    CASK_TRY(cask_graph_build(options->net, NULL, &graph, err));
    const bool paths[BENCH_PATHS] = {[CASK_PATH_CHAINED] = true, [CASK_PATH_PLAIN] = true};
    CASK_TRY(bench_student_open(&s, options->batch, graph, device, paths, err));
    embedding =
        cask_alloc((size_t)s.batch * (size_t)cask_graph_embedding(graph), sizeof *embedding);
    if (embedding == NULL) {
        CASK_TRY(cask_error_memory(err, (size_t)s.batch * sizeof *embedding, "embeddings"));
    }
    CASK_TRY(onednn_step_open(&step, s.plans[CASK_PATH_PLAIN], options->search, s.pixels, embedding,
                              s.seed, err));
    cask_device_describe(device, text, sizeof text);
    printf("\n%s\n", text);
    CASK_TRY(check_step(&s, &step, embedding, err));
    CASK_TRY(time_both(&s, &step, options->repeats, &ours, &theirs, err));
    const double parts = sum_of(&step.o, -1, -1);
    images_per_second[0] = s.batch / ours;
    images_per_second[1] = s.batch / theirs;
    printf("  Cask    %8.1f images/s %8.1f ms\n", s.batch / ours, 1e3 * ours);
    printf("  oneDNN  %8.1f images/s %8.1f ms  Cask is x%.2f\n", s.batch / theirs, 1e3 * theirs,
           theirs / ours);
    printf("  oneDNN  %8.1f images/s %8.1f ms  x%.2f  (sum of parts)\n", s.batch / parts,
           1e3 * parts, parts / ours);
    print_table(&step.o);
done:
    onednn_step_close(&step);
    cask_free(embedding);
    bench_student_close(&s);
    cask_graph_free(graph);
    cask_device_close(device);
    return st;
}

static enum cask_status bench_threads(const struct options *options, int threads,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    double fp32[2], bf16[2];
    CASK_TRY(bench_device(options, CASK_PRECISION_FP32, threads, fp32, err));
    st = bench_device(options, CASK_PRECISION_BF16, threads, bf16, err);
    if (st == CASK_ERR_UNSUPPORTED) {
        printf("\n%s\n", err->message);
        return CASK_OK;
    }
    CASK_TRY(st);
    printf("\n%d thread%s: Cask fp32 is x%.2f of oneDNN fp32; Cask bf16 is x%.2f of oneDNN bf16, "
           "x%.2f of oneDNN fp32\n",
           threads, threads > 1 ? "s" : "", fp32[0] / fp32[1], bf16[0] / bf16[1],
           bf16[0] / fp32[1]);
done:
    return st;
}

static enum cask_status bench_all(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const int most = cask_cpu_count() > 1 ? 2 : 1;
    if (options->threads > 0) {
        return bench_threads(options, (int)options->threads, err);
    }
    for (int threads = 1; threads <= most; threads++) {
        CASK_TRY(bench_threads(options, threads, err));
    }
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
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
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
    return bench_main("bench_onednn", rows, sizeof rows / sizeof *rows, &options, run, argc, argv);
}
