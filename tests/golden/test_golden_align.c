/* Alignment against OpenCV's warpAffine and Umeyama's method with an SVD; see make_align.py. */
#include "tests/support/test.h"

#include "common/hash.h"
#include "common/mem.h"
#include "common/rng.h"
#include "data/data.h"

static FILE *open_cases(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/align/%s", getenv("CASK_SOURCE"), name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

static void warp_is_opencvs(void **state)
{
    FILE *file = open_cases("warp.txt");
    int width, height, out_width, out_height, cases = 0, not_empty = 0;
    double m[6];
    unsigned crc, nonzero;
    (void)state;
    while (fscanf(file, "%d %d %d %d %la %la %la %la %la %la %x %u", &width, &height, &out_width,
                  &out_height, &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &crc, &nonzero) == 12) {
        size_t count = (size_t)width * (size_t)height * 3;
        size_t out_count = (size_t)out_width * (size_t)out_height * 3;
        uint8_t *rgb = cask_alloc(count, 1), *out = cask_alloc(out_count, 1);
        for (size_t i = 0; i < count; i++) {
            rgb[i] = (uint8_t)cask_rng_u64((uint64_t)cases, 0, i);
        }
        memset(out, 0xA5, out_count);
        cask_warp_affine(rgb, width, height, m, out_width, out_height, out);
        if (cask_crc32(0, out, out_count) != crc) {
            fail_msg("case %d: %dx%d to %dx%d by [%g %g %g; %g %g %g]: other bytes than OpenCV's",
                     cases, width, height, out_width, out_height, m[0], m[1], m[2], m[3], m[4],
                     m[5]);
        }
        not_empty += nonzero > 0;
        cask_free(rgb);
        cask_free(out);
        cases++;
    }
    fclose(file);
    assert_int_equal(cases, 500);
    assert_true(not_empty > 400);
}

static void estimate_is_umeyamas(void **state)
{
    struct cask_error err = {0};
    FILE *file = open_cases("estimate.txt");
    struct cask_landmarks from, to;
    double want[6], got[6];
    int cases = 0;
    (void)state;
    assert_ok(cask_landmarks_target(112, 112, &to, &err));
    for (;; cases++) {
        int found = 0;
        for (int i = 0; i < 10; i++) {
            found += fscanf(file, "%a", &from.at[i / 2][i % 2]);
        }
        for (int i = 0; i < 6; i++) {
            found += fscanf(file, "%la", &want[i]);
        }
        if (found != 16) {
            break;
        }
        assert_ok(cask_align_estimate(&from, &to, got, &err));
        for (int i = 0; i < 6; i++) {
            assert_close(got[i], want[i], 1e-9 * (1 + fabs(want[i])));
        }
    }
    fclose(file);
    assert_int_equal(cases, 100);
}

static void targets(void **state)
{
    struct cask_error err = {0};
    struct cask_landmarks wide, narrow, half;
    double m[6];
    (void)state;
    assert_ok(cask_landmarks_target(112, 112, &wide, &err));
    assert_ok(cask_landmarks_target(96, 112, &narrow, &err));
    assert_ok(cask_landmarks_target(56, 56, &half, &err));
    for (int i = 0; i < 5; i++) {
        assert_close((double)narrow.at[i][0], (double)wide.at[i][0] - 8, 1e-5);
        assert_close((double)narrow.at[i][1], (double)wide.at[i][1], 1e-5);
        assert_close((double)half.at[i][1], (double)wide.at[i][1] / 2, 1e-5);
    }
    assert_refused(CASK_ERR_UNSUPPORTED, "96 x 100", cask_landmarks_target(96, 100, &wide, &err));
    /* the template aligned to itself is left where it is */
    assert_ok(cask_align_estimate(&wide, &wide, m, &err));
    assert_close(m[0], 1, 1e-12);
    assert_close(m[2], 0, 1e-9);
    struct cask_landmarks point = {{{3, 4}, {3, 4}, {3, 4}, {3, 4}, {3, 4}}};
    assert_refused(CASK_ERR_RANGE, "apart", cask_align_estimate(&point, &wide, m, &err));
    point.at[2][0] = NAN;
    assert_refused(CASK_ERR_RANGE, "nan", cask_align_estimate(&point, &wide, m, &err));
}

static void sixty_eight_points(void **state)
{
    float points[68][2];
    (void)state;
    for (int i = 0; i < 68; i++) {
        points[i][0] = (float)i;
        points[i][1] = (float)(1000 - i * i);
    }
    struct cask_landmarks five = cask_landmarks_of_68((const float(*)[2])points);
    assert_close((double)five.at[0][0], 37.5, 0);
    assert_close((double)five.at[1][0], 43.5, 0);
    assert_close((double)five.at[0][1], 1000 - (36 * 36 + 39 * 39) / 2.0, 0);
    assert_close((double)five.at[2][0], 30, 0);
    assert_close((double)five.at[3][0], 48, 0);
    assert_close((double)five.at[4][1], 1000 - 54 * 54, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warp_is_opencvs),
        cmocka_unit_test(estimate_is_umeyamas),
        cmocka_unit_test(targets),
        cmocka_unit_test(sixty_eight_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
