/* The pickle machine: what Python writes is read, what Python would call is written down, what is
 * damaged is refused with opcode and offset. Byte strings below were made by CPython 3.11's pickle
 * module unless a comment says otherwise. */
#include "common/pickle.h"
#include "tests/support/test.h"

enum { ARRAY = 0, DTYPE = 1 };
static const struct cask_pickle_global globals[] = {
    {"collections", "OrderedDict", CASK_PICKLE_MAKES_DICT},
    {"_codecs", "encode", CASK_PICKLE_MAKES_LATIN1},
    {"numpy.core.multiarray", "_reconstruct", ARRAY},
    {"numpy", "dtype", DTYPE},
    {"numpy", "ndarray", 2},
};
static const struct cask_pickle_options strict = {.globals = globals, .global_count = 5};
static const struct cask_pickle_options tolerant = {
    .globals = globals, .global_count = 5, .tolerant = true, .persistent = true};

static enum cask_status parse(const char *text, size_t bytes,
                              const struct cask_pickle_options *options,
                              struct cask_pickle **pickle, struct cask_error *err)
{
    *pickle = NULL;
    return cask_pickle_parse((const uint8_t *)text, bytes, options, pickle, NULL, err);
}
#define PARSE(literal, options) parse(literal, sizeof(literal) - 1, options, &pickle, &err)

static void scalars(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    /* pickle.dumps((None, True, False, 5, 70000, -3, 1 << 40, -(1 << 70), 1.5, b"ab", "\u00e9"), 2)
     * with protocol 3 for the bytes */
    assert_ok(PARSE(
        "\x80\x03(N\x88\x89K\x05Jp\x11\x01\x00J\xfd\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01"
        "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xc0G\x3f\xf8\x00\x00\x00\x00\x00\x00"
        "C\x02"
        "abq\x00X\x02\x00\x00\x00\xc3\xa9q\x01tq\x02.",
        &strict));
    const struct cask_pickle_value *root = cask_pickle_root(pickle);
    assert_int_equal(root->kind, CASK_PICKLE_TUPLE);
    assert_int_equal(cask_pickle_size(root), 11);
    static const int64_t integers[] = {1, 0, 5, 70000, -3, (int64_t)1 << 40};
    for (size_t i = 0; i < 6; i++) {
        int64_t got = -99;
        assert_true(cask_pickle_as_int(cask_pickle_at(root, i + 1), &got));
        assert_int_equal(got, integers[i]);
    }
    assert_int_equal(cask_pickle_at(root, 0)->kind, CASK_PICKLE_NONE);
    assert_int_equal(cask_pickle_at(root, 7)->kind, CASK_PICKLE_LONG);
    assert_int_equal(cask_pickle_at(root, 7)->text.bytes, 9);
    assert_close(cask_pickle_at(root, 8)->real, 1.5, 0);
    assert_true(cask_pickle_is_text(cask_pickle_at(root, 9), "ab"));
    assert_int_equal(cask_pickle_at(root, 9)->kind, CASK_PICKLE_BYTES);
    assert_true(cask_pickle_is_text(cask_pickle_at(root, 10), "\xc3\xa9"));
    assert_null(cask_pickle_at(root, 11));
    cask_pickle_free(pickle);
}

static void protocol_4(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    /* pickle.dumps({"a": [1, 2], "b": {"c": ()}, "d": bytearray(b"xyz")}, 5) */
    assert_ok(PARSE("\x80\x05\x95\x2e\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01"
                    "a\x94]\x94(K\x01K\x02"
                    "e\x8c\x01"
                    "b\x94}\x94\x8c\x01"
                    "c\x94)s\x8c\x01"
                    "d\x94\x96\x03\x00\x00\x00\x00\x00\x00\x00xyz\x94u.",
                    &strict));
    const struct cask_pickle_value *root = cask_pickle_root(pickle);
    assert_int_equal(root->kind, CASK_PICKLE_DICT);
    assert_int_equal(cask_pickle_size(root), 3);
    assert_int_equal(cask_pickle_size(cask_pickle_get(root, "a")), 2);
    const struct cask_pickle_value *c = cask_pickle_get(cask_pickle_get(root, "b"), "c");
    assert_non_null(c);
    assert_int_equal(c->kind, CASK_PICKLE_TUPLE);
    assert_true(cask_pickle_is_text(cask_pickle_get(root, "d"), "xyz"));
    assert_null(cask_pickle_get(root, "z"));
    cask_pickle_free(pickle);
}

static void calls_are_written_down(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    /* Python 2 style array: _reconstruct(ndarray, (0,), "b"), BUILD (1, (2,), dtype("u1", 0, 1),
     * False, "AB") */
    assert_ok(PARSE("\x80\x02"
                    "cnumpy.core.multiarray\n_reconstruct\nq\x01"
                    "cnumpy\nndarray\nK\x00\x85U\x01"
                    "b\x87R"
                    "(K\x01K\x02\x85"
                    "cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89U\x02"
                    "ABtb.",
                    &strict));
    const struct cask_pickle_value *array = cask_pickle_root(pickle);
    assert_non_null(cask_pickle_args(array, ARRAY));
    assert_null(cask_pickle_args(array, DTYPE));
    assert_int_equal(cask_pickle_size(array->call.state), 5);
    const struct cask_pickle_value *dtype = cask_pickle_at(array->call.state, 2);
    assert_true(cask_pickle_is_text(cask_pickle_at(cask_pickle_args(dtype, DTYPE), 0), "u1"));
    assert_true(cask_pickle_is_text(cask_pickle_at(array->call.state, 4), "AB"));
    cask_pickle_free(pickle);

    /* pickle.dumps(b"\xff\x01A", 2) in Python 3 */
    assert_ok(PARSE("\x80\x02"
                    "c_codecs\nencode\nq\x00X\x04\x00\x00\x00\xc3\xbf\x01"
                    "Aq\x01X\x06\x00\x00\x00latin1q\x02\x86q\x03Rq\x04.",
                    &strict));
    assert_true(cask_pickle_is_text(cask_pickle_root(pickle), "\xff\x01"
                                                              "A"));
    cask_pickle_free(pickle);

    /* OrderedDict([("k", 7)]) as Python 2 writes it, with a BUILD on top */
    assert_ok(PARSE("\x80\x02"
                    "ccollections\nOrderedDict\n]]U\x01kaK\x07"
                    "aa\x85R}U\x09_metadataK\x01sb.",
                    &strict));
    int64_t seven = 0;
    assert_true(cask_pickle_as_int(cask_pickle_get(cask_pickle_root(pickle), "k"), &seven));
    assert_int_equal(seven, 7);
    cask_pickle_free(pickle);
}

