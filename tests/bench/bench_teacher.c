/* bench_teacher - stage one: how fast a teacher runs, and what a build of a cache costs beside it.
 *
 *   forward   images/s and GFLOP/s of each network, precision and thread count, and the ratio to
 *             the 512^3 matmul of the same run
 *   build     a real build (JPEG files, precompute from options to finished cache), as a ratio to
 *             the pure forward of the same images. Two builds of different size are timed and
 *             subtracted, so that loading and fingerprinting a teacher drop out.
 *   parts     where a build's time goes beside the forward
 *
 *   bench_teacher [--quick] [--net ir50] [--classes 85742] [--images 256]
 */
#include <unistd.h>

#include "common/file.h"
#include "data/synth.h"
#include "precompute/precompute.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_main.h"

struct options {
    const char *net;
    int64_t classes, images, batch, repeats, threads;
    bool quick, build_only;
};

#define ROW(field) offsetof(struct options, field)
static const struct cask_config_row rows[] = {
    {"net", CASK_CONFIG_TEXT, ROW(net), "ir50", 0, 0, NULL, "NAME", "network of the build"},
    {"classes", CASK_CONFIG_INT, ROW(classes), "85742", 2, 1e7, NULL, "N",
     "class centres of the build"},
    {"images", CASK_CONFIG_INT, ROW(images), "256", 128, 1e6, NULL, "N",
     "images of the larger build"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "16", 1, 4096, NULL, "N", "images in a forward pass"},
    {"repeats", CASK_CONFIG_INT, ROW(repeats), "3", 1, 1000, NULL, "N",
     "measurements of which the best counts"},
    {"threads", CASK_CONFIG_INT, ROW(threads), "0", 0, 1024, NULL, "N",
     "CPU threads of the build; 0: all"},
    {"quick", CASK_CONFIG_BOOL, ROW(quick), "false", 0, 0, NULL, NULL,
     "IR-50 only, one measurement, a small build"},
    {"build_only", CASK_CONFIG_BOOL, ROW(build_only), "false", 0, 0, NULL, NULL,
     "leave out the table of forwards"},
};

/* ----------------------------------------------------------------- forward */

struct forward {
    struct cask_device *device;
    struct cask_graph *graph;
    struct cask_net *net;
    struct cask_plan *plan;
    float *pixels, *embedding;
    int batch;
};

static enum cask_status forward_once(void *user, struct cask_error *err)
{
    struct forward *f = user;
    return cask_plan_forward(f->plan, f->pixels, f->batch, f->embedding, err);
}

static void forward_close(struct forward *f)
{
    cask_plan_free(f->plan);
    cask_net_free(f->net);
    cask_graph_free(f->graph);
    cask_free(f->pixels);
    cask_free(f->embedding);
    cask_device_close(f->device);
    *f = (struct forward){0};
}

static enum cask_status forward_open(struct forward *f, const char *name, int batch,
                                     enum cask_precision precision, int threads,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_graph_options defaults = {0};
    const struct cask_device_options cpu = {"cpu", threads, precision};
    *f = (struct forward){.batch = batch};
    CASK_TRY(cask_device_open(&cpu, &f->device, err));
    CASK_TRY(cask_graph_build(name, &defaults, &f->graph, err));
    CASK_TRY(cask_net_create(f->graph, f->device, false, &f->net, err));
    CASK_TRY(cask_net_init(f->net, 1, err));
    CASK_TRY(cask_plan_create(f->net, batch, CASK_MODE_EVAL, &f->plan, err));
    size_t pixels = (size_t)batch * 3 * (size_t)cask_graph_input_width(f->graph) *
                    (size_t)cask_graph_input_height(f->graph);
    f->pixels = cask_alloc(pixels, sizeof(float));
    f->embedding =
        cask_alloc((size_t)batch * (size_t)cask_graph_embedding(f->graph), sizeof(float));
    if (f->pixels == NULL || f->embedding == NULL) {
        CASK_TRY(cask_error_memory(err, pixels * sizeof(float), "teacher pixels"));
    }
    bench_fill(f->pixels, pixels, 2);
done:
    return st;
}

