/* insightface .bin files: those Python 3 wrote (tests/golden/make_bins.py), and one for each other
 * writer, assembled here opcode by opcode. */
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"
#include "data/data.h"
#include "tests/support/test.h"

struct pickle {
    uint8_t data[1 << 14];
    size_t bytes;
};

static void op(struct pickle *p, const void *data, size_t bytes)
{
    assert_true(p->bytes + bytes <= sizeof p->data);
    memcpy(p->data + p->bytes, data, bytes);
    p->bytes += bytes;
}

#define OP(p, text) op((p), (text), sizeof(text) - 1)

static void op_count(struct pickle *p, char code, uint64_t count, size_t width)
{
    op(p, &code, 1);
    op(p, &count, width);
}

static enum cask_status open_bytes(const void *data, size_t bytes, struct cask_pairs **pairs,
                                   struct cask_error *out)
{
    struct cask_error err = {0};
    char folder[256], path[300];
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/toy.bin", folder);
    assert_ok(cask_file_write_all(path, data, bytes, &err));
    enum cask_status st = cask_pairs_open_bin(path, pairs, out);
    test_remove_folder(folder);
    return st;
}

/* Four images "i0".."i3" and the flags 1, 0. */
static void assert_toy(const struct pickle *p)
{
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    struct cask_encoded encoded = {0};
    assert_ok(open_bytes(p->data, p->bytes, &pairs, &err));
    assert_string_equal(cask_pairs_name(pairs), "toy");
    assert_int_equal(cask_pairs_folds(pairs), 10);
    assert_int_equal(cask_pairs_count(pairs), 2);
    assert_int_equal(cask_pairs_image_count(pairs), 4);
    for (int64_t i = 0; i < 4; i++) {
        char want[3] = {'i', (char)('0' + i), 0}, name[40];
        assert_ok(cask_pairs_read(pairs, i, &encoded, &err));
        assert_int_equal(encoded.bytes, 2);
        assert_memory_equal(encoded.data, want, 2);
        cask_pairs_image_name(pairs, i, name, sizeof name);
        assert_memory_equal(name, "toy.bin image ", 14);
    }
    for (int64_t i = 0; i < 2; i++) {
        const struct cask_pair *pair = cask_pairs_at(pairs, i);
        assert_true(pair->a == 2 * i && pair->b == 2 * i + 1 && pair->same == (i == 0));
    }
    assert_refused(CASK_ERR_RANGE, "image 4 of 4", cask_pairs_read(pairs, 4, &encoded, &err));
    cask_encoded_release(&encoded);
    cask_pairs_close(pairs);
}

enum writer {
    LFW2PACK,    /* Python 2 str: SHORT_BINSTRING */
    LONG_STR,    /* Python 2 str over 255 bytes: BINSTRING */
    SHORT_BYTES, /* Python 3, protocol 3 */
    LONG_BYTES,
    BYTES8,     /* protocol 4 */
    BYTEARRAY8, /* protocol 5 */
    LATIN1,     /* Python 3, protocol 2: _codecs.encode(text, "latin1") */
    WRITERS,
};

static void put_image(struct pickle *p, enum writer writer, int i)
{
    const char image[2] = {'i', (char)('0' + i)};
    switch (writer) {
    case LFW2PACK:
        op_count(p, 'U', 2, 1);
        break;
    case LONG_STR:
        op_count(p, 'T', 2, 4);
        break;
    case SHORT_BYTES:
        op_count(p, 'C', 2, 1);
        break;
    case LONG_BYTES:
        op_count(p, 'B', 2, 4);
        break;
    case BYTES8:
        op_count(p, '\x8e', 2, 8);
        break;
    case BYTEARRAY8:
        op_count(p, '\x96', 2, 8);
        break;
    case LATIN1:
    case WRITERS:
        OP(p, "c_codecs\nencode\n");
        op_count(p, 'X', 2, 4);
        op(p, image, 2);
        op_count(p, 'X', 6, 4);
        OP(p, "latin1\x86R");
        return;
    }
    op(p, image, 2);
}

static void every_string_writer_is_read(void **state)
{
    (void)state;
    for (int writer = 0; writer < WRITERS; writer++) {
        struct pickle p = {0};
        OP(&p, "\x80\x02]q\x01(");
        for (int i = 0; i < 4; i++) {
            put_image(&p, (enum writer)writer, i);
        }
        OP(&p, "e]q\x02(\x88\x89"
               "e\x86q\x03."); /* NEWTRUE NEWFALSE */
        assert_toy(&p);
    }
}

/* cPickle of Python 2: GLOBAL, REDUCE, BUILD (1, (2, 1), dtype, False, data); later arrays share
 * the memo, scalars are numpy.core.multiarray.scalar. */
