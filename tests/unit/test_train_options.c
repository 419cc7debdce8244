/* Settings of a run: defaults, refusals, and which keys make two runs the same run. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "train/options.h"

static struct cask_train_config *make(void)
{
    struct cask_error err;
    struct cask_train_config *config = NULL;
    assert_ok(cask_train_config_create(&config, &err));
    return config;
}

static void set(struct cask_train_config *config, const char *assignment)
{
    struct cask_error err;
    assert_ok(cask_config_set(config->rows, assignment, "test", &err));
}

static void defaults_are_bound(void **state)
{
    (void)state;
    struct cask_train_config *config = make();
    assert_string_equal(config->student.net, "mobilefacenet");
    assert_int_equal(config->train.batch, 128);
    assert_close(config->train.rate, 0.1, 0);
    assert_close(config->train.momentum, 0.9, 0);
    assert_close(config->train.weight_decay, 5e-4, 0);
    assert_int_equal(config->train.schedule, CASK_SCHEDULE_POLY);
    assert_int_equal(config->train.teacher_mode, CASK_TEACHER_EXACT);
    assert_true(config->train.mirror);
    cask_train_config_free(config);
}

static void unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_train_config *config = make();
    assert_refused(CASK_ERR_USAGE, "train.epochs",
                   cask_config_set(config->rows, "train.epoch=3", "--set", &err));
    assert_refused(CASK_ERR_USAGE, "student.net",
                   cask_config_set(config->rows, "student.nett=x", "--set", &err));
    assert_true(cask_config_set(config->rows, "train.batch=1", "--set", &err) != CASK_OK);
    assert_true(cask_config_set(config->rows, "train.lr=nan", "--set", &err) != CASK_OK);
    assert_true(cask_config_set(config->rows, "train.schedule=linear", "--set", &err) != CASK_OK);
    cask_train_config_free(config);
}

static void refuse(const char *const *assignments, int count, const char *text)
{
    struct cask_error err;
    struct cask_train_config *config = make();
    set(config, "out=/tmp/run");
    set(config, "data=/tmp/faces");
    assert_ok(cask_train_config_check(config, &err));
    for (int i = 0; i < count; i++) {
        set(config, assignments[i]);
    }
    assert_refused(CASK_ERR_USAGE, text, cask_train_config_check(config, &err));
    cask_train_config_free(config);
}

static void a_batch_is_cut_into_parts(void **state)
{
    (void)state;
    struct cask_error err;
    struct cask_train_config *config = make();
    set(config, "out=/tmp/run");
    set(config, "data=/tmp/faces");
    assert_int_equal(cask_train_identities(&config->train), 0);
    assert_int_equal(cask_train_general(&config->train), 0);
    set(config, "train.sampler=balanced");
    assert_ok(cask_train_config_check(config, &err));
    assert_int_equal(cask_train_identities(&config->train), 32);
    assert_int_equal(cask_train_general(&config->train), 0);
    set(config, "train.sampler=ekd");
    assert_ok(cask_train_config_check(config, &err));
    assert_int_equal(cask_train_identities(&config->train), 16);
    assert_int_equal(cask_train_general(&config->train), 64);
    set(config, "train.identities=5");
    assert_ok(cask_train_config_check(config, &err));
    assert_int_equal(cask_train_general(&config->train), 108);
    cask_train_config_free(config);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    const char *no_out[] = {"out="}, *no_data[] = {"data="}, *no_steps[] = {"train.schedule=step"};
    const char *descending[] = {"train.schedule=step", "train.steps=[10, 8]"};
    const char *long_warmup[] = {"train.epochs=3", "train.warmup_epochs=4"};
    const char *nesterov[] = {"train.nesterov=true", "train.momentum=0"};
    refuse(no_out, 1, "--out");
    refuse(no_data, 1, "--cache or --data");
    refuse(no_steps, 1, "train.steps");
    refuse(descending, 2, "ascending");
    refuse(long_warmup, 2, "warmup");
    refuse(nesterov, 2, "momentum");
    const char *uneven[] = {"train.sampler=balanced", "train.per_identity=3"};
    const char *other_size[] = {"train.sampler=balanced", "train.identities=6"};
    const char *no_general[] = {"train.sampler=ekd", "train.identities=32"};
    const char *no_balanced[] = {"train.sampler=ekd", "train.batch=6"};
    refuse(uneven, 2, "42 x 3 = 126, found 128");
    refuse(other_size, 2, "6 x 4 = 24, found 128");
    refuse(no_general, 2, "no room");
    refuse(no_balanced, 2, "no room");

    struct cask_error err;
    struct cask_train_config *config = make();
    set(config, "out=/tmp/run");
    set(config, "data=/tmp/faces");
    set(config, "student.preprocess=grey:1:2");
    assert_true(cask_train_config_check(config, &err) != CASK_OK);
    assert_non_null(strstr(err.message, "student.preprocess"));
    cask_train_config_free(config);
}

/* The identity of the settings `assignments`, through a dump and back. */
static char *identity_of(const char *folder, const char *const *assignments, int count)
{
    struct cask_error err;
    struct cask_train_config *config = make();
    char *identity = NULL, path[300];
    for (int i = 0; i < count; i++) {
        set(config, assignments[i]);
    }
    char *text = cask_config_dump(config->rows);
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    assert_ok(cask_file_write_all(path, text, strlen(text), &err));
    bool by_path = false;
    assert_ok(cask_train_config_identity(path, &identity, &by_path, &err));
    cask_free(text);
    cask_train_config_free(config);
    return identity;
}

