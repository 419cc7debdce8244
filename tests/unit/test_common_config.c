/* Config rows: defaults, YAML, --set, flags, errors, dump and load again; JSON values. */
#include "tests/support/test.h"

#include "common/config.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

static const char *const colours[] = {"red", "green", NULL};

struct settings {
    bool on;
    int64_t batch;
    double rate;
    const char *name;
    int colour;
    struct cask_config_reals steps;
    struct cask_config_texts files;
};

#define ROW(field) offsetof(struct settings, field)
static const struct cask_config_row rows[] = {
    {"on", CASK_CONFIG_BOOL, ROW(on), "true", 0, 0, NULL, NULL, "a switch"},
    {"batch", CASK_CONFIG_INT, ROW(batch), "32", 1, 512, NULL, "N", "images"},
    {"rate", CASK_CONFIG_REAL, ROW(rate), "0.1", 0, 10, NULL, "R", "learning rate"},
    {"name", CASK_CONFIG_TEXT, ROW(name), "plain", 0, 0, NULL, "TEXT", "a name"},
    {"colour", CASK_CONFIG_ENUM, ROW(colour), "red", 0, 0, colours, NULL, "a colour"},
    {"steps", CASK_CONFIG_REALS, ROW(steps), "[1, 4]", 0, 100, NULL, "X,...", "milestones"},
    {"files", CASK_CONFIG_TEXTS, ROW(files), "[]", 0, 0, NULL, "FILE", "files"},
};

struct fixture {
    struct settings top, inner;
    struct cask_config *config;
    char folder[256];
};

/* Sections hold pointers into the fixture, so it is bound where it lives. */
static void bind(struct fixture *f)
{
    struct cask_error err = {0};
    struct cask_config_section sections[] = {
        {"", rows, sizeof rows / sizeof *rows, &f->top},
        {"loss.gkd.", rows, sizeof rows / sizeof *rows, &f->inner},
    };
    assert_ok(cask_config_create(sections, 2, &f->config, &err));
    test_make_folder(f->folder);
}

static void drop(struct fixture *f)
{
    cask_config_free(f->config);
    test_remove_folder(f->folder);
}

static char *write_file(const struct fixture *f, const char *name, const char *text)
{
    struct cask_error err = {0};
    char *path = cask_format("%s/%s", f->folder, name);
    assert_ok(cask_file_write_all(path, text, strlen(text), &err));
    return path;
}

static void defaults_are_bound(void **state)
{
    (void)state;
    struct fixture f = {0};
    bind(&f);
    assert_true(f.top.on);
    assert_int_equal(f.inner.batch, 32);
    assert_close(f.inner.rate, 0.1, 0);
    assert_string_equal(f.top.name, "plain");
    assert_int_equal(f.top.steps.count, 2);
    assert_close(f.top.steps.values[1], 4, 0);
    assert_int_equal(f.top.files.count, 0);
    assert_false(cask_config_given(f.config, "batch"));
    drop(&f);
}

static void yaml_set_and_extends(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct cask_error err = {0};
    bind(&f);
    char *base = write_file(&f, "base.yaml", "batch: 64\nname: base\n");
    char *path = write_file(&f, "a.yaml",
                            "extends: base.yaml\n# comment\nname: \"a: b\"\nloss:\n  gkd:\n"
                            "    rate: 2.5\n    steps: [3, 5.5, 7]\n    files: [x, \"y z\"]\n");
    assert_ok(cask_config_load_file(f.config, path, &err));
    assert_ok(cask_config_set(f.config, "loss.gkd.colour=green", "--set", &err));
    assert_int_equal(f.top.batch, 64);
    assert_string_equal(f.top.name, "a: b");
    assert_close(f.inner.rate, 2.5, 0);
    assert_int_equal(f.inner.steps.count, 3);
    assert_close(f.inner.steps.values[1], 5.5, 0);
    assert_string_equal(f.inner.files.values[1], "y z");
    assert_int_equal(f.inner.colour, 1);
    assert_true(cask_config_given(f.config, "loss.gkd.rate"));

    /* What is dumped loads back to the same dump. */
    char *dump = cask_config_dump(f.config);
    struct fixture g = {0};
    bind(&g);
    char *copy = write_file(&g, "dump.yaml", dump);
    assert_ok(cask_config_load_file(g.config, copy, &err));
    char *again = cask_config_dump(g.config);
    assert_string_equal(dump, again);
    cask_free(dump);
    cask_free(again);
    cask_free(copy);
    cask_free(base);
    cask_free(path);
    drop(&f);
    drop(&g);
}

