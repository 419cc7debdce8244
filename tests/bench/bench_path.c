/* bench_path - how fast each part of the path is on this machine, as ratios to the matmul peak of
 * the same run. Every line is the best of several repeats: shared machines only ever make things
 * slower.
 *
 *   bench_path [--teacher ir50] [--student mobilefacenet] [--classes 10000] [--batch 64]
 */
#include <stdio.h>
#include <string.h>

#include "data/data.h"
#include "models/models.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_main.h"
#include "tests/support/cache_fixture.h"
#include "train/options.h"
#include "train/trainer.h"

struct options {
    const char *teacher, *student;
    int64_t classes, batch, teacher_batch, repeats;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"teacher", CASK_CONFIG_TEXT, ROW(teacher), "ir50", 0, 0, NULL, "NAME", "network of stage one"},
    {"student", CASK_CONFIG_TEXT, ROW(student), "mobilefacenet", 0, 0, NULL, "NAME",
     "network of stage two"},
    {"classes", CASK_CONFIG_INT, ROW(classes), "10000", 2, 1e7, NULL, "N", "identities"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "64", 2, 4096, NULL, "N", "images in a student step"},
    {"teacher_batch", CASK_CONFIG_INT, ROW(teacher_batch), "16", 1, 4096, NULL, "N",
     "images in a teacher pass"},
    {"repeats", CASK_CONFIG_INT, ROW(repeats), "3", 1, 1000, NULL, "N",
     "measurements of which the best counts"},
};

/* ----------------------------------------------------------------- teacher */

struct forward {
    struct cask_plan *plan;
    float *pixels, *embedding;
    int batch;
};

static enum cask_status forward_once(void *user, struct cask_error *err)
{
    struct forward *f = user;
    return cask_plan_forward(f->plan, f->pixels, f->batch, f->embedding, err);
}

static enum cask_status bench_teacher(const struct options *options, enum cask_precision precision,
                                      int threads, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_device *device = NULL;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct forward f = {.batch = (int)options->teacher_batch};
    struct cask_graph_options defaults = {0};
    double peak = 0, best = 0;
    CASK_TRY(
        cask_device_open(&(struct cask_device_options){"cpu", threads, precision}, &device, err));
    CASK_TRY(bench_peak(device, options->repeats, &peak, err));
    CASK_TRY(cask_graph_build(options->teacher, &defaults, &graph, err));
    CASK_TRY(cask_net_create(graph, device, false, &net, err));
    CASK_TRY(cask_net_init(net, 1, err));
    CASK_TRY(cask_plan_create(net, f.batch, CASK_MODE_EVAL, &f.plan, err));
    size_t pixels = (size_t)f.batch * 3 * (size_t)cask_graph_input_width(graph) *
                    (size_t)cask_graph_input_height(graph);
    f.pixels = cask_alloc(pixels, sizeof(float));
    f.embedding = cask_alloc((size_t)f.batch * (size_t)cask_graph_embedding(graph), sizeof(float));
    if (f.pixels == NULL || f.embedding == NULL) {
        CASK_TRY(cask_error_memory(err, pixels * sizeof(float), "teacher pixels"));
    }
    bench_fill(f.pixels, pixels, 2);
    CASK_TRY(bench_best(forward_once, &f, options->repeats, &best, err));
    double gflops = 2e-9 * (double)cask_graph_macs(graph) * f.batch / best;
    printf("%-22s %-5s %d thread%s %8.1f images/s %8.0f GFLOP/s  %3.0f %% of the 512^3 matmul's "
           "%.0f\n",
           options->teacher, precision == CASK_PRECISION_BF16 ? "bf16" : "fp32", threads,
           threads > 1 ? "s" : " ", f.batch / best, gflops, 100 * gflops / peak, peak);
done:
    cask_plan_free(f.plan);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_free(f.pixels);
    cask_free(f.embedding);
    cask_device_close(device);
    return st;
}

/* ----------------------------------------------------------------- student */

struct step {
    struct cask_trainer *trainer;
    struct cask_batch batch;
    struct cask_teacher teacher;
    int64_t number;
};

