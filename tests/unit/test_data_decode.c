/* Decoded pixels against OpenCV's (tests/golden/make_images.py), refusals, and the preprocessing
 * arithmetic. */
#include "common/file.h"
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

static void golden_path(char path[512], const char *name)
{
    snprintf(path, 512, "%s/tests/golden/images/%s", getenv("CASK_SOURCE"), name);
}

static void read_golden(const char *name, char **data, size_t *bytes)
{
    struct cask_error err = {0};
    char path[512];
    golden_path(path, name);
    assert_ok(cask_file_read_all(path, 1 << 20, data, bytes, &err));
}

static void pixels_are_those_of_opencv(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    char *list, *data, *rest = NULL;
    size_t bytes;
    int images = 0;
    assert_ok(cask_decoder_create(&decoder, &err));
    read_golden("expected.txt", &list, &bytes);
    for (char *line = strtok_r(list, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char name[64];
        int want_width, want_height, width, height;
        unsigned want_crc;
        uint8_t *rgb;
        assert_int_equal(sscanf(line, "%63s %d %d %x", name, &want_width, &want_height, &want_crc),
                         4);
        read_golden(name, &data, &bytes);
        assert_ok(cask_decode_any(decoder, (uint8_t *)data, bytes, &width, &height, &rgb, &err));
        assert_int_equal(width, want_width);
        assert_int_equal(height, want_height);
        size_t count = (size_t)width * (size_t)height * 3;
        if (cask_crc32(0, rgb, count) != want_crc) {
            fail_msg("%s: CRC %08x, OpenCV's pixels have %08x", name, cask_crc32(0, rgb, count),
                     want_crc);
        }
        uint8_t *again = cask_alloc(count, 1);
        assert_ok(cask_decode(decoder, (uint8_t *)data, bytes, width, height, again, &err));
        assert_memory_equal(again, rgb, count);
        cask_free(again);
        cask_free(rgb);
        cask_free(data);
        images++;
    }
    assert_true(images >= 14);
    cask_free(list);
    cask_decoder_free(decoder);
}

static void grey_becomes_equal_channels(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    static const char *const names[] = {"grey.jpg", "grey.png", "bilevel.png"};
    assert_ok(cask_decoder_create(&decoder, &err));
    for (size_t i = 0; i < 3; i++) {
        char *data;
        size_t bytes;
        int width, height;
        uint8_t *rgb;
        read_golden(names[i], &data, &bytes);
        assert_ok(cask_decode_any(decoder, (uint8_t *)data, bytes, &width, &height, &rgb, &err));
        for (int k = 0; k < width * height; k++) {
            assert_true(rgb[3 * k] == rgb[3 * k + 1] && rgb[3 * k] == rgb[3 * k + 2]);
        }
        cask_free(rgb);
        cask_free(data);
    }
    cask_decoder_free(decoder);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    static const struct {
        const char *name;
        int width, height;
        size_t tail; /* bytes at the end that hold no pixels */
    } files[] = {
        {"odd_37x53_q60.jpg", 37, 53, 2}, {"rgb.png", 45, 33, 12}, {"rgba.png", 45, 33, 12}};
    uint8_t rgb[64 * 64 * 3];
    assert_ok(cask_decoder_create(&decoder, &err));
    for (size_t i = 0; i < 3; i++) {
        char *data;
        size_t bytes;
        read_golden(files[i].name, &data, &bytes);
        for (size_t cut = 0; cut + files[i].tail < bytes; cut += 7) {
            assert_refused(CASK_ERR_FORMAT, "",
                           cask_decode(decoder, (uint8_t *)data, cut, files[i].width,
                                       files[i].height, rgb, &err));
        }
        /* and the decoder still works */
        assert_ok(cask_decode(decoder, (uint8_t *)data, bytes, files[i].width, files[i].height, rgb,
                              &err));
        cask_free(data);
    }
    cask_decoder_free(decoder);
}

static void refusals_say_what_was_found(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    uint8_t rgb[64 * 64 * 3];
    char *data;
    size_t bytes;
    int width, height;
    uint8_t *any;
    assert_ok(cask_decoder_create(&decoder, &err));
    assert_refused(CASK_ERR_FORMAT, "found no bytes",
                   cask_decode(decoder, NULL, 0, 8, 8, rgb, &err));
    assert_refused(CASK_ERR_FORMAT, "a GIF",
                   cask_decode(decoder, (const uint8_t *)"GIF89a..", 8, 8, 8, rgb, &err));
    assert_refused(CASK_ERR_FORMAT, "HTML",
                   cask_decode(decoder, (const uint8_t *)"<html>", 6, 8, 8, rgb, &err));
    read_golden("refuse_cmyk.jpg", &data, &bytes);
    assert_refused(CASK_ERR_FORMAT, "found CMYK",
                   cask_decode(decoder, (uint8_t *)data, bytes, 16, 16, rgb, &err));
    cask_free(data);
    read_golden("grey.jpg", &data, &bytes);
    assert_refused(CASK_ERR_FORMAT, "expected an image of 64 x 64 pixels, found 40 x 40",
                   cask_decode(decoder, (uint8_t *)data, bytes, 64, 64, rgb, &err));
    cask_free(data);
    read_golden("rgb.png", &data, &bytes);
    data[24] = 16;
    assert_refused(CASK_ERR_FORMAT, "found 16",
                   cask_decode(decoder, (uint8_t *)data, bytes, 45, 33, rgb, &err));
    data[24] = 8;
    data[18] = 0x7f; /* 32,557 pixels wide */
    assert_refused(CASK_ERR_FORMAT, "at most 8192",
                   cask_decode_any(decoder, (uint8_t *)data, bytes, &width, &height, &any, &err));
    assert_null(any);
    cask_free(data);
    cask_decoder_free(decoder);
}

static void jpeg_round_trip_is_close(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    enum { SIDE = 48 };
    uint8_t rgb[SIDE * SIDE * 3], back[SIDE * SIDE * 3], *jpeg;
    size_t bytes;
    for (int i = 0; i < SIDE * SIDE; i++) {
        rgb[3 * i] = (uint8_t)(i % SIDE * 5);
        rgb[3 * i + 1] = (uint8_t)(i / SIDE * 5);
        rgb[3 * i + 2] = (uint8_t)(i / 10);
    }
    assert_ok(cask_decoder_create(&decoder, &err));
    assert_ok(cask_encode_jpeg(rgb, SIDE, SIDE, 95, &jpeg, &bytes, &err));
    assert_ok(cask_decode(decoder, jpeg, bytes, SIDE, SIDE, back, &err));
    int worst = 0;
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        int difference = abs(rgb[i] - back[i]);
        worst = difference > worst ? difference : worst;
    }
    assert_true(worst <= 12);
    cask_free(jpeg);
    assert_refused(CASK_ERR_RANGE, "quality 0",
                   cask_encode_jpeg(rgb, SIDE, SIDE, 0, &jpeg, &bytes, &err));
    cask_decoder_free(decoder);
}

