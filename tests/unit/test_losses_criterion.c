/* The criterion as the trainer uses it: modes agree where they must, refusals, ramps, state,
 * threads. */
#include "tests/support/losses.h"

#include "train/criterion.h"

struct made {
    struct cask_criterion_config *settings;
    struct cask_config *config;
    struct cask_device *device;
    struct cask_criterion *criterion;
};

static void made_close(struct made *made)
{
    cask_criterion_free(made->criterion);
    cask_device_close(made->device);
    cask_config_free(made->config);
    cask_criterion_config_free(made->settings);
}

static enum cask_status make(struct made *made, const struct losses_batch *b, bool centers,
                             int threads, const char *const *set, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_config_section sections[80];
    memset(made, 0, sizeof *made);
    CASK_TRY(cask_criterion_config_create(&made->settings, err));
    CASK_TRY(cask_config_create(sections,
                                cask_criterion_config_sections(made->settings, sections, 80),
                                &made->config, err));
    CASK_TRY(cask_config_set(made->config, "head.scale=16", "test", err));
    for (; *set != NULL; set++) {
        CASK_TRY(cask_config_set(made->config, *set, "test", err));
    }
    const struct cask_device_options device = {
        .backend = "cpu", .threads = threads, .precision = CASK_PRECISION_FP32};
    CASK_TRY(cask_device_open(&device, &made->device, err));
    const struct cask_criterion_options options = {
        .device = made->device,
        .classes = b->classes,
        .dim = b->dim,
        .batch = LOSSES_B,
        .seed = 5,
        .teacher_dim = b->teacher_dim,
        .teacher_topk = b->topk,
        .teacher_has_centers = centers,
        .teacher_scale = LOSSES_SCALE,
        .teacher_temperatures = losses_temperatures,
        .teacher_temperature_count = 2,
    };
    CASK_TRY(cask_criterion_create(made->settings, &options, &made->criterion, err));
done:
    return st;
}

/* The batch as the trainer holds it: float arrays. */
struct floats {
    float f[LOSSES_B * LOSSES_D], unit[LOSSES_B * LOSSES_DT], norm[LOSSES_B],
        centers[LOSSES_C * LOSSES_DT];
    float cosine[LOSSES_B * LOSSES_C], label_cosine[LOSSES_B], lse[LOSSES_B * 2];
    struct cask_teacher teacher;
};

static void to_floats(const struct losses_batch *b, bool centers, struct floats *out)
{
    const size_t B = (size_t)b->batch, DT = (size_t)b->teacher_dim;
    losses_copy(out->f, b->f, B * (size_t)b->dim, sizeof(float));
    losses_copy(out->unit, b->unit, B * DT, sizeof(float));
    losses_copy(out->norm, b->norm, B, sizeof(float));
    losses_copy(out->centers, b->centers, (size_t)b->classes * DT, sizeof(float));
    losses_copy(out->cosine, b->topk_cosine, B * (size_t)b->topk, sizeof(float));
    losses_copy(out->label_cosine, b->label_cosine, B, sizeof(float));
    losses_copy(out->lse, b->lse, B * 2, sizeof(float));
    out->teacher = (struct cask_teacher){
        .dim = b->teacher_dim,
        .unit = out->unit,
        .norm = out->norm,
        .centers = centers ? out->centers : NULL,
        .topk = b->topk,
        .topk_index = b->topk_index,
        .topk_cosine = out->cosine,
        .label_cosine = out->label_cosine,
        .lse = out->lse,
        .scale = LOSSES_SCALE,
        .temperatures = losses_temperatures,
        .temperature_count = 2,
    };
}

static double step(struct made *made, const struct losses_batch *b, bool centers,
                   struct cask_progress_point at, float *d)
{
    struct floats floats;
    struct cask_error err;
    double total = NAN;
    to_floats(b, centers, &floats);
    assert_ok(cask_criterion_step(made->criterion, floats.f, b->labels, b->batch, &floats.teacher,
                                  at, true, d, &total, &err));
    return total;
}

static const struct cask_progress_point start = {0, 0}, later = {5, 0.5};