static enum cask_status step_once(void *user, struct cask_error *err)
{
    struct step *s = user;
    struct cask_step_report report;
    return cask_trainer_step(s->trainer, s->number++, &s->batch, &s->teacher, false, &report, err);
}

/* A teacher of random rows: the time of a loss does not depend on what the teacher says. */
static enum cask_status make_teacher(const struct options *options,
                                     const struct cask_manifest *facts, struct step *s,
                                     struct cask_error *err)
{
    size_t d = (size_t)facts->embedding, c = (size_t)options->classes, b = (size_t)options->batch;
    float *unit = cask_alloc(b * d, sizeof *unit), *centers = cask_alloc(c * d, sizeof *centers);
    float *norm = cask_alloc(b, sizeof *norm), *label_cosine = cask_alloc(b, sizeof *norm);
    float *lse = cask_alloc(b * 2, sizeof *lse);
    s->teacher = (struct cask_teacher){.dim = facts->embedding,
                                       .unit = unit,
                                       .norm = norm,
                                       .centers = centers,
                                       .label_cosine = label_cosine,
                                       .lse = lse,
                                       .scale = facts->scale,
                                       .temperatures = facts->temperatures,
                                       .temperature_count = facts->temperature_count};
    if (unit == NULL || centers == NULL || norm == NULL || label_cosine == NULL || lse == NULL) {
        return cask_error_memory(err, c * d * sizeof *centers, "a random teacher");
    }
    bench_fill(unit, b * d, 3);
    bench_fill(centers, c * d, 4);
    for (size_t i = 0; i < b * d; i++) {
        unit[i] /= 22.6f; /* about sqrt(512): rows of about unit length */
    }
    for (size_t i = 0; i < c * d; i++) {
        centers[i] /= 22.6f;
    }
    for (size_t i = 0; i < b; i++) {
        norm[i] = 22.6f;
        label_cosine[i] = 0.5f;
        lse[2 * i] = lse[2 * i + 1] = 40.0f;
    }
    return CASK_OK;
}

static void free_teacher(struct step *s)
{
    cask_free((void *)(uintptr_t)s->teacher.unit);
    cask_free((void *)(uintptr_t)s->teacher.centers);
    cask_free((void *)(uintptr_t)s->teacher.norm);
    cask_free((void *)(uintptr_t)s->teacher.label_cosine);
    cask_free((void *)(uintptr_t)s->teacher.lse);
}

static enum cask_status make_batch(const struct options *options, struct step *s,
                                   struct cask_error *err)
{
    size_t b = (size_t)options->batch, pixels = b * 112 * 112 * 3;
    s->batch = (struct cask_batch){.count = (int)options->batch,
                                   .pixels = cask_alloc(pixels, sizeof(float)),
                                   .labels = cask_alloc(b, sizeof(uint32_t))};
    if (s->batch.pixels == NULL || s->batch.labels == NULL) {
        return cask_error_memory(err, pixels * sizeof(float), "a batch");
    }
    bench_fill(s->batch.pixels, pixels, 5);
    for (size_t i = 0; i < b; i++) {
        s->batch.labels[i] = (uint32_t)cask_rng_below(1, 6, i, (uint64_t)options->classes);
    }
    return CASK_OK;
}

