/* GKD's cut where the sample deceives: the classes that are looked at first are unlike the others,
 * so a row's window misses its cut, or holds more than there is room for. The step must go the long
 * way for that row and end where whole rows, sorted in double, end; with the same bits for any
 * number of threads. */
#include "tests/support/test.h"

#define CASK_REAL float
#define CASK_REAL_EXP expf
#define CASK_REAL_EXP2 exp2f
#define CASK_VARIANT cpu
#include "common/mem.h"
#include "common/rng.h"
#include "train/losses/engine_inside.h"

enum { B = 6, C = 4096, D = 32, CHUNK = 16, MOST_LANES_HERE = 32, K = 480 };
static const double scale = 64, temperature = 4;

struct inputs {
    float f[B * D], weight[C * D], unit[B * D], centers[C * D];
    uint32_t labels[B];
};

/* As the engine draws its sample: one chunk in four of each of 32 lanes. */
static bool is_sampled(int class)
{
    const int chunk = class / CHUNK;
    return (chunk / MOST_LANES_HERE + chunk % MOST_LANES_HERE) % 4 == 0;
}

static double uniform(uint64_t stream, int64_t index)
{
    return cask_rng_uniform(7, stream, (uint64_t)index);
}

/* Rows of length 1 whose first `given` numbers are there already. */
static void fill_rows(float *rows, uint64_t stream, int count, int given)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0, left = 1;
        float *row = rows + i * D;
        for (int j = 0; j < D; j++) {
            row[j] = j < given ? row[j] : (float)cask_rng_normal(7, stream, (uint64_t)(i * D + j));
            *(j < given ? &left : &sum) +=
                (j < given ? -1.0 : 1.0) * (double)row[j] * (double)row[j];
        }
        for (int j = given; j < D; j++) {
            row[j] *= (float)sqrt(left / sum);
        }
    }
}

enum arrangement { ALIKE, HIGHER, CROWDED, ARRANGEMENTS };

/* The cosine of a class to the first axis, and so to the rows that lie near it. */
static double first_cosine(enum arrangement how, int class)
{
    const double u = uniform(4, class);
    if (is_sampled(class) || how == ALIKE) {
        return how == HIGHER ? -0.4 + 0.2 * u : 0.4 - 0.8 * u;
    }
    /* CROWDED: around the value that K of C in the sample exceed */
    return how == HIGHER ? 0.4 * u : 0.4 - 0.8 * K / C + 0.004 * (u - 0.5);
}

static struct inputs *draw(enum arrangement how)
{
    struct inputs *in = cask_alloc(1, sizeof *in);
    assert_non_null(in);
    for (int c = 0; c < C; c++) {
        in->weight[c * D] = (float)first_cosine(how, c);
        in->weight[c * D + 1] = (float)(0.8 * uniform(5, c) - 0.4);
    }
    for (int i = 0; i < B; i++) { /* half of the rows near the first axis, half near the second */
        in->f[i * D] = i % 2 == 0 ? 0.9999F : 0;
        in->f[i * D + 1] = i % 2 == 0 ? 0 : 0.9999F;
        in->labels[i] = i == 4 ? UINT32_MAX : (uint32_t)(i * 700 + 3);
    }
    fill_rows(in->weight, 1, C, 2);
    fill_rows(in->f, 2, B, 2);
    fill_rows(in->unit, 3, B, 0);
    fill_rows(in->centers, 6, C, 0);
    return in;
}

/* --------------------------------------------------------------- reference */

struct outcome {
    double total;
    float d[B * D];
    int missed; /* rows whose first window did */
};

static double row_dot(const float *a, const float *b)
{
    double sum = 0;
    for (int j = 0; j < D; j++) {
        sum += (double)a[j] * (double)b[j];
    }
    return sum;
}

struct ranked {
    double x;
    int class;
};

static int by_rank(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    return a->x > b->x ? -1 : a->x < b->x ? 1 : a->class - b->class;
}

