/* bench_losses - what a criterion step costs, loss by loss, and what it makes of a training step.
 *
 *     bench_losses [--batch 128] [--classes 85742] [--dim 512] [--net mobilefacenet] [--only TEXT]
 *     bench_losses --part classes | batch | k    how time and memory grow
 *     bench_losses --part classes --least-classes 2000000 --classes 2000000 --rounds 1
 *
 * Part "losses": every loss beside the head's three matrix products, and the ratio (step with the
 * loss) / (step without) for a training step of --net; --net none leaves the network out. The other
 * parts run the head alone, KD and GKD for many C, B, or sizes of the teacher's list. The teacher
 * lies in memory, as it does behind a cache. Every time is the best of several; peak is a 512^3
 * product of the same run. --csv FILE appends one line a measurement.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "models/models.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_main.h"
#include "tests/bench/bench_rows.h"
#include "train/criterion.h"

enum { SECTIONS = 96, LEAST_STEPS = 3, MOST_STEPS = 40, MOST_CASES = 24 };
enum part { LOSSES, CLASSES, BATCH, K };

struct options {
    int part, precision;
    int64_t batch, classes, least_classes, dim, threads, rounds;
    double seconds, keep_mb;
    bool pack;
    const char *net, *only, *csv;
};

static const char *const parts[] = {"losses", "classes", "batch", "k", NULL};
static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"part", CASK_CONFIG_ENUM, ROW(part), "losses", 0, 0, parts, "PART", "what to measure"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "128", 1, 65536, NULL, "N", "images in a step"},
    {"classes", CASK_CONFIG_INT, ROW(classes), "85742", 1, 1e8, NULL, "N",
     "classes; part classes: the most of them"},
    {"least_classes", CASK_CONFIG_INT, ROW(least_classes), "1", 1, 1e8, NULL, "N",
     "part classes: the least of them"},
    {"dim", CASK_CONFIG_INT, ROW(dim), "512", 1, 65536, NULL, "N", "embedding of both nets"},
    {"net", CASK_CONFIG_TEXT, ROW(net), "mobilefacenet", 0, 0, NULL, "NAME",
     "student beside which it is put, or none"},
    {"only", CASK_CONFIG_TEXT, ROW(only), "", 0, 0, NULL, "TEXT",
     "part losses: those whose settings hold this text"},
    {"precision", CASK_CONFIG_ENUM, ROW(precision), "fp32", 0, 0, precisions, NULL, "of products"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N", "0: all CPUs"},
    {"keep_mb", CASK_CONFIG_REAL, ROW(keep_mb), "96", 0, 1e9, NULL, "MB", "head.keep_mb"},
    {"pack", CASK_CONFIG_BOOL, ROW(pack), "true", 0, 0, NULL, NULL, "head.pack_centers"},
    {"seconds", CASK_CONFIG_REAL, ROW(seconds), "1", 0, 100, NULL, "S", "for each measurement"},
    {"rounds", CASK_CONFIG_INT, ROW(rounds), "2", 1, 100, NULL, "N", "through all cases"},
    {"csv", CASK_CONFIG_TEXT, ROW(csv), "", 0, 0, NULL, "FILE", "append results"},
};

struct bench {
    const struct options *options;
    struct cask_device *device;
    int size, dim, topk; /* topk > 0: the teacher is known at its list only */
    int64_t classes;
    float *embedding, *unit, *norm, *centers, *gradient, *cosines, *lse;
    uint32_t *labels, *index;
    double peak, products, network, plain; /* GFLOP/s; seconds */
    size_t plain_bytes;
};

/* ------------------------------------------------------------------ inputs */

static void close_inputs(struct bench *b)
{
    void *const owned[] = {b->embedding, b->unit, b->norm,   b->centers, b->gradient,
                           b->cosines,   b->lse,  b->labels, b->index};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
    b->embedding = b->unit = b->norm = b->centers = b->gradient = b->cosines = b->lse = NULL;
    b->labels = b->index = NULL;
}

