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

/* What the papers print of each row, as keys and values separated by blanks. "*": every row. */
static const struct {
    const char *file, *row, *values;
} published[] = {
    {"gkd-table1-groups", "*",
     "student.net=mobilefacenet student.preprocess=rgb:127.5:128 train.batch=1024 train.lr=0.1 "
     "train.momentum=0.9 train.weight_decay=5e-4 train.schedule=step train.steps=[10,18,24] "
     "train.gamma=0.1 train.mirror=true head.kind=arcface head.scale=64 head.margin=0.5"},
    {"gkd-table1-groups", "KD", "loss.kd.weight=1 loss.kd.temperature=4 loss.kd.t_squared=true"},
    {"gkd-table1-groups", "P", "loss.gkd.lambda_primary=8 loss.gkd.lambda_binary=0"},
    {"gkd-table1-groups", "P+B",
     "loss.gkd.lambda_primary=8 loss.gkd.lambda_binary=1 loss.gkd.lambda_secondary=0 "
     "loss.gkd.tau=0.93 loss.gkd.variant=paper"},
    {"gkd-table1-groups", "P+B+S",
     "loss.gkd.lambda_primary=p_phi loss.gkd.lambda_binary=1 loss.gkd.lambda_secondary=1-p_phi"},
    {"gkd-tau", "*", "loss.gkd.weight=1 loss.gkd.lambda_primary=8 loss.gkd.lambda_binary=1"},
    {"gkd-tau", "tau=0.91", "loss.gkd.tau=0.91"},
    {"gkd-tau", "tau=0.99", "loss.gkd.tau=0.99"},
    {"gkd-lambda", "*", "loss.gkd.tau=0.93 loss.gkd.weight=1"},
    {"gkd-lambda", "l1=p_phi", "loss.gkd.lambda_primary=p_phi loss.gkd.lambda_binary=1"},
    {"gkd-lambda", "l1=2", "loss.gkd.lambda_primary=2 loss.gkd.lambda_binary=1"},
    {"gkd-lambda", "l1=4", "loss.gkd.lambda_primary=4 loss.gkd.lambda_binary=1"},
    {"gkd-lambda", "l1=10", "loss.gkd.lambda_primary=10 loss.gkd.lambda_binary=1"},
    {"gkd-lambda", "l2=2", "loss.gkd.lambda_primary=8 loss.gkd.lambda_binary=2"},
    {"gkd-masked", "*", "head.kind=cosface head.margin=0.4 head.scale=64"},
    {"gkd-ir18", "*", "student.net=tface_ir18 head.kind=arcface head.margin=0.5 train.lr=0.1"},
    {"gkd-code", "*",
     "student.net=mbf student.preprocess=rgb:127.5:127.5 train.epochs=20 train.batch=1024 "
     "train.nesterov=true train.schedule=cosine train.warmup_epochs=4 train.weight_decay=5e-4 "
     "train.decay_on=all train.clip=0 head.kind=cosface head.margin=0.4 head.scale=64"},
    {"gkd-code", "GKD fixed k",
     "loss.gkd.lambda_primary=8 loss.gkd.lambda_binary=1 loss.gkd.variant=code "
     "loss.gkd.selection=by_variant loss.gkd.ramp_epochs=10"},
    {"gkd-code", "GKD adaptive",
     "loss.gkd.lambda_primary=4 loss.gkd.selection=batch loss.gkd.selection_temperature=1 "
     "loss.gkd.tau=0.93 loss.gkd.ramp_epochs=10"},
    {"ekd-table1", "*",
     "student.net=mobilefacenet student.preprocess=rgb:127.5:128 train.epochs=28 train.batch=1024 "
     "train.sampler=ekd train.identities=128 train.per_identity=4 train.head_on=general "
     "train.steps=[10,18,24] train.lr=0.1 train.weight_decay=5e-4 head.kind=arcface "
     "head.margin=0.5 loss.ekd.lambda_pos=0.02 loss.ekd.lambda_neg=0.01 loss.ekd.variant=paper"},
    {"ekd-table1", "student", "loss.ekd.weight=0"},
    {"ekd-table1", "EKD",
     "loss.ekd.weight=1 loss.ekd.tau=0.01 loss.ekd.negatives=2000 "
     "loss.ekd.inv_fpr=[1e1,1e2,1e3,1e4,1e5,1e6]"},
    {"ekd-table1", "tau=0.1", "loss.ekd.tau=0.1 loss.ekd.negatives=2000"},
    {"ekd-table1", "tau=0.001", "loss.ekd.tau=0.001"},
    {"ekd-table1", "N hard negatives=5000", "loss.ekd.negatives=5000 loss.ekd.tau=0.01"},
    {"ekd-table1", "N random negatives=1000",
     "loss.ekd.negatives=1000 loss.ekd.random_negatives=true"},
    {"ekd-table1", "K=3", "loss.ekd.inv_fpr=[1e1,1e3,1e6]"},
    {"ekd-table1", "eq. 7", "loss.ekd.form=eq7_abs"},
    {"ekd-comparison", "student", "train.batch=512 train.sampler=shuffled train.epochs=28"},
    {"ekd-comparison", "DarkRank",
     "loss.darkrank.weight=1 loss.darkrank.alpha=3 loss.darkrank.beta=3 loss.darkrank.length=3"},
    {"ekd-comparison", "RKD", "loss.rkd_da.weight_d=25 loss.rkd_da.weight_a=50"},
    {"ekd-comparison", "TripletDistillation",
     "train.lr=0.001 train.batch=180 train.bag=7200 train.per_identity=18 "
     "loss.triplet.margin_min=0.2 loss.triplet.margin_max=0.5 loss.triplet.window=0.35 "
     "student.init=runs/student/student.safetensors"},
    {"ekd-comparison", "MarginDistillation",
     "head.kind=margin_distillation head.margin_min=0.2 head.margin_max=0.5 head.scale=64"},
    {"ekd-ir18", "EKD", "student.net=tface_ir18 loss.ekd.weight=1 train.batch=1024"},
    {"pwr-table1", "*",
     "student.net=resnet18 student.embedding=512 student.preprocess=rgb:127.5:128 train.epochs=13 "
     "train.batch=552 train.lr=0.1 train.schedule=step train.steps=[2,4,6,8,10,12] "
     "train.gamma=0.1 head.kind=cosface head.margin=0.35 head.scale=64"},
    {"pwr-table1", "CosFace", "head.weight=1 student.init="},
    {"pwr-table1", "CosFace+RKD-D",
     "head.weight=1 loss.rkd_d.weight=100 loss.rkd_d.mean_scale=false loss.rkd_d.normalise=true "
     "loss.rkd_d.denominator=B*(B-1) student.init=runs/CosFace/student.safetensors"},
    {"pwr-table1", "CosFace+RKD-A", "head.weight=1 loss.rkd_a.weight=200 loss.rkd_d.weight=0"},
    {"pwr-table1", "CosFace+RKD-DA", "loss.rkd_a.weight=200 loss.rkd_d.weight=100"},
    {"pwr-table1", "CosFace+DarkRank", "head.weight=1 loss.darkrank.weight=1"},
    {"pwr-table1", "CosFace+HKD",
     "head.weight=0.7 loss.kd.weight=0.3 loss.kd.temperature=4 loss.kd.t_squared=false"},
    {"pwr-table1", "HKD+RKD-DA",
     "head.weight=0.7 loss.kd.weight=0.3 loss.rkd_a.weight=200 loss.rkd_d.weight=100"},
    {"pwr-table1", "HKD+DarkRank", "head.weight=0.7 loss.kd.weight=0.3 loss.darkrank.weight=1"},
    {"pwr-table1", "PWR-Diff(0.1)",
     "head.weight=0 loss.pwr.weight=100 loss.pwr.kind=power loss.pwr.power=1 "
     "loss.pwr.margin=const loss.pwr.margin_value=0.1"},
    {"pwr-table1", "PWR-Diff(std)", "loss.pwr.kind=power loss.pwr.margin=teacher_std"},
    {"pwr-table1", "PWR-Diff(tdiff)", "loss.pwr.kind=power loss.pwr.margin=teacher_diff"},
    {"pwr-table1", "PWR-Exp(0.1)", "loss.pwr.kind=exp loss.pwr.margin=const loss.pwr.beta=1"},
    {"pwr-table1", "PWR-Exp(std)", "loss.pwr.kind=exp loss.pwr.margin=teacher_std"},
    {"pwr-table1", "PWR-Exp(tdiff)",
     "head.weight=0 loss.pwr.weight=100 loss.pwr.kind=exp loss.pwr.margin=teacher_diff"},
    {"pwr-table1", "PWR-RankNet", "head.weight=0 loss.pwr.kind=ranknet loss.pwr.weight=15"},
};

