/* Image folders and text lists: what becomes an image, which label it gets, what is refused. */
#include "common/file.h"
#include "data/data.h"
#include "tests/support/own_folder.h"

static void put(const char *root, const char *name, const char *text)
{
    struct cask_error err = {0};
    char path[600], *slash;
    snprintf(path, sizeof path, "%s/%s", root, name);
    slash = strrchr(path, '/');
    *slash = 0;
    assert_ok(cask_folder_create(path, &err));
    *slash = '/';
    assert_ok(cask_file_write_all(path, text, strlen(text), &err));
}

/* Opens PATH under root and compares all names and labels, "a/1.jpg=0 b/2.png=1". */
static void assert_dataset(const char *root, const char *path,
                           const struct cask_dataset_options *options, const char *want)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    char full[600], got[2000] = "";
    snprintf(full, sizeof full, "%s/%s", root, path);
    assert_ok(cask_dataset_open(full, options, &dataset, &err));
    int64_t classes = 0;
    for (int64_t i = 0; i < cask_dataset_count(dataset); i++) {
        char name[100], entry[140];
        uint32_t label = cask_dataset_label(dataset, i);
        cask_dataset_name(dataset, i, name, sizeof name);
        snprintf(entry, sizeof entry, "%s%s=%d", i > 0 ? " " : "", name, (int)label);
        strncat(got, entry, sizeof got - strlen(got) - 1);
        classes =
            label != CASK_NO_LABEL && (int64_t)label >= classes ? (int64_t)label + 1 : classes;
        assert_int_equal(cask_dataset_id(dataset, i), i);
        assert_int_equal(cask_dataset_offset(dataset, i), 0);
    }
    assert_string_equal(got, want);
    assert_int_equal(cask_dataset_classes(dataset), classes);
    cask_dataset_close(dataset);
}

static void assert_not_a_dataset(const char *root, const char *path, enum cask_status status,
                                 const char *message)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    char full[600];
    snprintf(full, sizeof full, "%s/%s", root, path);
    assert_refused(status, message, cask_dataset_open(full, NULL, &dataset, &err));
    assert_null(dataset);
}

static void labels_follow_folder_names(void **state)
{
    const char *root = *state;
    put(root, "10/b.JPG", "x");
    put(root, "10/a.jpeg", "x");
    put(root, "10/notes.txt", "x");
    put(root, "2/c.png", "x");
    put(root, "2/.hidden.png", "x");
    put(root, ".git/d.png", "x");
    put(root, "1empty/readme", "x");
    put(root, "README.md", "x");
    assert_dataset(root, ".", NULL, "10/a.jpeg=0 10/b.JPG=0 2/c.png=1");
    assert_dataset(root, ".", &(struct cask_dataset_options){.natural_order = true},
                   "2/c.png=0 10/a.jpeg=1 10/b.JPG=1");
    assert_dataset(root, ".", &(struct cask_dataset_options){.limit = 1}, "10/a.jpeg=0");
    assert_dataset(root, "2", NULL, "c.png=-1");
    put(root, "stray.jpg", "x");
    assert_not_a_dataset(root, ".", CASK_ERR_FORMAT, "found both");
}

static void natural_order_compares_numbers(void **state)
{
    const char *root = *state;
    static const char *const names[] = {"s/i10.png", "s/i9.png", "s/i09.png",
                                        "s/i9b.png", "s/i.png",  "s/i99999999999999999999999.png",
                                        "s/i0.png",  "s/j1.png"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        put(root, names[i], "x");
    }
    assert_dataset(root, "s", &(struct cask_dataset_options){.natural_order = true},
                   "i.png=-1 i0.png=-1 i09.png=-1 i9.png=-1 i9b.png=-1 i10.png=-1 "
                   "i99999999999999999999999.png=-1 j1.png=-1");
}

static void nothing_there_is_refused(void **state)
{
    const char *root = *state;
    put(root, "empty/x/y.txt", "x");
    assert_not_a_dataset(root, "empty", CASK_ERR_FORMAT, "found none");
    assert_not_a_dataset(root, "missing", CASK_ERR_IO, "missing");
    put(root, "blank.lst", "\n# nothing\n");
    assert_not_a_dataset(root, "blank.lst", CASK_ERR_FORMAT, "found none");
    put(root, "set.bin", "\x80\x02]");
    assert_not_a_dataset(root, "set.bin", CASK_ERR_FORMAT, "evaluate --bin");
}

static void every_list_layout_is_read(void **state)
{
    const char *root = *state;
    put(root, "a.txt", "# comment\n\nx/1.jpg 3\r\nx y/2.jpg   0\n");
    assert_dataset(root, "a.txt", NULL, "x/1.jpg=3 x y/2.jpg=0");
    put(root, "tab.txt", "x/1 2.jpg\t3\nx/2.jpg\t1");
    assert_dataset(root, "tab.txt", NULL, "x/1 2.jpg=3 x/2.jpg=1");
    put(root, "im2rec.lst", "17\t4.000000\tx/1.jpg\n3\t0\tx/2.jpg\n");
    assert_dataset(root, "im2rec.lst", NULL, "x/1.jpg=4 x/2.jpg=0");
    put(root, "boxes.lst", "0\t5\t2\t0.25\t0.75\tx/1.jpg\n");
    assert_dataset(root, "boxes.lst", NULL, "x/1.jpg=5");
    put(root, "face2rec.lst", "1\tx/1.jpg\t4\n0\tx/2.jpg\t6\t10\t20\t30\t40\n");
    assert_dataset(root, "face2rec.lst", NULL, "x/1.jpg=4 x/2.jpg=6");
    assert_dataset(root, "face2rec.lst", &(struct cask_dataset_options){.limit = 1}, "x/1.jpg=4");
}