static enum cask_status open_inputs(struct bench *b, int64_t size, int64_t classes, int topk,
                                    struct cask_error *err)
{
    const size_t n = (size_t)size, list = (size_t)(topk > 0 ? topk : 1);
    close_inputs(b);
    b->size = (int)size;
    b->classes = classes;
    b->topk = topk;
    b->embedding = bench_unit_rows(b->device, 1, size, b->dim);
    b->unit = bench_unit_rows(b->device, 2, size, b->dim);
    b->norm = bench_unit_rows(b->device, 3, size, 1);
    b->gradient = bench_unit_rows(b->device, 5, size, b->dim);
    b->labels = cask_alloc(n, sizeof *b->labels);
    b->index = cask_alloc(n * list, sizeof *b->index);
    b->cosines = cask_alloc(n * list, sizeof *b->cosines);
    b->lse = cask_alloc(n * 2, sizeof *b->lse);
    b->centers = topk > 0 ? NULL : bench_unit_rows(b->device, 4, classes, b->dim);
    if (b->embedding == NULL || b->unit == NULL || b->norm == NULL || b->gradient == NULL ||
        b->labels == NULL || b->index == NULL || b->cosines == NULL || b->lse == NULL ||
        (topk == 0 && b->centers == NULL)) {
        return cask_error_memory(err, (size_t)classes * (size_t)b->dim * sizeof(float), "inputs");
    }
    for (int64_t i = 0; i < size; i++) {
        b->labels[i] = (uint32_t)((i / 4 * 977) % classes);
        for (int j = 0; j < topk; j++) {
            b->index[i * topk + j] = (uint32_t)((i * 31 + j * 97) % classes);
            b->cosines[i * topk + j] = 0.5f - 0.3f * (float)j / (float)topk;
        }
        b->lse[2 * i] = 34;
        b->lse[2 * i + 1] = 14;
    }
    return CASK_OK;
}

/* ---------------------------------------------------------------- measures */

static double gemm_seconds(const struct bench *b, const struct cask_gemm *gemms, int count,
                           const void *(*in)[2], void *const *out)
{
    struct cask_error err;
    double best = INFINITY;
    for (int n = 0; n < 6; n++) {
        const double from = cask_now();
        for (int g = 0; g < count; g++) {
            if (cask_device_ops(b->device)->gemm(b->device, &gemms[g], in[g][0], in[g][1], out[g],
                                                 &err) != CASK_OK) {
                return NAN;
            }
        }
        best = fmin(best, cask_now() - from);
    }
    return best;
}

/* The three products of the head, one after another over whole matrices. */
static void measure_products(struct bench *b)
{
    struct cask_gemm gemms[3] = {
        {.trans_b = true, .m = b->size, .n = b->classes, .k = b->dim, .alpha = 1},
        {.m = b->size, .n = b->dim, .k = b->classes, .alpha = 1},
        {.trans_a = true, .m = b->classes, .n = b->dim, .k = b->size, .alpha = 1},
    };
    float *cosines = cask_alloc((size_t)b->size * (size_t)b->classes, sizeof *cosines);
    float *d_rows = cask_alloc((size_t)b->classes * (size_t)b->dim, sizeof *d_rows);
    const void *in[3][2] = {{b->unit, b->centers}, {cosines, b->centers}, {cosines, b->unit}};
    void *out[3] = {cosines, b->gradient, d_rows};
    for (int g = 0; g < 3; g++) {
        const bool half = cask_device_activation_dtype(b->device) == CASK_BF16;
        gemms[g].in_dtype = half ? CASK_BF16 : CASK_F32;
    }
    b->products = cosines && d_rows ? gemm_seconds(b, gemms, 3, in, out) : NAN;
    cask_free(cosines);
    cask_free(d_rows);
}