/* To set what a row should have changes nothing. */
static void check_values(const char *file, const char *row, struct cask_train_config *config,
                         const char *values)
{
    struct cask_error err;
    char *copy = cask_strdup(values), *rest = NULL, *before = cask_config_dump(config->rows);
    for (char *part = strtok_r(copy, " ", &rest); part != NULL; part = strtok_r(NULL, " ", &rest)) {
        assert_ok(cask_config_set(config->rows, part, "the paper", &err));
        char *now = cask_config_dump(config->rows);
        if (strcmp(before, now) != 0) {
            fail_msg("%s, row \"%s\" has not %s", file, row, part);
        }
        cask_free(now);
    }
    cask_free(before);
    cask_free(copy);
}

static void rows_are_as_published(void **state)
{
    (void)state;
    struct cask_error err;
    const char *source = getenv("CASK_SOURCE");
    char path[600], program[] = "x", *argv[] = {program};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        struct cask_sweep sweep;
        int found = 0;
        snprintf(path, sizeof path, "%s/configs/papers/%s.yaml", source ? source : ".",
                 published[i].file);
        struct cask_train_config *call = call_of(path, 1, argv);
        assert_ok(cask_sweep_open(call, 1, argv, &sweep, &err));
        for (int r = 0; r < sweep.run_count; r++) {
            const char *row = sweep.rows[sweep.runs[r].row].name;
            /* these bring a recipe of their own */
            const bool own = strncmp(published[i].file, "gkd-", 4) == 0 && strcmp(row, "EKD") == 0;
            if (strcmp(published[i].row, row) == 0 || (published[i].row[0] == '*' && !own)) {
                check_values(published[i].file, row, sweep.runs[r].config, published[i].values);
                found++;
            }
        }
        if (found == 0) {
            fail_msg("%s has no row \"%s\"", published[i].file, published[i].row);
        }
        cask_sweep_close(&sweep);
        cask_train_config_free(call);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_grids_and_seeds),
        cmocka_unit_test(allocations_that_fail_are_reported),
        cmocka_unit_test(shipped_tables_load),
        cmocka_unit_test(rows_are_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
