/* Every opener, with each of its allocations failing in turn: the status says so, nothing crashes,
 * and (under AddressSanitizer) nothing leaks. */
#include "common/file.h"
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

static char root[256];

static void put_bytes(const char *name, const void *data, size_t bytes)
{
    struct cask_error err = {0};
    char path[600], *slash;
    snprintf(path, sizeof path, "%s/%s", root, name);
    slash = strrchr(path, '/');
    *slash = 0;
    assert_ok(cask_folder_create(path, &err));
    *slash = '/';
    assert_ok(cask_file_write_all(path, data, bytes, &err));
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

/* One image of label 0 behind an IRHeader. */
static void put_record_file(void)
{
    static const uint8_t image[8] = "image...";
    uint32_t record[2 + 6 + 2] = {0xCED7230Au, 24 + 8};
    memcpy(&record[8], image, 8);
    put_bytes("rec/train.rec", record, sizeof record);
    put("rec/train.idx", "1\t0\n");
    put_bytes("scan/train.rec", record, sizeof record);
}

static int setup(void **state)
{
    (void)state;
    static const char bin[] = "\x80\x02](U\x01"
                              "aU\x01"
                              "be](\x88"
                              "e\x86.";
    test_make_folder(root);
    put("folder/a/a_0001.jpg", "x");
    put("folder/a/a_0002.jpg", "x");
    put("folder/b/b_0001.jpg", "x");
    put("list.txt", "folder/a/a_0001.jpg 0\n");
    put("pairs.txt", "1\t1\na\t1\t2\na\t1\tb\t1\n");
    put_bytes("set.bin", bin, sizeof bin - 1);
    put_record_file();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_remove_folder(root);
    return 0;
}

static enum cask_status open_dataset(const char *name, struct cask_error *err)
{
    struct cask_dataset *dataset;
    struct cask_encoded encoded = {0};
    char path[600], hex[CASK_SHA256_HEX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    enum cask_status st = cask_dataset_open(path, NULL, &dataset, err);
    if (st == CASK_OK) {
        st = cask_dataset_read(dataset, 0, &encoded, err);
    }
    if (st == CASK_OK) {
        st = cask_dataset_fingerprint(dataset, 1, hex, err);
    }
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
    return st;
}

static enum cask_status open_pairs(const char *name, struct cask_error *err)
{
    struct cask_pairs *pairs;
    char path[600], folder[600];
    snprintf(path, sizeof path, "%s/%s", root, name);
    snprintf(folder, sizeof folder, "%s/folder", root);
    enum cask_status st = strcmp(name, "pairs.txt") == 0
                              ? cask_pairs_open_text(path, folder, &pairs, err)
                              : cask_pairs_open_bin(path, &pairs, err);
    cask_pairs_close(pairs);
    return st;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const names[] = {"folder", "list.txt",  "rec",
                                        "scan",   "pairs.txt", "set.bin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        enum cask_status st = CASK_ERR_MEMORY;
        long nth = 0;
        while (st != CASK_OK) {
            struct cask_error err = {0};
            cask_mem_fail_after(++nth);
            st = i < 4 ? open_dataset(names[i], &err) : open_pairs(names[i], &err);
            cask_mem_fail_after(0);
            if (st != CASK_OK && st != CASK_ERR_MEMORY) {
                fail_msg("%s, allocation %ld: %s", names[i], nth, err.message);
            }
            assert_true(nth < 200);
        }
        assert_true(nth > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_may_fail)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
