#include "train/tensorboard.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/tensorboard_record.h"

enum { TAG_BYTES = 200 };
static const char file_prefix[] = "events.out.tfevents.";

static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ------------------------------------------------------------------- resume */

/* A validation comes after the training line of its step and maybe after that step's checkpoint. */
static bool comes_again(const uint8_t *record, size_t bytes, int64_t step, int64_t first_step,
                        int64_t validated_step)
{
    static const char tag[] = "validation/accuracy";
    return step > first_step ||
           (step > validated_step && memmem(record, bytes, tag, sizeof tag - 1) != NULL);
}

/* Cuts the file before its first record that is torn or will come again: steps only grow in it. */
static enum cask_status cut_file(const char *path, int64_t first_step, int64_t validated_step,
                                 struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_map map = {0};
    CASK_TRY(cask_map_open(&map, path, err));
    size_t kept = 0;
    while (kept < map.bytes) {
        int64_t step = 0;
        const size_t record = tensorboard_record(map.data + kept, map.bytes - kept, &step);
        if (record == 0 || comes_again(map.data + kept, record, step, first_step, validated_step)) {
            break;
        }
        kept += record;
    }
    if (kept > 0 && kept < map.bytes) { /* 0: not a file of this kind */
        cask_log_debug("%s: %zu of %zu bytes are kept", path, kept, map.bytes);
        CASK_TRY(cask_file_write_all(path, map.data, kept, err));
    }
done:
    cask_map_close(&map);
    return st;
}

enum cask_status cask_tensorboard_open(struct cask_tensorboard *board, const char *folder,
                                       int64_t first_step, int64_t validated_step,
                                       struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char **names = NULL, *path = NULL;
    size_t count = 0;
    *board = (struct cask_tensorboard){.folder = cask_strdup(folder), .resumed = first_step};
    if (board->folder == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(folder), "path of the event files"));
    }
    CASK_TRY(cask_folder_list(folder, &names, &count, err));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], file_prefix, strlen(file_prefix)) != 0) {
            continue;
        }
        path = cask_format("%s/%s", folder, names[i]);
        if (path == NULL) {
            CASK_TRY(cask_error_memory(err, 1, "path of an event file"));
        }
        CASK_TRY(cut_file(path, first_step, validated_step, err));
        board->after = fmax(board->after, strtod(names[i] + strlen(file_prefix), NULL));
        cask_free(path);
        path = NULL;
    }
done:
    cask_free(path);
    cask_folder_list_free(names, count);
    return st;
}

void cask_tensorboard_close(struct cask_tensorboard *board)
{
    cask_free(board->folder);
    cask_free(board->path);
    *board = (struct cask_tensorboard){0};
}

/* -------------------------------------------------------------------- lines */

static void add_number(struct cask_text *summary, const char *group, const char *name,
                       const struct cask_json *value)
{
    double number;
    char tag[TAG_BYTES];
    if (cask_json_kind(value) != CASK_JSON_BOOL && cask_json_as_real(value, &number)) {
        snprintf(tag, sizeof tag, "%s/%s", group, name);
        tensorboard_value(summary, tag, (float)number);
    }
}

/* [{"name": "kd", "value": 1, "weight": 2}]: GROUP/kd and GROUP_weight/kd. */
static void add_named(struct cask_text *summary, const char *group, const struct cask_json *list)
{
    for (size_t i = 0; i < cask_json_size(list); i++) {
        const struct cask_json *object = cask_json_at(list, i), *value;
        const char *name, *key;
        if (!cask_json_as_text(cask_json_get(object, "name"), &name)) {
            continue;
        }
        for (void *at = NULL; (at = cask_json_next(object, at, &key, &value)) != NULL;) {
            char of[TAG_BYTES];
            const bool main = strcmp(key, "value") == 0 || strcmp(key, "accuracy") == 0;
            snprintf(of, sizeof of, "%s%s%s", group, main ? "" : "_", main ? "" : key);
            add_number(summary, of, name, value);
        }
    }
}

static void add_line(struct cask_text *summary, const struct cask_json *line)
{
    const char *key, *inner;
    const struct cask_json *value, *child;
    const bool validation = cask_json_get(line, "validation") != NULL;
    for (void *at = NULL; (at = cask_json_next(line, at, &key, &value)) != NULL;) {
        if (cask_json_kind(value) == CASK_JSON_ARRAY) {
            add_named(summary, key, value);
        } else if (cask_json_kind(value) != CASK_JSON_OBJECT) {
            if (strcmp(key, "step") != 0 &&
                !validation) { /* the training line of the step has them */
                add_number(summary, "train", key, value);
            }
        } else {
            for (void *in = NULL; (in = cask_json_next(value, in, &inner, &child)) != NULL;) {
                add_number(summary, key, inner, child);
                if (cask_json_kind(child) == CASK_JSON_ARRAY) {
                    add_named(summary, key, child);
                }
            }
        }
    }
}

/* The name of this process's file, and its first two events. */
static enum cask_status begin_file(struct cask_tensorboard *board, double now,
                                   struct cask_text *file, struct cask_error *err)
{
    struct cask_text version = {0}, start = {0};
    char host[100] = "localhost";
    gethostname(host, sizeof host - 1);
    /* TensorBoard reads the files of a folder in the order of their names */
    const double seconds = fmax(floor(now), board->after + 1);
    board->path = cask_format("%s/%s%010.0f.%s.%ld", board->folder, file_prefix, seconds, host,
                              (long)getpid());
    tensorboard_version(&version, now);
    tensorboard_frame(file, &version);
    if (board->resumed > 0) {
        tensorboard_start(&start, now, board->resumed + 1);
        tensorboard_frame(file, &start);
    }
    cask_text_release(&version);
    cask_text_release(&start);
    return board->path != NULL ? CASK_OK : cask_error_memory(err, 1, "path of the event file");
}

enum cask_status cask_tensorboard_add(struct cask_tensorboard *board, const struct cask_json *line,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_text summary = {0}, event = {0}, file = {0};
    const double now = wall_time();
    int64_t step = 0;
    cask_json_as_int(cask_json_get(line, "step"), &step);
    if (board->path == NULL) {
        CASK_TRY(begin_file(board, now, &file, err));
    }
    add_line(&summary, line);
    CASK_TRY(cask_text_check(&summary, "TensorBoard's scalars", err));
    tensorboard_scalars(&event, now, step, &summary);
    tensorboard_frame(&file, &event);
    CASK_TRY(cask_text_check(&file, "TensorBoard's event", err));
    CASK_TRY(cask_file_append_whole(board->path, file.data, file.length, err));
done:
    cask_text_release(&summary);
    cask_text_release(&event);
    cask_text_release(&file);
    return st;
}
