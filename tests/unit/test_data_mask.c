/* Drawn masks: where they lie, that they are a function of (seed, image), and which images of a
 * pair wear them. */
#include "tests/support/test.h"

#include "common/hash.h"
#include "common/mem.h"
#include "data/data.h"

enum { SIDE = 112 };

static void fill(uint8_t rgb[SIDE * SIDE * 3])
{
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        rgb[i] = (uint8_t)(i * 7 + i / 336);
    }
}

static bool differs(const uint8_t *a, const uint8_t *b, double x, double y)
{
    size_t at = ((size_t)y * SIDE + (size_t)x) * 3;
    return memcmp(a + at, b + at, 3) != 0;
}

static double shoelace(float (*corners)[2])
{
    double area = 0;
    for (int i = 0, j = CASK_MASK_CORNERS - 1; i < CASK_MASK_CORNERS; j = i++) {
        area += (double)corners[j][0] * (double)corners[i][1] -
                (double)corners[i][0] * (double)corners[j][1];
    }
    return fabs(area) / 2;
}

/* Paints white on black-less pictures, so that the painted amount is the polygon's area. */
static void area_is_the_polygons(void **state)
{
    struct cask_error err = {0};
    struct cask_landmarks points;
    (void)state;
    for (uint64_t image = 0; image < 40; image++) {
        uint8_t zero[SIDE * SIDE * 3] = {0}, full[SIDE * SIDE * 3];
        float corners[CASK_MASK_CORNERS][2];
        double share = 0;
        memset(full, 255, sizeof full);
        assert_ok(cask_landmarks_target(SIDE, SIDE, &points, &err));
        for (int i = 0; i < 5; i++) { /* a smaller face, wholly inside the picture */
            points.at[i][0] = points.at[i][0] * 0.6F + 20 + (float)image / 8;
            points.at[i][1] = points.at[i][1] * 0.6F + 20;
        }
        assert_ok(cask_mask_outline(&points, 5, image, corners, &err));
        assert_ok(cask_mask_draw(zero, SIDE, SIDE, &points, 5, image, &err));
        assert_ok(cask_mask_draw(full, SIDE, SIDE, &points, 5, image, &err));
        /* cloth a + ground g (1 - a): the two pictures differ by 255 (1 - a) */
        for (int i = 0; i < SIDE * SIDE; i++) {
            share += 1 - (full[3 * i] - zero[3 * i]) / 255.0;
        }
        assert_close(share, shoelace(corners), 0.01 * shoelace(corners));
    }
}

static void covers_mouth_not_eyes(void **state)
{
    struct cask_error err = {0};
    struct cask_landmarks points;
    (void)state;
    assert_ok(cask_landmarks_target(SIDE, SIDE, &points, &err));
    for (uint64_t image = 0; image < 200; image++) {
        static uint8_t plain[SIDE * SIDE * 3], drawn[SIDE * SIDE * 3], again[SIDE * SIDE * 3];
        fill(plain);
        fill(drawn);
        fill(again);
        assert_ok(cask_mask_draw(drawn, SIDE, SIDE, &points, 1, image, &err));
        assert_ok(cask_mask_draw(again, SIDE, SIDE, &points, 1, image, &err));
        assert_memory_equal(drawn, again, sizeof drawn);
        for (int i = 0; i < 5; i++) {
            int changed = 0;
            for (int dy = -2; dy <= 2; dy++) {
                for (int dx = -2; dx <= 2; dx++) {
                    changed += differs(plain, drawn, (double)points.at[i][0] + dx,
                                       (double)points.at[i][1] + dy);
                }
            }
            assert_true(i < 2 ? changed == 0 : changed >= 23);
        }
    }
}

/* Every machine draws these bytes. */
static void bytes_are_pinned(void **state)
{
    struct cask_error err = {0};
    struct cask_landmarks points;
    uint32_t crc = 0;
    (void)state;
    assert_ok(cask_landmarks_target(SIDE, SIDE, &points, &err));
    for (uint64_t image = 0; image < 50; image++) {
        static uint8_t rgb[SIDE * SIDE * 3];
        fill(rgb);
        points.at[3][0] += 0.3F;
        assert_ok(cask_mask_draw(rgb, SIDE, SIDE, &points, 9, image, &err));
        crc = cask_crc32(crc, rgb, sizeof rgb);
    }
    assert_int_equal(crc, 0x350aaa83);
}