/* `setting` is one "key=value" that switches a loss on, or NULL for the plain step. */
static enum cask_status bench_student(const struct options *options, struct cask_device *device,
                                      const char *name, const char *setting, double *plain,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_train_config *config = NULL;
    struct step s = {0};
    char batch[32];
    double best = 0;
    const struct cask_manifest facts = {.classes = options->classes,
                                        .embedding = 512,
                                        .scale = 64,
                                        .temperatures = {1, 4},
                                        .temperature_count = 2};
    snprintf(batch, sizeof batch, "%lld", (long long)options->batch);
    CASK_TRY(cask_train_config_create(&config, err));
    CASK_TRY(cask_config_set_value(config->rows, "student.net", options->student, "bench", err));
    CASK_TRY(cask_config_set_value(config->rows, "train.batch", batch, "bench", err));
    CASK_TRY(cask_config_set_value(config->rows, "train.lr", "0.001", "bench", err));
    if (setting != NULL) {
        CASK_TRY(cask_config_set(config->rows, setting, "bench", err));
    }
    struct cask_trainer_setting with = {.device = device,
                                        .preprocess = cask_preprocess_default(),
                                        .classes = options->classes,
                                        .steps_per_epoch = 1000,
                                        .teacher = &facts,
                                        .teacher_has_centers = true};
    CASK_TRY(make_teacher(options, &facts, &s, err));
    CASK_TRY(make_batch(options, &s, err));
    CASK_TRY(cask_trainer_create(config, &with, &s.trainer, err));
    s.number = 500; /* past any ramp's first step */
    CASK_TRY(bench_best(step_once, &s, options->repeats, &best, err));
    *plain = setting == NULL ? best : *plain;
    printf("%-22s %-16s %8.1f images/s  step %7.1f ms  x%.3f of the plain step  %.1f MB an image\n",
           options->student, name, (double)options->batch / best, 1e3 * best, best / *plain,
           1e-6 * (double)cask_plan_bytes(s.trainer->plan) / (double)options->batch);
done:
    cask_trainer_free(s.trainer);
    cask_free(s.batch.pixels);
    cask_free(s.batch.labels);
    free_teacher(&s);
    cask_train_config_free(config);
    return st;
}

static enum cask_status bench_students(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    static const char *const losses[][2] = {{"plain ArcFace", NULL},
                                            {"+ cosine", "loss.embedding.weight=1"},
                                            {"+ KD", "loss.kd.weight=1"},
                                            {"+ GKD", "loss.gkd.weight=1"}};
    struct cask_device *device = NULL;
    double plain = 0;
    CASK_TRY(cask_device_open(&(struct cask_device_options){"cpu", 0, CASK_PRECISION_AUTO}, &device,
                              err));
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        CASK_TRY(bench_student(options, device, losses[i][0], losses[i][1], &plain, err));
    }
done:
    cask_device_close(device);
    return st;
}

/* ------------------------------------------------------------------ decode */

struct jpeg {
    struct cask_decoder *decoder;
    uint8_t *data, *rgb;
    float *pixels;
    size_t bytes;
};

static enum cask_status decode_many(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct jpeg *j = user;
    struct cask_preprocess preprocess = cask_preprocess_default();
    for (int i = 0; i < 500; i++) {
        CASK_TRY(cask_decode(j->decoder, j->data, j->bytes, 112, 112, j->rgb, err));
        cask_preprocess_apply(&preprocess, j->rgb, i % 2 == 1, j->pixels);
    }
done:
    return st;
}

static enum cask_status bench_decode(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct jpeg j = {0};
    double best = 0;
    j.rgb = cask_alloc(112 * 112, 3);
    j.pixels = cask_alloc(112 * 112 * 3, sizeof(float));
    if (j.rgb == NULL || j.pixels == NULL) {
        CASK_TRY(cask_error_memory(err, 112 * 112 * 15, "an image"));
    }
    /* Smooth colours with some noise: about the entropy of a face crop. */
    for (size_t i = 0; i < 112 * 112 * 3; i++) {
        double wave = 60 * (1 + (double)((i / 336 + i % 336) % 90) / 90);
        j.rgb[i] = (uint8_t)(wave + 4 * cask_rng_normal(1, 7, i) + 20);
    }
    CASK_TRY(cask_encode_jpeg(j.rgb, 112, 112, 95, &j.data, &j.bytes, err));
    CASK_TRY(cask_decoder_create(&j.decoder, err));
    CASK_TRY(bench_best(decode_many, &j, options->repeats, &best, err));
    printf("%-22s %-16s %8.0f images/s on one thread, %zu bytes each\n", "decode", "112x112 q95",
           500 / best, j.bytes);
done:
    cask_decoder_free(j.decoder);
    cask_free(j.data);
    cask_free(j.rgb);
    cask_free(j.pixels);
    return st;
}

