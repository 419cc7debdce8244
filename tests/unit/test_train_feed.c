/* Batches in training order: a pure function of the step, whole epochs, no undecodable pixels. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/feed.h"

enum {
    SIDE = 16,
    PEOPLE = 11,
    SHOTS = 20,
    BATCH = 32,
    IMAGES = PEOPLE * SHOTS,
    PIXELS = SIDE * SIDE * 3
};

static struct {
    char folder[256];
    struct cask_train_config *config;
} world;

static void draw(int person, int shot, uint8_t *rgb)
{
    for (int i = 0; i < PIXELS; i++) {
        rgb[i] = (uint8_t)(20 * person + 3 * shot + i % 48);
    }
}

static void write_image(int person, int shot)
{
    struct cask_error err;
    char path[400];
    uint8_t rgb[PIXELS], *jpeg = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/p%02d", world.folder, person);
    assert_ok(cask_folder_create(path, &err));
    draw(person, shot, rgb);
    assert_ok(cask_encode_jpeg(rgb, SIDE, SIDE, 95, &jpeg, &bytes, &err));
    snprintf(path, sizeof path, "%s/p%02d/%02d.jpg", world.folder, person, shot);
    assert_ok(cask_file_write_all(path, jpeg, bytes, &err));
    cask_free(jpeg);
}

static void spoil(int person, int shot)
{
    struct cask_error err;
    char path[400];
    snprintf(path, sizeof path, "%s/p%02d/%02d.jpg", world.folder, person, shot);
    assert_ok(cask_file_write_all(path, "not a picture", 13, &err));
}

static void set(const char *assignment)
{
    struct cask_error err;
    assert_ok(cask_config_set(world.config->rows, assignment, "test", &err));
}

static int setup(void **state)
{
    struct cask_error err;
    char data[300];
    (void)state;
    test_make_folder(world.folder);
    for (int person = 0; person < PEOPLE; person++) {
        for (int shot = 0; shot < SHOTS; shot++) {
            write_image(person, shot);
        }
    }
    assert_ok(cask_train_config_create(&world.config, &err));
    snprintf(data, sizeof data, "data=%s", world.folder);
    set(data);
    set("student.input=16");
    set("train.batch=32");
    set("train.loader_threads=2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cask_train_config_free(world.config);
    test_remove_folder(world.folder);
    return 0;
}

struct taken {
    struct cask_sample samples[BATCH];
    uint32_t labels[BATCH];
    float pixels[BATCH * PIXELS];
};

static void take(struct cask_feed *feed, struct taken *taken)
{
    struct cask_error err;
    const struct cask_batch *batch = NULL;
    const struct cask_teacher *teacher = (const struct cask_teacher *)feed;
    assert_ok(cask_feed_next(feed, &batch, &teacher, &err));
    assert_null(teacher);
    assert_int_equal(batch->count, BATCH);
    memcpy(taken->labels, batch->labels, sizeof taken->labels);
    memcpy(taken->pixels, batch->pixels, sizeof taken->pixels);
    for (int i = 0; i < BATCH; i++) { /* by member: padding has no value */
        taken->samples[i].index = batch->samples[i].index;
        taken->samples[i].mirror = batch->samples[i].mirror;
    }
}

static void an_epoch_shows_each_image_once(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_feed feed;
    static struct taken taken;
    int mirrored = 0, moved = 0;
    int64_t before[IMAGES];
    assert_ok(cask_feed_open(&feed, world.config, &err));
    assert_int_equal(feed.steps_per_epoch, IMAGES / BATCH);
    assert_int_equal(feed.classes, PEOPLE);
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[IMAGES] = {0};
        for (int64_t step = 0; step < feed.steps_per_epoch; step++) {
            take(&feed, &taken);
            for (int i = 0; i < BATCH; i++) {
                const int64_t index = taken.samples[i].index, at = step * BATCH + i;
                assert_int_equal(seen[index]++, 0);
                assert_int_equal(taken.labels[i], index / SHOTS);
                moved += epoch == 1 && before[at] != index;
                before[at] = index;
                mirrored += taken.samples[i].mirror;
            }
        }
    }
    assert_true(moved > IMAGES / 2); /* another order in the second epoch */
    assert_in_range(mirrored, 2 * IMAGES / 3, 4 * IMAGES / 3);
    cask_feed_close(&feed);
}

static void a_step_does_not_depend_on_how_it_was_reached(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_feed walked, sought;
    static struct taken a, b;
    const int64_t goal = 9; /* in the second epoch */
    assert_ok(cask_feed_open(&walked, world.config, &err));
    for (int64_t step = 0; step <= goal; step++) {
        take(&walked, &a);
    }
    assert_ok(cask_feed_open(&sought, world.config, &err));
    cask_feed_seek(&sought, goal);
    take(&sought, &b);
    assert_memory_equal(a.labels, b.labels, sizeof a.labels);
    assert_memory_equal(a.pixels, b.pixels, sizeof a.pixels);
    cask_feed_close(&walked);
    cask_feed_close(&sought);
}

/* What the steps of three epochs waited for input, as a part of their time; the first batch, for
 * which nothing could be decoded ahead, is not counted. */
