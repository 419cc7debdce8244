/* Lines and columns of text files: bounds, blanks, numbers, messages with file:line. */
#include "tests/support/folder.h"

#include "common/lines.h"

static const char *write_text(const char *text, size_t bytes)
{
    const char *path = in_folder("list.txt");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
    return path;
}

static void lines_and_columns(void **state)
{
    struct cask_error err = {0};
    struct cask_lines lines;
    struct cask_slice line, columns[3];
    const char text[] = "  a b\tc  \r\n\n \t \nlast one, no newline";
    (void)state;
    assert_ok(cask_lines_open(&lines, write_text(text, sizeof text - 1), &err));
    assert_int_equal(cask_lines_left(&lines), 4);
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_int_equal(lines.number, 1);
    assert_int_equal(cask_slice_columns(line, columns, 3), 3);
    assert_true(cask_slice_equal(columns[2], cask_slice_of("c")));
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_int_equal(lines.number, 4);
    assert_int_equal(cask_slice_columns(line, columns, 2), 4);
    assert_int_equal(cask_slice_fields(line, ',', columns, 3), 2);
    assert_true(cask_slice_equal(columns[1], cask_slice_of("no newline")));
    assert_refused(CASK_ERR_FORMAT, "list.txt:4: expected a joke, found \"last one",
                   cask_lines_refuse(&lines, line, "a joke", &err));
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_null(line.data);
    cask_lines_close(&lines);
}

static void bounds(void **state)
{
    static char text[CASK_LINE_LONGEST + 10];
    struct cask_error err = {0};
    struct cask_lines lines;
    struct cask_slice line;
    (void)state;
    memset(text, 'x', sizeof text);
    assert_ok(cask_lines_open(&lines, write_text(text, CASK_LINE_LONGEST), &err));
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_int_equal(line.bytes, CASK_LINE_LONGEST);
    assert_refused(CASK_ERR_FORMAT, "...\"", cask_lines_refuse(&lines, line, "less", &err));
    cask_lines_close(&lines);
    assert_ok(cask_lines_open(&lines, write_text(text, sizeof text), &err));
    assert_refused(CASK_ERR_FORMAT, "list.txt:1: expected a line of at most",
                   cask_lines_next(&lines, &line, &err));
    cask_lines_close(&lines);
    assert_ok(cask_lines_open(&lines, write_text("ok\na\0b\n", 7), &err));
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_refused(CASK_ERR_FORMAT, "list.txt:2", cask_lines_next(&lines, &line, &err));
    cask_lines_close(&lines);
    assert_ok(cask_lines_open(&lines, write_text("", 0), &err));
    assert_ok(cask_lines_next(&lines, &line, &err));
    assert_null(line.data);
    assert_int_equal(cask_lines_left(&lines), 0);
    cask_lines_close(&lines);
}

static void numbers(void **state)
{
    static const char *const bad[] = {"", "-", "+1", "1.0", "0x1", "1 ", "1000000000000000000000"};
    int64_t n = 77;
    double x = 77;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(cask_slice_int(cask_slice_of(bad[i]), -10, 10, &n));
    }
    assert_int_equal(n, 77);
    assert_true(cask_slice_int(cask_slice_of("-10"), -10, 10, &n) && n == -10);
    assert_false(cask_slice_int(cask_slice_of("11"), -10, 10, &n));
    assert_true(cask_slice_int(cask_slice_of("999999999999999999"), 0, INT64_MAX, &n));
    assert_false(cask_slice_real(cask_slice_of("nan"), &x));
    assert_false(cask_slice_real(cask_slice_of("1e999"), &x));
    assert_false(cask_slice_real(cask_slice_of("1.5x"), &x));
    assert_false(cask_slice_real(cask_slice_of(""), &x));
    assert_true(cask_slice_real(cask_slice_of("-1.5e1"), &x) && x == -15);
}

static void paths(void **state)
{
    static const char *const good[] = {"a", "a/b.jpg", "..a/b..", "a/...", "."};
    static const char *const bad[] = {"", "/a", "..", "../a", "a/..", "a/../b"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(cask_slice_is_below(cask_slice_of(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(cask_slice_is_below(cask_slice_of(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_columns),
        cmocka_unit_test(bounds),
        cmocka_unit_test(numbers),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
