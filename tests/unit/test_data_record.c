/* RecordIO written here byte by byte: every layout that insightface and MXNet write, magic inside
 * payloads, damage. */
#include "common/file.h"
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/own_folder.h"

#define MAGIC 0xCED7230Au

struct writer { /* of one .rec and its .idx */
    uint8_t rec[1 << 16];
    size_t bytes;
    char idx[4096];
};

static void put(struct writer *w, const void *data, size_t bytes)
{
    assert_true(w->bytes + bytes <= sizeof w->rec);
    memcpy(w->rec + w->bytes, data, bytes);
    w->bytes += bytes;
}

static void put_u32(struct writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static void put_part(struct writer *w, uint32_t flag, const uint8_t *data, size_t bytes)
{
    static const uint8_t zeros[4];
    put_u32(w, MAGIC);
    put_u32(w, flag << 29 | (uint32_t)bytes);
    put(w, data, bytes);
    put(w, zeros, (4 - bytes % 4) % 4);
}

/* As dmlc's writer: splits at each magic at a multiple of 4, and drops it. */
static int put_payload(struct writer *w, const uint8_t *data, size_t bytes)
{
    const uint32_t magic = MAGIC;
    size_t begin = 0;
    int parts = 1;
    for (size_t at = 0; at + 4 <= bytes; at += 4) {
        if (memcmp(data + at, &magic, 4) == 0) {
            put_part(w, begin == 0 && parts == 1 ? 1 : 2, data + begin, at - begin);
            begin = at + 4;
            parts++;
        }
    }
    put_part(w, parts > 1 ? 3 : 0, data + begin, bytes - begin);
    return parts;
}

/* A record with an IRHeader; labels beyond the header where count > 0. Returns its parts. */
static int put_record(struct writer *w, uint64_t key, uint32_t count, const float *labels,
                      const void *image, size_t bytes)
{
    uint8_t payload[8192];
    uint64_t id2 = 0;
    float header = count == 0 ? labels[0] : 0;
    char line[64];
    snprintf(line, sizeof line, "%llu\t%zu\n", (unsigned long long)key, w->bytes);
    assert_true(strlen(w->idx) + strlen(line) < sizeof w->idx);
    strcat(w->idx, line);
    memcpy(payload, &count, 4);
    memcpy(payload + 4, &header, 4);
    memcpy(payload + 8, &key, 8);
    memcpy(payload + 16, &id2, 8);
    memcpy(payload + 24, labels, 4 * count);
    memcpy(payload + 24 + 4 * count, image, bytes);
    return put_payload(w, payload, 24 + 4 * count + bytes);
}

static void put_image(struct writer *w, uint64_t key, float label, const char *image)
{
    put_record(w, key, 0, &label, image, strlen(image));
}

static void save(const struct writer *w, const char *folder, bool index)
{
    struct cask_error err = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/train.rec", folder);
    assert_ok(cask_file_write_all(path, w->rec, w->bytes, &err));
    snprintf(path, sizeof path, "%s/train.idx", folder);
    unlink(path);
    if (index) {
        assert_ok(cask_file_write_all(path, w->idx, strlen(w->idx), &err));
    }
}

/* Compares all images: "key:label:bytes ..." */
static void assert_dataset(const char *folder, int64_t limit, const char *want)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_encoded encoded = {0};
    char got[4096] = "";
    assert_ok(
        cask_dataset_open(folder, &(struct cask_dataset_options){.limit = limit}, &dataset, &err));
    assert_string_equal(cask_dataset_kind(dataset), "recordio");
    for (int64_t i = 0; i < cask_dataset_count(dataset); i++) {
        char entry[200];
        assert_ok(cask_dataset_read(dataset, i, &encoded, &err));
        snprintf(entry, sizeof entry, "%s%llu:%u:%.*s", i > 0 ? " " : "",
                 (unsigned long long)cask_dataset_id(dataset, i), cask_dataset_label(dataset, i),
                 (int)encoded.bytes, (const char *)encoded.data);
        strncat(got, entry, sizeof got - strlen(got) - 1);
    }
    assert_string_equal(got, want);
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
}

static void assert_refused_rec(const char *folder, const char *message)
{
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    assert_refused(CASK_ERR_FORMAT, message, cask_dataset_open(folder, NULL, &dataset, &err));
}

