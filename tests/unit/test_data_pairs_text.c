/* Pairs of the LFW format and CSV: header, sets, one listing of each image, refusals by line. */
#include "common/file.h"
#include "data/data.h"
#include "tests/support/own_folder.h"

static int setup(void **state)
{
    static const char *const images[] = {"Ann/Ann_0001.jpg",   "Ann/Ann_0002.jpg",
                                         "Ann/Ann_0003.png",   "Bo B/Bo B_0001.jpeg",
                                         "Bo B/Bo B_0012.jpg", "Cy/Cy_0001.jpg"};
    char path[600];
    struct cask_error err = {0};
    make_own_folder(state);
    const char *folder = *state;
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        snprintf(path, sizeof path, "%s/%.*s", folder, (int)(strchr(images[i], '/') - images[i]),
                 images[i]);
        assert_ok(cask_folder_create(path, &err));
        snprintf(path, sizeof path, "%s/%s", folder, images[i]);
        assert_ok(cask_file_write_all(path, images[i], strlen(images[i]), &err));
    }
    return 0;
}

static enum cask_status open_text(const char *folder, const char *text, struct cask_pairs **pairs,
                                  struct cask_error *out)
{
    struct cask_error err = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/my_pairs.txt", folder);
    assert_ok(cask_file_write_all(path, text, strlen(text), &err));
    return cask_pairs_open_text(path, folder, pairs, out);
}

static void sets_and_images_are_as_written(void **state)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    struct cask_encoded encoded = {0};
    assert_ok(open_text(*state,
                        "2\t2\nAnn\t1\t2\r\nBo B\t1\t12\nAnn\t1\tCy\t1\nAnn\t2\tBo B\t12\n"
                        "Ann\t3\t1\nAnn\t2\t3\nCy\t1\tAnn\t3\nCy\t1\tBo B\t1\n\n",
                        &pairs, &err));
    static const char *const names[] = {"Ann/Ann_0001.jpg",    "Ann/Ann_0002.jpg",
                                        "Bo B/Bo B_0001.jpeg", "Bo B/Bo B_0012.jpg",
                                        "Cy/Cy_0001.jpg",      "Ann/Ann_0003.png"};
    static const struct cask_pair want[] = {{0, 1, true},  {2, 3, true}, {0, 4, false},
                                            {1, 3, false}, {5, 0, true}, {1, 5, true},
                                            {4, 5, false}, {4, 2, false}};
    assert_string_equal(cask_pairs_name(pairs), "my_pairs");
    assert_int_equal(cask_pairs_folds(pairs), 2);
    assert_int_equal(cask_pairs_count(pairs), 8);
    assert_int_equal(cask_pairs_image_count(pairs), 6);
    for (int64_t i = 0; i < 8; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        assert_int_equal(pair->a, want[i].a);
        assert_int_equal(pair->b, want[i].b);
        assert_int_equal(pair->same, want[i].same);
    }
    for (int64_t i = 0; i < 6; i++) {
        char name[100];
        cask_pairs_image_name(pairs, i, name, sizeof name);
        assert_string_equal(name, names[i]);
        assert_ok(cask_pairs_read(pairs, i, &encoded, &err));
        assert_int_equal(encoded.bytes, strlen(name));
        assert_memory_equal(encoded.data, name, encoded.bytes);
    }
    assert_refused(CASK_ERR_RANGE, "image 6 of 6", cask_pairs_read(pairs, 6, &encoded, &err));
    cask_encoded_release(&encoded);
    cask_pairs_close(pairs);
}

static void one_number_is_one_set(void **state)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    assert_ok(open_text(*state, "1\nAnn 1 2\nAnn 1 Cy 1", &pairs, &err));
    assert_int_equal(cask_pairs_folds(pairs), 1);
    assert_int_equal(cask_pairs_count(pairs), 2);
    cask_pairs_close(pairs);
    cask_pairs_close(NULL);
}