/* ------------------------------------------------------------------- cache */

struct reads {
    struct cask_cache *cache;
    int64_t rows[512];
    bool mirror[512];
    struct cask_cache_gather out;
};

static enum cask_status gather_many(void *user, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct reads *r = user;
    for (uint64_t b = 0; b < 20; b++) {
        for (uint64_t i = 0; i < 512; i++) {
            r->rows[i] = (int64_t)cask_rng_permute(1, b, (uint64_t)cask_cache_rows(r->cache), i);
        }
        CASK_TRY(cask_cache_gather(r->cache, r->rows, r->mirror, 512, &r->out, err));
    }
done:
    return st;
}

/* A cache of random rows; what a row says does not change what reading it costs. */
static enum cask_status build_cache(const char *folder, const struct cask_manifest *manifest,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct fixture fixture;
    struct cask_cache_writer *writer = NULL;
    fixture_open(&fixture, manifest);
    CASK_TRY(cask_cache_writer_open(folder, manifest, 1, &writer, err));
    CASK_TRY(cask_cache_writer_begin(writer, 0, err));
    for (int64_t i = 0; i < manifest->images; i++) {
        struct cask_cache_row row = fixture_row(&fixture, i);
        CASK_TRY(cask_cache_writer_append(writer, &row, 1, err));
    }
    CASK_TRY(cask_cache_writer_commit(writer, err));
    CASK_TRY(cask_cache_writer_finish(writer, err));
done:
    cask_cache_writer_close(writer);
    fixture_close(&fixture);
    return st;
}

static enum cask_status bench_cache(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum { D = 512, K = 64 };
    char folder[] = "/tmp/cask-bench-XXXXXX", command[64];
    struct reads *r = cask_alloc(1, sizeof *r);
    double best = 0;
    struct cask_manifest manifest =
        fixture_manifest(8192, options->classes, D, K, 8192, CASK_EMBEDDING_F16);
    if (r == NULL || mkdtemp(folder) == NULL) {
        CASK_TRY(cask_error_memory(err, sizeof *r, "a cache in /tmp"));
    }
    r->out.embedding = cask_alloc(512 * D, sizeof(float));
    r->out.lse = cask_alloc(512 * 2, sizeof(float));
    if (r->out.embedding == NULL || r->out.lse == NULL) {
        CASK_TRY(cask_error_memory(err, 512 * D * sizeof(float), "rows"));
    }
    CASK_TRY(build_cache(folder, &manifest, err));
    CASK_TRY(cask_cache_open(folder, CASK_VERIFY_FIRST, &r->cache, err));
    CASK_TRY(bench_best(gather_many, r, options->repeats, &best, err));
    printf("%-22s %-16s %8.0f k rows/s, random order, warm; the rest is in bench_cache\n", "cache",
           "embedding + LSE", 20 * 512 / best / 1e3);
done:
    if (r != NULL) {
        cask_cache_close(r->cache);
        cask_free(r->out.embedding);
        cask_free(r->out.lse);
    }
    cask_free(r);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? st : CASK_ERR_IO;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    struct options *options = user;
    enum cask_status st = CASK_OK;
    const int cpus = cask_cpu_count();
    printf("vector kernels: %s; best of %lld\n", cask_cpu_isa(), (long long)options->repeats);
    for (int threads = 1; threads <= cpus; threads += cpus - 1 > 0 ? cpus - 1 : 1) {
        CASK_TRY(bench_teacher(options, CASK_PRECISION_FP32, threads, err));
        if (bench_teacher(options, CASK_PRECISION_BF16, threads, err) != CASK_OK) {
            printf("%-22s bf16  %s\n", options->teacher, err->message);
        }
    }
    CASK_TRY(bench_students(options, err));
    CASK_TRY(bench_decode(options, err));
    CASK_TRY(bench_cache(options, err));
done:
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    return bench_main("bench_path", rows, sizeof rows / sizeof *rows, &options, run, argc, argv);
}