static void check_same(const char *folder, const char *const *a, const char *const *b, int count,
                       bool same)
{
    char *x = identity_of(folder, a, count), *y = identity_of(folder, b, count);
    assert_true((strcmp(x, y) == 0) == same);
    cask_free(x);
    cask_free(y);
}

static void identity_ignores_what_changes_no_bit(void **state)
{
    (void)state;
    char folder[256];
    test_make_folder(folder);
    const char *base[] = {"data=/faces", "train.lr=0.05", "train.steps=[1.5, 3]", "out=/a"};
    const char *same[] = {"data=/faces",        "train.lr=5e-2",
                          "train.steps=1.5,3",  "out=/b",
                          "train.log_steps=7",  "train.checkpoint_steps=3",
                          "train.max_steps=12", "train.loader_threads=3",
                          "train.verify=off"};
    const char *other[] = {"data=/faces", "train.lr=0.05", "train.steps=[1.5, 3]", "out=/a",
                           "train.seed=2"};
    const char *taught[] = {"cache=/a", "cache_sha256=12"},
               *moved[] = {"cache=/b", "cache_sha256=12"},
               *another[] = {"cache=/a", "cache_sha256=34"}, *path[] = {"cache=/a"},
               *other_path[] = {"cache=/b"};
    check_same(folder, taught, moved, 2, true);
    check_same(folder, taught, another, 2, false);
    check_same(folder, path, other_path, 1, false); /* before 0.2.0 */
    char *a = identity_of(folder, base, 4), *b = identity_of(folder, same, 9),
         *c = identity_of(folder, other, 5);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_non_null(strstr(a, "mobilefacenet"));
    cask_free(a);
    cask_free(b);
    cask_free(c);
    test_remove_folder(folder);
}

/* Every file of configs/ holds known keys and values in range. */
static void shipped_configs_load(void **state)
{
    (void)state;
    struct cask_error err;
    const char *source = getenv("CASK_SOURCE");
    char root[300], folder[400], path[600], **folders = NULL, **files = NULL;
    size_t folder_count = 0, file_count = 0, loaded = 0;
    snprintf(root, sizeof root, "%s/configs", source ? source : ".");
    assert_ok(cask_folder_list(root, &folders, &folder_count, &err));
    for (size_t i = 0; i < folder_count; i++) {
        snprintf(folder, sizeof folder, "%s/%s", root, folders[i]);
        assert_ok(cask_folder_list(folder, &files, &file_count, &err));
        for (size_t j = 0; j < file_count; j++) {
            snprintf(path, sizeof path, "%s/%s", folder, files[j]);
            if (strcmp(folders[i], "papers") == 0 && strncmp(files[j], "recipe-", 7) != 0) {
                continue; /* a sweep: test_train_sweep.c */
            }
            struct cask_train_config *config = make();
            assert_ok(cask_config_load_file(config->rows, path, &err));
            set(config, "data=/faces");
            set(config, "out=/run");
            assert_ok(cask_train_config_check(config, &err));
            cask_train_config_free(config);
            loaded++;
        }
        cask_folder_list_free(files, file_count);
    }
    cask_folder_list_free(folders, folder_count);
    assert_true(loaded >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_bound),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(a_batch_is_cut_into_parts),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(identity_ignores_what_changes_no_bit),
        cmocka_unit_test(shipped_configs_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