static double share_of_waiting(void)
{
    enum { STEPS = 3 * (IMAGES / BATCH), STEP_US = 10000 };
    struct cask_error err;
    struct cask_feed feed;
    static struct taken taken;
    assert_ok(cask_feed_open(&feed, world.config, &err));
    take(&feed, &taken);
    const double first = cask_feed_stall_seconds(&feed), begin = cask_now();
    assert_true(first > 0);
    for (int step = 1; step < STEPS; step++) {
        usleep(STEP_US);
        take(&feed, &taken);
    }
    const double waited = cask_feed_stall_seconds(&feed) - first, all = cask_now() - begin;
    printf("%d steps of %.0f ms: %.2f ms for the first batch, %.2f ms for all the others\n", STEPS,
           STEP_US / 1e3, 1e3 * first, 1e3 * waited);
    cask_feed_close(&feed);
    return waited / all;
}

/* While a step computes, the next batches are decoded; the first one of an epoch, too. The best of
 * some tries: other programs may have the CPUs for a moment. */
static void a_step_that_computes_does_not_wait(void **state)
{
    (void)state;
    double best = 1;
    for (int i = 0; i < 10 && !(best <= 0.1); i++) {
        best = fmin(best, share_of_waiting());
    }
    assert_true(best <= 0.1);
}

/* One bad image in 220: its place goes to another image, with that one's label and sample. */
static void a_bad_image_is_replaced(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_feed feed;
    static struct taken taken;
    const int64_t bad = 4 * SHOTS + 7;
    spoil(4, 7);
    assert_ok(cask_feed_open(&feed, world.config, &err));
    for (int64_t step = 0; step < 3 * feed.steps_per_epoch; step++) {
        take(&feed, &taken);
        for (int i = 0; i < BATCH; i++) {
            const int64_t index = taken.samples[i].index;
            float largest = 0;
            assert_int_not_equal(index, bad);
            assert_int_equal(taken.labels[i], index / SHOTS);
            for (int p = 0; p < PIXELS; p++) {
                largest = fmaxf(largest, fabsf(taken.pixels[i * PIXELS + p]));
            }
            assert_true(largest > 0);
        }
    }
    assert_in_range(feed.bad_images, 1, 3);
    cask_feed_close(&feed);
    write_image(4, 7);
}

static void many_bad_images_are_an_error(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_feed feed;
    const struct cask_batch *batch;
    const struct cask_teacher *teacher;
    enum cask_status st = CASK_OK;
    for (int shot = 0; shot < SHOTS; shot++) {
        spoil(2, shot);
    }
    assert_ok(cask_feed_open(&feed, world.config, &err));
    for (int step = 0; step < IMAGES / BATCH && st == CASK_OK; step++) {
        st = cask_feed_next(&feed, &batch, &teacher, &err);
    }
    assert_int_equal(st, CASK_ERR_FORMAT);
    assert_non_null(strstr(err.message, "over 1 %"));
    assert_non_null(strstr(err.message, "16 x 16"));
    cask_feed_close(&feed);
    for (int shot = 0; shot < SHOTS; shot++) {
        write_image(2, shot);
    }
}

/* EKD batches of 12 general images and 5 x 4: labels stand in their parts, an epoch counts the
 * general images, a sought step is the walked one, and coverage is what the batches showed. */
static void ekd_batches_have_two_parts(void **state)
{
    (void)state;
    enum { GENERAL = 12, SHOTS_IN_BATCH = 4 };
    struct cask_error err;
    struct cask_feed feed;
    struct cask_coverage found;
    static struct taken taken, last;
    int seen[IMAGES] = {0}, general[IMAGES] = {0};
    int64_t images = 0;
    assert_int_equal(IMAGES / GENERAL, 18);
    set("train.sampler=ekd");
    set("train.identities=5");
    assert_ok(cask_feed_open(&feed, world.config, &err));
    assert_true(cask_feed_counts_draws(&feed));
    assert_int_equal(feed.steps_per_epoch, IMAGES / GENERAL);
    for (int64_t step = 0; step < feed.steps_per_epoch; step++) {
        take(&feed, &taken);
        for (int i = 0; i < BATCH; i++) {
            images += seen[taken.samples[i].index]++ == 0;
            assert_int_equal(taken.labels[i], taken.samples[i].index / SHOTS);
            if (i < GENERAL) {
                assert_int_equal(general[taken.samples[i].index]++, 0);
            } else if ((i - GENERAL) % SHOTS_IN_BATCH != 0) {
                assert_int_equal(taken.labels[i], taken.labels[i - 1]);
            } else if (i > GENERAL) {
                assert_int_not_equal(taken.labels[i], taken.labels[i - 1]);
            }
        }
    }
    assert_ok(cask_feed_coverage(&feed, 0, feed.steps_per_epoch, &found, &err));
    assert_int_equal(found.draws, feed.steps_per_epoch * BATCH);
    assert_int_equal(found.images, images);
    assert_int_equal(found.identities, PEOPLE);
    for (int step = 0; step < 3; step++) { /* into the second epoch */
        take(&feed, &last);
    }
    cask_feed_seek(&feed, feed.steps_per_epoch + 2);
    take(&feed, &taken);
    assert_memory_equal(taken.pixels, last.pixels, sizeof last.pixels);
    cask_feed_close(&feed);
    set("train.identities=12");
    set("train.per_identity=2");
    assert_refused(CASK_ERR_RANGE, "12 different identities in a batch, but only 11",
                   cask_feed_open(&feed, world.config, &err));
    cask_feed_close(&feed);
    set("train.sampler=shuffled");
    set("train.identities=0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_shows_each_image_once),
        cmocka_unit_test(a_step_does_not_depend_on_how_it_was_reached),
        cmocka_unit_test(ekd_batches_have_two_parts),
        cmocka_unit_test(a_step_that_computes_does_not_wait),
        cmocka_unit_test(a_bad_image_is_replaced),
        cmocka_unit_test(many_bad_images_are_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
