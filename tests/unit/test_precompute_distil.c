/* What the distiller writes, read back from the cache, against brute force in double.
 *
 * Two geometries. "Grid": every vector has four entries of +-1/2, so that cosines are exact
 * multiples of 1/4 in any order of summation and nearly every place of a top-k list is a tie: the
 * list must be the sorted one, bit by bit. "Random": unit vectors; a list may differ from the
 * sorted one only where two cosines lie closer than rounding. */
#include "tests/support/test.h"

#include "tests/support/cache_fixture.h"

#include "data/dataset_impl.h"
#include "precompute/precompute.h"

enum { DIM = 24 };

/* ------------------------------------------------------------ a small world */

static void fake_name(const struct cask_dataset *dataset, int64_t index, char *buffer, size_t bytes)
{
    (void)dataset;
    snprintf(buffer, bytes, "image %lld", (long long)index);
}
static uint64_t fake_id(const struct cask_dataset *dataset, int64_t index)
{
    (void)dataset;
    return 1000 + 3 * (uint64_t)index;
}
static const struct cask_dataset_ops fake_ops = {.kind = "fake", .name = fake_name, .id = fake_id};

struct world {
    bool grid;
    int64_t images, classes;
    int topk, temperatures;
    double temperature[3];
    struct cask_dataset dataset;
    struct centers centers;
    struct shard_rows rows;
    char folder[256];
};

static void draw(bool grid, uint64_t stream, int64_t number, float *x)
{
    double squares = 0;
    uint64_t at = (uint64_t)number * DIM;
    memset(x, 0, DIM * sizeof *x);
    for (int i = 0; i < DIM && grid; i++) { /* one of each six places */
        if ((uint64_t)i % 6 == cask_rng_below(5, stream, at + (uint64_t)i / 6, 6)) {
            x[i] = cask_rng_below(6, stream, at + (uint64_t)i, 2) == 0 ? 0.5f : -0.5f;
        }
    }
    for (int i = 0; i < DIM && !grid; i++) {
        x[i] = (float)cask_rng_normal(7, stream, at + (uint64_t)i);
        squares += (double)x[i] * (double)x[i];
    }
    for (int i = 0; i < DIM && !grid; i++) {
        x[i] = (float)((double)x[i] / sqrt(squares));
    }
}

/* Every 11th image has no label, every 17th no pixels. Later classes repeat earlier centres. */
static void make_world(struct world *w)
{
    struct cask_error err = {0};
    w->dataset = (struct cask_dataset){.ops = &fake_ops, .count = w->images, .classes = w->classes};
    w->dataset.labels = calloc((size_t)w->images, sizeof(uint32_t));
    w->centers.rows = cask_alloc((size_t)w->classes * DIM, sizeof(float));
    w->centers.classes = w->classes;
    snprintf(w->centers.origin, sizeof w->centers.origin, "mean");
    for (int64_t c = 0; c < w->classes; c++) {
        draw(w->grid, 1, c % 13 == 12 ? c - 5 : c, w->centers.rows + c * DIM);
    }
    assert_ok(shard_rows_create(&w->rows, w->images, DIM, &err));
    w->rows.count = w->images;
    for (int64_t i = 0; i < w->images; i++) {
        w->rows.bad[i] = i % 17 == 16;
        w->dataset.labels[i] =
            i % 11 == 10 ? CASK_NO_LABEL
                         : (uint32_t)cask_rng_below(8, 0, (uint64_t)i, (uint64_t)w->classes);
        for (int v = 0; v < CASK_CACHE_VIEWS && !w->rows.bad[i]; v++) {
            draw(w->grid, 2 + (uint64_t)v, i, w->rows.unit[v] + i * DIM);
            w->rows.norm[v][i] = 7.0f + (float)i + 0.5f * (float)v;
        }
    }
    test_make_folder(w->folder);
}

