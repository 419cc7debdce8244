/* A run's state on disk: the same bits back, the newest whole file, never a half one. */
#include "tests/support/test.h"

#include <errno.h>
#include <sys/stat.h>

#include "common/file.h"
#include "train/checkpoint.h"

enum { WEIGHTS = 1001, SUMS = 5 };
struct fixture {
    char folder[256];
    float weights[WEIGHTS];
    double sums[SUMS];
    struct cask_state_list list;
};

static void fill(struct fixture *fixture, int step)
{
    for (int i = 0; i < WEIGHTS; i++) {
        fixture->weights[i] = (float)sin(step * 1.7 + i) * 1e-3f;
    }
    for (int i = 0; i < SUMS; i++) {
        fixture->sums[i] = cos(step * 0.3 + i) / 3;
    }
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct cask_error err;
    memset(&fixture, 0, sizeof fixture);
    test_make_folder(fixture.folder);
    assert_ok(cask_state_add(&fixture.list, "value.", "layer1.0.conv1.weight", CASK_F32, WEIGHTS,
                             fixture.weights, NULL, &err));
    assert_ok(cask_state_add(&fixture.list, "metrics.", "sums", CASK_F64, SUMS, fixture.sums, NULL,
                             &err));
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    cask_state_release(&fixture->list);
    test_remove_folder(fixture->folder);
    return 0;
}

static enum cask_status save(struct fixture *fixture, int step, struct cask_error *err)
{
    struct cask_checkpoint_note note = {
        .step = step, .seconds = step * 0.1, .identity = "abc", .device = "cpu"};
    fill(fixture, step);
    return cask_checkpoint_save_state(fixture->folder, &note, &fixture->list, err);
}

/* Restores and compares bit for bit with what was saved at `step`. */
static void expect(struct fixture *fixture, int step)
{
    struct cask_error err;
    struct fixture want;
    struct cask_checkpoint_note note = {0};
    bool found = false;
    memset(fixture->weights, 0, sizeof fixture->weights);
    memset(fixture->sums, 0, sizeof fixture->sums);
    assert_ok(
        cask_checkpoint_restore_state(fixture->folder, "abc", &fixture->list, &note, &found, &err));
    assert_true(found);
    assert_int_equal(note.step, step);
    assert_close(note.seconds, step * 0.1, 0);
    assert_string_equal(note.device, "cpu");
    fill(&want, step);
    assert_memory_equal(fixture->weights, want.weights, sizeof want.weights);
    assert_memory_equal(fixture->sums, want.sums, sizeof want.sums);
}

static void path_of(const struct fixture *fixture, int step, char path[400])
{
    snprintf(path, 400, "%s/step-%09d.safetensors", fixture->folder, step);
}

static void fresh_folder_has_none(void **state)
{
    struct fixture *fixture = *state;
    struct cask_error err;
    struct cask_checkpoint_note note;
    bool found = true;
    assert_ok(cask_checkpoint_restore_state("/nowhere/at/all", "abc", &fixture->list, &note, &found,
                                            &err));
    assert_false(found);
    assert_ok(
        cask_checkpoint_restore_state(fixture->folder, "abc", &fixture->list, &note, &found, &err));
    assert_false(found);
}

static void same_bits_and_last_two_kept(void **state)
{
    struct fixture *fixture = *state;
    struct cask_error err;
    char **names = NULL;
    size_t count = 0;
    for (int step = 8; step <= 11; step++) { /* names must sort across 9 | 10 */
        assert_ok(save(fixture, step, &err));
    }
    assert_ok(cask_folder_list(fixture->folder, &names, &count, &err));
    assert_int_equal(count, 2);
    cask_folder_list_free(names, count);
    expect(fixture, 11);
}

static void flip_byte(const char *path, long from_end)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void damaged_newest_is_passed_over(void **state)
{
    struct fixture *fixture = *state;
    struct cask_error err;
    struct cask_checkpoint_note note;
    bool found = true;
    char path[400];
    assert_ok(save(fixture, 1, &err));
    assert_ok(save(fixture, 2, &err));
    path_of(fixture, 2, path);
    flip_byte(path, 100);
    expect(fixture, 1);
    path_of(fixture, 1, path);
    assert_int_equal(truncate(path, 200), 0);
    assert_refused(
        CASK_ERR_FORMAT, "none of the 2",
        cask_checkpoint_restore_state(fixture->folder, "abc", &fixture->list, &note, &found, &err));
}

static void other_runs_and_other_networks_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct cask_error err;
    struct cask_checkpoint_note note;
    bool found = true;
    assert_ok(save(fixture, 3, &err));
    assert_refused(
        CASK_ERR_MISMATCH, "other settings",
        cask_checkpoint_restore_state(fixture->folder, "xyz", &fixture->list, &note, &found, &err));
    fixture->list.entries[0].count--;
    assert_refused(
        CASK_ERR_FORMAT, "none of the 1",
        cask_checkpoint_restore_state(fixture->folder, "abc", &fixture->list, &note, &found, &err));
    fixture->list.entries[0].count++;
}

static int disk_full(const char *call, const char *path, size_t *bytes, void *user)
{
    (void)path, (void)bytes;
    return strcmp(call, user) == 0 ? ENOSPC : 0;
}

static void full_disk_keeps_the_old_one(void **state)
{
    struct fixture *fixture = *state;
    struct cask_error err;
    static char calls[][8] = {"write", "fsync", "rename"};
    assert_ok(save(fixture, 4, &err));
    assert_ok(save(fixture, 5, &err));
    for (int i = 0; i < 3; i++) {
        cask_file_set_fault(disk_full, calls[i]);
        enum cask_status st = save(fixture, 6, &err);
        cask_file_set_fault(NULL, NULL);
        assert_int_equal(st, CASK_ERR_NO_SPACE);
        expect(fixture, 5);
    }
    assert_ok(save(fixture, 6, &err));
    expect(fixture, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fresh_folder_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(same_bits_and_last_two_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_newest_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(other_runs_and_other_networks_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_keeps_the_old_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