/* A path may hold anything; so may a dump, which has one line for each key. */
static void any_text_comes_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "a\"b\\c",
        "two\nlines\r\n",
        " tabs\tand spaces ",
        "\x01\x1b\x7f",
        "caf\xc3\xa9",
        "\xc2\x85\xc2\x90",
        "\xe2\x80\xa8\xe2\x80\xa9",
        "\xef\xbb\xbf\xef\xbf\xbe",
        "\xf0\x9f\x98\x80",
        "# no: comment",
        "- [x], {y}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct fixture f = {0}, g = {0};
        struct cask_error err = {0};
        bind(&f);
        bind(&g);
        assert_ok(cask_config_set_value(f.config, "name", texts[i], "test", &err));
        f.top.files = (struct cask_config_texts){{texts[i], "x"}, 2};
        char *dump = cask_config_dump(f.config);
        char *path = write_file(&g, "dump.yaml", dump);
        assert_ok(cask_config_load_file(g.config, path, &err));
        assert_string_equal(g.top.name, texts[i]);
        assert_int_equal(g.top.files.count, 2);
        assert_string_equal(g.top.files.values[0], texts[i]);
        cask_free(dump);
        cask_free(path);
        drop(&f);
        drop(&g);
    }
}

static void long_and_foreign_texts_are_refused(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct cask_error err = {0};
    char text[4200];
    bind(&f);
    memset(text, 'x', sizeof text);
    text[4096] = 0;
    assert_ok(cask_config_set_value(f.config, "name", text, "test", &err));
    text[4096] = 'x';
    text[4097] = 0;
    assert_refused(CASK_ERR_USAGE, "name: expected at most 4096 bytes",
                   cask_config_set_value(f.config, "name", text, "test", &err));
    assert_refused(CASK_ERR_USAGE, "files: expected text in UTF-8",
                   cask_config_set_value(f.config, "files", "a,caf\xe9", "test", &err));
    drop(&f);
}

/* Eight files deep and wide: without a bound on their number this would take years. */
static void extends_is_bounded(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct cask_error err = {0};
    bind(&f);
    char *first = NULL;
    for (int i = 0; i < 8; i++) {
        char name[16], text[200] = "extends: [";
        snprintf(name, sizeof name, "%d.yaml", i);
        for (int k = 0; k < 10; k++) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d.yaml",
                     k > 0 ? ", " : "", i + 1);
        }
        strcat(text, "]\n");
        char *path = write_file(&f, name, i < 7 ? text : "batch: 3\n");
        if (i == 0) {
            first = path;
        } else {
            cask_free(path);
        }
    }
    assert_refused(CASK_ERR_USAGE, "more than 256 files in all",
                   cask_config_load_file(f.config, first, &err));
    cask_free(first);
    drop(&f);
}