static void drop_world(struct world *w)
{
    free(w->dataset.labels);
    centers_release(&w->centers);
    shard_rows_release(&w->rows);
    test_remove_folder(w->folder);
}

static struct cask_cache *distil(const struct world *w, const char *backend, int threads)
{
    struct cask_error err = {0};
    struct cask_device_options options = {backend, 1, CASK_PRECISION_FP32};
    struct cask_device *device = NULL;
    struct distiller *distiller = NULL;
    struct cask_cache_writer *writer = NULL;
    struct cask_cache *cache = NULL;
    struct cask_manifest manifest =
        fixture_manifest(w->images, w->classes, DIM, w->topk, w->images, CASK_EMBEDDING_F16);
    char folder[300];
    snprintf(folder, sizeof folder, "%s/%s-%d", w->folder, backend, threads);
    manifest.temperature_count = w->temperatures;
    memcpy(manifest.temperatures, w->temperature, sizeof w->temperature);
    snprintf(manifest.centers_origin, sizeof manifest.centers_origin, "mean");
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_cache_writer_open(folder, &manifest, 1, &writer, &err));
    assert_ok(cask_cache_writer_centers(writer, w->centers.rows, &err));
    assert_ok(distiller_create(device, &manifest, &w->centers, threads, &distiller, &err));
    assert_ok(cask_cache_writer_begin(writer, 0, &err));
    assert_ok(distiller_write(distiller, &w->dataset, &w->rows, writer, &err));
    assert_ok(cask_cache_writer_commit(writer, &err));
    assert_ok(cask_cache_writer_finish(writer, &err));
    distiller_free(distiller);
    cask_cache_writer_close(writer);
    cask_device_close(device);
    assert_ok(cask_cache_open(folder, CASK_VERIFY_ALWAYS, &cache, &err));
    return cache;
}

/* ------------------------------------------------------------ brute force */

struct scored {
    double cosine;
    long fixed; /* as stored: round(32767 cosine) */
    uint32_t id;
};

