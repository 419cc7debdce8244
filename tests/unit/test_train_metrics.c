/* metrics.jsonl: means over an interval, and no line twice after a kill. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "train/metrics.h"

static struct cask_train_config settings = {.train = {.batch = 4, .log_steps = 5}};
static struct cask_trainer trainer = {.config = &settings,
                                      .schedule = {.steps_per_epoch = 8, .total_steps = 40}};

static struct cask_metrics_options options_of(const char *folder, int64_t first_step)
{
    return (struct cask_metrics_options){.folder = folder,
                                         .train = &settings.train,
                                         .schedule = &trainer.schedule,
                                         .first_step = first_step,
                                         .stop_step = 40};
}

static char *read_lines(const char *folder)
{
    struct cask_error err;
    char path[300], *text = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    assert_ok(cask_file_read_all(path, 1 << 20, &text, &bytes, &err));
    return text;
}

static void add(struct cask_metrics *metrics, int64_t step, double total)
{
    struct cask_error err;
    struct cask_term terms[2] = {{"arcface", 1, total, 2.5, 1}, {"kd", 0.5, 10 * total, NAN, NAN}};
    struct cask_step_report report = {.step = step,
                                      .rate = 0.1,
                                      .total = total,
                                      .accuracy = 0.5,
                                      .gradient_norm = NAN,
                                      .terms = terms,
                                      .term_count = 2};
    assert_ok(cask_metrics_add(metrics, &report, 0.25, cask_metrics_due(metrics, step, 40), &err));
}

static double number(const struct cask_json *object, const char *key)
{
    double value = NAN;
    assert_true(cask_json_as_real(cask_json_get(object, key), &value));
    return value;
}

static void a_line_holds_means(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_metrics metrics = {0};
    struct cask_json *line = NULL;
    char folder[256];
    test_make_folder(folder);
    const struct cask_metrics_options options = options_of(folder, 0);
    assert_ok(cask_metrics_open(&metrics, &options, &err));
    for (int64_t step = 0; step < 7; step++) {
        add(&metrics, step, (double)step);
    }
    cask_metrics_close(&metrics);
    char *text = read_lines(folder);
    assert_ok(cask_json_parse(text, strlen(text), &line,
                              &err)); /* one line only: two would be trailing text */
    assert_close(number(line, "step"), 5, 0);
    assert_close(number(line, "epoch"), 5 / 8.0, 0);
    assert_close(number(line, "total"), 2, 1e-15);
    assert_close(number(line, "accuracy"), 0.5, 1e-15);
    assert_close(number(line, "stall_seconds"), 0.25, 1e-15);
    const struct cask_json *kd = cask_json_at(cask_json_get(line, "terms"), 1);
    assert_close(number(kd, "value"), 20, 1e-14);
    assert_close(number(kd, "weight"), 0.5, 0);
    assert_int_equal(cask_json_kind(cask_json_get(kd, "gradient_norm")), CASK_JSON_NULL);
    assert_null(cask_json_get(line, "gradient_norm")); /* clipping is off */
    cask_json_free(line);
    cask_free(text);
    test_remove_folder(folder);
}

/* Line n, from 1, contains the text. */
static bool line_has(const char *text, int n, const char *wanted)
{
    for (; n > 1 && text != NULL; n--) {
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : NULL;
    }
    const char *found = text != NULL ? strstr(text, wanted) : NULL;
    return found != NULL && found < strchr(text, '\n');
}

/* Where images come more than once an epoch ends a line, with what it drew; the next has none. */
static void an_epoch_ends_a_line_with_its_coverage(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_metrics metrics = {0};
    const struct cask_coverage drawn = {128, 60, 11, 68, 7, 2};
    char folder[256];
    test_make_folder(folder);
    const struct cask_metrics_options options = options_of(folder, 0);
    assert_ok(cask_metrics_open(&metrics, &options, &err));
    metrics.epoch_lines = true;
    for (int64_t step = 0; step < 10; step++) {
        if (step == 7) {
            cask_metrics_set_coverage(&metrics, &drawn);
        }
        add(&metrics, step, 1);
    }
    cask_metrics_close(&metrics);
    char lines[4096], *text = read_lines(folder);
    snprintf(lines, sizeof lines, "%s", text);
    cask_free(text);
    assert_true(line_has(lines, 2, "\"step\":8"));
    assert_true(line_has(lines, 2,
                         "\"coverage\":{\"draws\":128,\"images\":60,\"identities\":11,"
                         "\"repeats\":68,\"in_batch\":7,\"same_view\":2}"));
    assert_true(line_has(lines, 3, "\"step\":10"));
    assert_false(line_has(lines, 1, "coverage") || line_has(lines, 3, "coverage"));
    test_remove_folder(folder);
}

static void lines_past_the_checkpoint_go(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_metrics metrics = {0};
    char folder[256], path[300];
    static const char left[] = "{\"step\":5}\n{\"step\":10}\n{\"step\":15}\n{\"st";
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    assert_ok(cask_file_write_all(path, left, sizeof left - 1, &err));
    const struct cask_metrics_options options = options_of(folder, 12);
    assert_ok(cask_metrics_open(&metrics, &options, &err));
    char *text = read_lines(folder);
    assert_string_equal(text, "{\"step\":5}\n{\"step\":10}\n");
    cask_free(text);
    cask_metrics_close(&metrics);
    test_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_holds_means),
        cmocka_unit_test(an_epoch_ends_a_line_with_its_coverage),
        cmocka_unit_test(lines_past_the_checkpoint_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
