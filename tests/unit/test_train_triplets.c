/* Triplets: the mining rule against distances computed the plain way, and the feed that deals bags.
 */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "common/rng.h"
#include "train/feed.h"
#include "train/mining.h"

enum { BAG_PEOPLE = 7, BAG_SHOTS = 5, BAG = BAG_PEOPLE * BAG_SHOTS, DIM = 16 };

static struct cask_device *open_device(const char *backend, int threads)
{
    struct cask_error err;
    struct cask_device *device = NULL;
    const struct cask_device_options options = {
        .backend = backend, .threads = threads, .precision = CASK_PRECISION_FP32};
    assert_ok(cask_device_open(&options, &device, &err));
    return device;
}

struct bag {
    float unit[BAG * DIM], cosines[BAG_SHOTS * BAG];
    struct cask_sample samples[BAG];
    bool usable[BAG];
    struct cask_mining mining;
};

/* Rows of +-1/4: length 1, and every distance is a multiple of 1/4, exact in float. */
static void make_bag(struct bag *bag, uint64_t seed)
{
    for (int i = 0; i < BAG * DIM; i++) {
        bag->unit[i] = cask_rng_below(seed, 1, (uint64_t)i, 2) ? 0.25F : -0.25F;
    }
    for (int i = 0; i < BAG; i++) {
        bag->samples[i] = (struct cask_sample){.index = 100 + i};
        bag->usable[i] = i != 11 && i != 23;
    }
    bag->samples[3].index = bag->samples[1].index; /* the other view of an image */
    bag->mining = (struct cask_mining){.people = BAG_PEOPLE,
                                       .shots = BAG_SHOTS,
                                       .dim = DIM,
                                       .unit = bag->unit,
                                       .samples = bag->samples,
                                       .usable = bag->usable,
                                       .window = 0.35,
                                       .seed = seed,
                                       .cosines = bag->cosines};
}

static double squared_distance(const struct bag *bag, int i, int j)
{
    double sum = 0;
    for (int k = 0; k < DIM; k++) {
        const double d = (double)bag->unit[i * DIM + k] - (double)bag->unit[j * DIM + k];
        sum += d * d;
    }
    return sum;
}

static bool may_be_negative(const struct bag *bag, int a, int p, int n)
{
    const double near = squared_distance(bag, a, p), far = squared_distance(bag, a, n);
    return n / BAG_SHOTS != a / BAG_SHOTS && bag->usable[n] && far > near &&
           far < near + bag->mining.window;
}

/* Goes through all pairs in order and expects a triplet exactly where there is a negative. */
static void check_triplets(const struct bag *bag, int32_t (*triplets)[3], int64_t count)
{
    int64_t at = 0;
    for (int a = 0; a < BAG; a++) {
        for (int p = a + 1; p < (a / BAG_SHOTS + 1) * BAG_SHOTS; p++) {
            int candidates = 0;
            const bool pair =
                bag->usable[a] && bag->usable[p] && bag->samples[a].index != bag->samples[p].index;
            for (int n = 0; pair && n < BAG; n++) {
                candidates += may_be_negative(bag, a, p, n);
            }
            if (candidates > 0) {
                assert_true(at < count);
                assert_int_equal(triplets[at][0], a);
                assert_int_equal(triplets[at][1], p);
                assert_true(may_be_negative(bag, a, p, triplets[at][2]));
                at++;
            }
        }
    }
    assert_int_equal(at, count);
}

