/* Sweep files: rows, grids, seeds, names, and every file of configs/papers/. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "train/sweep_plan.h"

static struct cask_train_config *call_of(const char *path, int argc, char **argv)
{
    struct cask_error err;
    struct cask_train_config *call = NULL;
    bool stop = false;
    assert_ok(cask_train_config_create(&call, &err));
    assert_ok(cask_cli_parse(call->rows, argc, argv, "", &stop, &err));
    assert_ok(cask_config_set_value(call->rows, "sweep", path, "test", &err));
    return call;
}

static const struct cask_sweep_run *find(const struct cask_sweep *sweep, const char *folder)
{
    for (int i = 0; i < sweep->run_count; i++) {
        if (strcmp(sweep->runs[i].folder, folder) == 0) {
            return &sweep->runs[i];
        }
    }
    fail_msg("no run %s", folder);
    return NULL;
}

static const char text[] = "train: {batch: 16, lr: 0.5}\n"
                           "seeds: [1, 7]\n"
                           "baseline: first one\n"
                           "rows:\n"
                           "  - name: first one\n"
                           "  - name: a\n"
                           "    seeds: [1]\n"
                           "    loss: {kd: {weight: 2}}\n"
                           "    train.lr: 0.25\n"
                           "    grid:\n"
                           "      loss.kd: {temperature: [1, 4]}\n"
                           "      train.momentum: [0.5, 0.9, 0]\n"
                           "  - name: fine\n"
                           "    student.init: \"{run:first one}/student.safetensors\"\n"
                           "grid:\n"
                           "  loss.kd.weight: [1]\n"
                           "  loss.gkd.weight: [2, 3]\n";

static void rows_grids_and_seeds(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_sweep sweep;
    char folder[256], path[300];
    char program[] = "x", set[] = "--set", epochs[] = "train.epochs=3", out[] = "--out=runs";
    char *argv[] = {program, set, epochs, out};
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/sweep.yaml", folder);
    assert_ok(cask_file_write_all(path, text, sizeof text - 1, &err));
    struct cask_train_config *call = call_of(path, 4, argv);
    assert_ok(cask_sweep_open(call, 4, argv, &sweep, &err));
    assert_int_equal(sweep.row_count, 1 + 6 + 1 + 2);
    assert_int_equal(sweep.run_count, 2 + 6 + 2 + 2 * 2);
    assert_string_equal(sweep.baseline, "first one");
    assert_string_equal(sweep.rows[2].name, "a temperature=1 momentum=0.9");
    assert_string_equal(sweep.rows[8].name, "loss.kd.weight=1 loss.gkd.weight=2");

    const struct cask_sweep_run *run = find(&sweep, "a_temperature=4_momentum=0");
    assert_close(run->config->train.rate, 0.25, 0);
    assert_close(run->config->train.momentum, 0, 0);
    assert_int_equal(run->config->train.batch, 16);
    assert_int_equal(run->config->train.epochs, 3); /* the command line, on every row */
    assert_string_equal(run->config->out, "runs/a_temperature=4_momentum=0");
    assert_close(find(&sweep, "first_one")->config->train.rate, 0.5, 0);
    assert_int_equal(find(&sweep, "first_one.seed-7")->config->train.seed, 7);
    /* a student starts from the one of its own seed */
    assert_string_equal(find(&sweep, "fine")->config->student.init,
                        "runs/first_one/student.safetensors");
    assert_string_equal(find(&sweep, "fine.seed-7")->config->student.init,
                        "runs/first_one.seed-7/student.safetensors");
    cask_sweep_close(&sweep);
    cask_train_config_free(call);
    test_remove_folder(folder);
}

static void allocations_that_fail_are_reported(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_sweep sweep;
    char folder[256], path[300], program[] = "x", *argv[] = {program};
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/sweep.yaml", folder);
    assert_ok(cask_file_write_all(path, text, sizeof text - 1, &err));
    struct cask_train_config *call = call_of(path, 1, argv);
    for (long n = 1; n < 4000; n = n * 5 / 4 + 1) {
        cask_mem_fail_after(n);
        enum cask_status st = cask_sweep_open(call, 1, argv, &sweep, &err);
        cask_mem_fail_after(0);
        assert_true(st == CASK_OK || st == CASK_ERR_MEMORY);
        cask_sweep_close(&sweep);
    }
    cask_train_config_free(call);
    test_remove_folder(folder);
}

/* Every table of configs/papers/: known keys, values in range, networks that exist. */
static void shipped_tables_load(void **state)
{
    (void)state;
    struct cask_error err;
    const char *source = getenv("CASK_SOURCE");
    char folder[300], path[600], program[] = "x", *argv[] = {program}, **files = NULL;
    size_t count = 0;
    int tables = 0, rows = 0;
    snprintf(folder, sizeof folder, "%s/configs/papers", source ? source : ".");
    assert_ok(cask_folder_list(folder, &files, &count, &err));
    for (size_t i = 0; i < count; i++) {
        struct cask_sweep sweep;
        bool has_baseline = false;
        if (strncmp(files[i], "recipe-", 7) == 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        struct cask_train_config *call = call_of(path, 1, argv);
        assert_ok(cask_sweep_open(call, 1, argv, &sweep, &err));
        for (int r = 0; r < sweep.row_count; r++) {
            has_baseline = has_baseline || strcmp(sweep.rows[r].name, sweep.baseline) == 0;
        }
        if (!has_baseline) {
            fail_msg("%s: no row \"%s\" to compare with", files[i], sweep.baseline);
        }
        rows += sweep.row_count;
        tables++;
        cask_sweep_close(&sweep);
        cask_train_config_free(call);
    }
    cask_folder_list_free(files, count);
    assert_true(tables >= 11 && rows >= 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_grids_and_seeds),
        cmocka_unit_test(allocations_that_fail_are_reported),
        cmocka_unit_test(shipped_tables_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
