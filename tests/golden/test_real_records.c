/* Genuine MXNet RecordIO files, parsed to the last byte. Skipped without the folder. */
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

struct row {
    const char *file;
    int64_t count, last_key;
    uint64_t last_offset;
    size_t last_bytes; /* the record's length less 24 bytes of header and its labels */
    uint32_t label;
};

static void check(const struct row *row, struct cask_decoder *decoder)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_encoded encoded = {0};
    char *path = cask_format("%s/data/weights/%s", getenv("CASK_SHARED"), row->file);
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    assert_int_equal(cask_dataset_count(dataset), row->count);
    for (int64_t i = 0; i < row->count; i++) {
        int width, height;
        uint8_t *rgb;
        assert_int_equal(cask_dataset_label(dataset, i), row->label);
        assert_ok(cask_dataset_read(dataset, i, &encoded, &err));
        assert_ok(
            cask_decode_any(decoder, encoded.data, encoded.bytes, &width, &height, &rgb, &err));
        assert_true(width > 100 && height > 100);
        cask_free(rgb);
    }
    int64_t last = row->count - 1;
    assert_int_equal(cask_dataset_id(dataset, last), row->last_key);
    assert_int_equal(cask_dataset_offset(dataset, last), row->last_offset);
    assert_int_equal(encoded.bytes, row->last_bytes);
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
    cask_free(path);
}

static void real_files_are_parsed_to_the_last_byte(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"enkh_train.rec", 12, 11, 803436, 108419 - 24 - 9 * 4, 4},
        {"pythxn_val.rec", 4, 3, 491604, 163859 - 24 - 19 * 4, 4},
    };
    struct cask_error err = {0};
    struct cask_decoder *decoder;
    assert_ok(cask_decoder_create(&decoder, &err));
    check(&rows[0], decoder);
    check(&rows[1], decoder);
    cask_decoder_free(decoder);
}

int main(void)
{
    test_shared_or_skip();
    const struct CMUnitTest tests[] = {cmocka_unit_test(real_files_are_parsed_to_the_last_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
