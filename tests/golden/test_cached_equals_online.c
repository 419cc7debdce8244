/* A student that reads the cache learns what one with the teacher beside it would.
 *
 * A small teacher network is run here, in this process, on images and their mirrors. What it says
 * goes two ways: straight to the criterion, and through the cache (quantised, written, read back).
 * Loss and gradient of one batch must agree to 1e-3 relative in exact mode. In top-k mode the tail
 * is not known, so the same numbers are printed and not judged.
 */
#include "tests/support/test.h"

#include "cache/cache.h"
#include "common/mem.h"
#include "common/rng.h"
#include "models/models.h"
#include "train/criterion.h"

enum { SIDE = 32, IMAGES = 24, BATCH = 16, CLASSES = 300, TOPK = 32, DIM = 64, TEMPERATURES = 2 };
static const double temperatures[TEMPERATURES] = {1, 4};
static const double scale = 64;

/* One view of all images as the teacher sees it, nothing rounded. */
struct spoken {
    float unit[IMAGES * DIM], norm[IMAGES];
    uint32_t topk_index[IMAGES * TOPK];
    float topk_cosine[IMAGES * TOPK], label_cosine[IMAGES];
    double lse[IMAGES * TEMPERATURES];
};

static struct world {
    struct cask_device *device;
    float centers[CLASSES * DIM];
    struct spoken views[CASK_CACHE_VIEWS];
    char folder[256];
    struct cask_cache *cache;
    int64_t rows[BATCH];
    bool mirror[BATCH];
    uint32_t labels[BATCH];
    float student[BATCH * DIM];
} world;

static uint32_t label_of(int64_t image)
{
    return (uint32_t)(image * 37 % CLASSES);
}

/* ----------------------------------------------------------------- teacher */

static void normalise(float *row, float *norm)
{
    double squares = 0;
    for (int d = 0; d < DIM; d++) {
        squares += (double)row[d] * row[d];
    }
    for (int d = 0; d < DIM; d++) {
        row[d] = (float)(row[d] / sqrt(squares));
    }
    if (norm != NULL) {
        *norm = (float)sqrt(squares);
    }
}

/* Soft blobs, different in each image, mirrored in view 1. */
static void draw(int view, float *pixels)
{
    for (int i = 0; i < IMAGES; i++) {
        for (int y = 0; y < SIDE; y++) {
            for (int x = 0; x < SIDE; x++) {
                int from = view == 0 ? x : SIDE - 1 - x;
                for (int c = 0; c < 3; c++) {
                    uint64_t n = (uint64_t)(i * 3 + c);
                    double u = cask_rng_uniform(1, 2, n) * 6, v = cask_rng_uniform(1, 3, n) * 6;
                    pixels[((i * SIDE + y) * SIDE + x) * 3 + c] =
                        (float)(sin(u * from / SIDE * 3 + v) * cos(v * y / SIDE * 3 + u));
                }
            }
        }
    }
}

static void run_teacher(void)
{
    struct cask_error err;
    struct cask_graph *graph = NULL;
    struct cask_net *net = NULL;
    struct cask_plan *plan = NULL;
    const struct cask_graph_options options = {.embedding = DIM, .width = SIDE, .height = SIDE};
    float *pixels = cask_alloc((size_t)IMAGES * SIDE * SIDE * 3, sizeof *pixels);
    assert_non_null(pixels);
    assert_ok(cask_graph_build("ir18", &options, &graph, &err));
    assert_ok(cask_net_create(graph, world.device, false, &net, &err));
    assert_ok(cask_net_init(net, 7, &err));
    assert_ok(cask_plan_create(net, IMAGES, CASK_MODE_EVAL, &plan, &err));
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        struct spoken *spoken = &world.views[view];
        draw(view, pixels);
        assert_ok(cask_plan_forward(plan, pixels, IMAGES, spoken->unit, &err));
        for (int i = 0; i < IMAGES; i++) {
            normalise(spoken->unit + i * DIM, &spoken->norm[i]);
        }
    }
    cask_plan_free(plan);
    cask_net_free(net);
    cask_graph_free(graph);
    cask_free(pixels);
}

