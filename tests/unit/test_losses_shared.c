/* Students that share the teacher's cosines end with the bits that they have alone, whatever their
 * losses, temperatures, embeddings and order of batches, and whatever of the cosines is kept. */
#include "tests/support/losses.h"

#include "train/criterion.h"

enum { B = 7, C = 900, DT = 512, MOST_D = 640, BATCHES = 2, STEPS = 4, STUDENTS = 6 };

static struct cask_error err;

struct batch {
    float f[B * MOST_D], unit[B * DT];
    uint32_t labels[B];
};
static struct batch batches[BATCHES];
static float centers[C * DT];

static void unit_rows(float *rows, uint64_t stream, int count, int dim)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < dim; j++) {
            rows[i * dim + j] = (float)cask_rng_normal(3, stream, (uint64_t)(i * dim + j));
            sum += (double)rows[i * dim + j] * (double)rows[i * dim + j];
        }
        for (int64_t j = 0; j < dim; j++) {
            rows[i * dim + j] /= (float)sqrt(sum);
        }
    }
}

static void draw(void)
{
    for (uint64_t n = 0; n < BATCHES; n++) {
        unit_rows(batches[n].f, 10 + n, B, MOST_D);
        unit_rows(batches[n].unit, 20 + n, B, DT);
        for (int i = 0; i < B; i++) {
            batches[n].labels[i] = (uint32_t)(i * 83) + (uint32_t)n;
        }
    }
    unit_rows(centers, 3, C, DT);
}

/* Losses of each student; the last has another embedding, so its chunks are narrower. */
static const struct {
    const char *set[4];
    int dim;
    bool stores; /* it takes part in the common cosines */
} kinds[STUDENTS] = {
    {{"head.kind=cosface"}, 512, false},
    {{"loss.kd.weight=1", "loss.kd.temperature=4"}, 512, true},
    {{"loss.gkd.weight=0.1", "loss.kd.weight=1", "loss.kd.temperature=1"}, 512, true},
    {{"loss.dkd.weight=0.5", "head.margin=0.3"}, 128, true},
    {{"loss.gkd_teacher.weight=1"}, 512, true},
    {{"loss.kd.weight=1"}, MOST_D, false},
};

struct student {
    struct cask_criterion_config *settings;
    struct cask_config *config;
    struct cask_criterion *criterion;
    float d[STEPS][B * MOST_D];
    double total[STEPS];
};

static void open_student(struct student *s, int kind, const char *keep, struct cask_device *device,
                         struct cask_teacher_store *store)
{
    static const double temperatures[] = {1, 4};
    struct cask_config_section sections[80];
    const struct cask_criterion_options options = {.device = device,
                                                   .store = store,
                                                   .classes = C,
                                                   .dim = kinds[kind].dim,
                                                   .batch = B,
                                                   .seed = 5,
                                                   .fused = true,
                                                   .teacher_dim = DT,
                                                   .teacher_has_centers = true,
                                                   .teacher_scale = 64,
                                                   .teacher_temperatures = temperatures,
                                                   .teacher_temperature_count = 2};
    assert_ok(cask_criterion_config_create(&s->settings, &err));
    assert_ok(cask_config_create(
        sections, cask_criterion_config_sections(s->settings, sections, 80), &s->config, &err));
    assert_ok(cask_config_set(s->config, keep, "test", &err));
    for (int i = 0; i < 4 && kinds[kind].set[i] != NULL; i++) {
        assert_ok(cask_config_set(s->config, kinds[kind].set[i], "test", &err));
    }
    assert_ok(cask_criterion_create(s->settings, &options, &s->criterion, &err));
}

static void close_student(struct student *s)
{
    cask_criterion_free(s->criterion);
    cask_config_free(s->config);
    cask_criterion_config_free(s->settings);
}

/* Step `n` on the batch of that number; its serial is n + 1, as a feed would count. */
static void step(struct student *s, int n, const float *f, uint64_t serial)
{
    const struct cask_sgd sgd = {.rate = 0.1, .momentum = 0.9, .decay = 5e-3, .gradient_scale = 1};
    const struct batch *batch = &batches[n % BATCHES];
    const struct cask_teacher teacher = {
        .dim = DT, .serial = serial, .unit = batch->unit, .centers = centers, .scale = 64};
    cask_criterion_set_update(s->criterion, &sgd);
    assert_ok(cask_criterion_step(s->criterion, f != NULL ? f : batch->f, batch->labels, B,
                                  &teacher, (struct cask_progress_point){0, 0}, n == 1, s->d[n],
                                  &s->total[n], &err));
}