/* One line of the table; *speed is images/s, 0 where this CPU lacks the precision. */
static enum cask_status bench_forward(const struct options *options, const char *name,
                                      enum cask_precision precision, int threads, double *speed,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct forward f = {0};
    double peak = 0, best = 0, one = *speed;
    *speed = 0;
    st = forward_open(&f, name, (int)options->batch, precision, threads, err);
    if (st == CASK_ERR_DEVICE || st == CASK_ERR_UNSUPPORTED) {
        printf("%-6s %s\n", name, err->message);
        forward_close(&f);
        return CASK_OK;
    }
    CASK_TRY(st);
    CASK_TRY(bench_peak(f.device, options->repeats, &peak, err));
    CASK_TRY(bench_best(forward_once, &f, options->repeats, &best, err));
    *speed = f.batch / best;
    double gflops = 2e-9 * (double)cask_graph_macs(f.graph) * *speed;
    printf("%-6s %s %7d %10.1f %9.0f %13.0f %8.2f", name,
           precision == CASK_PRECISION_BF16 ? "bf16" : "fp32", threads, *speed, gflops, peak,
           gflops / peak);
    if (threads > 1 && one > 0) {
        printf(" %9.2f", *speed / one);
    }
    printf("\n");
done:
    forward_close(&f);
    return st;
}

static enum cask_status bench_forwards(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    static const char *const nets[] = {"ir50", "ir100"};
    int cpus = cask_cpu_count();
    printf("forward, batch %lld, best of %lld\n", (long long)options->batch,
           (long long)options->repeats);
    printf("%-6s %s %7s %10s %9s %13s %8s %9s\n", "net", "    ", "threads", "images/s", "GFLOP/s",
           "512^3 GFLOP/s", "ratio", "x1 thread");
    for (int n = 0; n < (options->quick ? 1 : 2); n++) {
        for (int p = 0; p < 2; p++) {
            enum cask_precision precision = p == 0 ? CASK_PRECISION_FP32 : CASK_PRECISION_BF16;
            double speed = 0;
            CASK_TRY(bench_forward(options, nets[n], precision, 1, &speed, err));
            if (cpus > 1 && speed > 0) {
                CASK_TRY(bench_forward(options, nets[n], precision, cpus, &speed, err));
            }
        }
    }
done:
    return st;
}

/* ------------------------------------------------------------------- build */

/* What the build reads: JPEG files in a list whose labels spread over all classes, a teacher and
 * random unit class centres. */
static enum cask_status write_images(const struct options *options, const char *folder,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    enum { SIZE = 112 };
    static uint8_t rgb[SIZE * SIZE * 3];
    uint8_t *data = NULL;
    size_t bytes = 0;
    char path[600];
    snprintf(path, sizeof path, "%s/list.txt", folder);
    FILE *list = fopen(path, "w");
    if (list == NULL) {
        return cask_error_set(err, CASK_ERR_IO, "%s: cannot be written", path);
    }
    for (int64_t i = 0; i < options->images; i++) {
        long long label = (long long)((options->classes - 1) * (i % 64) / 63);
        CASK_TRY(cask_synth_face(1, (uint32_t)(i / 8), (uint32_t)(i % 8), SIZE, rgb, err));
        CASK_TRY(cask_encode_jpeg(rgb, SIZE, SIZE, 95, &data, &bytes, err));
        snprintf(path, sizeof path, "%s/%06d.jpg", folder, (int)i);
        CASK_TRY(cask_file_write_all(path, data, bytes, err));
        cask_free(data);
        data = NULL;
        fprintf(list, "%06d.jpg %lld\n", (int)i, label);
    }
done:
    cask_free(data);
    fclose(list);
    return st;
}

static enum cask_status write_centers(const struct options *options, int dim, const char *path,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    size_t count = (size_t)options->classes * (size_t)dim;
    float *values = cask_alloc(count, sizeof *values);
    if (values == NULL) {
        return cask_error_memory(err, count * sizeof *values, "class centres");
    }
    for (size_t i = 0; i < count; i++) { /* cheap noise: normal numbers would take a minute */
        values[i] = (float)(cask_rng_u64(4, 0, i) >> 40) * 0x1p-24f - 0.5f;
    }
    const struct cask_file_tensor matrix = {.name = "weight",
                                            .dtype = CASK_FILE_F32,
                                            .shape = {options->classes, dim},
                                            .rank = 2,
                                            .count = (int64_t)count,
                                            .data = values};
    CASK_TRY(cask_safetensors_write(path, &matrix, 1, NULL, 0, err));
done:
    cask_free(values);
    return st;
}

struct build {
    char folder[256], list[300], weights[300], centers[300];
    enum cask_precision precision;
};