static int by_stored_value(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->fixed != y->fixed) {
        return x->fixed > y->fixed ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static void score(const struct world *w, int64_t image, int view, struct scored *out)
{
    const float *x = w->rows.unit[view] + image * DIM;
    for (int64_t c = 0; c < w->classes; c++) {
        const float *y = w->centers.rows + c * DIM;
        double dot = 0;
        for (int i = 0; i < DIM; i++) {
            dot += (double)x[i] * (double)y[i];
        }
        double inside = fmin(1, fmax(-1, dot));
        out[c] = (struct scored){dot, lrint(inside * 32767), (uint32_t)c};
    }
}

/* float32 dot products of DIM products: a few ulp of 1 */
static const double DOT_ERROR = 6e-7;
static const double STEP = 1.0 / 32767;

static void check_list(const struct world *w, const struct scored *all, const struct scored *sorted,
                       const uint32_t *index, const float *cosine)
{
    double last = 2;
    for (int j = 0; j < w->topk; j++) {
        assert_in_range(index[j], 0, w->classes - 1);
        long fixed = lrint((double)cosine[j] * 32767);
        assert_close((double)cosine[j], all[index[j]].cosine, STEP / 2 + DOT_ERROR);
        if (w->grid) { /* nothing is rounded: one right answer */
            assert_int_equal(index[j], sorted[j].id);
            assert_int_equal(fixed, sorted[j].fixed);
            continue;
        }
        /* the j-th largest, but for one that lies on the edge between two stored values */
        assert_close((double)cosine[j], (double)sorted[j].fixed * STEP, STEP + DOT_ERROR);
        if (j > 0 &&
            !((double)cosine[j] < last || ((double)cosine[j] == last && index[j] > index[j - 1]))) {
            fail_msg("places %d and %d are not in order", j - 1, j);
        }
        last = (double)cosine[j];
    }
}

/* No class that was left out is larger than the last that was taken in. */
static void check_left_out(const struct world *w, const struct scored *all, const uint32_t *index,
                           const float *cosine)
{
    char *taken = calloc((size_t)w->classes, 1);
    for (int j = 0; j < w->topk; j++) {
        assert_int_equal(taken[index[j]]++, 0);
    }
    for (int64_t c = 0; c < w->classes; c++) {
        if (!taken[c] && !(all[c].cosine <= (double)cosine[w->topk - 1] + STEP / 2 + DOT_ERROR)) {
            fail_msg("class %lld (%.9g) was left out", (long long)c, all[c].cosine);
        }
    }
    free(taken);
}

static double brute_lse(const struct world *w, const struct scored *sorted, double temperature)
{
    double sum = 0, most = -2;
    for (int64_t c = 0; c < w->classes; c++) {
        most = fmax(most, sorted[c].cosine);
    }
    for (int64_t c = 0; c < w->classes; c++) {
        sum += exp(64 / temperature * (sorted[c].cosine - most));
    }
    return 64 / temperature * most + log(sum);
}

static void check_row(const struct world *w, struct cask_cache *cache, int64_t image, int view,
                      struct scored *all, struct scored *sorted, bool *label_inside)
{
    struct cask_error err = {0};
    const size_t k = (size_t)w->topk;
    float embedding[DIM], norm = -1, label_cosine = -2, lse[3];
    uint32_t *index = calloc(k, sizeof *index), label = w->dataset.labels[image];
    float *cosine = calloc(k, sizeof *cosine);
    bool mirror = view == 1;
    const struct cask_cache_gather out = {embedding, &norm, index, cosine, &label_cosine, lse};
    assert_ok(cask_cache_gather(cache, &image, &mirror, 1, &out, &err));
    score(w, image, view, all);
    memcpy(sorted, all, (size_t)w->classes * sizeof *sorted);
    qsort(sorted, (size_t)w->classes, sizeof *sorted, by_stored_value);
    check_list(w, all, sorted, index, cosine);
    check_left_out(w, all, index, cosine);
    assert_close((double)norm, (double)w->rows.norm[view][image], 0);
    assert_all_close_f32(embedding, w->rows.unit[view] + image * DIM, DIM, 1e-3);
    assert_close((double)label_cosine, label == CASK_NO_LABEL ? 0 : all[label].cosine, DOT_ERROR);
    for (int t = 0; t < w->temperatures; t++) {
        double want = brute_lse(w, sorted, w->temperature[t]);
        assert_close((double)lse[t], want,
                     64 / w->temperature[t] * DOT_ERROR + 1e-7 * fabs(want) + 1e-6);
    }
    for (size_t j = 0; j < k; j++) {
        *label_inside = *label_inside || index[j] == label;
    }
    free(index);
    free(cosine);
}

static void check_bad_row(struct cask_cache *cache, int64_t image, int topk)
{
    struct cask_error err = {0};
    float embedding[DIM], norm = -1, *cosine = calloc((size_t)topk, sizeof *cosine);
    bool mirror = false;
    const struct cask_cache_gather out = {
        .embedding = embedding, .norm = &norm, .topk_cosine = cosine};
    assert_ok(cask_cache_gather(cache, &image, &mirror, 1, &out, &err));
    assert_int_equal(cask_cache_flags(cache, image), CASK_ROW_BAD);
    assert_close((double)norm, 0, 0);
    for (int i = 0; i < DIM; i++) {
        assert_close((double)embedding[i], 0, 0);
    }
    assert_close((double)cosine[0], 0, 0);
    free(cosine);
}

static void check_cache(const struct world *w, struct cask_cache *cache)
{
    struct scored *all = calloc((size_t)w->classes, sizeof *all);
    struct scored *sorted = calloc((size_t)w->classes, sizeof *sorted);
    for (int64_t i = 0; i < w->images; i++) {
        uint32_t label = w->dataset.labels[i];
        assert_int_equal(cask_cache_label(cache, i), label);
        assert_int_equal(cask_cache_sample_id(cache, i), 1000 + 3 * i);
        if (w->rows.bad[i]) {
            check_bad_row(cache, i, w->topk);
            continue;
        }
        bool outside = false;
        for (int v = 0; v < CASK_CACHE_VIEWS; v++) {
            bool inside = false;
            check_row(w, cache, i, v, all, sorted, &inside);
            outside = outside || !inside;
        }
        assert_int_equal(cask_cache_flags(cache, i),
                         label != CASK_NO_LABEL && outside ? CASK_ROW_LABEL_OUTSIDE_TOPK : 0);
    }
    free(all);
    free(sorted);
}

/* ------------------------------------------------------------ the tests */

static void run(bool grid, int64_t images, int64_t classes, int topk, const char *backend)
{
    /* at T = 0.01 every exponential but the largest few underflows */
    struct world w = {.grid = grid,
                      .images = images,
                      .classes = classes,
                      .topk = topk,
                      .temperatures = 3,
                      .temperature = {1, 4, 0.01}};
    make_world(&w);
    struct cask_cache *cache = distil(&w, backend, 2);
    check_cache(&w, cache);
    cask_cache_close(cache);
    drop_world(&w);
}

/* 131 rows: one full block of rows and a short one; classes around the block of 4096. */
static void every_shape(bool grid, const char *backend)
{
    static const int64_t classes[] = {1, 5, 4095, 4097, 10007};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        int64_t c = classes[i];
        run(grid, 35, c, 1, backend);
        if (c > 64) {
            run(grid, 131, c, 64, backend);
        }
        run(grid, c > 64 ? 3 : 131, c, (int)c, backend);
    }
}