static void python2_numpy_arrays_are_read(void **state)
{
    (void)state;
    static const char *const modules[] = {"numpy.core.multiarray", "numpy._core.multiarray"};
    for (int m = 0; m < 2; m++) {
        struct pickle p = {0};
        OP(&p, "\x80\x02]q\x01(");
        for (int i = 0; i < 4; i++) {
            char image[2] = {'i', (char)('0' + i)};
            OP(&p, "c");
            op(&p, modules[m], strlen(modules[m]));
            OP(&p, "\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01"
                   "b\x87R");
            OP(&p, "(K\x01K\x02K\x01\x86");
            if (i == 0) {
                OP(&p, "cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|"
                       "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbq\x05");
            } else {
                OP(&p, "h\x05");
            }
            OP(&p, "\x89U\x02");
            op(&p, image, 2);
            OP(&p, "tb");
        }
        OP(&p, "e](");
        for (int i = 0; i < 2; i++) {
            OP(&p, "c");
            op(&p, modules[m], strlen(modules[m]));
            OP(&p, "\nscalar\ncnumpy\ndtype\nU\x02"
                   "b1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbU\x01");
            op(&p, i == 0 ? "\x01" : "\0", 1);
            OP(&p, "\x86R");
        }
        OP(&p, "e\x86.");
        assert_toy(&p);
    }
}

static void short_text(struct pickle *p, const char *text)
{
    op_count(p, '\x8c', strlen(text), 1);
    op(p, text, strlen(text));
}

/* Python 3, protocol 5: numpy.core.numeric._frombuffer (numpy 2: numpy._core) of a bytearray; the
 * flags as one array of bool, all through the memo as Python writes it. */
