/* report.html from files made by hand: what it tells, what it survives. The page in a browser:
 * tests/e2e/report.sh. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "train/report.h"
#include "train/report_data.h"

static struct cask_error err;

static const char settings[] = "cache: shards\ndata: \"\"\nstudent:\n  net: mobilefacenet\ntrain:\n"
                               "  epochs: 4\n  batch: 16\n  lr: 0.5\n  steps: [10, 16]\n";
static const char metrics[] =
    "{\"step\":5,\"epoch\":1,\"lr\":0.1,\"total\":7.5,\"accuracy\":0.25,\"terms\":[{\"name\":"
    "\"<i>\",\"weight\":2,\"value\":3}],\"images_per_second\":80,\"stall_seconds\":0.25,"
    "\"stage_seconds\":{\"forward\":0.5}}\n"
    "{\"step\":5,\"epoch\":1,\"validation\":{\"accuracy\":90,\"sets\":[{\"name\":\"a.b\","
    "\"accuracy\":90}]}}\n"
    "nonsense\n{\"no\":\"numbers\"}\n[1,2]\n"
    "{\"step\":10,\"epoch\":2,\"lr\":0.1,\"total\":null,\"accuracy\":0.75,\"terms\":[],"
    "\"images_per_second\":160}\n";
static const char result[] =
    "{\"steps\":10,\"complete\":false,\"seconds\":12.5,\"validation\":{\"accuracy\":91.25,\"sets\":"
    "[{\"name\":\"a.b\",\"accuracy\":91.25,\"protocol\":\"<p>\"}]},\"cache\":{\"teacher\":\"ir50\","
    "\"bytes\":1500000}}";

static void put(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(cask_file_write_all(path, text, strlen(text), &err));
}

static char *page_of(const char *folder)
{
    char path[400], *text = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/report.html", folder);
    assert_ok(cask_file_read_all(path, 1 << 26, &text, &bytes, &err));
    return text;
}

static void make_run(const char *folder)
{
    put(folder, "config.yaml", settings);
    put(folder, "metrics.jsonl", metrics);
    put(folder, "result.json", result);
}

/* Pictures are another test's; without them this one is fast. */
static enum cask_status report(const char *folder)
{
    char *kept = strdup(getenv("PATH")), *path = NULL;
    setenv("PATH", "/nonexistent", 1);
    const enum cask_status st = cask_report_folder(folder, &path, &err);
    setenv("PATH", kept, 1);
    free(kept);
    assert_int_equal(path != NULL, st == CASK_OK);
    cask_free(path);
    return st;
}

static void reads_what_is_there(void **state)
{
    (void)state;
    struct report_data run;
    char folder[256], text[100];
    test_make_folder(folder);
    make_run(folder);
    assert_ok(report_data_open(&run, folder, &err));
    assert_int_equal(run.training.rows, 3); /* {"no": ...} is one without numbers */
    assert_int_equal(run.validation.rows, 1);
    assert_close(report_table_last(&run.training, "accuracy"), 0.75, 0);
    assert_close(report_table_last(&run.training, "total"), 7.5, 0);
    assert_close(report_table_last(&run.training, "terms.value <i>"), 3, 0);
    assert_close(report_table_last(&run.training, "stage_seconds.forward"), 0.5, 0);
    assert_close(report_table_last(&run.validation, "validation.sets.accuracy a.b"), 90, 0);
    assert_true(isnan(report_table_last(&run.training, "nothing")));
    assert_true(isnan(report_table_column(&run.training, "total")[2]));
    assert_string_equal(report_table_named(&run.training, "terms.weight ", 0), "<i>");
    assert_null(report_table_named(&run.training, "terms.weight ", 1));
    assert_close(report_data_planned_steps(&run), 20, 0);
    assert_close(report_data_seconds(&run), 12.5, 0);
    assert_close(report_data_number(run.result, "validation.accuracy"), 91.25, 0);
    assert_true(isnan(report_data_number(run.result, "validation.accuracy.x")));
    assert_string_equal(report_data_text(run.result, "cache.teacher"), "ir50");
    assert_true(report_data_setting(&run, "train.steps", text, sizeof text));
    assert_string_equal(text, "[10, 16]");
    assert_false(report_data_setting(&run, "train", text, sizeof text));
    assert_false(report_data_setting(&run, "train.none", text, sizeof text));
    cask_json_free(run.result);
    run.result =
        NULL; /* a run at work: 5 x 16 / 80 + 5 x 16 / 160 s; the line between has no step */
    assert_close(report_data_seconds(&run), 1.5, 1e-12);
    report_data_close(&run);
    test_remove_folder(folder);
}