/* keys 1..7 of three identities, 8..10 the identities, 0 last */
static void put_insightface(struct writer *w)
{
    static const float images[] = {0, 0, 0, 1, 1, 1, 2};
    static const float ranges[][2] = {{1, 4}, {4, 7}, {7, 8}}, contents[] = {8, 11};
    for (uint64_t key = 1; key <= 7; key++) {
        char image[8];
        snprintf(image, sizeof image, "img%d", (int)key);
        put_image(w, key, images[key - 1], image);
    }
    for (uint64_t i = 0; i < 3; i++) {
        put_record(w, 8 + i, 2, ranges[i], "", 0);
    }
    put_record(w, 0, 2, contents, "", 0);
}

static const char insightface[] = "1:0:img1 2:0:img2 3:0:img3 4:1:img4 5:1:img5 6:1:img6 7:2:img7";

static void insightface_layout_with_and_without_index(void **state)
{
    struct writer w = {0};
    put_insightface(&w);
    save(&w, *state, true);
    assert_dataset(*state, 0, insightface);
    assert_dataset(*state, 4, "1:0:img1 2:0:img2 3:0:img3 4:1:img4");
    save(&w, *state, false);
    assert_dataset(*state, 0, insightface);
    assert_dataset(*state, 2, "1:0:img1 2:0:img2");
}

static void names_keys_offsets_and_property(void **state)
{
    struct writer w = {0};
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    char name[64], path[600];
    put_insightface(&w);
    save(&w, *state, true);
    snprintf(path, sizeof path, "%s/property", (char *)*state);
    assert_ok(cask_file_write_all(path, "3,112,112\n", 10, &err));
    snprintf(path, sizeof path, "%s/train.rec", (char *)*state);
    assert_ok(cask_dataset_open(path, NULL, &dataset, &err));
    cask_dataset_name(dataset, 2, name, sizeof name);
    assert_string_equal(name, "train.rec key 3");
    assert_int_equal(cask_dataset_offset(dataset, 2), 2 * 36);
    assert_int_equal(cask_dataset_classes(dataset), 3);
    cask_dataset_close(dataset);
    snprintf(path, sizeof path, "%s/property", (char *)*state);
    assert_ok(cask_file_write_all(path, "three\n", 6, &err));
    assert_refused_rec(*state, "property: expected \"classes,height,width\"");
}

static void im2rec_and_shuffled_layouts(void **state)
{
    struct writer w = {0};
    put_image(&w, 0, 5, "zero"); /* key 0 is an image */
    put_image(&w, 1, 1, "one");
    save(&w, *state, true);
    assert_dataset(*state, 0, "0:5:zero 1:1:one");
    struct writer gaps = {0};
    put_image(&gaps, 40, 3, "forty"); /* no key 0, gaps, not in order of keys */
    put_image(&gaps, 7, 1, "seven");
    put_image(&gaps, 9, 2, "");
    save(&gaps, *state, true);
    assert_dataset(*state, 0, "7:1:seven 9:2: 40:3:forty");
    save(&gaps, *state, false);
    assert_dataset(*state, 0, "40:3:forty 7:1:seven 9:2:");
}

static void label_vectors_give_their_first_element(void **state)
{
    static const float vector[] = {6, 0.5f, 7};
    struct writer w = {0};
    put_record(&w, 1, 3, vector, "vector", 6); /* as in Glint360K */
    put_record(&w, 2, 1, vector, "single", 6);
    save(&w, *state, true);
    assert_dataset(*state, 0, "1:6:vector 2:6:single");
}

static void identity_ranges_are_checked_by_each_image(void **state)
{
    static const float range[] = {1, 6}, contents[] = {6, 7};
    struct writer w = {0};
    struct cask_error err = {0};
    struct cask_dataset *dataset;
    struct cask_encoded encoded = {0};
    for (uint64_t key = 1; key <= 5; key++) {
        put_image(&w, key, key == 4 ? 9 : 2, "img");
    }
    put_record(&w, 6, 2, range, "", 0);
    put_record(&w, 0, 2, contents, "", 0);
    save(&w, *state, true);
    assert_ok(cask_dataset_open(*state, NULL, &dataset, &err));
    assert_ok(cask_dataset_read(dataset, 0, &encoded, &err));
    assert_refused(CASK_ERR_FORMAT, "key 4 at byte 108 has label 9, its identity record says 2",
                   cask_dataset_read(dataset, 3, &encoded, &err));
    cask_encoded_release(&encoded);
    cask_dataset_close(dataset);
}

