#include "train/report_data.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"

static const size_t largest_metrics = (size_t)1 << 31, largest_file = (size_t)1 << 26;

/* --------------------------------------------------------------------- open */

static enum cask_status read_json(const char *folder, const char *file, struct cask_json **out,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/%s", folder, file);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of a report's file"));
    }
    if (cask_path_exists(path)) {
        CASK_TRY(cask_json_read(path, largest_file, out, err));
    }
done:
    cask_free(path);
    return st;
}

static enum cask_status read_metrics(struct report_data *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/metrics.jsonl", run->path), *text = NULL;
    struct cask_json *line = NULL;
    struct cask_error ignored = {0};
    size_t bytes = 0;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of metrics.jsonl"));
    }
    if (cask_path_exists(path)) {
        CASK_TRY(cask_file_read_all(path, largest_metrics, &text, &bytes, err));
    }
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t length = end != NULL ? (size_t)(end - (text + at)) : bytes - at;
        if (cask_json_parse(text + at, length, &line, &ignored) == CASK_OK &&
            cask_json_kind(line) == CASK_JSON_OBJECT) {
            const bool validation = cask_json_get(line, "validation") != NULL;
            CASK_TRY(report_table_add(validation ? &run->validation : &run->training, line, err));
        }
        cask_json_free(line);
        line = NULL;
        at += length + 1;
    }
done:
    cask_json_free(line);
    cask_free(text);
    cask_free(path);
    return st;
}

static enum cask_status read_settings(struct report_data *run, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *path = cask_format("%s/config.yaml", run->path);
    size_t bytes = 0;
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of config.yaml"));
    }
    if (!cask_path_exists(path)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected a run folder, found no config.yaml in it",
                                run->path));
    }
    CASK_TRY(cask_file_read_all(path, largest_file, &run->settings_text, &bytes, err));
    CASK_TRY(cask_yaml_open(path, &run->yaml, err));
done:
    cask_free(path);
    return st;
}

char *report_name(const char *folder)
{
    char full[PATH_MAX];
    const char *path = realpath(folder, full) != NULL ? full : folder;
    const char *slash = strrchr(path, '/');
    return cask_strdup(slash != NULL && slash[1] != 0 ? slash + 1 : path);
}

enum cask_status report_data_open(struct report_data *run, const char *path, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    *run = (struct report_data){.path = cask_strdup(path), .name = report_name(path)};
    if (run->path == NULL || run->name == NULL) {
        CASK_TRY(cask_error_memory(err, strlen(path), "path of a run"));
    }
    CASK_TRY(read_settings(run, err));
    CASK_TRY(read_metrics(run, err));
    CASK_TRY(read_json(run->path, "result.json", &run->result, err));
    CASK_TRY(read_json(run->path, "evaluation.json", &run->evaluation, err));
    CASK_TRY(read_json(run->path, "failure.json", &run->failure, err));
done:
    return st;
}

void report_data_close(struct report_data *run)
{
    cask_free(run->path);
    cask_free(run->name);
    cask_free(run->settings_text);
    cask_yaml_close(&run->yaml);
    cask_json_free(run->result);
    cask_json_free(run->evaluation);
    cask_json_free(run->failure);
    report_table_release(&run->training);
    report_table_release(&run->validation);
    *run = (struct report_data){0};
}

/* ------------------------------------------------------------------ look up */

/* The next part of "a.b.c"; moves *keys past it. */
static bool next_part(const char **keys, char part[64])
{
    const size_t length = strcspn(*keys, ".");
    if (length == 0 || length >= 64) {
        return false;
    }
    memcpy(part, *keys, length);
    part[length] = 0;
    *keys += length + ((*keys)[length] == '.');
    return true;
}

static const struct cask_json *look_up(const struct cask_json *root, const char *keys)
{
    char part[64];
    while (root != NULL && *keys != 0) {
        root = next_part(&keys, part) ? cask_json_get(root, part) : NULL;
    }
    return root;
}

double report_data_number(const struct cask_json *root, const char *keys)
{
    double value = NAN;
    cask_json_as_real(look_up(root, keys), &value);
    return value;
}

const char *report_data_text(const struct cask_json *root, const char *keys)
{
    const char *text = "";
    cask_json_as_text(look_up(root, keys), &text);
    return text;
}

bool report_data_setting(const struct report_data *run, const char *key, char *buffer, size_t bytes)
{
    const struct cask_yaml_node *node = run->yaml.root;
    char part[64];
    while (node != NULL && *key != 0) {
        node = next_part(&key, part) ? cask_yaml_find(node, part) : NULL;
    }
    if (node == NULL || node->kind == CASK_YAML_MAP) {
        return false;
    }
    if (node->kind == CASK_YAML_TEXT) {
        snprintf(buffer, bytes, "%s", node->text);
        return true;
    }
    size_t at = (size_t)snprintf(buffer, bytes, "[");
    for (const struct cask_yaml_node *one = node->first; one != NULL && at < bytes;
         one = one->next) {
        at += (size_t)snprintf(buffer + at, bytes - at, "%s%s", one == node->first ? "" : ", ",
                               one->text != NULL ? one->text : "");
    }
    if (at < bytes) {
        snprintf(buffer + at, bytes - at, "]");
    }
    return true;
}

double report_data_planned_steps(const struct report_data *run)
{
    char epochs[64];
    const double step = report_table_last(&run->training, "step"),
                 epoch = report_table_last(&run->training, "epoch");
    return report_data_setting(run, "train.epochs", epochs, sizeof epochs) && epoch > 0
               ? round(step / epoch) * strtod(epochs, NULL)
               : NAN;
}

/* A run that has not ended: from the lines' images per second. */
double report_data_seconds(const struct report_data *run)
{
    const struct report_table *table = &run->training;
    const double *step = report_table_column(table, "step"),
                 *rate = report_table_column(table, "images_per_second");
    const double told = report_data_number(run->result, "seconds");
    char batch[64];
    if (told >= 0) {
        return told;
    }
    if (step == NULL || rate == NULL ||
        !report_data_setting(run, "train.batch", batch, sizeof batch)) {
        return NAN;
    }
    double seconds = 0, before = 0;
    for (size_t i = 0; i < table->rows; i++) {
        if (rate[i] > 0 && step[i] > before) {
            seconds += (step[i] - before) * strtod(batch, NULL) / rate[i];
            before = step[i];
        }
    }
    return seconds;
}