static void unknown_globals(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    /* the classic attack: os.system("id") */
#define ATTACK                                                                                     \
    "\x80\x02"                                                                                     \
    "cos\nsystem\nX\x02\x00\x00\x00id\x85R."
    assert_refused(CASK_ERR_UNSUPPORTED,
                   "pickle opcode GLOBAL at byte 2: global os.system is not allowed",
                   PARSE(ATTACK, &strict));
    assert_null(pickle);
    assert_ok(PARSE(ATTACK, &tolerant));
    assert_string_equal(cask_pickle_first_unknown(pickle)->global.name, "system");
    assert_int_equal(cask_pickle_first_unknown(pickle)->offset, 2);
    assert_null(cask_pickle_args(cask_pickle_root(pickle), 0));
    cask_pickle_free(pickle);
    /* an unknown dict subclass is filled, the dict around it survives */
    assert_ok(PARSE("\x80\x02}(X\x01\x00\x00\x00hcpl\nAttributeDict\n)\x81("
                    "X\x01\x00\x00\x00xK\x01uX\x01\x00\x00\x00vK\x09u.",
                    &tolerant));
    int64_t nine = 0;
    assert_true(cask_pickle_as_int(cask_pickle_get(cask_pickle_root(pickle), "v"), &nine));
    assert_int_equal(nine, 9);
    cask_pickle_free(pickle);
    assert_refused(CASK_ERR_UNSUPPORTED, "persistent id", PARSE("\x80\x02K\x01Q.", &strict));
    assert_refused(CASK_ERR_UNSUPPORTED, "pickle opcode 0x69 at byte 2",
                   PARSE("\x80\x02i.", &tolerant));
}

static void damage(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    assert_refused(CASK_ERR_FORMAT, "without STOP", PARSE("\x80\x02K\x01", &strict));
    assert_refused(CASK_ERR_FORMAT,
                   "opcode BINUNICODE at byte 2: it needs 16 more bytes, 1 are left",
                   PARSE("\x80\x02X\x10\x00\x00\x00z", &strict));
    assert_refused(CASK_ERR_FORMAT, "truncated",
                   PARSE("\x80\x02"
                         "cos\nsys",
                         &strict));
    assert_refused(CASK_ERR_FORMAT, "needs a value", PARSE("\x80\x02\x85.", &strict));
    assert_refused(CASK_ERR_FORMAT, "needs a MARK", PARSE("\x80\x02K\x01u.", &strict));
    assert_refused(CASK_ERR_FORMAT, "2 values are left",
                   PARSE("\x80\x02K\x01K\x01K\x01.", &strict));
    assert_refused(CASK_ERR_FORMAT, "memo slot 3 is empty", PARSE("\x80\x02h\x03.", &strict));
    assert_refused(CASK_ERR_FORMAT, "memo slot 4294967295",
                   PARSE("\x80\x02K\x01r\xff\xff\xff\xff.", &strict));
    assert_refused(CASK_ERR_FORMAT, "needs a dict, found int",
                   PARSE("\x80\x02K\x01K\x02K\x03s.", &strict));
    assert_refused(CASK_ERR_FORMAT, "key without a value", PARSE("\x80\x02}(K\x01u.", &strict));
    assert_refused(CASK_ERR_UNSUPPORTED, "protocol 9", PARSE("\x80\x09N.", &strict));
    assert_refused(CASK_ERR_FORMAT, "truncated", PARSE("", &strict));
    /* x = []; x.append(x) */
    assert_refused(CASK_ERR_UNSUPPORTED, "contains itself",
                   PARSE("\x80\x02]q\x00h\x00"
                         "a.",
                         &strict));
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_pickle *pickle = NULL;
    char text[2000];
    size_t at = 0;
    text[at++] = ')';
    for (int i = 0; i < 200; i++) {
        text[at++] = (char)0x85;
    }
    text[at++] = '.';
    assert_refused(CASK_ERR_UNSUPPORTED, "nested deeper", parse(text, at, &strict, &pickle, &err));
    /* 60 levels, each a pair of twice the level below: 2^60 leaves if walked naively */
    at = 0;
    text[at++] = ')';
    for (int i = 0; i < 60; i++) {
        memcpy(text + at, (char[]){'q', (char)i, 'h', (char)i, (char)0x86}, 5);
        at += 5;
    }
    text[at++] = '.';
    assert_ok(parse(text, at, &strict, &pickle, &err));
    cask_pickle_free(pickle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(protocol_4),
        cmocka_unit_test(calls_are_written_down),
        cmocka_unit_test(unknown_globals),
        cmocka_unit_test(damage),
        cmocka_unit_test(nesting_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