/* GKD's primary set lies inside the teacher's top-k (k = all): both modes are the same loss. */
static void test_topk_is_exact_inside(void **state)
{
    (void)state;
    static const char *const sets[][5] = {
        {"loss.gkd.weight=1", "loss.gkd.k=6", NULL},
        {"loss.gkd.weight=1", "loss.gkd.k=6", "loss.gkd.variant=paper", "loss.gkd.tau=0.7", NULL},
        {"loss.kd.weight=1", "loss.kd.temperature=1", NULL},
        {"loss.kd.weight=1", "loss.kd.tail=uniform", "head.kind=cosface", NULL},
    };
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        struct losses_batch b;
        struct made exact, topk;
        struct cask_error err;
        float d_exact[LOSSES_B * LOSSES_D], d_topk[LOSSES_B * LOSSES_D];
        losses_draw(&b, 30 + s, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
        losses_fill_topk(&b, LOSSES_C);
        assert_ok(make(&exact, &b, true, 1, sets[s], &err));
        assert_ok(make(&topk, &b, false, 1, sets[s], &err));
        double a = step(&exact, &b, true, start, d_exact),
               c = step(&topk, &b, false, start, d_topk);
        assert_close(c, a, 1e-5 * fabs(a));
        assert_all_close_f32(d_topk, d_exact, LOSSES_B * LOSSES_D, 1e-5);
        assert_close(cask_criterion_captured(exact.criterion), 1, 1e-12);
        assert_close(cask_criterion_captured(topk.criterion), 1, 1e-5);
        made_close(&exact);
        made_close(&topk);
    }
}

/* Ranked by the teacher, GKD is exact although most of the teacher is unknown. */
static void test_teacher_ranked_is_exact(void **state)
{
    (void)state;
    static const char *const sets[][6] = {
        {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=7", NULL},
        {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=6", "loss.gkd_teacher.force_label=false",
         "head.kind=cosface", NULL},
        {"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=7", "loss.gkd_teacher.force_label=false",
         "loss.gkd_teacher.margin=false", "head.weight=0", NULL},
    };
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        struct losses_batch b;
        struct made exact, topk;
        struct cask_error err;
        float d_exact[LOSSES_B * LOSSES_D], d_topk[LOSSES_B * LOSSES_D];
        losses_draw(&b, 90 + s, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
        losses_fill_topk(&b, 7);
        assert_ok(make(&exact, &b, true, 1, sets[s], &err));
        assert_ok(make(&topk, &b, false, 2, sets[s], &err));
        double a = step(&exact, &b, true, start, d_exact),
               c = step(&topk, &b, false, start, d_topk);
        assert_close(c, a, 1e-5 * fabs(a));
        assert_all_close_f32(d_topk, d_exact, LOSSES_B * LOSSES_D, 1e-5);
        assert_true(cask_criterion_captured(topk.criterion) < 0.999);
        made_close(&exact);
        made_close(&topk);
    }
}

/* The map between unequal sizes is trained, and saved with its momentum. */
static void test_linear_map(void **state)
{
    (void)state;
    static const char *const set[] = {"loss.embedding.weight=10", "head.weight=0", NULL};
    const struct cask_sgd sgd = {.rate = 1, .momentum = 0.9, .gradient_scale = 1};
    const struct cask_state_array *arrays;
    const struct cask_term *terms;
    struct losses_batch b;
    struct made made;
    struct cask_error err;
    float d[LOSSES_B * LOSSES_D];
    losses_draw(&b, 95, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&made, &b, true, 1, set, &err));
    assert_int_equal(cask_criterion_state(made.criterion, &arrays), 4);
    assert_string_equal(arrays[2].name, "loss.embedding.map");
    assert_int_equal(arrays[2].rows, LOSSES_DT);
    assert_int_equal(arrays[2].columns, LOSSES_D);
    const double first = step(&made, &b, true, start, d);
    for (int n = 0; n < 60; n++) {
        assert_true(cask_criterion_gradient_squares(made.criterion) > 0);
        assert_ok(cask_criterion_update(made.criterion, &sgd, &err));
        step(&made, &b, true, start, d);
    }
    const double last = step(&made, &b, true, start, d);
    assert_true(last < 0.5 * first && last > 0);
    cask_criterion_terms(made.criterion, &terms);
    assert_close(terms[0].weight, 0, 0);
    assert_close(terms[1].value * 10, last, 1e-6 * last);
    made_close(&made);
}