static void incomplete_ranges_fall_back_to_the_images(void **state)
{
    static const float ranges[][2] = {{1, 3}, {4, 6}, {2, 6}}, contents[] = {6, 8};
    for (int second = 1; second <= 2; second++) { /* image 3 is in none; image 2 is in two */
        struct writer w = {0};
        for (uint64_t key = 1; key <= 5; key++) {
            put_image(&w, key, (float)key, "i");
        }
        put_record(&w, 6, 2, ranges[0], "", 0);
        put_record(&w, 7, 2, ranges[second], "", 0);
        put_record(&w, 0, 2, contents, "", 0);
        save(&w, *state, true);
        assert_dataset(*state, 0, "1:1:i 2:2:i 3:3:i 4:4:i 5:5:i");
    }
}

/* With over 2^24 images the header's float32 is rounded to a multiple of 2 or 4: the border is then
 * looked for. Keys need not be dense for that, so a small file will do. */
static void a_rounded_header_is_corrected(void **state)
{
    for (uint64_t border = 20000001; border <= 20000003; border++) {
        static const float range[] = {1, 2};
        const float contents[] = {(float)border, (float)(border + 2)};
        char want[200];
        struct writer w = {0};
        for (uint64_t key = border - 5; key < border; key++) {
            put_image(&w, key, 7, "i");
        }
        put_record(&w, border, 2, range, "", 0);
        put_record(&w, border + 1, 2, range, "", 0);
        put_record(&w, border + 2, 2, range, "", 0);
        put_record(&w, 0, 2, contents, "", 0);
        save(&w, *state, true);
        snprintf(want, sizeof want, "%d:7:i %d:7:i %d:7:i %d:7:i %d:7:i", (int)border - 5,
                 (int)border - 4, (int)border - 3, (int)border - 2, (int)border - 1);
        assert_dataset(*state, 0, want);
    }
}

static void magic_inside_the_image_survives(void **state)
{
    /* "\x0a\x23\xd7\xce" aligned at the image's begin, middle, end, twice in a row, and unaligned
     */
    static const char m[] = "\x0a\x23\xd7\xce";
    static const struct {
        const char *pattern;
        int parts;
    } rows[] = {{"M", 2},      {"Mabcd", 2}, {"abcdM", 2},    {"abcdMefghMij", 3},
                {"MM", 3},     {"abM", 1},   {"abMcdM", 2},   {"abMcM", 1},
                {"abcdMM", 3}, {"Ma", 2},    {"abMcdMefM", 2}};
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct writer w = {0};
        char image[64];
        size_t bytes = 0;
        float label = 3;
        for (const char *p = rows[row].pattern; *p != 0; p++) {
            memcpy(image + bytes, *p == 'M' ? m : p, *p == 'M' ? 4 : 1);
            bytes += *p == 'M' ? 4 : 1;
        }
        put_image(&w, 1, 1, "before");
        int parts = put_record(&w, 2, 0, &label, image, bytes);
        assert_true(rows[row].parts == parts);
        put_image(&w, 3, 1, "after");
        for (int index = 0; index < 2; index++) {
            struct cask_error err = {0};
            struct cask_dataset *dataset;
            struct cask_encoded encoded = {0};
            save(&w, *state, index == 1);
            assert_ok(cask_dataset_open(*state, NULL, &dataset, &err));
            assert_int_equal(cask_dataset_count(dataset), 3);
            assert_int_equal(cask_dataset_label(dataset, 1), 3);
            assert_ok(cask_dataset_read(dataset, 1, &encoded, &err));
            assert_int_equal(encoded.bytes, bytes);
            assert_memory_equal(encoded.data, image, bytes);
            assert_ok(cask_dataset_read(dataset, 2, &encoded, &err));
            assert_memory_equal(encoded.data, "after", 5);
            cask_encoded_release(&encoded);
            cask_dataset_close(dataset);
        }
    }
}

static void magic_inside_the_header_survives(void **state)
{
    struct writer w = {0};
    static const float vector[] = {2, 0, 1};
    float labels[3];
    const uint32_t magic = MAGIC;
    memcpy(labels, vector, sizeof labels);
    memcpy(&labels[1], &magic, 4);
    assert_int_equal(put_record(&w, 1, 3, labels, "image", 5), 2);
    save(&w, *state, true);
    assert_dataset(*state, 0, "1:2:image");
}