static void the_rule_is_that_of_plain_distances(void **state)
{
    (void)state;
    struct cask_error err;
    struct bag bag;
    static int32_t triplets[BAG * BAG_SHOTS][3], again[BAG * BAG_SHOTS][3];
    struct cask_device *devices[] = {open_device("ref", 1), open_device("cpu", 1),
                                     open_device("cpu", 2)};
    const int64_t pairs = cask_mining_pairs(BAG_PEOPLE, BAG_SHOTS);
    int64_t all = 0, count = 0, same = 0;
    assert_int_equal(pairs, BAG_PEOPLE * 10);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        make_bag(&bag, seed);
        for (int d = 0; d < 3; d++) {
            int32_t(*found)[3] = d == 0 ? triplets : again;
            assert_ok(cask_mining_run(&bag.mining, devices[d], found, &same, &err));
            check_triplets(&bag, found, same);
            assert_true(d == 0 || same == count);
            assert_memory_equal(found, triplets, (size_t)same * sizeof *found);
            count = same;
        }
        all += count;
    }
    /* some pairs find a negative and some do not, or this test would see nothing */
    assert_true(all > 40 * pairs / 4 && all < 40 * (pairs - 4));
    for (int d = 0; d < 3; d++) {
        cask_device_close(devices[d]);
    }
}

static void each_negative_has_the_same_chance(void **state)
{
    (void)state;
    enum { BAGS = 3000 };
    struct cask_error err;
    struct bag bag;
    static int32_t triplets[BAG * BAG_SHOTS][3];
    struct cask_device *device = open_device("cpu", 1);
    int drawn[BAG] = {0}, candidates = 0, a = 0, p = 0;
    int64_t count = 0;
    make_bag(&bag, 5);
    for (int i = 0; i < BAGS; i++) {
        bag.mining.bag = (uint64_t)i;
        assert_ok(cask_mining_run(&bag.mining, device, triplets, &count, &err));
        assert_true(count > 0);
        a = triplets[count / 2][0];
        p = triplets[count / 2][1];
        drawn[triplets[count / 2][2]]++;
    }
    for (int n = 0; n < BAG; n++) {
        candidates += may_be_negative(&bag, a, p, n);
    }
    assert_true(candidates > 1);
    for (int n = 0; n < BAG; n++) {
        const double share = (double)drawn[n] / BAGS;
        /* five standard deviations of a share of 3000 draws are below 0.05 */
        assert_close(share, may_be_negative(&bag, a, p, n) ? 1.0 / candidates : 0, 0.05);
    }
    cask_device_close(device);
}

/* --------------------------------------------------------------------- feed */

enum { SIDE = 16, PIXELS = SIDE * SIDE * 3, PEOPLE = 12, SHOTS = 6, BATCH = 12 };

static struct {
    char folder[256];
    struct cask_train_config *config;
    struct cask_device *device;
} world;

static void set(const char *assignment)
{
    struct cask_error err;
    assert_ok(cask_config_set(world.config->rows, assignment, "test", &err));
}

static void write_image(int person, int shot)
{
    struct cask_error err;
    char path[400];
    uint8_t rgb[PIXELS], *jpeg = NULL;
    size_t bytes = 0;
    for (int i = 0; i < PIXELS; i++) {
        rgb[i] = (uint8_t)cask_rng_below((uint64_t)person, (uint64_t)shot, (uint64_t)i / 48, 256);
    }
    snprintf(path, sizeof path, "%s/p%02d", world.folder, person);
    assert_ok(cask_folder_create(path, &err));
    assert_ok(cask_encode_jpeg(rgb, SIDE, SIDE, 95, &jpeg, &bytes, &err));
    snprintf(path, sizeof path, "%s/p%02d/%02d.jpg", world.folder, person, shot);
    assert_ok(cask_file_write_all(path, jpeg, bytes, &err));
    cask_free(jpeg);
}

