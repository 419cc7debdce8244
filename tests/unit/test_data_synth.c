/* Generated faces: a pure function of their numbers, different persons differ more than different
 * pictures of one person once the nuisance is averaged away, and synth-faces writes what the pairs
 * reader reads. */
#include "common/mem.h"
#include "data/data.h"
#include "data/synth.h"
#include "tests/support/test.h"

enum { SIDE = 48, PIXELS = SIDE * SIDE * 3 };

static void the_same_numbers_give_the_same_face(void **state)
{
    (void)state;
    struct cask_error err = {0};
    static uint8_t a[PIXELS], b[PIXELS];
    for (uint32_t identity = 0; identity < 40; identity++) {
        assert_ok(cask_synth_face(1, identity, 3, SIDE, a, &err));
        assert_ok(cask_synth_face(1, identity, 3, SIDE, b, &err));
        assert_memory_equal(a, b, PIXELS);
        assert_ok(cask_synth_face(1, identity, 4, SIDE, b, &err));
        assert_memory_not_equal(a, b, PIXELS);
        assert_ok(cask_synth_face(1, identity + 1, 3, SIDE, b, &err));
        assert_memory_not_equal(a, b, PIXELS);
        assert_ok(cask_synth_face(2, identity, 3, SIDE, b, &err));
        assert_memory_not_equal(a, b, PIXELS);
    }
    assert_refused(CASK_ERR_RANGE, "face of 15 pixels", cask_synth_face(1, 0, 0, 15, a, &err));
}

static void mean_face(uint32_t identity, uint32_t first, double *mean)
{
    struct cask_error err = {0};
    static uint8_t rgb[PIXELS];
    enum { IMAGES = 40 };
    memset(mean, 0, PIXELS * sizeof *mean);
    for (uint32_t image = first; image < first + IMAGES; image++) {
        assert_ok(cask_synth_face(7, identity, image, SIDE, rgb, &err));
        for (int i = 0; i < PIXELS; i++) {
            mean[i] += rgb[i] / (double)IMAGES;
        }
    }
}

static double distance(const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < PIXELS; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sqrt(sum / PIXELS);
}

static void persons_differ(void **state)
{
    (void)state;
    enum { PERSONS = 8 };
    static double first[PERSONS][PIXELS], second[PERSONS][PIXELS];
    for (uint32_t i = 0; i < PERSONS; i++) {
        mean_face(i, 0, first[i]);
        mean_face(i, 100, second[i]);
    }
    double same = 0, other = 0;
    int nearer = 0;
    for (int i = 0; i < PERSONS; i++) {
        same += distance(first[i], second[i]) / PERSONS;
        for (int k = 0; k < PERSONS; k++) {
            other += distance(first[i], first[k]) / (PERSONS * (PERSONS - 1));
            nearer += i != k && distance(first[i], second[i]) < distance(first[i], first[k]);
        }
    }
    assert_true(same < 0.6 * other);
    assert_true(nearer >= PERSONS * (PERSONS - 1) * 9 / 10);
}

static void the_program_writes_what_the_readers_read(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_pairs *pairs;
    struct cask_decoder *decoder;
    struct cask_encoded encoded = {0};
    static uint8_t rgb[PIXELS], want[PIXELS];
    char folder[256], command[1200], text[300], name[100];
    test_make_folder(folder);
    snprintf(
        command, sizeof command,
        "'%s/synth-faces' --out '%s/f' --identities 6 --images 4 --size 48 --seed 9 "
        "--first-identity 10 --pairs '%s/pairs.txt' --pairs-per-fold 5 --folds 3 > /dev/null 2>&1",
        getenv("CASK_BIN"), folder, folder);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s/f", folder);
    snprintf(text, sizeof text, "%s/pairs.txt", folder);
    assert_ok(cask_dataset_open(command, NULL, &dataset, &err));
    assert_int_equal(cask_dataset_count(dataset), 24);
    assert_int_equal(cask_dataset_classes(dataset), 6);
    cask_dataset_name(dataset, 5, name, sizeof name);
    assert_string_equal(name, "id_0011/id_0011_0002.jpg");
    assert_ok(cask_decoder_create(&decoder, &err));
    assert_ok(cask_dataset_read(dataset, 5, &encoded, &err));
    assert_ok(cask_decode(decoder, encoded.data, encoded.bytes, SIDE, SIDE, rgb, &err));
    assert_ok(cask_synth_face(9, 11, 2, SIDE, want, &err));
    double difference = 0;
    for (int i = 0; i < PIXELS; i++) {
        difference += fabs((double)rgb[i] - want[i]) / PIXELS;
    }
    assert_true(difference < 6); /* what JPEG takes */
    assert_ok(cask_pairs_open_text(text, command, &pairs, &err));
    assert_int_equal(cask_pairs_folds(pairs), 3);
    assert_int_equal(cask_pairs_count(pairs), 30);
    for (int64_t i = 0; i < 30; i++) { /* two persons a fold, and no pair of an image with itself */
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        char a[100], b[100];
        cask_pairs_image_name(pairs, pair->a, a, sizeof a);
        cask_pairs_image_name(pairs, pair->b, b, sizeof b);
        assert_int_not_equal(pair->a, pair->b);
        assert_int_equal(strncmp(a, b, 7) == 0, pair->same);
        assert_int_equal((a[6] - '0') / 2, i / 10);
        assert_int_equal((b[6] - '0') / 2, i / 10);
    }
    cask_pairs_close(pairs);
    cask_decoder_free(decoder);
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_numbers_give_the_same_face),
        cmocka_unit_test(persons_differ),
        cmocka_unit_test(the_program_writes_what_the_readers_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