static void refusals_name_place_and_way_out(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *message;
    } cases[] = {
        {"batsh: 3\n", "bad.yaml:1: unknown key 'batsh'; did you mean 'batch'?"},
        {"on: true\nloss:\n  gkd:\n    rat: 1\n",
         "bad.yaml:4: unknown key 'loss.gkd.rat'; did you mean 'loss.gkd.rate'"},
        {"batch: 1000\n", "bad.yaml:1: batch: expected 1 to 512, found '1000'"},
        {"batch: x\n", "expected a whole number"},
        {"rate: nan\n", "expected a number"},
        {"rate: [1, 2]\n", "expected one value"},
        {"colour: blue\n", "one of red, green, found 'blue'"},
        {"on: maybe\n", "true or false"},
        {"batch: 3\nbatch: 4\n", "set twice"},
        {"batch: &x 3\n", "anchors"},
        {"batch: !!int 3\n", "tags"},
        {"- 1\n- 2\n", "expected 'key: value' lines"},
        {"batch: [1\n", "not YAML"},
        {"batch: 3\n---\nbatch: 4\n", "one YAML document"},
        {"steps: [1, [2]]\n", "plain values"},
        {"extends: bad.yaml\n", "extend one another"},
        {"extends: missing.yaml\n", "bad.yaml:1: extends: there is no file"},
        {"batch: 3\nextends: x.yaml\n", "before every other key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f = {0};
        struct cask_error err = {0};
        bind(&f);
        char *path = write_file(&f, "bad.yaml", cases[i].yaml);
        enum cask_status st = cask_config_load_file(f.config, path, &err);
        if (st == CASK_OK || strstr(err.message, cases[i].message) == NULL) {
            fail_msg("%s: expected '%s', found '%s'", cases[i].yaml, cases[i].message, err.message);
        }
        cask_free(path);
        drop(&f);
    }
}

/* main's argv may be written to, literals may not; the parser writes to neither. */
static char **argv_of(const char *const *words)
{
    return (char **)(uintptr_t)words;
}

static void flags_are_rows(void **state)
{
    (void)state;
    struct fixture f = {0};
    struct cask_error err = {0};
    bool stop = true;
    bind(&f);
    const char *const good[] = {"p",       "--batch", "8",     "--no-on",         "--files=a",
                                "--files", "b",       "--set", "loss.gkd.rate=3", NULL};
    assert_ok(cask_cli_parse(f.config, 9, argv_of(good), "usage", &stop, &err));
    assert_false(stop);
    assert_int_equal(f.top.batch, 8);
    assert_false(f.top.on);
    assert_int_equal(f.top.files.count, 2);
    assert_string_equal(f.top.files.values[1], "b");
    assert_close(f.inner.rate, 3, 0);
    const char *const unknown[] = {"p", "--bach", "8", NULL};
    assert_refused(CASK_ERR_USAGE, "unknown flag '--bach'; did you mean '--batch'",
                   cask_cli_parse(f.config, 3, argv_of(unknown), "u", &stop, &err));
    const char *const missing[] = {"p", "--batch", NULL};
    assert_refused(CASK_ERR_USAGE, "expected a value",
                   cask_cli_parse(f.config, 2, argv_of(missing), "u", &stop, &err));
    const char *const stray[] = {"p", "file", NULL};
    assert_refused(CASK_ERR_USAGE, "expected a flag",
                   cask_cli_parse(f.config, 2, argv_of(stray), "u", &stop, &err));
    drop(&f);
}

static enum cask_status see_words(void *user, struct cask_error *err)
{
    const struct settings *settings = user;
    (void)err;
    assert_string_equal(settings->name, "given");
    assert_int_equal(settings->files.count, 2);
    assert_string_equal(settings->files.values[0], "a,b"); /* a word is one text, commas and all */
    assert_string_equal(settings->files.values[1], "c");
    assert_int_equal(settings->batch, 8);
    return CASK_OK;
}