/* Forward, backward and update of the network alone. */
static enum cask_status measure_network(struct bench *b, struct cask_error *err)
{
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_plan *plan = NULL;
    float *pixels = NULL;
    const struct cask_graph_options options = {.embedding = b->dim};
    const struct cask_sgd sgd = {.rate = 1e-6, .momentum = 0.9, .gradient_scale = 1};
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_graph_build(b->options->net, &options, &graph, err));
    CASK_TRY(cask_net_create(graph, b->device, true, &net, err));
    CASK_TRY(cask_net_init(net, 1, err));
    CASK_TRY(cask_plan_create(net, b->size, CASK_MODE_TRAIN, &plan, err));
    pixels = bench_unit_rows(b->device, 6, b->size,
                             3 * (int64_t)cask_graph_input_width(graph) *
                                 cask_graph_input_height(graph));
    b->network = INFINITY;
    for (int n = 0; n < LEAST_STEPS && pixels != NULL; n++) {
        const double from = cask_now();
        CASK_TRY(cask_plan_forward(plan, pixels, b->size, b->gradient, err));
        CASK_TRY(cask_net_zero_grads(net, err));
        CASK_TRY(cask_plan_backward(plan, b->gradient, err));
        for (int i = 0; i < cask_graph_param_count(graph); i++) {
            if (cask_graph_param(graph, i)->trained) {
                CASK_TRY(cask_device_ops(b->device)->sgd_step(
                    b->device, &sgd, (size_t)cask_graph_param(graph, i)->count,
                    cask_net_value(net, i), cask_net_grad(net, i), cask_net_momentum(net, i), err));
            }
        }
        cask_net_changed(net);
        b->network = fmin(b->network, cask_now() - from);
    }
done:
    cask_free(pixels);
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    return st;
}

/* ------------------------------------------------------------------- steps */

struct measured {
    double seconds;
    size_t bytes, step_bytes;
};

static enum cask_status steps(const struct bench *b, struct cask_criterion *criterion,
                              struct measured *out, struct cask_error *err)
{
    const struct cask_sgd sgd = {.rate = 1e-6, .momentum = 0.9, .gradient_scale = 1};
    static const double temperatures[] = {1, 4};
    const struct cask_teacher teacher = {.dim = b->dim,
                                         .unit = b->unit,
                                         .norm = b->norm,
                                         .centers = b->centers,
                                         .topk = b->topk,
                                         .topk_index = b->topk > 0 ? b->index : NULL,
                                         .topk_cosine = b->topk > 0 ? b->cosines : NULL,
                                         .label_cosine = b->topk > 0 ? b->cosines : NULL,
                                         .lse = b->lse,
                                         .scale = 64,
                                         .temperatures = temperatures,
                                         .temperature_count = 2};
    const double start = cask_now();
    double total;
    enum cask_status st = CASK_OK;
    out->seconds = INFINITY;
    cask_criterion_set_update(criterion, &sgd);
    for (int n = 0; n < LEAST_STEPS || (n < MOST_STEPS && cask_now() - start < b->options->seconds);
         n++) {
        const double from = cask_now();
        CASK_TRY(cask_criterion_step(criterion, b->embedding, b->labels, b->size, &teacher,
                                     (struct cask_progress_point){0, 0}, false, b->gradient, &total,
                                     err));
        CASK_TRY(cask_criterion_update(criterion, &sgd, err));
        out->seconds = fmin(out->seconds, cask_now() - from);
    }
    out->bytes = cask_criterion_bytes(criterion, &out->step_bytes);
done:
    return st;
}

static enum cask_status run(const struct bench *b, const char *const *set, struct measured *out,
                            struct cask_error *err)
{
    struct cask_criterion_config *settings = NULL;
    struct cask_config *config = NULL;
    struct cask_criterion *criterion = NULL;
    struct cask_config_section sections[SECTIONS];
    static const double temperatures[] = {1, 4};
    const struct cask_criterion_options options = {.device = b->device,
                                                   .classes = b->classes,
                                                   .dim = b->dim,
                                                   .batch = b->size,
                                                   .fused = true,
                                                   .teacher_dim = b->dim,
                                                   .teacher_topk = b->topk,
                                                   .teacher_has_centers = b->topk == 0,
                                                   .teacher_scale = 64,
                                                   .teacher_temperatures = temperatures,
                                                   .teacher_temperature_count = 2};
    char keep[64];
    const char *pack = b->options->pack ? "head.pack_centers=true" : "head.pack_centers=false";
    enum cask_status st = CASK_OK;
    snprintf(keep, sizeof keep, "head.keep_mb=%g", b->options->keep_mb);
    CASK_TRY(cask_criterion_config_create(&settings, err));
    CASK_TRY(cask_config_create(
        sections, cask_criterion_config_sections(settings, sections, SECTIONS), &config, err));
    CASK_TRY(cask_config_set(config, keep, "bench", err));
    CASK_TRY(cask_config_set(config, pack, "bench", err));
    for (; *set != NULL; set++) {
        CASK_TRY(cask_config_set(config, *set, "bench", err));
    }
    CASK_TRY(cask_criterion_create(settings, &options, &criterion, err));
    if (b->centers != NULL) {
        CASK_TRY(cask_criterion_pack_centers(criterion, b->centers, err));
    }
    CASK_TRY(steps(b, criterion, out, err));
done:
    cask_criterion_free(criterion);
    cask_config_free(config);
    cask_criterion_config_free(settings);
    return st;
}