/* A face turned upside down wears its mask upside down. */
static void follows_the_face(void **state)
{
    struct cask_error err = {0};
    struct cask_landmarks points, turned;
    float up[CASK_MASK_CORNERS][2], down[CASK_MASK_CORNERS][2];
    (void)state;
    assert_ok(cask_landmarks_target(SIDE, SIDE, &points, &err));
    for (int i = 0; i < 5; i++) {
        turned.at[i][0] = 200 - 2 * points.at[i][0];
        turned.at[i][1] = 300 - 2 * points.at[i][1];
    }
    assert_ok(cask_mask_outline(&points, 3, 4, up, &err));
    assert_ok(cask_mask_outline(&turned, 3, 4, down, &err));
    for (int i = 0; i < CASK_MASK_CORNERS; i++) {
        assert_close((double)down[i][0], 200 - 2 * (double)up[i][0], 1e-3);
        assert_close((double)down[i][1], 300 - 2 * (double)up[i][1], 1e-3);
    }
    /* far outside the picture: nothing is painted, nothing is written past it */
    static uint8_t plain[SIDE * SIDE * 3], rgb[SIDE * SIDE * 3];
    fill(plain);
    fill(rgb);
    for (int i = 0; i < 5; i++) {
        turned.at[i][0] += 1e7F;
    }
    turned.at[0][0] += 100;
    assert_ok(cask_mask_draw(rgb, SIDE, SIDE, &turned, 3, 4, &err));
    assert_memory_equal(rgb, plain, sizeof rgb);
    memset(&turned, 0, sizeof turned);
    assert_refused(CASK_ERR_RANGE, "apart", cask_mask_draw(rgb, SIDE, SIDE, &turned, 3, 4, &err));
}

static int64_t masks_of(const struct cask_pairs *masked, int64_t pair)
{
    bool a, b;
    cask_pairs_plain_image(masked, cask_pairs_at(masked, pair)->a, &a);
    cask_pairs_plain_image(masked, cask_pairs_at(masked, pair)->b, &b);
    return 10 * a + b;
}

static void rules(void **state)
{
    static const char csv[] = "a,b,1\nb,c,0\nc,a,0\nd,a,1\n";
    static const int64_t want[4][4] = {
        {0, 0, 0, 0}, {1, 1, 1, 1}, {11, 11, 11, 11}, {0, 0, 11, 11}};
    static const int64_t images[4] = {4, 7, 4, 6};
    struct cask_error err = {0};
    struct cask_pairs *plain = NULL, *masked = NULL;
    char folder[256], path[300];
    (void)state;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/p.csv", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(csv, file);
    fclose(file);
    assert_ok(cask_pairs_open_text(path, NULL, &plain, &err));
    for (int rule = 0; rule < 4; rule++) {
        assert_ok(cask_pairs_open_masked(plain, (enum cask_mask_rule)rule, &masked, &err));
        assert_int_equal(cask_pairs_count(masked), 4);
        assert_int_equal(cask_pairs_image_count(masked), images[rule]);
        for (int64_t i = 0; i < 4; i++) {
            bool wears;
            char name[64];
            const struct cask_pair *pair = cask_pairs_at(masked, i);
            assert_int_equal(masks_of(masked, i), want[rule][i]);
            assert_int_equal(cask_pairs_plain_image(masked, pair->a, &wears),
                             cask_pairs_at(plain, i)->a);
            cask_pairs_image_name(masked, pair->a, name, sizeof name);
            assert_int_equal(strstr(name, "(masked)") != NULL, wears);
            assert_int_equal(pair->same, cask_pairs_at(plain, i)->same);
        }
        /* "a" masked and not masked are two images for whoever looks for duplicates */
        uint64_t first = cask_pairs_image_key(masked, 0), last = cask_pairs_image_key(masked, 3);
        assert_true(first != last);
        cask_pairs_close(masked);
    }
    cask_pairs_close(plain);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(area_is_the_polygons),
        cmocka_unit_test(covers_mouth_not_eyes),
        cmocka_unit_test(bytes_are_pinned),
        cmocka_unit_test(follows_the_face),
        cmocka_unit_test(rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