/* Class centres: noise, pulled towards the images of the class, so that labels stand out. */
static void make_centers(void)
{
    for (int c = 0; c < CLASSES; c++) {
        float *row = world.centers + c * DIM;
        for (int d = 0; d < DIM; d++) {
            row[d] = (float)cask_rng_normal(1, 4, (uint64_t)(c * DIM + d)) * 0.125f;
        }
        for (int i = 0; i < IMAGES; i++) {
            for (int d = 0; d < DIM && label_of(i) == (uint32_t)c; d++) {
                row[d] += 0.5f * world.views[0].unit[i * DIM + d];
            }
        }
        normalise(row, NULL);
    }
}

static double cosine(const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < DIM; d++) {
        sum += (double)a[d] * b[d];
    }
    return sum;
}

static void speak(struct spoken *spoken, int image)
{
    double cosines[CLASSES];
    bool taken[CLASSES] = {false};
    for (int c = 0; c < CLASSES; c++) {
        cosines[c] = cosine(spoken->unit + image * DIM, world.centers + c * DIM);
    }
    for (int k = 0; k < TOPK; k++) {
        int best = -1;
        for (int c = 0; c < CLASSES; c++) {
            if (!taken[c] && (best < 0 || cosines[c] > cosines[best])) {
                best = c;
            }
        }
        taken[best] = true;
        spoken->topk_index[image * TOPK + k] = (uint32_t)best;
        spoken->topk_cosine[image * TOPK + k] = (float)cosines[best];
    }
    spoken->label_cosine[image] = (float)cosines[label_of(image)];
    for (int t = 0; t < TEMPERATURES; t++) {
        double sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            sum += exp(scale * cosines[c] / temperatures[t]);
        }
        spoken->lse[image * TEMPERATURES + t] = log(sum);
    }
}

/* ------------------------------------------------------------------- cache */

static void describe(struct cask_manifest *manifest)
{
    *manifest = (struct cask_manifest){
        .major = CASK_CACHE_MAJOR,
        .minor = CASK_CACHE_MINOR,
        .images = IMAGES,
        .classes = CLASSES,
        .embedding = DIM,
        .embedding_type = CASK_EMBEDDING_F16,
        .topk = TOPK,
        .scale = scale,
        .temperatures = {temperatures[0], temperatures[1]},
        .temperature_count = TEMPERATURES,
        .shard_images = 10,
        .preprocess = cask_preprocess_default(),
    };
    char digits[CASK_SHA256_HEX];
    memset(digits, 'a', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    snprintf(manifest->teacher, sizeof manifest->teacher, "ir18");
    snprintf(manifest->centers_origin, sizeof manifest->centers_origin, "file");
    snprintf(manifest->precision, sizeof manifest->precision, "fp32");
    snprintf(manifest->decoder, sizeof manifest->decoder, "none");
    memcpy(manifest->weights_sha256, digits, sizeof digits);
    memcpy(manifest->architecture_sha256, digits, sizeof digits);
    memcpy(manifest->dataset_sha256, digits, sizeof digits);
}

static struct cask_cache_row row_of(int image)
{
    struct cask_cache_row row = {.sample_id = (uint64_t)image, .label = label_of(image)};
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        const struct spoken *spoken = &world.views[view];
        bool inside = false;
        for (int k = 0; k < TOPK; k++) {
            inside = inside || spoken->topk_index[image * TOPK + k] == label_of(image);
        }
        row.flags |= inside ? 0 : CASK_ROW_LABEL_OUTSIDE_TOPK;
        row.views[view] = (struct cask_cache_view){
            .embedding = spoken->unit + image * DIM,
            .norm = spoken->norm[image],
            .topk_index = spoken->topk_index + image * TOPK,
            .topk_cosine = spoken->topk_cosine + image * TOPK,
            .label_cosine = spoken->label_cosine[image],
            .lse = spoken->lse + image * TEMPERATURES,
        };
    }
    return row;
}