static enum cask_status prepare_build(const struct options *options, struct build *b,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct forward f = {0};
    const struct cask_preprocess pixels = cask_preprocess_default();
    snprintf(b->folder, sizeof b->folder, "/tmp/bench-teacher-XXXXXX");
    if (mkdtemp(b->folder) == NULL) {
        return cask_error_set(err, CASK_ERR_IO, "%s: cannot be made", b->folder);
    }
    snprintf(b->list, sizeof b->list, "%s/list.txt", b->folder);
    snprintf(b->weights, sizeof b->weights, "%s/teacher.safetensors", b->folder);
    snprintf(b->centers, sizeof b->centers, "%s/centers.safetensors", b->folder);
    CASK_TRY(forward_open(&f, options->net, 1, CASK_PRECISION_FP32, 1, err));
    CASK_TRY(cask_net_save(f.net, b->weights, &pixels, NULL, 0, err));
    CASK_TRY(write_centers(options, cask_graph_embedding(f.graph), b->centers, err));
    CASK_TRY(write_images(options, b->folder, err));
done:
    forward_close(&f);
    return st;
}

static struct precompute_options build_options(const struct options *options, const struct build *b,
                                               const char *out, int64_t images)
{
    return (struct precompute_options){.teacher = options->net,
                                       .weights = b->weights,
                                       .data = b->list,
                                       .out = out,
                                       .centers = b->centers,
                                       .preprocess = "",
                                       .shards = "",
                                       .backend = "cpu",
                                       .temperatures = {.values = {1, 4}, .count = 2},
                                       .topk = 64,
                                       .batch = options->batch,
                                       .threads = options->threads,
                                       .limit = images,
                                       .shard_images = 64,
                                       .scale = 64,
                                       .max_bad_percent = 5,
                                       .precision = (int)b->precision};
}

static enum cask_status time_build(const struct options *options, const struct build *b,
                                   int64_t images, double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char out[300], command[400];
    *seconds = 1e30;
    for (int64_t i = 0; i < (options->quick ? 1 : 2); i++) {
        snprintf(out, sizeof out, "%s/cache", b->folder);
        snprintf(command, sizeof command, "rm -rf '%s'", out);
        struct precompute_options build = build_options(options, b, out, images);
        double start = cask_now();
        CASK_TRY(precompute_run(&build, err));
        double took = cask_now() - start;
        *seconds = took < *seconds ? took : *seconds;
        if (system(command) != 0) {
            CASK_TRY(cask_error_set(err, CASK_ERR_IO, "%s failed", command));
        }
    }
done:
    return st;
}

static enum cask_status bench_build(const struct options *options, struct build *b,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct forward f = {0};
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    int64_t few = 64, many = options->images;
    double small = 0, large = 0, forward = 0, again = 0;
    CASK_TRY(forward_open(&f, options->net, (int)options->batch, b->precision, threads, err));
    CASK_TRY(bench_best(forward_once, &f, 2 * options->repeats, &forward, err));
    CASK_TRY(time_build(options, b, few, &small, err));
    CASK_TRY(time_build(options, b, many, &large, err));
    CASK_TRY(bench_best(forward_once, &f, 2 * options->repeats, &again, err));
    forward = 2 * (forward < again ? forward : again) / (double)options->batch;
    double image = (large - small) / (double)(many - few);
    printf("build %-6s %s %d threads, C = %lld, k = 64: %.2f ms an image (both views), forward "
           "%.2f ms: ratio %.3f (fixed costs %.1f s)\n",
           options->net, b->precision == CASK_PRECISION_BF16 ? "bf16" : "fp32", threads,
           (long long)options->classes, 1e3 * image, 1e3 * forward, image / forward,
           small - (double)few * image);
done:
    forward_close(&f);
    return st;
}

/* ------------------------------------------------------------------- parts */

static enum cask_status time_decode(const struct options *options, const struct cask_dataset *data,
                                    double *seconds, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_loader *loader = NULL;
    struct cask_batch *batch = NULL;
    const struct cask_loader_options load = {
        .dataset = data,
        .sampler = {.kind = CASK_SAMPLER_STORAGE, .count = cask_dataset_count(data)},
        .preprocess = cask_preprocess_default(),
        .batch = (int)options->batch,
        .end = cask_dataset_count(data),
        .threads = 1,
        .both_views = true};
    double start = cask_now();
    CASK_TRY(cask_loader_start(&load, &loader, err));
    CASK_TRY(cask_loader_next(loader, &batch, err));
    while (batch != NULL) {
        cask_loader_give_back(loader, batch);
        CASK_TRY(cask_loader_next(loader, &batch, err));
    }
    *seconds = cask_now() - start;
done:
    cask_loader_stop(loader);
    return st;
}