/* Less is known, less is captured; and the one-bin loss is a lower bound of KD. */
static void test_topk_bound(void **state)
{
    (void)state;
    static const char *const set[] = {"loss.kd.weight=1", NULL};
    struct losses_batch b;
    struct made exact, topk;
    struct cask_error err;
    const struct cask_term *terms;
    float d[LOSSES_B * LOSSES_D];
    losses_draw(&b, 40, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    losses_fill_topk(&b, 4);
    assert_ok(make(&exact, &b, true, 1, set, &err));
    assert_ok(make(&topk, &b, false, 1, set, &err));
    step(&exact, &b, true, start, d);
    step(&topk, &b, false, start, d);
    assert_int_equal(cask_criterion_terms(exact.criterion, &terms), 2);
    double full = terms[1].value;
    cask_criterion_terms(topk.criterion, &terms);
    assert_true(terms[1].value < full && terms[1].value > 0);
    assert_true(cask_criterion_captured(topk.criterion) > 0.2 &&
                cask_criterion_captured(topk.criterion) < 0.999);
    made_close(&exact);
    made_close(&topk);
}

static void expect_mismatch(const struct losses_batch *b, bool centers, const char *const *set,
                            const char *text)
{
    struct made made;
    struct cask_error err;
    assert_refused(CASK_ERR_MISMATCH, text, make(&made, b, centers, 1, set, &err));
    made_close(&made);
}

static void test_refusals(void **state)
{
    (void)state;
    struct losses_batch b;
    losses_draw(&b, 41, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    expect_mismatch(
        &b, false, (const char *const[]){"loss.gkd_teacher.weight=1", "loss.gkd_teacher.k=9", NULL},
        "loss.gkd_teacher.k");
    expect_mismatch(&b, false, (const char *const[]){"loss.dkd.weight=1", NULL}, "loss.dkd");
    expect_mismatch(&b, false,
                    (const char *const[]){"loss.kd.weight=1", "loss.kd.temperature=3", NULL},
                    "loss.kd.temperature");
    expect_mismatch(&b, true, (const char *const[]){"head.frozen=true", NULL}, "head");
    b.topk = 0;
    expect_mismatch(&b, false, (const char *const[]){"loss.gkd.weight=1", NULL}, "loss.gkd");
    b.teacher_dim = 0;
    expect_mismatch(&b, false, (const char *const[]){"loss.ekd.weight=1", NULL}, "needs a teacher");
    struct made made;
    struct cask_error err;
    losses_draw(&b, 41, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_refused(
        CASK_ERR_RANGE, "lambda_primary",
        make(&made, &b, true, 1,
             (const char *const[]){"loss.gkd.weight=1", "loss.gkd.lambda_primary=eight", NULL},
             &err));
    made_close(&made);
}

static void test_bad_step(void **state)
{
    (void)state;
    struct losses_batch b;
    struct made made;
    struct floats floats;
    struct cask_error err;
    float d[LOSSES_B * LOSSES_D];
    double total;
    losses_draw(&b, 42, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&made, &b, true, 1, (const char *const[]){"loss.kd.weight=1", NULL}, &err));
    to_floats(&b, true, &floats);
    b.labels[3] = LOSSES_C;
    assert_refused(CASK_ERR_RANGE, "label",
                   cask_criterion_step(made.criterion, floats.f, b.labels, b.batch, &floats.teacher,
                                       start, false, d, &total, &err));
    b.labels[3] = 0;
    floats.teacher.centers = NULL;
    assert_refused(CASK_ERR_MISMATCH, "class centres",
                   cask_criterion_step(made.criterion, floats.f, b.labels, b.batch, &floats.teacher,
                                       start, false, d, &total, &err));
    made_close(&made);
}

/* weight * min(epoch / ramp_epochs, 1), the same by fraction; terms report it and norms follow it.
 */
static void test_ramp_and_terms(void **state)
{
    (void)state;
    struct losses_batch b;
    struct made made;
    struct cask_error err;
    const struct cask_term *terms;
    float d[LOSSES_B * LOSSES_D];
    losses_draw(&b, 43, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&made, &b, true, 1,
                   (const char *const[]){"loss.kd.weight=2", "loss.kd.ramp_epochs=10",
                                         "loss.sp.weight=3", "loss.sp.ramp_fraction=0.25", NULL},
                   &err));
    double before = step(&made, &b, true, start, d);
    assert_int_equal(cask_criterion_terms(made.criterion, &terms), 3);
    assert_string_equal(terms[0].name, "arcface");
    assert_close(terms[0].gradient_cosine, 1, 1e-6);
    assert_close(before, terms[0].value, 1e-9 * before);
    assert_close(terms[1].weight, 0, 0);
    double total = step(&made, &b, true, later, d);
    cask_criterion_terms(made.criterion, &terms);
    assert_string_equal(terms[1].name, "kd");
    assert_close(terms[1].weight, 1, 1e-12);
    assert_close(terms[2].weight, 3, 1e-12);
    assert_close(total, terms[0].value + terms[1].value + 3 * terms[2].value, 1e-6 * total);
    double half = terms[1].gradient_norm;
    step(&made, &b, true, (struct cask_progress_point){20, 1}, d);
    cask_criterion_terms(made.criterion, &terms);
    assert_close(terms[1].gradient_norm, 2 * half, 1e-4 * half);
    assert_true(fabs(terms[2].gradient_cosine) <= 1.000001);
    made_close(&made);
}

static const char *const everything[] = {
    "loss.kd.weight=1",  "loss.embedding.weight=1", "loss.gkd.weight=0.1",      "loss.ekd.weight=1",
    "loss.pwr.weight=5", "loss.rkd_da.weight=1",    "head.kind=curricularface", NULL};

/* Same bits for any number of threads, with the device held to one. */
static void test_threads(void **state)
{
    (void)state;
    struct losses_batch b;
    double first[LOSSES_B * LOSSES_D], second[LOSSES_B * LOSSES_D], totals[2];
    double w_first[LOSSES_C * LOSSES_D], w_second[LOSSES_C * LOSSES_D];
    losses_draw(&b, 44, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    for (int run = 0; run < 2; run++) {
        struct losses_rig rig;
        struct cask_error err;
        assert_ok(losses_rig_open(&rig, "cpu", run == 0 ? 1 : 3, &b, true, 5, everything, &err));
        assert_ok(losses_step(&rig, &b, false, &totals[run], run ? second : first,
                              run ? w_second : w_first, &err));
        losses_rig_close(&rig);
    }
    assert_memory_equal(&totals[0], &totals[1], sizeof totals[0]);
    assert_memory_equal(first, second, sizeof first);
    assert_memory_equal(w_first, w_second, sizeof w_first);
}

static int copy_arrays(struct cask_criterion *from, struct cask_criterion *to)
{
    const struct cask_state_array *a, *c;
    int n = cask_criterion_state(from, &a);
    assert_int_equal(cask_criterion_state(to, &c), n);
    for (int i = 0; i < n; i++) {
        assert_string_equal(a[i].name, c[i].name);
        memcpy(c[i].values, a[i].values, (size_t)(a[i].rows * a[i].columns) * sizeof(float));
    }
    return n;
}

/* A resumed criterion goes on with the same bits. */
static void test_resume(void **state)
{
    (void)state;
    struct losses_batch b;
    struct made one, two;
    struct cask_error err;
    const struct cask_sgd sgd = {.rate = 0.1, .momentum = 0.9, .decay = 5e-4, .gradient_scale = 1};
    float d_one[LOSSES_B * LOSSES_D], d_two[LOSSES_B * LOSSES_D];
    losses_draw(&b, 45, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&one, &b, true, 1, everything, &err));
    assert_ok(make(&two, &b, true, 1, everything, &err));
    double before = step(&one, &b, true, later, d_one);
    assert_true(cask_criterion_gradient_squares(one.criterion) > 0);
    assert_ok(cask_criterion_update(one.criterion, &sgd, &err));
    assert_true(copy_arrays(one.criterion, two.criterion) >= 4); /* W, momentum, t, thresholds */
    double a = step(&one, &b, true, later, d_one), c = step(&two, &b, true, later, d_two);
    assert_true(a != before);
    assert_memory_equal(&a, &c, sizeof a);
    assert_memory_equal(d_one, d_two, sizeof d_one);
    made_close(&one);
    made_close(&two);
}

/* Losses that draw go on with the draws of an uninterrupted run. */
static void test_resumed_draws(void **state)
{
    (void)state;
    static const char *const set[] = {"loss.ekd.weight=1", "loss.ekd.random_negatives=true",
                                      "loss.ekd.negatives=3", NULL};
    struct losses_batch b;
    struct made one, two;
    struct cask_error err;
    float d_one[3][LOSSES_B * LOSSES_D], d_two[LOSSES_B * LOSSES_D];
    losses_draw(&b, 47, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&one, &b, true, 1, set, &err));
    assert_ok(make(&two, &b, true, 1, set, &err));
    for (int n = 0; n < 3; n++) {
        if (n == 2) {
            copy_arrays(one.criterion, two.criterion);
            cask_criterion_set_step(two.criterion, 2);
        }
        step(&one, &b, true, later, d_one[n]);
    }
    step(&two, &b, true, later, d_two);
    assert_memory_equal(d_two, d_one[2], sizeof d_two);
    assert_memory_not_equal(d_one[1], d_one[2], sizeof d_two);
    made_close(&one);
    made_close(&two);
}