static void write_cache(void)
{
    struct cask_error err;
    struct cask_manifest manifest;
    struct cask_cache_writer *writer = NULL;
    describe(&manifest);
    test_make_folder(world.folder);
    assert_ok(cask_cache_writer_open(world.folder, &manifest, 1, &writer, &err));
    assert_ok(cask_cache_writer_centers(writer, world.centers, &err));
    for (int64_t shard = 0; shard < cask_cache_writer_shards(writer); shard++) {
        assert_ok(cask_cache_writer_begin(writer, shard, &err));
        for (int64_t i = shard * manifest.shard_images;
             i < (shard + 1) * manifest.shard_images && i < IMAGES; i++) {
            struct cask_cache_row row = row_of((int)i);
            assert_ok(cask_cache_writer_append(writer, &row, 1, &err));
        }
        assert_ok(cask_cache_writer_commit(writer, &err));
    }
    assert_ok(cask_cache_writer_finish(writer, &err));
    cask_cache_writer_close(writer);
    assert_ok(cask_cache_open(world.folder, CASK_VERIFY_ALWAYS, &world.cache, &err));
}

/* --------------------------------------------------------------- two teachers */

struct arrays {
    float unit[BATCH * DIM], norm[BATCH];
    uint32_t topk_index[BATCH * TOPK];
    float topk_cosine[BATCH * TOPK], label_cosine[BATCH], lse[BATCH * TEMPERATURES];
};

static struct cask_teacher teacher_of(const struct arrays *arrays, const float *centers)
{
    return (struct cask_teacher){.dim = DIM,
                                 .unit = arrays->unit,
                                 .norm = arrays->norm,
                                 .centers = centers,
                                 .topk = TOPK,
                                 .topk_index = arrays->topk_index,
                                 .topk_cosine = arrays->topk_cosine,
                                 .label_cosine = arrays->label_cosine,
                                 .lse = arrays->lse,
                                 .scale = scale,
                                 .temperatures = temperatures,
                                 .temperature_count = TEMPERATURES};
}

static void fill_online(struct arrays *arrays)
{
    for (int b = 0; b < BATCH; b++) {
        const struct spoken *spoken = &world.views[world.mirror[b]];
        const int64_t i = world.rows[b];
        memcpy(arrays->unit + b * DIM, spoken->unit + i * DIM, DIM * sizeof(float));
        memcpy(arrays->topk_index + b * TOPK, spoken->topk_index + i * TOPK,
               TOPK * sizeof(uint32_t));
        memcpy(arrays->topk_cosine + b * TOPK, spoken->topk_cosine + i * TOPK,
               TOPK * sizeof(float));
        arrays->norm[b] = spoken->norm[i];
        arrays->label_cosine[b] = spoken->label_cosine[i];
        for (int t = 0; t < TEMPERATURES; t++) {
            arrays->lse[b * TEMPERATURES + t] = (float)spoken->lse[i * TEMPERATURES + t];
        }
    }
}

static void fill_cached(struct arrays *arrays, const float **centers)
{
    struct cask_error err;
    const struct cask_cache_gather gather = {.embedding = arrays->unit,
                                             .norm = arrays->norm,
                                             .topk_index = arrays->topk_index,
                                             .topk_cosine = arrays->topk_cosine,
                                             .label_cosine = arrays->label_cosine,
                                             .lse = arrays->lse};
    assert_ok(cask_cache_gather(world.cache, world.rows, world.mirror, BATCH, &gather, &err));
    assert_ok(cask_cache_centers(world.cache, centers, &err));
}

/* -------------------------------------------------------------------- step */

/* The losses without the head, which is the same on both sides and would hide a difference. */
struct outcome {
    double loss;
    float gradient[BATCH * DIM];
};

static double head_value(const struct cask_criterion *criterion)
{
    const struct cask_term *terms = NULL;
    assert_true(cask_criterion_terms(criterion, &terms) >= 1);
    return terms[0].weight * terms[0].value;
}

