/* bench_losses [BATCH [CLASSES [DIM [NET [LOSS]]]]] - milliseconds a criterion step takes, loss by
 * loss, beside the head's three matrix products, and what the loss makes of a whole training step
 * of NET: (step with the loss) / (step without). Defaults: 128, 85742, 512 (MS1MV2), mobilefacenet.
 * NET "none" leaves the network out; LOSS runs only the cases that name it. Best of three each. The
 * teacher's embeddings and class centres lie in memory, as they do behind a cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"
#include "models/models.h"
#include "train/criterion.h"

enum { STEPS = 3, SECTIONS = 80 };

struct batch {
    int size, dim, topk;
    int64_t classes;
    float *embedding, *unit, *norm, *centers, *gradient;
    uint32_t *labels;
};

static float *normal(uint64_t seed, size_t count)
{
    float *values = cask_alloc(count, sizeof *values);
    for (size_t j = 0; values != NULL && j < count; j++) {
        values[j] = (float)(cask_rng_uniform(seed, 0, j) - 0.5); /* the law does not matter here */
    }
    return values;
}

static void unit(float *rows, int64_t count, int dim)
{
    for (int64_t i = 0; i < count; i++) {
        float sum = 0;
        for (int j = 0; j < dim; j++) {
            sum += rows[i * dim + j] * rows[i * dim + j];
        }
        for (int j = 0; j < dim; j++) {
            rows[i * dim + j] /= __builtin_sqrtf(sum);
        }
    }
}

static enum cask_status open_batch(struct batch *b, struct cask_error *err)
{
    const size_t size = (size_t)b->size, dim = (size_t)b->dim;
    b->embedding = normal(1, size * dim);
    b->unit = normal(2, size * dim);
    b->norm = normal(3, size);
    b->centers = normal(4, (size_t)b->classes * dim);
    b->gradient = normal(5, size * dim);
    b->labels = cask_alloc(size, sizeof *b->labels);
    if (b->embedding == NULL || b->unit == NULL || b->norm == NULL || b->centers == NULL ||
        b->gradient == NULL || b->labels == NULL) {
        return cask_error_memory(err, (size_t)b->classes * dim * sizeof(float), "batch");
    }
    unit(b->unit, b->size, b->dim);
    unit(b->centers, b->classes, b->dim);
    for (int i = 0; i < b->size; i++) {
        b->labels[i] = (uint32_t)((i / 4 * 977) % b->classes);
    }
    return CASK_OK;
}

static double products(struct cask_device *device, const struct batch *b, struct cask_error *err)
{
    const struct cask_gemm gemms[3] = {
        {.trans_b = true, .m = b->size, .n = b->classes, .k = b->dim, .alpha = 1},
        {.m = b->size, .n = b->dim, .k = b->classes, .alpha = 1},
        {.trans_a = true, .m = b->classes, .n = b->dim, .k = b->size, .alpha = 1},
    };
    float *cosines = cask_alloc((size_t)b->size * (size_t)b->classes, sizeof *cosines);
    float *rows = cask_alloc((size_t)b->classes * (size_t)b->dim, sizeof *rows);
    double best = 1e9;
    for (int n = 0; n < STEPS && cosines != NULL && rows != NULL; n++) {
        double from = cask_now();
        const void *in[3][2] = {{b->unit, b->centers}, {cosines, b->centers}, {cosines, b->unit}};
        void *out[3] = {cosines, b->gradient, rows};
        for (int g = 0; g < 3; g++) {
            if (cask_device_ops(device)->gemm(device, &gemms[g], in[g][0], in[g][1], out[g], err) !=
                CASK_OK) {
                best = -1;
            }
        }
        best = cask_now() - from < best ? cask_now() - from : best;
    }
    cask_free(cosines);
    cask_free(rows);
    return best;
}

/* Forward, backward and update of a network's parameters; 0 without a network. */
static enum cask_status network_step(struct cask_device *device, const struct batch *b,
                                     const char *name, double *seconds, struct cask_error *err)
{
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_plan *plan = NULL;
    float *pixels = NULL;
    struct cask_graph_options options = {.embedding = b->dim};
    const struct cask_sgd sgd = {.rate = 1e-6, .momentum = 0.9, .gradient_scale = 1};
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_graph_build(name, &options, &graph, err));
    CASK_TRY(cask_net_create(graph, device, true, &net, err));
    CASK_TRY(cask_net_init(net, 1, err));
    CASK_TRY(cask_plan_create(net, b->size, CASK_MODE_TRAIN, &plan, err));
    pixels = normal(6, (size_t)b->size * 3 * (size_t)cask_graph_input_width(graph) *
                           (size_t)cask_graph_input_height(graph));
    for (int n = 0; n < STEPS && pixels != NULL; n++) {
        double from = cask_now();
        CASK_TRY(cask_plan_forward(plan, pixels, b->size, b->embedding, err));
        CASK_TRY(cask_net_zero_grads(net, err));
        CASK_TRY(cask_plan_backward(plan, b->gradient, err));
        for (int i = 0; i < cask_graph_param_count(graph); i++) {
            if (cask_graph_param(graph, i)->trained) {
                CASK_TRY(cask_device_ops(device)->sgd_step(
                    device, &sgd, (size_t)cask_graph_param(graph, i)->count, cask_net_value(net, i),
                    cask_net_grad(net, i), cask_net_momentum(net, i), err));
            }
        }
        cask_net_changed(net);
        *seconds = n == 0 || cask_now() - from < *seconds ? cask_now() - from : *seconds;
    }