static void python3_buffers_are_read(void **state)
{
    (void)state;
    static const char *const modules[] = {"numpy.core.numeric", "numpy._core.numeric"};
    for (int m = 0; m < 2; m++) {
        struct pickle p = {0};
        OP(&p, "\x80\x05]\x94(");
        for (int i = 0; i < 5; i++) { /* the fifth array is the flags */
            const char image[2] = {i < 4 ? 'i' : 1, i < 4 ? (char)('0' + i) : 0};
            if (i == 4) {
                OP(&p, "e");
            }
            short_text(&p, modules[m]);
            short_text(&p, "_frombuffer");
            OP(&p, "\x93(");
            op_count(&p, '\x96', 2, 8);
            op(&p, image, 2);
            short_text(&p, "numpy");
            short_text(&p, "dtype");
            OP(&p, "\x93");
            short_text(&p, i < 4 ? "u1" : "b1");
            OP(&p, "\x89\x88\x87R(K\x03");
            short_text(&p, "|");
            OP(&p, "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
            OP(&p, "K\x02\x85");
            short_text(&p, "C");
            OP(&p, "tR");
        }
        OP(&p, "\x86.");
        assert_toy(&p);
    }
}

/* A whole numpy array of bool as Python 2 pickles it, behind raw file bytes. */
static void python2_arrays_of_flags_are_read(void **state)
{
    (void)state;
    struct pickle p = {0};
    OP(&p, "\x80\x02](U\x02i0U\x02i1U\x02i2U\x02i3e");
    OP(&p, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01"
           "b\x87R(K\x01K\x02\x85"
           "cnumpy\ndtype\nU\x02"
           "b1K\0K\x01\x87R(K\x03U\x01|"
           "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U\x02\x01\0tb\x86.");
    assert_toy(&p);
}

static void ints_and_lists_of_other_kinds_are_read(void **state)
{
    (void)state;
    struct pickle p = {0};
    OP(&p, "\x80\x02]U\x02i0aU\x02i1aU\x02i2aU\x02i3a](K\x01K\0"
           "e\x86."); /* APPEND, BININT1 */
    assert_toy(&p);
    struct pickle q = {0};
    OP(&q, "\x80\x02((U\x02i0U\x02i1U\x02i2U\x02i3l(\x88\x89lt."); /* MARK ... LIST, TUPLE */
    assert_toy(&q);
}

static void python3_files_are_read(void **state)
{
    (void)state;
    struct cask_error err = {0};
    char path[600], *list, *rest = NULL;
    size_t bytes;
    int files = 0;
    snprintf(path, sizeof path, "%s/tests/golden/bins/expected.txt", getenv("CASK_SOURCE"));
    assert_ok(cask_file_read_all(path, 1 << 20, &list, &bytes, &err));
    for (char *line = strtok_r(list, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        struct cask_pairs *pairs;
        struct cask_encoded encoded = {0};
        char name[64];
        unsigned crc[6];
        int count, same[3];
        assert_int_equal(sscanf(line, "%63s %d %x %x %x %x %x %x %d %d %d", name, &count, &crc[0],
                                &crc[1], &crc[2], &crc[3], &crc[4], &crc[5], &same[0], &same[1],
                                &same[2]),
                         11);
        snprintf(path, sizeof path, "%s/tests/golden/bins/%s", getenv("CASK_SOURCE"), name);
        assert_ok(cask_pairs_open_bin(path, &pairs, &err));
        assert_int_equal(cask_pairs_count(pairs), count);
        for (int i = 0; i < 6; i++) {
            assert_ok(cask_pairs_read(pairs, i, &encoded, &err));
            assert_int_equal(cask_crc32(0, encoded.data, encoded.bytes), crc[i]);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(cask_pairs_at(pairs, i)->same, same[i]);
        }
        cask_encoded_release(&encoded);
        cask_pairs_close(pairs);
        files++;
    }
    assert_int_equal(files, 13);
    cask_free(list);
}

static void refusals_name_what_was_found(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs;
#define ROW(text, status, message)                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1, status, message                                                    \
    }
    static const struct {
        const char *data;
        size_t bytes;
        enum cask_status status;
        const char *message;
    } rows[] = {
        ROW("", CASK_ERR_FORMAT, "toy.bin: "),
        ROW("\x80\x02]](\x88"
            "e\x86",
            CASK_ERR_FORMAT, "toy.bin: "), /* no STOP */
        ROW("\x80\x02K\x01.", CASK_ERR_FORMAT, "expected a pickle of (list of images"),
        ROW("\x80\x02]]]\x87.", CASK_ERR_FORMAT, "found tuple of 3"),
        ROW("\x80\x02]]\x86.", CASK_ERR_FORMAT, "expected two images for each of 0"),
        ROW("\x80\x02](U\x01"
            "aU\x01"
            "be](\x88\x89"
            "e\x86.",
            CASK_ERR_FORMAT, "each of 2 issame flags, found 2 images"),
        ROW("\x80\x02](U\x01"
            "aK\x05"
            "e](\x88"
            "e\x86.",
            CASK_ERR_FORMAT,
            "byte 7: image 1: expected bytes or a numpy array of uint8, found int"),
        ROW("\x80\x02](U\x01"
            "aU\x01"
            "be](K\x02"
            "e\x86.",
            CASK_ERR_FORMAT, "issame of pair 0: expected a bool, 0 or 1, found int"),
        ROW("\x80\x02](U\x01"
            "aU\x01"
            "be](Ne\x86.",
            CASK_ERR_FORMAT, "found None"),
        ROW("\x80\x02"
            "cos\nsystem\nU\x02ls\x85R.",
            CASK_ERR_UNSUPPORTED, "os.system"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(rows[i].status, rows[i].message,
                       open_bytes(rows[i].data, rows[i].bytes, &pairs, &err));
        assert_null(pairs);
    }
    char path[600];
    snprintf(path, sizeof path, "%s/tests/golden/bins/bytes_bool_p0.bin", getenv("CASK_SOURCE"));
    assert_refused(CASK_ERR_UNSUPPORTED, "bytes_bool_p0.bin: expected an insightface .bin",
                   cask_pairs_open_bin(path, &pairs, &err));
    assert_refused(CASK_ERR_IO, "missing.bin",
                   cask_pairs_open_bin("/nowhere/missing.bin", &pairs, &err));
}

static void numpy_arrays_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    static const struct {
        const char *shape, *dtype;
    } rows[] = {{"K\x03K\x01\x86", "u1"},
                {"K\x02K\x01\x86", "f4"},
                {"J\xff\xff\xff\xffK\x01\x86", "u1"},
                {"N", "u1"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pickle p = {0};
        const char *shape = rows[i].shape;
        OP(&p, "\x80\x02](U\x01x");
        OP(&p, "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01"
               "b\x87R(K\x01");
        op(&p, shape, strlen(shape));
        OP(&p, "cnumpy\ndtype\nU\x02");
        op(&p, rows[i].dtype, 2);
        OP(&p, "K\0K\x01\x87R\x89U\x02i0tbe](\x88"
               "e\x86.");
        assert_refused(CASK_ERR_FORMAT,
                       "image 1: expected bytes or a numpy array of uint8, found object",
                       open_bytes(p.data, p.bytes, &pairs, &err));
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_pairs *pairs;
    char path[600], *data;
    size_t bytes;
    snprintf(path, sizeof path, "%s/tests/golden/bins/numpy_npbool_p4.bin", getenv("CASK_SOURCE"));
    assert_ok(cask_file_read_all(path, 1 << 20, &data, &bytes, &err));
    for (size_t cut = 0; cut < bytes; cut += 97) {
        assert_refused(CASK_ERR_FORMAT, "toy.bin", open_bytes(data, cut, &pairs, &err));
    }
    cask_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_string_writer_is_read),
        cmocka_unit_test(python2_numpy_arrays_are_read),
        cmocka_unit_test(python3_buffers_are_read),
        cmocka_unit_test(python2_arrays_of_flags_are_read),
        cmocka_unit_test(ints_and_lists_of_other_kinds_are_read),
        cmocka_unit_test(python3_files_are_read),
        cmocka_unit_test(refusals_name_what_was_found),
        cmocka_unit_test(numpy_arrays_that_do_not_fit_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