/* Words without a flag go to the row that takes them, wherever they stand. */
static void words_are_bound(void **state)
{
    (void)state;
    struct settings settings;
    struct cask_config_row taking[sizeof rows / sizeof *rows];
    const struct cask_config_section section = {"", taking, sizeof rows / sizeof *rows, &settings};
    const struct cask_cli_command command = {"usage", &section, 1, see_words, &settings};
    const char *const list[] = {"p", "--name", "given", "a,b", "--batch=8", "c", NULL};
    const char *const one[] = {"p", "--files", "a,b", "given", "--files",
                               "c", "--batch", "8",   NULL};
    const char *const two[] = {"p", "--files", "a", "given", "given", NULL};
    const char *const both[] = {"p", "--name", "given", "given", NULL};
    const char *const dash[] = {"p", "-x", NULL};
    struct cask_error err;
    memcpy(taking, rows, sizeof rows);
    assert_refused(CASK_ERR_USAGE, "expected a flag, found 'a,b'",
                   cask_cli_run(&command, 6, argv_of(list), &err));
    taking[6].type = CASK_CONFIG_WORDS; /* files */
    assert_ok(cask_cli_run(&command, 6, argv_of(list), &err));
    taking[6].type = CASK_CONFIG_TEXTS;
    taking[3].type = CASK_CONFIG_WORD; /* name */
    assert_ok(cask_cli_run(&command, 8, argv_of(one), &err));
    assert_refused(CASK_ERR_USAGE, "expected one TEXT, found 'given' too",
                   cask_cli_run(&command, 5, argv_of(two), &err));
    assert_refused(CASK_ERR_USAGE, "expected one TEXT, found 'given' too",
                   cask_cli_run(&command, 4, argv_of(both), &err));
    assert_refused(CASK_ERR_USAGE, "expected a flag, found '-x'",
                   cask_cli_run(&command, 2, argv_of(dash), &err));
}

static void commands_are_found(void **state)
{
    (void)state;
    static const struct {
        struct cask_cli_about about;
        int number;
    } table[] = {{{"info", "says"}, 1}, {{"verify", "checks"}, 2}};
    struct cask_error err;
    const void *row = NULL;
    assert_ok(cask_cli_find(table, 2, sizeof *table, "verify", &row, &err));
    assert_ptr_equal(row, &table[1]);
    assert_refused(CASK_ERR_USAGE, "expected a command (info, verify), found inf; see --help",
                   cask_cli_find(table, 2, sizeof *table, "inf", &row, &err));
    assert_refused(CASK_ERR_USAGE, "(info, verify), found none",
                   cask_cli_find(table, 2, sizeof *table, "", &row, &err));
}

static void json_refuses_and_round_trips(void **state)
{
    (void)state;
    struct cask_error err = {0};
    struct cask_json *value = NULL;
    const char *text = "{\"b\":[1,2.5,\"x\"],\"a\":{\"t\":true}}";
    assert_ok(cask_json_parse(text, strlen(text), &value, &err));
    int64_t number = 0;
    assert_true(cask_json_as_int(cask_json_at(cask_json_get(value, "b"), 0), &number));
    assert_int_equal(number, 1);
    assert_false(cask_json_as_int(cask_json_get(value, "none"), &number));
    char *canonical = cask_json_dump(value, CASK_JSON_CANONICAL);
    assert_string_equal(canonical, "{\"a\":{\"t\":true},\"b\":[1,2.5,\"x\"]}");
    cask_free(canonical);
    cask_json_free(value);
    char deep[400];
    memset(deep, '[', sizeof deep);
    const char *const wrong[] = {"{\"a\":1,\"a\":2}", "[1] 2", "", "[1,", "{\"a\":nan}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_refused(CASK_ERR_FORMAT, "JSON",
                       cask_json_parse(wrong[i], strlen(wrong[i]), &value, &err));
    }
    assert_refused(CASK_ERR_FORMAT, "nested deeper",
                   cask_json_parse(deep, sizeof deep, &value, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_bound),  cmocka_unit_test(yaml_set_and_extends),
        cmocka_unit_test(any_text_comes_back), cmocka_unit_test(long_and_foreign_texts_are_refused),
        cmocka_unit_test(extends_is_bounded),  cmocka_unit_test(refusals_name_place_and_way_out),
        cmocka_unit_test(flags_are_rows),      cmocka_unit_test(words_are_bound),
        cmocka_unit_test(commands_are_found),  cmocka_unit_test(json_refuses_and_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