static double xlogx_over(double p, double q)
{
    return p * log(p / q);
}

/* T^2 (KL(ph|qh) + KL([P,1-P] | [Q,1-Q]) + KL(pc|qc)) of a row over whole rows, and dL/dx. */
static double reference_row(const struct inputs *in, int row, double *gradient)
{
    static struct ranked order[C];
    static double p[C], q[C];
    static bool in_set[C];
    double sum_p = 0, sum_q = 0, P = 0, Q = 0, loss = 0;
    const double length = sqrt(row_dot(in->f + row * D, in->f + row * D));
    for (int c = 0; c < C; c++) {
        const float *w = in->weight + c * D;
        const double x = row_dot(in->f + row * D, w) / (length * sqrt(row_dot(w, w)));
        order[c] = (struct ranked){x, c};
        sum_q += q[c] = exp(x * scale / temperature);
        sum_p += p[c] = exp(row_dot(in->unit + row * D, in->centers + c * D) * scale / temperature);
        in_set[c] = false;
    }
    qsort(order, C, sizeof *order, by_rank);
    for (int j = 0; j < K; j++) {
        in_set[order[j].class] = true;
    }
    for (int c = 0; c < C; c++) {
        p[c] /= sum_p;
        q[c] /= sum_q;
        P += in_set[c] ? p[c] : 0;
        Q += in_set[c] ? q[c] : 0;
    }
    loss = xlogx_over(P, Q) + xlogx_over(1 - P, 1 - Q);
    for (int c = 0; c < C; c++) {
        const double mass_p = in_set[c] ? P : 1 - P, mass_q = in_set[c] ? Q : 1 - Q;
        loss += xlogx_over(p[c] / mass_p, q[c] / mass_q);
        gradient[c] = temperature * scale / B *
                      (q[c] / mass_q * (1 + (in_set[c] ? Q - P : P - Q)) - p[c] / mass_p);
    }
    return temperature * temperature * loss;
}

static void reference(const struct inputs *in, struct outcome *out)
{
    static double gradient[C];
    out->total = 0;
    for (int i = 0; i < B; i++) {
        const float *f = in->f + i * D;
        const double length = sqrt(row_dot(f, f));
        double d[D] = {0}, radial = 0;
        out->total += reference_row(in, i, gradient) / B;
        for (int c = 0; c < C; c++) {
            const float *w = in->weight + c * D;
            const double part = gradient[c] / sqrt(row_dot(w, w));
            for (int j = 0; j < D; j++) {
                d[j] += part * (double)w[j];
            }
        }
        for (int j = 0; j < D; j++) {
            radial += d[j] * (double)f[j] / length;
        }
        for (int j = 0; j < D; j++) {
            out->d[i * D + j] = (float)((d[j] - radial * (double)f[j] / length) / length);
        }
    }
}

/* ------------------------------------------------------------------ engine */

static struct cask_config *gkd_options(struct cask_engine_term *term, void **options)
{
    static const char *const set[] = {"gkd.selection=fixed",       "gkd.k=480",
                                      "gkd.lambda_primary=1",      "gkd.lambda_binary=1",
                                      "gkd.lambda_secondary=1",    "gkd.temperature=4",
                                      "gkd.force_label=false",     "gkd.margin=false",
                                      "gkd.selection_margin=false"};
    const struct cask_config_row *rows;
    struct cask_config *config;
    struct cask_error err;
    enum cask_place place;
    const char *name;
    size_t count, bytes;
    term->loss = 0;
    while (cask_engine_f64.describe(term->loss, &name, &place, &rows, &count, &bytes) &&
           strcmp(name, "gkd") != 0) {
        term->loss++;
    }
    *options = cask_alloc(1, bytes);
    assert_non_null(*options);
    const struct cask_config_section section = {"gkd.", rows, count, *options};
    assert_ok(cask_config_create(&section, 1, &config, &err));
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        assert_ok(cask_config_set(config, set[i], "test", &err));
    }
    term->options = *options;
    return config;
}