static int setup(void **state)
{
    struct cask_error err;
    char data[300];
    (void)state;
    test_make_folder(world.folder);
    for (int i = 0; i < PEOPLE * SHOTS; i++) {
        write_image(i / SHOTS, i % SHOTS);
    }
    world.device = open_device("cpu", 1);
    assert_ok(cask_train_config_create(&world.config, &err));
    snprintf(data, sizeof data, "data=%s", world.folder);
    set(data);
    set("out=unused");
    set("student.input=16");
    set("train.batch=12");
    set("train.sampler=triplets");
    set("train.bag=20");
    set("train.per_identity=4");
    set("loss.triplet.weight=1");
    set("loss.triplet.window=2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cask_train_config_free(world.config);
    cask_device_close(world.device);
    test_remove_folder(world.folder);
    return 0;
}

/* A student whose embedding is some of the pixels, turned by how often it was trained. */
static enum cask_status embed(void *user, const float *pixels, int count, float *embedding,
                              struct cask_error *err)
{
    const int *trained = user;
    (void)err;
    for (int i = 0; i < count * DIM; i++) {
        embedding[i] = pixels[i / DIM * PIXELS + (i % DIM * 47 + *trained) % PIXELS] + 0.01F;
    }
    return CASK_OK;
}

static void open_feed(struct cask_feed *feed, int *trained)
{
    struct cask_error err;
    const struct cask_bag_student student = {embed, trained, world.device, DIM};
    assert_ok(cask_train_config_check(world.config, &err));
    assert_ok(cask_feed_open(feed, world.config, &err));
    assert_ok(cask_feed_connect(feed, &student, &err));
}

/* Batches [*trained, end) into taken[step]. */
static void take(struct cask_feed *feed, int *trained, int end, struct cask_sample (*taken)[BATCH])
{
    struct cask_error err;
    for (; *trained < end; (*trained)++) {
        const struct cask_batch *batch = NULL;
        const struct cask_teacher *teacher = NULL;
        assert_ok(cask_feed_next(feed, &batch, &teacher, &err));
        assert_int_equal(batch->count, BATCH);
        for (int i = 0; i < BATCH; i += 3) {
            assert_int_equal(batch->labels[i], batch->labels[i + 1]);
            assert_int_not_equal(batch->labels[i], batch->labels[i + 2]);
            assert_int_not_equal(batch->samples[i].index, batch->samples[i + 1].index);
        }
        for (int i = 0; i < BATCH; i++) {
            taken[*trained][i].index = batch->samples[i].index;
            taken[*trained][i].mirror = batch->samples[i].mirror;
        }
    }
}

/* What a checkpoint does. */
static void carry_over(struct cask_feed *from, struct cask_feed *to)
{
    struct cask_error err;
    struct cask_state_list a = {0}, b = {0};
    assert_ok(cask_feed_state(from, &a, &err));
    assert_ok(cask_feed_state(to, &b, &err));
    assert_int_equal(a.count, 2);
    for (int i = 0; i < a.count; i++) {
        assert_int_equal(a.entries[i].count, b.entries[i].count);
        memcpy(b.entries[i].memory, a.entries[i].memory,
               (size_t)a.entries[i].count * sizeof(double));
    }
    assert_ok(cask_feed_restored(to, &err));
    cask_state_release(&a);
    cask_state_release(&b);
}

static void a_resumed_feed_goes_on_with_its_bag(void **state)
{
    (void)state;
    enum { STEPS = 30 };
    struct cask_error err;
    struct cask_feed whole, parts;
    static struct cask_sample want[STEPS][BATCH], got[STEPS][BATCH];
    int trained = 0, mirrored = 0, inside = 0;
    open_feed(&whole, &trained);
    assert_int_equal(whole.steps_per_epoch, PEOPLE * SHOTS / BATCH);
    take(&whole, &trained, STEPS, want);
    for (int i = 0; i < STEPS * BATCH; i++) {
        mirrored += want[i / BATCH][i % BATCH].mirror;
    }
    assert_true(mirrored > STEPS * BATCH / 4 && mirrored < STEPS * BATCH * 3 / 4);
    for (int cut = 0; cut < STEPS; cut += 3) {
        int64_t first;
        trained = 0;
        open_feed(&parts, &trained);
        take(&parts, &trained, cut, got);
        struct cask_feed resumed;
        open_feed(&resumed, &trained);
        carry_over(&parts, &resumed);
        cask_feed_close(&parts);
        inside += cut > 0 && cut < cask_bag_steps(&resumed.bag, &first) && cut > first;
        cask_feed_seek(&resumed, cut);
        take(&resumed, &trained, STEPS, got);
        for (int i = 0; i < STEPS * BATCH; i++) {
            assert_int_equal(got[i / BATCH][i % BATCH].index, want[i / BATCH][i % BATCH].index);
            assert_int_equal(got[i / BATCH][i % BATCH].mirror, want[i / BATCH][i % BATCH].mirror);
        }
        assert_true(resumed.bag.numbers[CASK_BAG_DRAWN] > 2);
        cask_feed_close(&resumed);
    }
    assert_true(inside > 2);
    struct cask_coverage run, epoch;
    assert_ok(cask_feed_coverage(&whole, 0, STEPS, &run, &err));
    assert_ok(cask_feed_coverage(&whole, STEPS - 6, STEPS, &epoch, &err));
    assert_int_equal(run.draws, 20 * (int64_t)whole.bag.numbers[CASK_BAG_DRAWN]);
    assert_true(epoch.draws >= 20 && epoch.draws < run.draws && epoch.draws % 20 == 0);
    assert_true(run.identities > epoch.identities - 1 && run.images <= PEOPLE * SHOTS);
    cask_feed_close(&whole);
}

static void the_student_decides(void **state)
{
    (void)state;
    struct cask_feed a, b;
    static struct cask_sample one[1][BATCH], other[1][BATCH];
    int trained = 0, elsewhere = 7, differ = 0;
    open_feed(&a, &trained);
    take(&a, &trained, 1, one);
    struct cask_error err;
    const struct cask_bag_student student = {embed, &elsewhere, world.device, DIM};
    trained = 0;
    open_feed(&b, &trained);
    assert_ok(cask_feed_connect(&b, &student, &err));
    take(&b, &trained, 1, other);
    for (int i = 0; i < BATCH; i++) {
        differ += one[0][i].index != other[0][i].index;
    }
    assert_true(differ > 0);
    cask_feed_close(&a);
    cask_feed_close(&b);
}

static void what_cannot_be_mined_is_refused(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_feed feed;
    const struct cask_batch *batch;
    const struct cask_teacher *teacher;
    int trained = 0;
    set("train.batch=13");
    assert_refused(CASK_ERR_USAGE, "multiple of three",
                   cask_train_config_check(world.config, &err));
    set("train.batch=12");
    set("train.bag=22");
    assert_refused(CASK_ERR_USAGE, "5 x 4", cask_train_config_check(world.config, &err));
    set("train.bag=80");
    assert_refused(CASK_ERR_RANGE, "train.bag: sampler: 20 different identities",
                   cask_feed_open(&feed, world.config, &err));
    cask_feed_close(&feed);
    set("train.bag=20");
    set("loss.triplet.weight=0");
    assert_refused(CASK_ERR_USAGE, "loss.triplet", cask_train_config_check(world.config, &err));
    set("loss.triplet.weight=1");
    set("loss.triplet.window=0");
    open_feed(&feed, &trained);
    assert_refused(CASK_ERR_RANGE, "wider loss.triplet.window",
                   cask_feed_next(&feed, &batch, &teacher, &err));
    feed.bag.numbers[CASK_BAG_TRIPLETS] = NAN;
    assert_refused(CASK_ERR_FORMAT, "bag.numbers", cask_feed_restored(&feed, &err));
    cask_feed_close(&feed);
    set("loss.triplet.window=2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_is_that_of_plain_distances),
        cmocka_unit_test(each_negative_has_the_same_chance),
        cmocka_unit_test(a_resumed_feed_goes_on_with_its_bag),
        cmocka_unit_test(the_student_decides),
        cmocka_unit_test(what_cannot_be_mined_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