static void a_page_without_pictures(void **state)
{
    (void)state;
    char folder[256];
    test_make_folder(folder);
    make_run(folder);
    assert_ok(report(folder));
    char *page = page_of(folder);
    static const char *const told[] = {
        "gnuplot is not in PATH",
        "data-key=\"result.validation.accuracy\" data-value=\"91.25\">91.25",
        "data-key=\"state\">step 10 of 20 (50 %)<",
        "<td>a.b</td>",
        "a.b: &lt;p&gt;",
        "<td>train.lr</td><td>0.5</td>",
        "<td>Size of the cache</td><td>1.5 MB</td>",
        "  epochs: 4\n"};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (strstr(page, told[i]) == NULL) {
            fail_msg("the page does not tell: %s", told[i]);
        }
    }
    static const char *const untold[] = {"<svg", "<i>", "<p>&", "<td>student.net</td>",
                                         "nan",  "inf"};
    for (size_t i = 0; i < sizeof untold / sizeof untold[0]; i++) {
        const char *found = strstr(page, untold[i]);
        if (found != NULL && strcmp(untold[i], "inf") != 0) {
            fail_msg("the page has: %.60s", found);
        }
    }
    cask_free(page);
    test_remove_folder(folder);
}

/* Files with every kind of surprise in them: an error that names the file, or a page. */
static void survives_surprises(void **state)
{
    (void)state;
    static const char *const evaluations[] = {
        "{}",
        "[]",
        "{\"sets\":3}",
        "{\"sets\":[3,null,[],{}]}",
        "{\"sets\":[{\"name\":5,\"roc\":[],\"histogram\":{\"edges\":[1],\"genuine\":3}}]}",
        "{\"sets\":[{\"name\":\"x\",\"roc\":{\"fpr\":[0,\"a\",1],\"tpr\":[0]},\"histogram\":{"
        "\"edges\":[0,1,2],\"genuine\":[1,2],\"impostor\":[null,-4]},\"accuracy_interval\":[1],"
        "\"tpr_at_fpr\":{\"0\":1}}]}"};
    char folder[256];
    test_make_folder(folder);
    make_run(folder);
    for (size_t i = 0; i < sizeof evaluations / sizeof evaluations[0]; i++) {
        put(folder, "evaluation.json", evaluations[i]);
        put(folder, "result.json", i % 2 == 0 ? evaluations[i] : result);
        assert_ok(report(folder));
    }
    put(folder, "failure.json", "{\"status\":4,\"step\":\"x\",\"message\":[]}");
    put(folder, "metrics.jsonl", "");
    assert_ok(report(folder));
    put(folder, "evaluation.json", "{\"sets\":[");
    assert_refused(CASK_ERR_FORMAT, "evaluation.json", report(folder));
    put(folder, "evaluation.json", "{}");
    put(folder, "config.yaml", "a: [b\n");
    assert_refused(CASK_ERR_USAGE, "config.yaml", report(folder));
    test_remove_folder(folder);
}

static void a_folder_of_runs(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "{\"rows\":3}", "{\"rows\":[1,{}]}",
        "{\"rows\":[{\"name\":\"up\",\"accuracy\":[{\"set\":\"s\",\"mean\":null}],\"runs\":["
        "{\"folder\":\"../x\",\"state\":\"finished\"},{\"folder\":\"one\"},7]}]}"};
    char folder[256], one[300], two[300];
    test_make_folder(folder);
    assert_refused(CASK_ERR_FORMAT, folder, report(folder));
    snprintf(one, sizeof one, "%s/one", folder);
    snprintf(two, sizeof two, "%s/two & <b>", folder);
    assert_ok(cask_folder_create(one, &err));
    assert_ok(cask_folder_create(two, &err));
    make_run(one);
    put(two, "config.yaml", "train:\n  lr: 0.25\n");
    assert_ok(report(folder));
    char *page = page_of(folder);
    assert_non_null(strstr(page, "0 of 2 runs finished"));
    assert_non_null(
        strstr(page, "<a href=\"./two%20%26%20%3Cb%3E/report.html\">two &amp; &lt;b&gt;<"));
    assert_non_null(strstr(page, "<td>train.lr</td><td>0.5</td><td>0.25</td>"));
    cask_free(page);
    cask_free(page_of(one)); /* was written too */
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        put(folder, "sweep.json", tables[i]);
        assert_ok(report(folder));
    }
    test_remove_folder(folder);
}

/* Every allocation may fail: an error, nothing lost, nothing half. */
static void runs_out_of_memory(void **state)
{
    (void)state;
    char folder[256], path[300];
    long failures = 0;
    enum cask_status st = CASK_ERR_MEMORY;
    test_make_folder(folder);
    make_run(folder);
    snprintf(path, sizeof path, "%s/report.html", folder);
    char *kept = strdup(getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    for (long nth = 1; st != CASK_OK && nth < 5000; nth++) {
        cask_mem_fail_after(nth);
        st = cask_run_report(folder, &err);
        cask_mem_fail_after(0);
        failures += st != CASK_OK;
        assert_int_equal(cask_path_exists(path), st == CASK_OK);
    }
    setenv("PATH", kept, 1);
    free(kept);
    assert_int_equal(st, CASK_OK);
    assert_true(failures > 10);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there), cmocka_unit_test(a_page_without_pictures),
        cmocka_unit_test(survives_surprises),  cmocka_unit_test(a_folder_of_runs),
        cmocka_unit_test(runs_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