static void run(const struct inputs *in, int threads, double keep_mb, struct outcome *out)
{
    struct cask_error err;
    struct cask_device *device;
    struct cask_engine *engine;
    struct cask_engine_term term;
    void *options;
    struct cask_config *config = gkd_options(&term, &options);
    const struct cask_head_options head = {
        .kind = CASK_HEAD_SOFTMAX, .scale = scale, .margin = -1, .keep_mb = keep_mb};
    const struct cask_device_options wanted = {
        .backend = "cpu", .threads = threads, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&wanted, &device, &err));
    const struct cask_engine_api *api = cask_engine_for(device);
    const struct cask_engine_options opened = {.device = device,
                                               .facts = {.classes = C,
                                                         .batch = B,
                                                         .dim = D,
                                                         .teacher_dim = D,
                                                         .centers = true,
                                                         .teacher_scale = scale},
                                               .head = &head,
                                               .terms = &term,
                                               .term_count = 1,
                                               .chunk = CHUNK};
    assert_int_equal(api->real_bytes, sizeof(real));
    assert_ok(api->create(&opened, &engine, &err));
    memcpy(api->weight(engine), in->weight, sizeof in->weight);
    const double weight = 1;
    const struct cask_engine_input input = {.batch = B,
                                            .labels = in->labels,
                                            .embedding = in->f,
                                            .teacher_unit = in->unit,
                                            .teacher_centers = in->centers,
                                            .weights = &weight,
                                            .d_embedding = out->d};
    for (int step = 0; step < 2; step++) { /* the second finds what the first left behind */
        assert_ok(api->step(engine, &input, &err));
    }
    out->total = api->result(engine)->total;
    out->missed = 0;
    assert_int_equal(engine->lane_count, MOST_LANES_HERE);
    for (int i = 0; i < B; i++) { /* a window that missed is opened again, and guesses no more */
        const struct window *window = &engine->rules[0]->undecided->windows[i];
        assert_true(window->exact);
        out->missed += !window->guessed;
    }
    api->free(engine);
    cask_device_close(device);
    cask_config_free(config);
    cask_free(options);
}

static void check(enum arrangement how, int missed)
{
    struct inputs *in = draw(how);
    struct outcome want, first, got;
    double worst = 0, largest = 0;
    reference(in, &want);
    run(in, 1, 96, &first);
    assert_int_equal(first.missed, missed);
    for (int j = 0; j < B * D; j++) {
        const double gap = fabs((double)first.d[j] - (double)want.d[j]);
        worst = gap <= worst ? worst : gap;
        largest = fmax(largest, fabs((double)want.d[j]));
    }
    print_message("loss %.6f, off by %.1e; gradient up to %.2e, off by %.1e; %d of %d missed\n",
                  want.total, fabs(first.total - want.total), largest, worst, first.missed, B);
    assert_true(largest > 0.01 && worst <= 1e-5 * largest);
    assert_true(fabs(first.total - want.total) <= 1e-5 * want.total);
    for (int threads = 2; threads <= 5; threads++) {
        run(in, threads, threads % 2 == 0 ? 96 : 0, &got);
        assert_int_equal(got.missed, missed);
        assert_memory_equal(&got.total, &first.total, sizeof got.total);
        assert_memory_equal(got.d, first.d, sizeof got.d);
    }
    cask_free(in);
}

static void test_sample_like_the_rest(void **state)
{
    (void)state;
    check(ALIKE, 0);
}

/* The cut of the rows near the first axis lies far above their windows. */
static void test_cut_elsewhere(void **state)
{
    (void)state;
    check(HIGHER, B / 2);
}

/* So much lies in their windows that nothing of the batch is sure to have been put aside. */
static void test_too_much_inside(void **state)
{
    (void)state;
    check(CROWDED, B);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_like_the_rest),
        cmocka_unit_test(test_cut_elsewhere),
        cmocka_unit_test(test_too_much_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
