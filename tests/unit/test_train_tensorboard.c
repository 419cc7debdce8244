/* TensorBoard files: an independent reader finds the lines' numbers, once each, whatever was
 * killed in between. */
#include "tests/support/test.h"

#include "common/file.h"
#include "common/mem.h"
#include "train/tensorboard.h"
#include "train/tensorboard_record.h"

static struct cask_error err;

/* A training line, or the validation line that follows it. */
static const char *line_of(int step, bool validation)
{
    static char line[600];
    if (validation) {
        snprintf(line, sizeof line,
                 "{\"step\":%d,\"epoch\":2.5,\"validation\":{\"accuracy\":91.5,\"best\":true,"
                 "\"sets\":[{\"name\":\"lfw\",\"accuracy\":99.25,\"std\":0.5}]}}",
                 step);
        return line;
    }
    snprintf(line, sizeof line,
             "{\"step\":%d,\"epoch\":2.5,\"lr\":0.1,\"total\":%.9g,\"accuracy\":null,\"flag\":"
             "true,\"terms\":[{\"name\":\"arcface\",\"weight\":1,\"value\":%d,"
             "\"gradient_norm\":null},{\"name\":\"k\xc3\xb6/d\",\"weight\":0.5,\"value\":1e-30}],"
             "\"coverage\":{\"draws\":%d}}",
             step, 10.0 / step, step * 1000000, step);
    return line;
}

static void append(const char *folder, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    assert_ok(cask_file_append(path, text, strlen(text), false, &err));
    assert_ok(cask_file_append(path, "\n", 1, false, &err));
}

/* Lines of both files for steps [from, to] in steps of 5. */
static void write_lines(struct cask_tensorboard *board, const char *folder, int from, int to)
{
    for (int step = from; step <= to; step += 5) {
        for (int kind = 0; kind < 2; kind++) {
            struct cask_json *line = NULL;
            const char *text = line_of(step, kind == 1);
            assert_ok(cask_json_parse(text, strlen(text), &line, &err));
            assert_ok(cask_tensorboard_add(board, line, &err));
            cask_json_free(line);
            append(folder, text);
        }
    }
}

static void assert_readable(const char *folder)
{
    char command[600];
    const char *source = getenv("CASK_SOURCE");
    snprintf(command, sizeof command, "/usr/bin/python3 %s/tests/support/read_tensorboard.py %s",
             source != NULL ? source : ".", folder);
    if (system(command) != 0) {
        fail_msg("%s", command);
    }
}

static void every_number_once(void **state)
{
    (void)state;
    struct cask_tensorboard board;
    char folder[256], path[300], **names = NULL;
    size_t count = 0;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    assert_ok(cask_tensorboard_open(&board, folder, 0, 0, &err));
    assert_ok(cask_folder_list(folder, &names, &count, &err));
    assert_int_equal(count, 0); /* nothing before the first line: the folder is not ours yet */
    cask_folder_list_free(names, count);
    write_lines(&board, folder, 5, 40);
    /* killed in the middle of a record */
    assert_ok(cask_file_append(board.path, "\x40\0\0\0\0\0\0\0torn", 12, false, &err));
    cask_tensorboard_close(&board);
    /* the checkpoint was of step 22: steps 25 to 40 come again, and metrics.jsonl was cut */
    assert_int_equal(unlink(path), 0);
    assert_ok(cask_tensorboard_open(&board, folder, 22, 22, &err));
    for (int step = 5; step <= 20; step += 5) {
        append(folder, line_of(step, false));
        append(folder, line_of(step, true));
    }
    write_lines(&board, folder, 25, 45);
    cask_tensorboard_close(&board);
    assert_readable(folder);
    /* and once more, past the end: nothing is cut */
    assert_ok(cask_tensorboard_open(&board, folder, 45, 45, &err));
    write_lines(&board, folder, 50, 60);
    cask_tensorboard_close(&board);
    assert_readable(folder);
    assert_ok(cask_folder_list(folder, &names, &count, &err));
    assert_int_equal(count, 4); /* three processes, three files */
    cask_folder_list_free(names, count);
    test_remove_folder(folder);
}

/* A checkpoint of step 40, then its validation, then the end: on resuming, the training line stays
 * and the validation comes again. */
static void a_validation_comes_once(void **state)
{
    (void)state;
    static const char *const lines[2] = {
        "{\"step\":40,\"lr\":0.25}",
        "{\"step\":40,\"epoch\":2,\"validation\":{\"accuracy\":91.5}}"};
    struct cask_tensorboard board;
    char folder[256], path[300];
    test_make_folder(folder);
    for (int run = 0; run < 2; run++) {
        assert_ok(cask_tensorboard_open(&board, folder, 40 * run, 0, &err));
        for (int i = run; i < 2; i++) {
            struct cask_json *line = NULL;
            assert_ok(cask_json_parse(lines[i], strlen(lines[i]), &line, &err));
            assert_ok(cask_tensorboard_add(&board, line, &err));
            cask_json_free(line);
        }
        cask_tensorboard_close(&board);
    }
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    char *both = cask_format("%s\n%s\n", lines[0], lines[1]);
    assert_ok(cask_file_write_all(path, both, strlen(both), &err));
    cask_free(both);
    assert_readable(folder);
    test_remove_folder(folder);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    struct cask_tensorboard board;
    char folder[256], path[300], *data = NULL;
    size_t bytes = 0;
    test_make_folder(folder);
    snprintf(path, sizeof path, "%s/events.out.tfevents.9", folder);
    assert_ok(cask_file_write_all(path, "something else entirely", 23, &err));
    assert_ok(cask_tensorboard_open(&board, folder, 0, 0, &err));
    cask_tensorboard_close(&board);
    assert_ok(cask_file_read_all(path, 1000, &data, &bytes, &err));
    assert_int_equal(bytes, 23);
    cask_free(data);
    test_remove_folder(folder);
}

/* Any damage of a record is seen, at any byte, and nothing past its end is read. */
static void damage_is_seen(void **state)
{
    (void)state;
    struct cask_text event = {0}, file = {0}, summary = {0};
    int64_t step = 0;
    tensorboard_value(&summary, "a/b", 1.5f);
    tensorboard_scalars(&event, 1.7e9, 300, &summary);
    tensorboard_frame(&file, &event);
    for (size_t i = 0; i <= file.length; i++) {
        uint8_t *copy = cask_alloc(file.length, 1);
        memcpy(copy, file.data, file.length);
        assert_int_equal(tensorboard_record(copy, i, &step), i == file.length ? i : 0);
        if (i < file.length) {
            copy[i] ^= 0x10;
            assert_int_equal(tensorboard_record(copy, file.length, &step), 0);
        }
        cask_free(copy);
    }
    assert_int_equal(step, 300);
    cask_text_release(&event);
    cask_text_release(&file);
    cask_text_release(&summary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_once),
        cmocka_unit_test(a_validation_comes_once),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(damage_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
