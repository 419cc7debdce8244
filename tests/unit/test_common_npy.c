/* .npy: what numpy writes is read, everything else is refused by name, bounds are held. */
#include "common/npy.h"
#include "tests/support/test.h"

static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";

/* A .npy of this version with the header as it is, and `bytes` of data. */
static enum cask_status open_npy(int version, const char *text, const void *data, size_t bytes,
                                 struct cask_npy *npy, struct cask_error *out)
{
    struct cask_error err = {0};
    char folder[256], path[300], file[2048];
    size_t length = strlen(text), at = version == 1 ? 10 : 12;
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (char)version;
    file[8] = (char)length;
    file[9] = (char)(length >> 8);
    memcpy(file + at, text, length);
    memcpy(file + at + length, data, bytes);
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/rows.npy", folder);
    assert_ok(cask_file_write_all(path, file, at + length + bytes, &err));
    enum cask_status st = cask_npy_open(path, npy, out);
    test_remove_folder(folder);
    return st;
}

static void rows_are_read_in_every_version(void **state)
{
    (void)state;
    struct cask_error err = {0};
    const float values[6] = {1, -2, 3.5f, 4, 5, 1e-20f};
    for (int version = 1; version <= 3; version++) {
        struct cask_npy npy;
        float got[4] = {0};
        assert_ok(open_npy(version, header, values, sizeof values, &npy, &err));
        assert_true(npy.rows == 3 && npy.columns == 2 && npy.element == 4);
        cask_npy_read(&npy, 1, 2, got);
        assert_memory_equal(got, values + 2, sizeof got);
        cask_npy_close(&npy);
    }
}

static void doubles_are_rounded_and_keys_may_stand_in_any_order(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_npy npy;
    const double values[2] = {0.1, -3};
    float got[2];
    assert_ok(open_npy(1, "{\"shape\":(2,), 'fortran_order': True,'descr':'<f8'}\n", values,
                       sizeof values, &npy, &err));
    assert_true(npy.rows == 2 && npy.columns == 1);
    cask_npy_read(&npy, 0, 2, got);
    assert_true(got[0] == 0.1f && got[1] == -3.0f);
    cask_npy_close(&npy);
    cask_npy_close(&npy);
}

static void refusals_say_what_was_found(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_npy npy;
    const char data[32] = {0};
    static const struct {
        const char *text, *message;
        enum cask_status status;
    } rows[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }", "found '>f4'",
         CASK_ERR_UNSUPPORTED},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2), }", "found '<i8'",
         CASK_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", "Fortran order",
         CASK_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "a single number",
         CASK_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }",
         "more than two dimensions", CASK_ERR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }",
         "3 x 3 elements of 4 bytes behind the header, found 24 bytes", CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "found",
         CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4), }",
         "expected a header", CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 0), }", "6 x 0", CASK_ERR_FORMAT},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2), }",
         "expected a header", CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, }", "expected a header", CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}",
         "expected a header", CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 2), }", "expected a header",
         CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2), }", "expected a header",
         CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), 'x': 1}", "expected a header",
         CASK_ERR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)} + exit()", "expected a header",
         CASK_ERR_FORMAT},
        {"{'descr': '<f4", "expected a header", CASK_ERR_FORMAT},
        {"", "expected a header", CASK_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(rows[i].status, rows[i].message,
                       open_npy(1, rows[i].text, data, 24, &npy, &err));
        assert_true(npy.data == NULL);
    }
    assert_refused(CASK_ERR_FORMAT, "version 1 to 3", open_npy(4, header, data, 24, &npy, &err));
    assert_refused(CASK_ERR_IO, "missing.npy", cask_npy_open("/nowhere/missing.npy", &npy, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_in_every_version),
        cmocka_unit_test(doubles_are_rounded_and_keys_may_stand_in_any_order),
        cmocka_unit_test(refusals_say_what_was_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