static void errors_name_the_line(void **state)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "expected the header"},
        {"ten\t300\n", "my_pairs.txt:1: expected the header"},
        {"0\t3\n", "my_pairs.txt:1: expected the header"},
        {"10\t300\t5\n", "my_pairs.txt:1: expected the header"},
        {"1000\t99999999\nAnn\t1\t2\n", "promises"},
        {"1\t1\nAnn\t1\t2\n", "the header promises 2 pairs, found 1"},
        {"1\t1\nAnn\t1\t2\nAnn\t1\tCy\t1\nAnn\t1\t2\n", "my_pairs.txt:4: more lines"},
        {"1\t1\nAnn\t1\t2\nAnn\t2\t1\n",
         "my_pairs.txt:3: set 1 ends here: expected 1 same and 1 different"},
        {"1\t1\nAnn\t1\nAnn\t1\tCy\t1\n", "my_pairs.txt:2: expected \"name i j\""},
        {"1\t1\nAnn\t1\t2\nAnn\t1\tCy\tx\n", "my_pairs.txt:3: expected a name"},
        {"1\t1\nAnn\t0\t2\nAnn\t1\tCy\t1\n", "my_pairs.txt:2: expected a name"},
        {"1\t1\nAnn\t1\t9\nAnn\t1\tCy\t1\n", "Ann/Ann_0009.jpg"},
        {"1\t1\n../x\t1\t2\nAnn\t1\tCy\t1\n", "without '/'"},
        {"1\t1\n..\t1\t2\nAnn\t1\tCy\t1\n", "without '/'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(CASK_ERR_FORMAT, rows[i].message,
                       open_text(*state, rows[i].text, &pairs, &err));
        assert_null(pairs);
    }
}

static void csv_names_paths_under_the_folder(void **state)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    struct cask_encoded encoded = {0};
    assert_ok(open_text(*state,
                        "left,right,same\n# a note\nAnn/Ann_0001.jpg, Ann/Ann_0003.png ,TRUE\r\n"
                        "Bo B/Bo B_0012.jpg,Ann/Ann_0001.jpg,0\n",
                        &pairs, &err));
    assert_int_equal(cask_pairs_folds(pairs), 10);
    assert_int_equal(cask_pairs_count(pairs), 2);
    assert_int_equal(cask_pairs_image_count(pairs), 3);
    const struct cask_pair *a = cask_pairs_at(pairs, 0), *b = cask_pairs_at(pairs, 1);
    assert_true(a->a == 0 && a->b == 1 && a->same && b->a == 2 && b->b == 0 && !b->same);
    assert_ok(cask_pairs_read(pairs, 2, &encoded, &err));
    assert_memory_equal(encoded.data, "Bo B/Bo B_0012.jpg", encoded.bytes);
    assert_true(cask_pairs_image_key(pairs, 0) != cask_pairs_image_key(pairs, 1));
    cask_encoded_release(&encoded);
    cask_pairs_close(pairs);
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\na,b\n", "my_pairs.txt:2: expected three columns"},
        {"a,b,c,d\n", "my_pairs.txt:1: expected three columns"},
        {"a,b,same\n", "expected lines \"a,b,same\", found none"},
        {"Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\nAnn/Ann_0001.jpg,Cy/Cy_0001.jpg,yes\n",
         "my_pairs.txt:2: expected 1 or 0"},
        {"Ann/Ann_0001.jpg,Ann/Ann_0009.jpg,1\n", "my_pairs.txt:1: no image"},
        {"Ann/../Ann/Ann_0001.jpg,Ann/Ann_0002.jpg,1\n", "without \"..\""},
        {"Ann/..,Ann/Ann_0002.jpg,1\n", "without \"..\""},
        {",Ann/Ann_0002.jpg,1\n", "my_pairs.txt:1: expected a path"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(CASK_ERR_FORMAT, rows[i].message,
                       open_text(*state, rows[i].text, &pairs, &err));
        assert_null(pairs);
    }
}

static void pairs_without_images_are_names(void **state)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    struct cask_encoded encoded = {0};
    char path[600], name[100];
    static const char *const texts[] = {"1\t1\nNo One\t1\t2\nNo One\t1\tCy\t77\n",
                                        "17,18,1\n17,../x,0\n"};
    static const char *const names[] = {"Cy/Cy_0077", "../x"};
    snprintf(path, sizeof path, "%s/my_pairs.txt", (const char *)*state);
    for (int i = 0; i < 2; i++) {
        assert_ok(cask_file_write_all(path, texts[i], strlen(texts[i]), &err));
        assert_ok(cask_pairs_open_text(path, NULL, &pairs, &err));
        assert_int_equal(cask_pairs_image_count(pairs), 3);
        cask_pairs_image_name(pairs, 2, name, sizeof name);
        assert_string_equal(name, names[i]);
        assert_refused(CASK_ERR_USAGE, "without images", cask_pairs_read(pairs, 2, &encoded, &err));
        cask_pairs_close(pairs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_and_images_are_as_written, setup, remove_own_folder),
        cmocka_unit_test_setup_teardown(one_number_is_one_set, setup, remove_own_folder),
        cmocka_unit_test_setup_teardown(errors_name_the_line, setup, remove_own_folder),
        cmocka_unit_test_setup_teardown(csv_names_paths_under_the_folder, setup, remove_own_folder),
        cmocka_unit_test_setup_teardown(pairs_without_images_are_names, setup, remove_own_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