done:
    cask_free(pixels);
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    return st;
}

static enum cask_status run(struct cask_device *device, const struct batch *b,
                            const char *const *set, double *seconds, struct cask_error *err)
{
    struct cask_criterion_config *settings = NULL;
    struct cask_config *config = NULL;
    struct cask_criterion *criterion = NULL;
    struct cask_config_section sections[SECTIONS];
    const double temperatures[] = {1, 4};
    const struct cask_criterion_options options = {
        .device = device,
        .classes = b->classes,
        .dim = b->dim,
        .batch = b->size,
        .teacher_dim = b->dim,
        .teacher_has_centers = true,
        .teacher_scale = 64,
        .teacher_temperatures = temperatures,
        .teacher_temperature_count = 2,
    };
    const struct cask_teacher teacher = {
        .dim = b->dim, .unit = b->unit, .norm = b->norm, .centers = b->centers, .scale = 64};
    const struct cask_sgd sgd = {.rate = 1e-6, .momentum = 0.9, .gradient_scale = 1};
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_criterion_config_create(&settings, err));
    CASK_TRY(cask_config_create(
        sections, cask_criterion_config_sections(settings, sections, SECTIONS), &config, err));
    for (; *set != NULL; set++) {
        CASK_TRY(cask_config_set(config, *set, "bench", err));
    }
    CASK_TRY(cask_criterion_create(settings, &options, &criterion, err));
    *seconds = 1e9;
    for (int n = 0; n < STEPS; n++) {
        double total, from = cask_now();
        CASK_TRY(cask_criterion_step(criterion, b->embedding, b->labels, b->size, &teacher,
                                     (struct cask_progress_point){0, 0}, false, b->gradient, &total,
                                     err));
        CASK_TRY(cask_criterion_update(criterion, &sgd, err));
        *seconds = cask_now() - from < *seconds ? cask_now() - from : *seconds;
    }
done:
    cask_criterion_free(criterion);
    cask_config_free(config);
    cask_criterion_config_free(settings);
    return st;
}

static const char *const cases[][4] = {
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

int main(int argc, char **argv)
{
    struct batch b = {.size = argc > 1 ? atoi(argv[1]) : 128,
                      .classes = argc > 2 ? atoll(argv[2]) : 85742,
                      .dim = argc > 3 ? atoi(argv[3]) : 512};
    const struct cask_device_options options = {.backend = "cpu", .precision = CASK_PRECISION_FP32};
    struct cask_device *device = NULL;
    struct cask_error err;
    char text[200];
    const char *net = argc > 4 ? argv[4] : "mobilefacenet";
    double plain = 0, network = 0, seconds;
    int st = 0;
    if (cask_device_open(&options, &device, &err) != CASK_OK || open_batch(&b, &err) != CASK_OK) {
        cask_error_print(&err, "bench_losses");
        return cask_status_exit_code(err.status);
    }
    cask_device_describe(device, text, sizeof text);
    printf("%s\nB = %d, C = %lld, D = %d; three products %.1f ms\n", text, b.size,
           (long long)b.classes, b.dim, 1e3 * products(device, &b, &err));
    if (strcmp(net, "none") != 0 && network_step(device, &b, net, &network, &err) != CASK_OK) {
        cask_error_print(&err, "bench_losses");
        st = cask_status_exit_code(err.status);
    }
    printf("%s: forward, backward and update %.1f ms\n", net, 1e3 * network);
    for (size_t i = 0; i < sizeof cases / sizeof *cases && st == 0; i++) {
        if (i > 0 && argc > 5 && strstr(cases[i][0], argv[5]) == NULL) {
            continue;
        }
        if (run(device, &b, cases[i], &seconds, &err) != CASK_OK) {
            cask_error_print(&err, "bench_losses");
            st = cask_status_exit_code(err.status);
            break;
        }
        plain = i == 0 ? seconds : plain;
        printf("%-26s %-28s %8.1f ms  %+8.1f ms  step x %.3f\n", cases[i][0],
               cases[i][1] ? cases[i][1] : "", 1e3 * seconds, 1e3 * (seconds - plain),
               (network + seconds) / (network + plain));
        fflush(stdout);
    }
    void *const owned[] = {b.embedding, b.unit, b.norm, b.centers, b.gradient, b.labels};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        cask_free(owned[i]);
    }
    cask_device_close(device);
    return st;
}