static void truncation_names_the_byte(void **state)
{
    struct writer w = {0};
    put_insightface(&w);
    size_t whole = w.bytes;
    w.bytes = whole - 4;
    save(&w, *state, false);
    assert_refused_rec(*state,
                       "truncated: the record at byte 372 has 32 bytes, the file ends at 408");
    save(&w, *state, true);
    assert_refused_rec(*state, "truncated");
    w.bytes = 100;
    save(&w, *state, true);
    assert_refused_rec(*state, "train.idx:4: offset of key 4: expected a multiple of 4 below 100");
    w.bytes = 5;
    save(&w, *state, false);
    assert_refused_rec(*state, "truncated: expected a record at byte 0, the file has 5");
    w.bytes = 0;
    save(&w, *state, false);
    assert_refused_rec(*state, "found none");
}

static void damage_names_the_byte(void **state)
{
    struct writer good = {0};
    put_insightface(&good);
    struct writer w = good;
    w.rec[36] ^= 1;
    save(&w, *state, false);
    assert_refused_rec(*state, "byte 36: expected a record's magic ced7230a, found ced7230b");
    w = good;
    w.rec[36 + 7] |= 0x80; /* part flag 4 */
    save(&w, *state, false);
    assert_refused_rec(*state, "byte 36: expected part flag 0 to 3");
    w = good;
    w.rec[36 + 7] |= 0x40; /* a middle part with nothing before */
    save(&w, *state, false);
    assert_refused_rec(*state, "expected the begin of a record, found part flag 2");
    w = good;
    w.rec[36 + 7] |= 0x20; /* a first part with nothing behind */
    save(&w, *state, false);
    assert_refused_rec(
        *state, "byte 72: expected the next part of the record at byte 36, found part flag 0");
    w = good;
    w.rec[36 + 8] = 2; /* two labels do not fit */
    save(&w, *state, false);
    assert_refused_rec(*state,
                       "byte 36: expected an image header of 24 bytes and 2 labels, found 28");
    w = good;
    w.rec[36 + 4] = 20; /* shorter than a header: the next record is not where it should be */
    save(&w, *state, false);
    assert_refused_rec(*state, "byte 36: expected an image header of 24 bytes");
}

static void labels_out_of_range_are_refused(void **state)
{
    static const float bad[] = {-1, 0.5f, 2147483648.0f, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (int index = 0; index < 2; index++) {
            struct writer w = {0};
            put_image(&w, 1, 0, "good");
            put_image(&w, 2, bad[i], "bad");
            save(&w, *state, index == 1);
            assert_refused_rec(
                *state,
                "record at byte 36: label: expected an integer from 0 to 2147483647, found");
        }
    }
}

static void bad_index_lines_are_named(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"1\t0\nx\t36\n", "train.idx:2: expected \"key TAB offset\", found \"x"},
        {"1\t0\n2\n", "train.idx:2: expected"},
        {"1\t0\n2\t-4\n", "train.idx:2: expected"},
        {"1\t0\n2\t37\n", "train.idx:2: offset of key 2: expected a multiple of 4"},
        {"1\t0\n2\t99999999999999999999\n", "train.idx:2: expected"},
        {"1\t0\n1\t36\n", "train.idx: key 1 occurs twice"},
        {"", "found none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w = {0};
        put_insightface(&w);
        snprintf(w.idx, sizeof w.idx, "%s", rows[i].text);
        save(&w, *state, true);
        assert_refused_rec(*state, rows[i].message);
    }
    struct writer w = {0};
    put_insightface(&w);
    snprintf(w.idx, sizeof w.idx, "5\t144\r\n\n4 108"); /* CRLF, blank line, blank, no last LF */
    save(&w, *state, true);
    assert_dataset(*state, 0, "4:1:img4 5:1:img5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_own_folder(insightface_layout_with_and_without_index),
        in_own_folder(names_keys_offsets_and_property),
        in_own_folder(im2rec_and_shuffled_layouts),
        in_own_folder(label_vectors_give_their_first_element),
        in_own_folder(identity_ranges_are_checked_by_each_image),
        in_own_folder(incomplete_ranges_fall_back_to_the_images),
        in_own_folder(a_rounded_header_is_corrected),
        in_own_folder(magic_inside_the_image_survives),
        in_own_folder(magic_inside_the_header_survives),
        in_own_folder(truncation_names_the_byte),
        in_own_folder(damage_names_the_byte),
        in_own_folder(labels_out_of_range_are_refused),
        in_own_folder(bad_index_lines_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