static void list_errors_name_file_and_line(void **state)
{
    const char *root = *state;
    put(root, "one.txt", "x.jpg 1\ny.jpg\n");
    assert_not_a_dataset(root, "one.txt", CASK_ERR_FORMAT,
                         "one.txt:2: expected \"path label\", found \"y.jpg\"");
    static const char *const bad[] = {"-2", "1.5", "2147483648", "nan", "inf", "1e400", "x", "0x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[100], want[120];
        snprintf(text, sizeof text, "a.jpg 0\nx.jpg %s\n", bad[i]);
        snprintf(want, sizeof want,
                 "label.txt:2: label: expected an integer from 0 to 2147483647 or, for none, -1, "
                 "found \"%s\"",
                 bad[i]);
        put(root, "label.txt", text);
        assert_not_a_dataset(root, "label.txt", CASK_ERR_FORMAT, want);
    }
    char *longest = malloc(9001);
    memset(longest, 'a', 9000);
    longest[9000] = 0;
    put(root, "long.txt", longest);
    free(longest);
    assert_not_a_dataset(root, "long.txt", CASK_ERR_FORMAT,
                         "long.txt:1: expected a text line of at most 8192 bytes");
    put(root, "tface.txt", "ms1m-00000.tfrecord\t0\t16\t7\n");
    assert_not_a_dataset(
        root, "tface.txt", CASK_ERR_UNSUPPORTED,
        "tface.txt:1: expected a path in the second column, found \"0\"; lists over TFRecord");
    put(root, "short.lst", "1\t2\tx.jpg\n1\t2\n");
    assert_not_a_dataset(root, "short.lst", CASK_ERR_FORMAT,
                         "short.lst:2: expected \"index TAB label TAB path\"");
}

static void bytes_are_read_as_they_are(void **state)
{
    const char *root = *state;
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_encoded encoded = {0};
    char path[600];
    put(root, "ids/a/1.jpg", "first image");
    put(root, "ids/b/1.jpg", "second");
    put(root, "list.txt", "ids/b/1.jpg 0\nids/missing.jpg 1\n");
    snprintf(path, sizeof path, "%s/ids", root);
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    assert_ok(cask_dataset_read(dataset, 0, &encoded, &err));
    assert_int_equal(encoded.bytes, 11);
    assert_memory_equal(encoded.data, "first image", 11);
    assert_ok(cask_dataset_read(dataset, 1, &encoded, &err));
    assert_int_equal(encoded.bytes, 6);
    assert_refused(CASK_ERR_RANGE, "image 2", cask_dataset_read(dataset, 2, &encoded, &err));
    assert_refused(CASK_ERR_RANGE, "image -1", cask_dataset_read(dataset, -1, &encoded, &err));
    cask_dataset_close(dataset);
    snprintf(path, sizeof path, "%s/list.txt", root);
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    assert_ok(cask_dataset_read(dataset, 0, &encoded, &err));
    assert_memory_equal(encoded.data, "second", 6);
    assert_refused(CASK_ERR_IO, "ids/missing.jpg", cask_dataset_read(dataset, 1, &encoded, &err));
    cask_dataset_close(dataset);
    cask_encoded_release(&encoded);
}

static void fingerprint_sees_bytes_labels_and_order(void **state)
{
    const char *root = *state;
    struct cask_error err = {0};
    static const char *const lists[] = {"a.jpg 0\nb.jpg 1\n",       "a.jpg 0\nb.jpg 2\n",
                                        "b.jpg 0\na.jpg 1\n",       "a.jpg 0\nc.jpg 1\n",
                                        "a.jpg 0\nmissing.jpg 1\n", "a.jpg 0\n"};
    char hex[6][CASK_SHA256_HEX], again[CASK_SHA256_HEX], path[600];
    put(root, "a.jpg", "aaaa");
    put(root, "b.jpg", "bbbb");
    put(root, "c.jpg", "bbbc");
    for (int i = 0; i < 6; i++) {
        struct cask_dataset *dataset;
        put(root, "list", lists[i]);
        snprintf(path, sizeof path, "%s/list", root);
        assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
        assert_ok(cask_dataset_fingerprint(dataset, 1, hex[i], &err));
        assert_ok(cask_dataset_fingerprint(dataset, 3, again, &err));
        assert_string_equal(hex[i], again);
        assert_int_equal(strlen(again), 64);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(hex[i], hex[k]);
        }
        cask_dataset_close(dataset);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_own_folder(labels_follow_folder_names),
        in_own_folder(natural_order_compares_numbers),
        in_own_folder(nothing_there_is_refused),
        in_own_folder(every_list_layout_is_read),
        in_own_folder(list_errors_name_file_and_line),
        in_own_folder(bytes_are_read_as_they_are),
        in_own_folder(fingerprint_sees_bytes_labels_and_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
