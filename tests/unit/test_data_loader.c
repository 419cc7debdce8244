/* The sampler is a permutation with a fair coin; the loader's batches are the sampler's order,
 * whatever the number of threads; bad images are flagged and counted. */
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

enum { SIDE = 16, IMAGES = 23, BAD_A = 4, BAD_B = 17, BATCH = 4 };

struct fixture {
    char folder[256];
    struct cask_dataset *dataset;
    uint8_t rgb[IMAGES][SIDE * SIDE * 3]; /* as decoded */
};

static void write_file(const char *folder, int i, const void *data, size_t bytes)
{
    struct cask_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/id%d/%02d.jpg", folder, i / 6, i);
    assert_ok(cask_file_write_all(path, data, bytes, &err));
}

static int setup(void **state)
{
    struct cask_error err = {0};
    struct fixture *f = calloc(1, sizeof *f);
    struct cask_decoder *decoder;
    test_make_folder(f->folder);
    assert_ok(cask_decoder_create(&decoder, &err));
    for (int i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/id%d", f->folder, i);
        assert_ok(cask_folder_create(path, &err));
    }
    for (int i = 0; i < IMAGES; i++) {
        uint8_t *jpeg;
        size_t bytes;
        for (int k = 0; k < SIDE * SIDE * 3; k++) {
            f->rgb[i][k] = (uint8_t)(k * (i + 3) / 7 + i * 11);
        }
        assert_ok(cask_encode_jpeg(f->rgb[i], SIDE, SIDE, 90, &jpeg, &bytes, &err));
        assert_ok(cask_decode(decoder, jpeg, bytes, SIDE, SIDE, f->rgb[i], &err));
        write_file(f->folder, i, jpeg, i == BAD_A ? bytes / 2 : bytes);
        cask_free(jpeg);
    }
    write_file(f->folder, BAD_B, "not an image", 12);
    cask_decoder_free(decoder);
    assert_ok(cask_dataset_open(f->folder, NULL, &f->dataset, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cask_dataset_close(f->dataset);
    test_remove_folder(f->folder);
    free(f);
    return 0;
}

static struct cask_loader_options options_of(const struct fixture *f, int threads)
{
    return (struct cask_loader_options){
        .dataset = f->dataset,
        .sampler = {.kind = CASK_SAMPLER_SHUFFLED, .count = IMAGES, .seed = 5, .mirror = true},
        .preprocess =
            {.order = CASK_RGB, .mean = 127.5, .scale = 127.5, .width = SIDE, .height = SIDE},
        .batch = BATCH,
        .begin = 3,
        .end = 3 + 2 * IMAGES,
        .threads = threads,
        .ahead = 2,
    };
}

static void check_image(const struct fixture *f, const struct cask_sample *sample, bool mirror,
                        bool bad, const float *pixels)
{
    static const float zero[SIDE * SIDE * 3];
    float want[SIDE * SIDE * 3];
    struct cask_preprocess p = {
        .order = CASK_RGB, .mean = 127.5, .scale = 127.5, .width = SIDE, .height = SIDE};
    cask_preprocess_apply(&p, f->rgb[sample->index], mirror, want);
    assert_int_equal(bad, sample->index == BAD_A || sample->index == BAD_B);
    assert_memory_equal(pixels, bad ? zero : want, sizeof want);
}

static void run(const struct fixture *f, const struct cask_loader_options *options, int64_t *images,
                int64_t *bad)
{
    struct cask_error err = {0};
    struct cask_loader *loader;
    struct cask_batch *batch;
    int64_t position = options->begin;
    *images = 0;
    assert_ok(cask_loader_start(options, &loader, &err));
    for (;;) {
        assert_ok(cask_loader_next(loader, &batch, &err));
        if (batch == NULL) {
            break;
        }
        assert_int_equal(batch->position, position);
        for (int i = 0; i < batch->count; i++) {
            struct cask_sample want = cask_sampler_at(&options->sampler, position + i);
            assert_int_equal(batch->samples[i].index, want.index);
            assert_int_equal(batch->samples[i].mirror, want.mirror);
            assert_int_equal(batch->labels[i], want.index / 6);
            check_image(f, &want, want.mirror, batch->bad[i], batch->pixels + i * SIDE * SIDE * 3);
            if (options->both_views) {
                check_image(f, &want, !want.mirror, batch->bad[i],
                            batch->pixels + (batch->count + i) * SIDE * SIDE * 3);
            }
        }
        position += batch->count;
        if (options->whole_epochs && position % IMAGES == IMAGES / BATCH * BATCH) {
            position += IMAGES % BATCH;
        }
        *images += batch->count;
        cask_loader_give_back(loader, batch);
    }
    assert_ok(cask_loader_next(loader, &batch, &err)); /* the end stays the end */
    assert_null(batch);
    *bad = cask_loader_bad_count(loader);
    for (int64_t n = 0; n < *bad; n++) {
        int64_t index = -1;
        const char *message = cask_loader_bad_message(loader, n, &index);
        assert_true(index == BAD_A || index == BAD_B);
        assert_non_null(strstr(message, index == BAD_A ? "id0/04.jpg: JPEG of"
                                                       : "id2/17.jpg: expected a JPEG or PNG"));
    }
    int64_t index;
    assert_null(cask_loader_bad_message(loader, *bad, &index));
    assert_true(cask_loader_stall_seconds(loader) >= 0);
    cask_loader_stop(loader);
}

static void batches_do_not_depend_on_threads(void **state)
{
    const struct fixture *f = *state;
    for (int threads = 0; threads <= 3; threads++) {
        for (int views = 0; views < 2; views++) {
            int64_t images, bad;
            struct cask_loader_options options = options_of(f, threads);
            options.both_views = views == 1;
            run(f, &options, &images, &bad);
            assert_int_equal(images, 2 * IMAGES);
            int64_t want = 0; /* positions 3 to 49 lie in three epochs */
            for (int64_t i = options.begin; i < options.end; i++) {
                int64_t index = cask_sampler_at(&options.sampler, i).index;
                want += index == BAD_A || index == BAD_B;
            }
            assert_true(want >= 2);
            assert_int_equal(bad, want);
        }
    }
}

static void a_short_last_batch_or_none(void **state)
{
    const struct fixture *f = *state;
    int64_t images, bad;
    struct cask_loader_options options = options_of(f, 2);
    options.begin = 0;
    options.end = IMAGES; /* 5 full batches and 3 images */
    run(f, &options, &images, &bad);
    assert_int_equal(images, IMAGES);
    options.drop_last = true;
    run(f, &options, &images, &bad);
    assert_int_equal(images, IMAGES / BATCH * BATCH);
    options.begin = options.end;
    run(f, &options, &images, &bad);
    assert_int_equal(images, 0);
    options.begin = 0;
    options.drop_last = false;
    options.batch = 1000;
    run(f, &options, &images, &bad);
    assert_int_equal(images, IMAGES);
}

/* Batches 3 to 11 of a run whose epochs have five and leave three images over. */
static void whole_epochs_follow_one_another(void **state)
{
    struct cask_error err = {0};
    const struct fixture *f = *state;
    struct cask_loader *loader;
    int64_t images, bad;
    for (int threads = 1; threads <= 3; threads++) {
        struct cask_loader_options options = options_of(f, threads);
        options.whole_epochs = true;
        options.begin = 3 * BATCH;
        options.end = 2 * IMAGES + 2 * BATCH;
        run(f, &options, &images, &bad);
        assert_int_equal(images, 9 * BATCH);
        options.end = 2 * IMAGES;
        run(f, &options, &images, &bad);
        assert_int_equal(images, 7 * BATCH);
        options.begin = 5 * BATCH; /* a fifth full batch is the last */
        assert_refused(CASK_ERR_RANGE, "begins at", cask_loader_start(&options, &loader, &err));
        options.begin = 2;
        assert_refused(CASK_ERR_RANGE, "begins at", cask_loader_start(&options, &loader, &err));
        options.begin = 0;
        options.batch = IMAGES + 1;
        assert_refused(CASK_ERR_RANGE, "begins at", cask_loader_start(&options, &loader, &err));
    }
}

static void a_subset_is_followed(void **state)
{
    const struct fixture *f = *state;
    static const int64_t subset[] = {20, 3, 9, 4, 11};
    int64_t images, bad;
    struct cask_loader_options options = options_of(f, 2);
    options.sampler =
        (struct cask_sampler){.kind = CASK_SAMPLER_STORAGE, .count = 5, .subset = subset};
    options.begin = 0;
    options.end = 10;
    run(f, &options, &images, &bad);
    assert_int_equal(images, 10);
    assert_int_equal(bad, 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(cask_sampler_at(&options.sampler, i).index, subset[i % 5]);
        assert_false(cask_sampler_at(&options.sampler, i).mirror);
    }
}

static void stopping_early_joins_promptly(void **state)
{
    const struct fixture *f = *state;
    struct cask_error err = {0};
    struct cask_loader *loader;
    struct cask_batch *batch;
    struct cask_loader_options options = options_of(f, 3);
    options.end = 1 << 30;
    double began = cask_now();
    for (int round = 0; round < 20; round++) {
        assert_ok(cask_loader_start(&options, &loader, &err));
        for (int i = 0; i < round % 4; i++) {
            assert_ok(cask_loader_next(loader, &batch, &err)); /* never given back */
        }
        cask_loader_stop(loader);
    }
    assert_true(cask_now() - began < 10);
    cask_loader_stop(NULL);
}

static void lending_everything_is_an_error_not_a_hang(void **state)
{
    const struct fixture *f = *state;
    struct cask_error err = {0};
    struct cask_loader *loader;
    struct cask_batch *batch[4];
    struct cask_loader_options options = options_of(f, 1);
    assert_ok(cask_loader_start(&options, &loader, &err));
    for (int i = 0; i < 3; i++) {
        assert_ok(cask_loader_next(loader, &batch[i], &err));
    }
    assert_refused(CASK_ERR_INTERNAL, "give one back", cask_loader_next(loader, &batch[3], &err));
    cask_loader_give_back(loader, batch[2]); /* not the oldest: still its turn comes later */
    cask_loader_give_back(loader, batch[0]);
    cask_loader_give_back(loader, batch[1]);
    assert_ok(cask_loader_next(loader, &batch[3], &err));
    assert_int_equal(batch[3]->position, 3 + 3 * BATCH);
    cask_loader_stop(loader);
}

static void wrong_options_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct cask_error err = {0};
    struct cask_loader *loader;
    static const int64_t outside[] = {0, IMAGES};
    struct cask_loader_options options = options_of(f, 1);
    options.batch = 0;
    assert_refused(CASK_ERR_RANGE, "batch 0", cask_loader_start(&options, &loader, &err));
    options = options_of(f, 1);
    options.sampler.count = IMAGES + 1;
    assert_refused(CASK_ERR_RANGE, "24 images", cask_loader_start(&options, &loader, &err));
    options = options_of(f, 1);
    options.sampler.subset = outside;
    options.sampler.count = 2;
    assert_refused(CASK_ERR_RANGE, "image 23 in the subset",
                   cask_loader_start(&options, &loader, &err));
    options = options_of(f, 1);
    options.preprocess.scale = NAN;
    assert_refused(CASK_ERR_RANGE, "scale", cask_loader_start(&options, &loader, &err));
}

/* 3 general images and 2 identities x 2: whole batches, from the start of one. */
static void ekd_batches_are_loaded_whole(void **state)
{
    const struct fixture *f = *state;
    struct cask_error err = {0};
    struct cask_loader *loader;
    struct cask_identities *identities;
    int64_t images, bad;
    assert_ok(cask_identities_create(f->dataset, NULL, IMAGES, 1, &identities, &err));
    assert_int_equal(cask_identities_count(identities), 4);
    for (int threads = 1; threads <= 3; threads += 2) {
        struct cask_loader_options options = options_of(f, threads);
        options.sampler.kind = CASK_SAMPLER_EKD;
        options.sampler.identities = identities;
        options.sampler.general = 3;
        options.sampler.people = options.sampler.shots = 2;
        options.batch = 7;
        options.begin = 14;
        options.end = 14 + 10 * 7;
        run(f, &options, &images, &bad);
        assert_int_equal(images, 70);
        options.begin = 15;
        assert_refused(CASK_ERR_RANGE, "from position 15",
                       cask_loader_start(&options, &loader, &err));
        options.begin = 14;
        options.batch = BATCH;
        assert_refused(CASK_ERR_RANGE, "batches have 7",
                       cask_loader_start(&options, &loader, &err));
        options.batch = 7;
        options.sampler.identities = NULL;
        assert_refused(CASK_ERR_INTERNAL, "no index", cask_loader_start(&options, &loader, &err));
    }
    cask_identities_free(identities);
}

static void an_allocation_that_fails_is_reported(void **state)
{
    const struct fixture *f = *state;
    struct cask_error err = {0};
    struct cask_loader_options options = options_of(f, 1);
    for (long nth = 1; nth < 60; nth++) {
        struct cask_loader *loader;
        struct cask_batch *batch;
        cask_mem_fail_after(nth);
        enum cask_status st = cask_loader_start(&options, &loader, &err);
        while (st == CASK_OK) {
            st = cask_loader_next(loader, &batch, &err);
            if (st != CASK_OK || batch == NULL) {
                break;
            }
            cask_loader_give_back(loader, batch);
        }
        cask_mem_fail_after(0);
        assert_true(st == CASK_OK || st == CASK_ERR_MEMORY);
        cask_loader_stop(loader);
    }
}

static void each_epoch_is_a_permutation_and_the_coin_is_fair(void **state)
{
    (void)state;
    enum { N = 4001 };
    struct cask_sampler sampler = {
        .kind = CASK_SAMPLER_SHUFFLED, .count = N, .seed = 99, .mirror = true};
    static uint8_t seen[N];
    static int64_t before[N];
    int same_place = 0, heads = 0, agree = 0;
    static bool coin[N];
    for (int epoch = 0; epoch < 3; epoch++) {
        memset(seen, 0, sizeof seen);
        for (int64_t i = 0; i < N; i++) {
            struct cask_sample sample = cask_sampler_at(&sampler, (int64_t)epoch * N + i);
            assert_true(sample.index >= 0 && sample.index < N && seen[sample.index]++ == 0);
            same_place += epoch > 0 && before[i] == sample.index;
            before[i] = sample.index;
            heads += sample.mirror;
            agree += epoch > 0 && coin[sample.index] == sample.mirror;
            coin[sample.index] = sample.mirror;
        }
    }
    assert_true(same_place < 20);                 /* 2 expected of 8002 */
    assert_true(abs(heads - 3 * N / 2) < 5 * 55); /* 5 sigma, sigma = sqrt(12003) / 2 */
    assert_true(abs(agree - N) < 5 * 45);         /* epochs are independent */
    sampler.mirror = false;
    for (int64_t i = 0; i < 100; i++) {
        assert_false(cask_sampler_at(&sampler, i).mirror);
    }
    struct cask_sampler other = sampler;
    other.seed = 100;
    int equal = 0;
    for (int64_t i = 0; i < N; i++) {
        equal += cask_sampler_at(&sampler, i).index == cask_sampler_at(&other, i).index;
    }
    assert_true(equal < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_do_not_depend_on_threads),
        cmocka_unit_test(a_short_last_batch_or_none),
        cmocka_unit_test(whole_epochs_follow_one_another),
        cmocka_unit_test(a_subset_is_followed),
        cmocka_unit_test(stopping_early_joins_promptly),
        cmocka_unit_test(lending_everything_is_an_error_not_a_hang),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(ekd_batches_are_loaded_whole),
        cmocka_unit_test(an_allocation_that_fails_is_reported),
        cmocka_unit_test(each_epoch_is_a_permutation_and_the_coin_is_fair),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