static void decoder_fingerprint_is_that_of_opencv(void **state)
{
    (void)state;
    struct cask_error err = {0};
    uint32_t crc = 0;
    assert_ok(cask_decoder_fingerprint(&crc, &err));
    assert_int_equal(crc, 0x837e9fac); /* cv2.imdecode of the same bytes, OpenCV 4.6 */
    assert_non_null(strstr(cask_decoder_describe(), "islow fancy"));
}

static void preprocessing_follows_the_formula(void **state)
{
    (void)state;
    /* 2 x 1 pixels: (10, 20, 30), (40, 50, 60) */
    static const uint8_t rgb[] = {10, 20, 30, 40, 50, 60};
    struct cask_preprocess p = {
        .order = CASK_RGB, .mean = 127.5, .scale = 127.5, .width = 2, .height = 1};
    float pixels[6];
    cask_preprocess_apply(&p, rgb, false, pixels);
    for (int i = 0; i < 6; i++) {
        assert_close(pixels[i], (10 * (i + 1) - 127.5) / 127.5, 1e-7);
    }
    p = (struct cask_preprocess){
        .order = CASK_BGR, .mean = 100, .scale = 128, .width = 2, .height = 1};
    cask_preprocess_apply(&p, rgb, true, pixels);
    static const double want[] = {60, 50, 40, 30, 20, 10};
    for (int i = 0; i < 6; i++) {
        assert_close(pixels[i], (want[i] - 100) / 128, 1e-7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_are_those_of_opencv),
        cmocka_unit_test(grey_becomes_equal_channels),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(refusals_say_what_was_found),
        cmocka_unit_test(jpeg_round_trip_is_close),
        cmocka_unit_test(decoder_fingerprint_is_that_of_opencv),
        cmocka_unit_test(preprocessing_follows_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
