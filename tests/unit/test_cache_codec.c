/* LZ4 frames, shuffle, half floats, int8 rows and fixed-point cosines against independent sums. */
#include "tests/support/test.h"

#include "cache/lz4_frame.h"
#include "cache/quantize.h"
#include "common/rng.h"

/* Every half float, decoded by the definition; and its neighbours' midpoints rounded to even. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        double want = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
        want = h & 0x8000u ? -want : want;
        float got = cask_float_from_half((uint16_t)h);
        if (exponent == 31) {
            assert_true(mantissa ? isnan(got) : isinf(got));
            continue;
        }
        assert_true((double)got == want);
        assert_int_equal(cask_half_from_float(got), h);
        if (exponent < 30 && !(h & 0x8000u)) {
            double next =
                exponent == 0 ? ldexp(mantissa + 1, -24) : ldexp(1025 + mantissa, exponent - 25);
            uint16_t middle = cask_half_from_float((float)((want + next) / 2));
            assert_int_equal(middle, h + (h & 1u));
            assert_int_equal(cask_half_from_float(nextafterf((float)((want + next) / 2), 0)), h);
            assert_int_equal(cask_half_from_float(nextafterf((float)((want + next) / 2), 1e9f)),
                             h + 1);
        }
    }
    assert_int_equal(cask_half_from_float(65519.996f), 0x7bff);
    assert_int_equal(cask_half_from_float(65520.0f), 0x7c00);
    assert_int_equal(cask_half_from_float(-1e30f), 0xfc00);
}

/* The vector code and the scalar code agree on every bit. */
static void test_half_rows(void **state)
{
    (void)state;
    float x[37], unit[37];
    uint8_t stored[74];
    for (uint64_t trial = 0; trial < 200; trial++) {
        double sum = 0;
        for (uint64_t i = 0; i < 37; i++) {
            x[i] = (float)(cask_rng_normal(1, trial, i) * pow(2, (double)(trial % 40) - 30));
        }
        cask_quantize_f16(x, 37, stored);
        for (size_t i = 0; i < 37; i++) {
            uint16_t half = (uint16_t)(stored[2 * i] | stored[2 * i + 1] << 8);
            assert_int_equal(half, cask_half_from_float(x[i]));
            sum += (double)cask_float_from_half(half) * (double)cask_float_from_half(half);
        }
        cask_unit_from_f16(stored, 37, unit);
        for (size_t i = 0; i < 37 && sum > 1e-30; i++) {
            double want =
                (double)cask_float_from_half((uint16_t)(stored[2 * i] | stored[2 * i + 1] << 8)) /
                sqrt(sum);
            assert_close(unit[i], want, 3e-7);
        }
    }
}

/* Bounds of facts/cache_anchors section 6 at D = 512: f16 1 - cos <= (4.9e-4)^2 / 2; int8 worst
 * seen 6.5e-5. */
static void test_embedding_errors(void **state)
{
    (void)state;
    enum { D = 512 };
    static float x[D], back[D];
    static uint8_t half[2 * D];
    static int8_t q[D];
    double worst_half = 0, worst_int8 = 0;
    for (uint64_t trial = 0; trial < 2000; trial++) {
        double sum = 0;
        for (uint64_t i = 0; i < D; i++) {
            x[i] = (float)cask_rng_normal(2, trial, i);
            sum += (double)x[i] * (double)x[i];
        }
        for (size_t i = 0; i < D; i++) {
            x[i] = (float)((double)x[i] / sqrt(sum));
        }
        cask_quantize_f16(x, D, half);
        cask_unit_from_f16(half, D, back);
        worst_half = fmax(worst_half, cask_cosine_distance(x, back, D));
        float scale = cask_quantize_i8(x, D, q);
        for (size_t i = 0; i < D; i++) {
            assert_true(fabsf(x[i] - (float)q[i] * scale) <= 0.5001f * scale);
        }
        cask_unit_from_i8(q, D, back);
        worst_int8 = fmax(worst_int8, cask_cosine_distance(x, back, D));
    }
    printf("1 - cos, worst of 2000: f16 %.3g, int8 %.3g\n", worst_half, worst_int8);
    assert_true(worst_half > 0 && worst_half < 1.2e-7);
    assert_true(worst_int8 > 1e-6 && worst_int8 < 1e-4);
}