/* One line, and one of the CSV: times in ms, memory in MB beside the head alone. */
static enum cask_status report(const struct bench *b, const char *const *set,
                               const struct measured *m, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char name[160], line[400];
    snprintf(name, sizeof name, "%s%s%s", set[0], set[1] ? " " : "", set[1] ? set[1] : "");
    const double ms = 1e3 * m->seconds, more = 1e3 * (m->seconds - b->plain);
    const double memory = ((double)m->bytes - (double)b->plain_bytes) / 1e6;
    const double ratio = (b->network + m->seconds) / (b->network + b->plain);
    printf("%-52s B %4d C %8lld k %4d  %8.1f ms %+8.1f ms  step %6.1f MB %+7.1f MB", name, b->size,
           (long long)b->classes, b->topk, ms, more, (double)m->step_bytes / 1e6, memory);
    printf(b->network > 0 ? "  step x %.3f\n" : "\n", ratio);
    fflush(stdout);
    if (b->options->csv[0] != '\0') {
        const bool fresh = !cask_path_exists(b->options->csv);
        snprintf(line, sizeof line,
                 "%s\"%s\",%d,%lld,%d,%d,%s,%.0f,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.4f\n",
                 fresh ? "case,batch,classes,dim,k,precision,peak_gflops,products_ms,network_ms,ms,"
                         "more_ms,step_mb,more_mb,ratio\n"
                       : "",
                 name, b->size, (long long)b->classes, b->dim, b->topk,
                 cask_dtype_name(cask_device_activation_dtype(b->device)), b->peak,
                 1e3 * b->products, 1e3 * b->network, ms, more, (double)m->step_bytes / 1e6, memory,
                 ratio);
        CASK_TRY(cask_file_append(b->options->csv, line, strlen(line), false, err));
    }
done:
    return st;
}

/* Measures and reports a table of cases, the first of them the head alone. More than once through,
 * so that a slow minute of the machine falls on all of them. */
static enum cask_status run_cases(struct bench *b, const char *const (*cases)[4], size_t count,
                                  struct cask_error *err)
{
    struct measured best[MOST_CASES], m;
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < (size_t)b->options->rounds * count; i++) {
        struct measured *to = &best[i % count];
        CASK_TRY(run(b, cases[i % count], &m, err));
        *to = i >= count && to->seconds < m.seconds ? *to : m;
    }
    b->plain = best[0].seconds;
    b->plain_bytes = best[0].bytes;
    for (size_t i = 0; i < count; i++) {
        CASK_TRY(report(b, cases[i], &best[i], err));
    }
done:
    return st;
}

/* ------------------------------------------------------------------- parts */

static const char *const all[][4] = {
    {"head.kind=arcface"},
    {"loss.kd.weight=1"},
    {"loss.dkd.weight=1"},
    {"loss.gkd.weight=1"},
    {"loss.gkd.weight=1", "loss.gkd.selection=sample"},
    {"loss.gkd.weight=1", "loss.gkd.selection=batch"},
    {"loss.gkd_teacher.weight=1"},
    {"loss.embedding.weight=1"},
    {"loss.embedding.weight=1", "loss.embedding.map=true"},
    {"loss.ekd.weight=1"},
    {"loss.pwr.weight=1"},
    {"loss.pwr.weight=1", "loss.pwr.kind=exp"},
    {"loss.pwr.weight=1", "loss.pwr.kind=ranknet"},
    {"loss.rkd_d.weight=1"},
    {"loss.rkd_a.weight=1"},
    {"loss.rkd_da.weight=1"},
    {"loss.darkrank.weight=1"},
    {"loss.sp.weight=1"},
    {"loss.cckd.weight=1"},
    {"loss.triplet.weight=1"},
};

