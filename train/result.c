#include "train/result.h"

#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "train/metrics.h"

static const size_t largest_file = (size_t)1 << 32;

/* The last line of metrics.jsonl as an object; NULL if there is none. */
static enum cask_status last_metrics(const char *path, struct cask_json **line,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    *line = NULL;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, largest_file, &text, &bytes, err));
    while (bytes > 0 && text[bytes - 1] == '\n') {
        bytes--;
    }
    size_t begin = bytes;
    while (begin > 0 && text[begin - 1] != '\n') {
        begin--;
    }
    if (bytes > begin) {
        CASK_TRY(cask_json_parse(text + begin, bytes - begin, line, err));
    }
done:
    cask_free(text);
    return st;
}

/* What the user allowed to differ, with both values: the run is not of the data that the cache saw.
 */
static struct cask_json *accepted_list(const struct cask_result *result)
{
    struct cask_json *list = cask_json_array();
    for (int i = 0; i < result->accepted_count; i++) {
        struct cask_json *object = cask_json_object();
        cask_json_set_text(object, "field", result->accepted[i].field);
        cask_json_set_text(object, "dataset", result->accepted[i].dataset);
        cask_json_set_text(object, "cache", result->accepted[i].cache);
        cask_json_append(list, object);
    }
    return list;
}

static struct cask_json *cache_object(const struct cask_result *result)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_text(object, "folder", result->cache);
    cask_json_set_text(object, "teacher", result->teacher->teacher);
    cask_json_set_text(object, "mode", result->teacher_mode);
    cask_json_set_text(object, "weights_sha256", result->teacher->weights_sha256);
    cask_json_set_text(object, "centers_sha256", result->teacher->centers_sha256);
    cask_json_set_text(object, "dataset_sha256", result->teacher->dataset_sha256);
    cask_json_set(object, "accepted_mismatch", accepted_list(result));
    return object;
}

enum cask_status cask_result_write(const struct cask_run_folder *folder,
                                   const struct cask_result *result, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *root = cask_json_object(), *final = NULL;
    char *text = NULL;
    CASK_TRY(last_metrics(folder->metrics, &final, err));
    cask_json_set_text(root, "program", "train-student " CASK_VERSION);
    cask_json_set_int(root, "steps", result->steps);
    cask_json_set_bool(root, "complete", result->complete);
    cask_json_set_real(root, "epochs", result->epochs);
    cask_json_set_real(root, "seconds", result->seconds);
    cask_json_set_real(
        root, "images_per_second",
        result->seconds > 0 ? (double)(result->steps * result->batch) / result->seconds : 0);
    cask_json_set_text(root, "network", result->network);
    cask_json_set_text(root, "model", "student.safetensors");
    cask_json_set_text(root, "settings_sha256", folder->identity);
    cask_json_set_text(root, "device", result->device);
    if (result->teacher != NULL) {
        cask_json_set(root, "cache", cache_object(result));
    }
    if (final != NULL) {
        cask_json_set(root, "final", final);
        final = NULL;
    }
    if (result->coverage != NULL) {
        cask_json_set(root, "coverage", cask_metrics_coverage_json(result->coverage));
    }
    cask_json_set_int(root, "bad_images", result->bad_images);
    cask_json_set_int(root, "peak_memory_bytes", (int64_t)cask_mem_peak_bytes());
    text = cask_json_dump(root, CASK_JSON_PRETTY);
    if (text == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "result.json"));
    }
    CASK_TRY(cask_file_write_all(folder->result, text, strlen(text), err));
done:
    cask_free(text);
    cask_json_free(final);
    cask_json_free(root);
    return st;
}

enum cask_status cask_result_read(const struct cask_run_folder *folder, int64_t *steps,
                                  bool *complete, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *root = NULL;
    char *text = NULL;
    size_t bytes = 0;
    *steps = -1;
    *complete = false;
    if (!cask_path_exists(folder->result)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(folder->result, largest_file, &text, &bytes, err));
    CASK_TRY(cask_json_parse(text, bytes, &root, err));
    if (!cask_json_as_int(cask_json_get(root, "steps"), steps) ||
        !cask_json_as_bool(cask_json_get(root, "complete"), complete)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "expected \"steps\" and \"complete\"; remove the file to go on "
                                "from the last checkpoint"));
    }
done:
    if (st != CASK_OK) {
        cask_error_prefix(err, "%s", folder->result);
    }
    cask_json_free(root);
    cask_free(text);
    return st;
}