static void learn(const char *setting, const struct cask_teacher *teacher, struct outcome *outcome)
{
    struct cask_error err;
    struct cask_criterion_config *options = NULL;
    struct cask_config *config = NULL;
    struct cask_criterion *criterion = NULL;
    struct cask_config_section sections[64];
    const struct cask_criterion_options facts = {.device = world.device,
                                                 .classes = CLASSES,
                                                 .dim = DIM,
                                                 .batch = BATCH,
                                                 .seed = 3,
                                                 .teacher_dim = DIM,
                                                 .teacher_topk = TOPK,
                                                 .teacher_has_centers = teacher->centers != NULL,
                                                 .teacher_scale = scale,
                                                 .teacher_temperatures = temperatures,
                                                 .teacher_temperature_count = TEMPERATURES};
    assert_ok(cask_criterion_config_create(&options, &err));
    size_t count = cask_criterion_config_sections(options, sections, 64);
    assert_ok(cask_config_create(sections, count, &config, &err));
    for (const char *at = setting; *at != '\0';) {
        char assignment[100];
        int length = (int)strcspn(at, " ");
        snprintf(assignment, sizeof assignment, "%.*s", length, at);
        assert_ok(cask_config_set(config, assignment, "test", &err));
        at += length + (at[length] == ' ');
    }
    assert_ok(cask_criterion_create(options, &facts, &criterion, &err));
    assert_ok(cask_criterion_step(criterion, world.student, world.labels, BATCH, teacher,
                                  (struct cask_progress_point){.epoch = 20, .fraction = 0.5}, true,
                                  outcome->gradient, &outcome->loss, &err));
    outcome->loss -= head_value(criterion);
    cask_criterion_free(criterion);
    cask_config_free(config);
    cask_criterion_config_free(options);
}

/* |got - want| / |want - head| */
static double relative(const float *got, const float *want, const float *head, int count)
{
    double difference = 0, size = 0;
    for (int i = 0; i < count; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += ((double)want[i] - head[i]) * ((double)want[i] - head[i]);
    }
    return sqrt(difference / size);
}

/* The larger relative difference, of loss and gradient, of the cached step against the online one.
 */
static double compare(const char *setting, bool exact)
{
    static struct arrays online, cached;
    static struct outcome want, got, head;
    const float *centers = NULL;
    fill_online(&online);
    fill_cached(&cached, &centers);
    const struct cask_teacher beside = teacher_of(&online, world.centers);
    const struct cask_teacher stored = teacher_of(&cached, exact ? centers : NULL);
    learn("", &beside, &head);
    learn(setting, &beside, &want);
    learn(setting, &stored, &got);
    const double loss = fabs(got.loss - want.loss) / fabs(want.loss);
    const double gradient = relative(got.gradient, want.gradient, head.gradient, BATCH * DIM);
    printf("%-5s mode, %-50s loss %.6g, differs by %.2e; gradient by %.2e\n",
           exact ? "exact" : "top-k", setting, want.loss, loss, gradient);
    assert_true(want.loss > 0);
    if (!isfinite(loss) || !isfinite(gradient)) {
        fail_msg("%s: not a number", setting);
    }
    return fmax(loss, gradient);
}

static const char *const settings[] = {
    "loss.embedding.weight=1",
    "loss.kd.weight=1 loss.kd.temperature=4",
    "loss.kd.weight=1 loss.kd.temperature=1",
    "loss.gkd.weight=1 loss.gkd.variant=code",
    "loss.gkd.weight=1 loss.gkd.variant=paper",
    "loss.gkd.weight=1 loss.embedding.weight=5",
};

static void exact_mode_agrees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        double worst = compare(settings[i], true);
        if (!(worst <= 1e-3)) {
            fail_msg("%s: %.3g is over 1e-3", settings[i], worst);
        }
    }
}

static void topk_mode_is_reported(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        (void)compare(settings[i], false);
    }
}

/* --------------------------------------------------------------------- main */

static int setup(void **state)
{
    struct cask_error err;
    (void)state;
    const struct cask_device_options options = {
        .backend = "cpu", .threads = 1, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&options, &world.device, &err));
    run_teacher();
    make_centers();
    for (int view = 0; view < CASK_CACHE_VIEWS; view++) {
        for (int i = 0; i < IMAGES; i++) {
            speak(&world.views[view], i);
        }
    }
    write_cache();
    for (int b = 0; b < BATCH; b++) {
        world.rows[b] = (b * 7 + 3) % IMAGES;
        world.mirror[b] = b % 3 == 1;
        world.labels[b] = label_of(world.rows[b]);
        for (int d = 0; d < DIM; d++) { /* a student half way to the teacher */
            float noise = (float)cask_rng_normal(1, 5, (uint64_t)(b * DIM + d)) * 0.125f;
            world.student[b * DIM + d] =
                3 * (world.views[world.mirror[b]].unit[world.rows[b] * DIM + d] + noise);
        }
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cask_cache_close(world.cache);
    cask_device_close(world.device);
    test_remove_folder(world.folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_mode_agrees),
        cmocka_unit_test(topk_mode_is_reported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