/* Random unit rows instead of a teacher's: their top-k lists change more often, not less. */
static void fill_rows(struct shard_rows *r, int64_t count)
{
    r->first = 0;
    r->count = count;
    for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
        bench_fill(r->unit[v], (size_t)count * (size_t)r->dim, (uint64_t)(9 + v));
        for (int64_t i = 0; i < count; i++) {
            double norm;
            unit_row(r->unit[v] + i * r->dim, r->dim, &norm);
            r->norm[v][i] = (float)norm;
        }
    }
}

struct parts {
    double decode, distil, publish; /* seconds for `images` */
    int64_t images;
};

static enum cask_status time_parts(const struct options *options, struct build *b,
                                   struct parts *parts, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char out[300];
    struct precompute_options asked = build_options(options, b, out, options->images);
    struct cask_dataset_options data = {.limit = options->images};
    struct teacher teacher = {0};
    struct cask_dataset *dataset = NULL;
    struct cask_manifest manifest;
    struct centers centers = {0};
    struct distiller *distiller = NULL;
    struct cask_cache_writer *writer = NULL;
    struct shard_rows shard = {0};
    int threads = options->threads > 0 ? (int)options->threads : cask_cpu_count();
    snprintf(out, sizeof out, "%s/parts", b->folder);
    asked.shard_images = parts->images = options->images;
    CASK_TRY(teacher_open(&asked, &teacher, err));
    CASK_TRY(cask_dataset_open(b->list, &data, &dataset, err));
    CASK_TRY(time_decode(options, dataset, &parts->decode, err));
    CASK_TRY(manifest_begin(&asked, &teacher, dataset, &manifest, err));
    CASK_TRY(centers_find(&asked, "", &teacher, dataset, &centers, err));
    CASK_TRY(shard_rows_create(&shard, options->images, teacher.dim, err));
    fill_rows(&shard, options->images);
    CASK_TRY(cask_cache_writer_open(out, &manifest, threads, &writer, err));
    CASK_TRY(distiller_create(teacher.device, &manifest, &centers, threads, &distiller, err));
    for (int round = 0; round < 2; round++) { /* the first one plans products and touches memory */
        CASK_TRY(cask_cache_writer_begin(writer, 0, err));
        double start = cask_now();
        CASK_TRY(distiller_write(distiller, dataset, &shard, writer, err));
        parts->distil = cask_now() - start;
        start = cask_now();
        CASK_TRY(cask_cache_writer_commit(writer, err));
        parts->publish = cask_now() - start;
    }
done:
    distiller_free(distiller);
    cask_cache_writer_close(writer);
    shard_rows_release(&shard);
    centers_release(&centers);
    cask_dataset_close(dataset);
    teacher_close(&teacher);
    return st;
}

static enum cask_status bench_parts(const struct options *options, struct build *b,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct parts parts = {0};
    CASK_TRY(time_parts(options, b, &parts, err));
    double each = 1e3 / (double)parts.images;
    printf("parts, ms an image (both views): decode %.3f (one thread, in the background), top-k "
           "and LSE %.3f, compress and publish %.3f (one shard of %lld)\n",
           each * parts.decode, each * parts.distil, each * parts.publish, (long long)parts.images);
done:
    return st;
}

static enum cask_status bench_builds(const struct options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct build b = {.precision = CASK_PRECISION_FP32};
    char command[300];
    CASK_TRY(prepare_build(options, &b, err));
    CASK_TRY(bench_parts(options, &b, err));
    CASK_TRY(bench_build(options, &b, err));
    if (!options->quick) {
        b.precision = CASK_PRECISION_BF16;
        if (bench_build(options, &b, err) != CASK_OK) {
            printf("build %-6s bf16: %s\n", options->net, err->message);
        }
    }
done:
    snprintf(command, sizeof command, "rm -rf '%s'", b.folder);
    return b.folder[0] == 0 || system(command) == 0 ? st : CASK_ERR_IO;
}

static enum cask_status run(void *user, struct cask_error *err)
{
    struct options *options = user;
    enum cask_status st = CASK_OK;
    options->repeats = options->quick ? 1 : options->repeats;
    options->images = options->quick ? 128 : options->images;
    bench_machine();
    if (!options->build_only) {
        CASK_TRY(bench_forwards(options, err));
    }
    CASK_TRY(bench_builds(options, err));
done:
    return st;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    setenv("CASK_LOG", "error", 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    return bench_main("bench_teacher", rows, sizeof rows / sizeof *rows, &options, run, argc, argv);
}