/* One step's gradient, value of the head and value of the first loss. */
struct outcome {
    float d[LOSSES_B * LOSSES_D];
    double head, loss, accuracy;
};

static void outcome_of(const struct losses_batch *b, const char *const *set, int head_rows,
                       struct outcome *out)
{
    struct made made;
    struct cask_error err;
    const struct cask_term *terms;
    assert_ok(make(&made, b, true, 1, set, &err));
    cask_criterion_set_head_rows(made.criterion, head_rows);
    step(&made, b, true, later, out->d);
    const int count = cask_criterion_terms(made.criterion, &terms);
    out->head = terms[0].value;
    out->loss = count > 1 ? terms[1].value : NAN;
    out->accuracy = cask_criterion_accuracy(made.criterion);
    made_close(&made);
}

/* A head on the first rows: its value and gradient are those of a batch of these rows alone, and
 * the losses are those of the whole batch. */
static void test_head_rows(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    static const char *const sets[][4] = {
        {"loss.ekd.weight=3", "head.scale=16", "loss.sp.weight=1", NULL},
        {"loss.kd.weight=2", "head.scale=16", "loss.ekd.weight=3", NULL},
        {"loss.kd.weight=2", "head.kind=curricularface", "loss.ekd.weight=3", NULL},
        {"loss.gkd.weight=1", "head.kind=softmax", "loss.rkd_d.weight=3", NULL},
    };
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        const char *const plain[] = {sets[s][1], NULL};
        struct losses_batch b, first;
        struct outcome all, head, alone, got;
        float want[LOSSES_B * LOSSES_D];
        losses_draw(&b, 50 + s, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
        first = b;
        first.batch = ROWS;
        outcome_of(&b, sets[s], 0, &all);
        outcome_of(&b, plain, 0, &head);
        memset(&alone, 0, sizeof alone);
        outcome_of(&first, plain, 0, &alone);
        outcome_of(&b, sets[s], ROWS, &got);
        assert_close(got.head, alone.head, 1e-6 * fabs(alone.head));
        assert_close(got.accuracy, alone.accuracy, 1e-12);
        assert_close(got.loss, all.loss, 1e-6 * fabs(all.loss));
        for (int i = 0; i < LOSSES_B * LOSSES_D; i++) {
            want[i] = all.d[i] - head.d[i] + alone.d[i];
        }
        assert_all_close_f32(got.d, want, LOSSES_B * LOSSES_D, 1e-5);
        assert_true(fabs(got.head - all.head) > 1e-3);
    }
}