static enum cask_status part_losses(struct bench *b, struct cask_error *err)
{
    const struct options *o = b->options;
    const char *chosen[MOST_CASES][4];
    size_t count = 0;
    enum cask_status st = CASK_OK;
    CASK_TRY(open_inputs(b, o->batch, o->classes, 0, err));
    measure_products(b);
    if (strcmp(o->net, "none") != 0) {
        CASK_TRY(measure_network(b, err));
    }
    printf("three products %.1f ms; %s forward, backward, update %.1f ms\n", 1e3 * b->products,
           o->net, 1e3 * b->network);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool wanted = i == 0 || o->only[0] == '\0';
        for (int s = 0; s < 4 && all[i][s] != NULL; s++) {
            wanted = wanted || strstr(all[i][s], o->only) != NULL;
        }
        if (wanted) {
            memcpy(chosen[count++], all[i], sizeof all[i]);
        }
    }
    CASK_TRY(run_cases(b, (const char *const(*)[4])chosen, count, err));
done:
    return st;
}

static enum cask_status head_kd_gkd(struct bench *b, int64_t batch, int64_t classes, int topk,
                                    struct cask_error *err)
{
    char size[64];
    snprintf(size, sizeof size, "loss.gkd_teacher.k=%d", topk);
    const char *const exact[][4] = {
        {"head.kind=arcface"}, {"loss.kd.weight=1"}, {"loss.gkd.weight=1"}};
    const char *const list[][4] = {
        {"head.kind=arcface"}, {"loss.kd.weight=1"}, {"loss.gkd_teacher.weight=1", size}};
    enum cask_status st = CASK_OK;
    CASK_TRY(open_inputs(b, batch, classes, topk, err));
    CASK_TRY(run_cases(b, topk > 0 ? list : exact, 3, err));
done:
    return st;
}

static enum cask_status part_growth(struct bench *b, struct cask_error *err)
{
    static const int64_t classes[] = {1000, 10000, 85742, 360000, 1000000, 2000000};
    static const int64_t batches[] = {16, 32, 64, 128, 256, 512};
    const struct options *o = b->options;
    enum cask_status st = CASK_OK;
    for (size_t i = 0; i < 6; i++) {
        if (o->part == CLASSES && classes[i] <= o->classes && classes[i] >= o->least_classes) {
            CASK_TRY(head_kd_gkd(b, o->batch, classes[i], 0, err));
        } else if (o->part == BATCH) {
            CASK_TRY(head_kd_gkd(b, batches[i], o->classes, 0, err));
        } else if (o->part == K && i < 4) {
            CASK_TRY(head_kd_gkd(b, o->batch, o->classes, 16 << i, err));
        }
    }
done:
    return st;
}

static enum cask_status run_part(void *user, struct cask_error *err)
{
    const struct options *options = user;
    struct bench bench = {.options = options, .dim = (int)options->dim};
    const struct cask_device_options device = {.backend = "cpu",
                                               .threads = (int)options->threads,
                                               .precision =
                                                   (enum cask_precision)options->precision};
    char text[200];
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_device_open(&device, &bench.device, err));
    cask_device_describe(bench.device, text, sizeof text);
    CASK_TRY(bench_peak(bench.device, 5, &bench.peak, err));
    printf("%s; 512^3 product %.0f GFLOP/s\n", text, bench.peak);
    CASK_TRY(options->part == LOSSES ? part_losses(&bench, err) : part_growth(&bench, err));
done:
    close_inputs(&bench);
    cask_device_close(bench.device);
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_losses", rows, sizeof rows / sizeof *rows, &options, run_part, argc,
                      argv);
}
