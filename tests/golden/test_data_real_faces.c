/* The real face set: counts from its README, every image decodes, pixel cosine is near its
 * baseline. Skipped without the folder. */
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

enum { SIDE = 112 };

static char *faces(const char *name)
{
    return cask_format("%s/data/faces/%s", getenv("CASK_SHARED"), name);
}

static void train_has_the_stated_counts(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    char *path = faces("train");
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    assert_string_equal(cask_dataset_kind(dataset), "folder");
    assert_int_equal(cask_dataset_count(dataset), 11112);
    assert_int_equal(cask_dataset_classes(dataset), 863);
    cask_dataset_close(dataset);
    cask_free(path);
}

static void unlabelled_images_have_no_label(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    char *path = faces("extra_unlabelled");
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    assert_int_equal(cask_dataset_count(dataset), 1192);
    assert_int_equal(cask_dataset_classes(dataset), 0);
    assert_int_equal(cask_dataset_label(dataset, 7), CASK_NO_LABEL);
    cask_dataset_close(dataset);
    cask_free(path);
}

static void the_loader_reads_them_all(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_loader *loader;
    struct cask_batch *batch;
    char *path = faces("train");
    int64_t images = 0;
    assert_ok(
        cask_dataset_open(path, &(struct cask_dataset_options){.limit = 1000}, &dataset, &err));
    struct cask_loader_options options = {
        .dataset = dataset,
        .sampler = {.kind = CASK_SAMPLER_SHUFFLED, .count = 1000, .seed = 1, .mirror = true},
        .preprocess = cask_preprocess_default(),
        .batch = 64,
        .end = 1000,
    };
    assert_ok(cask_loader_start(&options, &loader, &err));
    for (;;) {
        assert_ok(cask_loader_next(loader, &batch, &err));
        if (batch == NULL) {
            break;
        }
        images += batch->count;
        cask_loader_give_back(loader, batch);
    }
    assert_int_equal(images, 1000);
    assert_int_equal(cask_loader_bad_count(loader), 0);
    cask_loader_stop(loader);
    cask_dataset_close(dataset);
    cask_free(path);
}

/* Cosine of two images after their mean is taken away. */
static double pixel_cosine(const uint8_t *a, const uint8_t *b)
{
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    enum { N = SIDE * SIDE * 3 };
    for (int i = 0; i < N; i++) {
        mean_a += a[i] / (double)N;
        mean_b += b[i] / (double)N;
    }
    for (int i = 0; i < N; i++) {
        ab += (a[i] - mean_a) * (b[i] - mean_b);
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
    }
    return ab / sqrt(aa * bb);
}

static void pairs_are_read_and_same_pairs_look_more_alike(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    struct cask_decoder *decoder;
    struct cask_encoded encoded = {0};
    static uint8_t rgb[2][SIDE * SIDE * 3];
    double mean[2] = {0, 0};
    char *path = faces("pairs_val.txt"), *images = faces("val");
    assert_ok(cask_decoder_create(&decoder, &err));
    assert_ok(cask_pairs_open_text(path, images, &pairs, &err));
    assert_int_equal(cask_pairs_folds(pairs), 3);
    assert_int_equal(cask_pairs_count(pairs), 1800);
    for (int64_t i = 0; i < 1800; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        assert_int_equal(pair->same, i % 600 < 300);
        assert_ok(cask_pairs_read(pairs, pair->a, &encoded, &err));
        assert_ok(cask_decode(decoder, encoded.data, encoded.bytes, SIDE, SIDE, rgb[0], &err));
        assert_ok(cask_pairs_read(pairs, pair->b, &encoded, &err));
        assert_ok(cask_decode(decoder, encoded.data, encoded.bytes, SIDE, SIDE, rgb[1], &err));
        mean[pair->same] += pixel_cosine(rgb[0], rgb[1]) / 900;
    }
    assert_true(mean[1] > mean[0] + 0.05);
    cask_pairs_close(pairs);
    cask_free(path);
    path = faces("pairs_val_10x90.txt");
    assert_ok(cask_pairs_open_text(path, images, &pairs, &err));
    assert_int_equal(cask_pairs_folds(pairs), 10);
    assert_int_equal(cask_pairs_count(pairs), 1800);
    cask_pairs_close(pairs);
    cask_encoded_release(&encoded);
    cask_decoder_free(decoder);
    cask_free(path);
    cask_free(images);
}

int main(void)
{
    test_shared_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train_has_the_stated_counts),
        cmocka_unit_test(unlabelled_images_have_no_label),
        cmocka_unit_test(the_loader_reads_them_all),
        cmocka_unit_test(pairs_are_read_and_same_pairs_look_more_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