/* Plain steps on one batch must learn it. */
static void test_learns(void **state)
{
    (void)state;
    struct losses_batch b;
    struct made made;
    struct cask_error err;
    const struct cask_sgd sgd = {.rate = 0.05, .momentum = 0.9, .gradient_scale = 1};
    float d[LOSSES_B * LOSSES_D];
    losses_draw(&b, 46, LOSSES_B, LOSSES_C, LOSSES_D, LOSSES_DT);
    assert_ok(make(&made, &b, true, 1,
                   (const char *const[]){"head.kind=cosface", "loss.gkd.weight=0.01", NULL}, &err));
    double first = step(&made, &b, true, start, d), last = first;
    for (int n = 0; n < 60; n++) {
        assert_ok(cask_criterion_update(made.criterion, &sgd, &err));
        last = step(&made, &b, true, start, d);
    }
    assert_true(last < 0.5 * first);
    made_close(&made);
}

/* At two million classes a step adds less than half a B x C matrix to the cosines, and where these
 * are not kept there is no matrix of that size at all: the norms of the class rows are an eighth of
 * one here. */
static void test_memory_of_many_classes(void **state)
{
    (void)state;
    static const char *const sets[][4] = {
        {"loss.kd.weight=1", NULL},
        {"loss.kd.weight=1", "loss.dkd.weight=1", "loss.gkd.weight=1", NULL},
        {"head.keep_mb=0", "loss.kd.weight=1", "loss.gkd.weight=1", NULL},
    };
    static const double limits[] = {1.5, 1.5, 0.25};
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        struct cask_criterion_config *settings;
        struct cask_config *config;
        struct cask_config_section sections[80];
        struct cask_device *device;
        struct cask_engine *engine;
        struct cask_engine_term terms[CASK_MAX_LOSSES];
        struct cask_error err;
        size_t step_bytes;
        int count = 0;
        const struct cask_device_options cpu = {
            .backend = "cpu", .threads = 2, .precision = CASK_PRECISION_FP32};
        assert_ok(cask_criterion_config_create(&settings, &err));
        assert_ok(cask_config_create(
            sections, cask_criterion_config_sections(settings, sections, 80), &config, &err));
        for (const char *const *set = sets[s]; *set != NULL; set++) {
            assert_ok(cask_config_set(config, *set, "test", &err));
        }
        for (int i = 0; i < settings->loss_count; i++) {
            if (settings->losses[i].share.weight != 0) {
                terms[count++] = (struct cask_engine_term){i, settings->losses[i].options};
            }
        }
        assert_ok(cask_device_open(&cpu, &device, &err));
        const struct cask_engine_options options = {
            .device = device,
            .facts = {.classes = 2000000,
                      .batch = 8,
                      .dim = 1,
                      .teacher_dim = 1,
                      .centers = true,
                      .teacher_scale = 64},
            .head = &settings->head,
            .terms = terms,
            .term_count = count,
        };
        const struct cask_engine_api *api = cask_engine_for(device);
        assert_ok(api->create(&options, &engine, &err));
        api->bytes(engine, &step_bytes);
        print_message("%d class losses: %.2f of the B x C cosines\n", count,
                      (double)step_bytes / (8 * 2e6 * sizeof(float)));
        assert_true((double)step_bytes < limits[s] * 8 * 2e6 * sizeof(float));
        api->free(engine);
        cask_device_close(device);
        cask_config_free(config);
        cask_criterion_config_free(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topk_is_exact_inside),
        cmocka_unit_test(test_teacher_ranked_is_exact),
        cmocka_unit_test(test_linear_map),
        cmocka_unit_test(test_memory_of_many_classes),
        cmocka_unit_test(test_topk_bound),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_step),
        cmocka_unit_test(test_ramp_and_terms),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resumed_draws),
        cmocka_unit_test(test_head_rows),
        cmocka_unit_test(test_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