static void assert_same(const struct student *a, const struct student *b)
{
    const struct cask_state_array *x, *y;
    assert_memory_equal(a->total, b->total, sizeof a->total);
    assert_memory_equal(a->d, b->d, sizeof a->d);
    const int count = cask_criterion_state(a->criterion, &x);
    assert_int_equal(cask_criterion_state(b->criterion, &y), count);
    assert_true(count >= 2 && x[0].values[5] != 0 && x[1].values[5] != 0);
    for (int i = 0; i < count; i++) {
        assert_memory_equal(x[i].values, y[i].values,
                            (size_t)(x[i].rows * x[i].columns) * sizeof *x[i].values);
    }
}

static struct cask_device *open_device(int threads, enum cask_precision precision)
{
    struct cask_device *device = NULL;
    const struct cask_device_options options = {
        .backend = "cpu", .threads = threads, .precision = precision};
    return cask_device_open(&options, &device, &err) == CASK_OK ? device : NULL;
}

/* All students on one stream of batches against each with a device and memory of its own. */
static void check(const char *keep, enum cask_precision precision, bool keeps_any, bool pack)
{
    struct cask_device *device = open_device(2, precision);
    struct cask_teacher_store *store = NULL;
    static struct student alone[STUDENTS], together[STUDENTS];
    int64_t sharers = 0;
    if (device == NULL) {
        print_message("not tested: %s\n", err.message);
        return;
    }
    assert_ok(cask_teacher_store_create(&store, &err));
    for (int i = 0; i < STUDENTS; i++) {
        open_student(&together[i], i, keep, device, store);
        sharers += kinds[i].stores;
    }
    for (int i = STUDENTS - 1; i >= 0 && pack; i--) { /* not in the order of steps */
        assert_ok(cask_criterion_pack_centers(together[i].criterion, centers, &err));
    }
    for (int n = 0; n < STEPS; n++) {
        for (int i = 0; i < STUDENTS; i++) {
            step(&together[i], n, NULL, (uint64_t)n + 1);
        }
        assert_int_equal(cask_teacher_store_found(store), keeps_any ? (n + 1) * (sharers - 1) : 0);
    }
    for (int i = 0; i < STUDENTS; i++) {
        struct cask_device *own = open_device(1, precision);
        open_student(&alone[i], i, keep, own, NULL);
        for (int n = 0; n < STEPS; n++) {
            step(&alone[i], n, NULL, 0);
        }
        assert_same(&alone[i], &together[i]);
        close_student(&alone[i]);
        close_student(&together[i]);
        cask_device_close(own);
    }
    cask_teacher_store_free(store);
    cask_device_close(device);
}

static void test_same_bits(void **state)
{
    (void)state;
    check("head.keep_mb=96", CASK_PRECISION_FP32, true, true);
    check("head.keep_mb=0.02", CASK_PRECISION_FP32, true, true); /* some chunks only */
    check("head.keep_mb=0.02", CASK_PRECISION_FP32, true, false);
    check("head.keep_mb=0", CASK_PRECISION_FP32, false, true);
    check("head.keep_mb=96", CASK_PRECISION_BF16, true, true);
}

/* A student with batches of its own finds nothing and disturbs nobody; nor does one whose step goes
 * wrong. */
static void test_other_batches(void **state)
{
    enum { KD = 1, MIXED = 2 };
    struct cask_device *device = open_device(2, CASK_PRECISION_FP32);
    struct cask_teacher_store *store = NULL;
    static struct student alone[3], together[3];
    const int kind[3] = {KD, MIXED, KD};
    static float broken[B * MOST_D];
    (void)state;
    assert_non_null(device);
    broken[2 * 512 + 1] = NAN;
    assert_ok(cask_teacher_store_create(&store, &err));
    for (int i = 0; i < 3; i++) {
        open_student(&together[i], kind[i], "head.keep_mb=96", device, store);
        open_student(&alone[i], kind[i], "head.keep_mb=96", device, NULL);
    }
    for (int n = 0; n < STEPS; n++) {
        const int other = STEPS - 1 - n; /* batch of the second, which goes backwards */
        const float *third = n == 2 ? broken : NULL;
        step(&together[2], n, third, (uint64_t)n + 1);
        step(&together[0], n, NULL, (uint64_t)n + 1);
        step(&together[1], other, NULL, (uint64_t)other + 101);
        step(&alone[2], n, third, 0);
        step(&alone[0], n, NULL, 0);
        step(&alone[1], other, NULL, 0);
    }
    assert_int_equal(cask_teacher_store_found(store), STEPS);
    assert_true(isnan(alone[2].total[2]));
    for (int i = 0; i < 3; i++) {
        assert_same(&alone[i], &together[i]);
        close_student(&alone[i]);
        close_student(&together[i]);
    }
    cask_teacher_store_free(store);
    cask_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_other_batches),
    };
    draw();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