static void test_cosines(void **state)
{
    (void)state;
    for (int v = -32767; v <= 32767; v++) {
        assert_int_equal(cask_quantize_cosine(cask_cosine_from_i16((int16_t)v)), v);
    }
    for (uint64_t i = 0; i < 10000; i++) {
        float cosine = (float)(2 * cask_rng_uniform(3, 0, i) - 1);
        assert_close(cask_cosine_from_i16(cask_quantize_cosine(cosine)), cosine,
                     0.5 / 32767 + 1e-7);
    }
    assert_int_equal(cask_quantize_cosine(1.0005f), 32767);
    assert_int_equal(cask_quantize_cosine(-1.0005f), -32767);
}

static void fill(uint8_t *raw, size_t bytes, int kind)
{
    for (size_t i = 0; i < bytes; i++) {
        raw[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)cask_rng_u64(4, 0, i) : (uint8_t)(i / 9);
    }
}

static void test_frames(void **state)
{
    (void)state;
    static uint8_t raw[5000], frame[8000], back[5000], shuffled[5000];
    for (int kind = 0; kind < 3; kind++) {
        for (size_t bytes = 1; bytes < 5000; bytes += 1 + bytes / 3) {
            fill(raw, bytes, kind);
            size_t used = cask_lz4_frame_encode(raw, bytes, frame);
            assert_true(used <= cask_lz4_frame_stored_bytes(bytes, bytes));
            assert_null(cask_lz4_frame_decode(frame, used, back, bytes));
            assert_memory_equal(raw, back, bytes);
            assert_non_null(cask_lz4_frame_decode(frame, used - 1, back, bytes));
            assert_non_null(cask_lz4_frame_decode(frame, used + 1, back, bytes));
            assert_non_null(cask_lz4_frame_decode(frame, used, back, bytes + 1));
            used = cask_lz4_frame_store(raw, bytes, 7, frame);
            assert_int_equal(used, cask_lz4_frame_stored_bytes(bytes, 7));
            assert_null(cask_lz4_frame_decode(frame, used, back, bytes));
            assert_memory_equal(raw, back, bytes);
        }
        for (size_t width = 1; width <= 8; width *= 2) {
            fill(raw, 4096, 1);
            cask_shuffle(raw, 4096, width, shuffled);
            assert_int_equal(shuffled[4096 / width * (width - 1) + 5], raw[5 * width + width - 1]);
            cask_unshuffle(shuffled, 4096, width, back);
            assert_memory_equal(raw, back, 4096);
        }
    }
}

/* What a hostile frame tries: lengths that overrun, a length that reads as negative, no blocks. */
static void test_hostile_frames(void **state)
{
    (void)state;
    uint8_t raw[64] = {0}, back[64];
    uint8_t frame[128];
    size_t used = cask_lz4_frame_store(raw, 64, 16, frame);
    const uint8_t *row;
    assert_null(cask_lz4_frame_row(frame, used, 4, 16, 3, &row));
    assert_ptr_equal(row, frame + 12 + 3 * 20 + 4);
    memset(frame + 12, 0xff, 4);
    assert_non_null(cask_lz4_frame_decode(frame, used, back, 64));
    assert_non_null(cask_lz4_frame_row(frame, used, 4, 16, 0, &row));
    memset(frame + 8, 0, 4);
    assert_non_null(cask_lz4_frame_decode(frame, used, back, 64));
    memset(frame, 0xff, 8);
    assert_non_null(cask_lz4_frame_decode(frame, used, back, 64));
    assert_non_null(cask_lz4_frame_decode(frame, 11, back, 64));
    assert_non_null(cask_lz4_frame_decode(frame, 0, back, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),           cmocka_unit_test(test_half_rows),
        cmocka_unit_test(test_embedding_errors), cmocka_unit_test(test_cosines),
        cmocka_unit_test(test_frames),           cmocka_unit_test(test_hostile_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