static void ties_are_listed_by_class_id(void **state)
{
    (void)state;
    every_shape(true, "cpu");
    run(true, 35, 4097, 64, "ref");
}

static void agrees_with_brute_force(void **state)
{
    (void)state;
    every_shape(false, "cpu");
    run(false, 35, 4097, 64, "ref");
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    struct world w = {
        .images = 131, .classes = 500, .topk = 20, .temperatures = 1, .temperature = {2}};
    char command[700];
    make_world(&w);
    cask_cache_close(distil(&w, "cpu", 1));
    cask_cache_close(distil(&w, "cpu", 4));
    snprintf(command, sizeof command, "diff -rq '%s/cpu-1' '%s/cpu-4'", w.folder, w.folder);
    assert_int_equal(system(command), 0);
    drop_world(&w);
}

/* A teacher whose numbers are not numbers must not reach the disk. */
static void nan_is_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct world w = {.images = 4, .classes = 9, .topk = 3, .temperatures = 1, .temperature = {1}};
    struct cask_device_options options = {"cpu", 1, CASK_PRECISION_FP32};
    struct cask_device *device = NULL;
    struct distiller *distiller = NULL;
    struct cask_cache_writer *writer = NULL;
    struct cask_manifest manifest = fixture_manifest(4, 9, DIM, 3, 4, CASK_EMBEDDING_F16);
    make_world(&w);
    w.centers.rows[4 * DIM] = NAN; /* a file of centres with a hole */
    assert_ok(cask_device_open(&options, &device, &err));
    assert_ok(cask_cache_writer_open(w.folder, &manifest, 1, &writer, &err));
    assert_ok(distiller_create(device, &manifest, &w.centers, 1, &distiller, &err));
    assert_ok(cask_cache_writer_begin(writer, 0, &err));
    assert_refused(CASK_ERR_RANGE, "row 0",
                   distiller_write(distiller, &w.dataset, &w.rows, writer, &err));
    distiller_free(distiller);
    cask_cache_writer_close(writer);
    cask_device_close(device);
    drop_world(&w);
}

int main(void)
{
    fixture_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_are_listed_by_class_id),
        cmocka_unit_test(agrees_with_brute_force),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(nan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
