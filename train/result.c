#include "train/result.h"

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "train/metrics.h"

static const size_t largest_file = (size_t)1 << 32;

/* The last training line of metrics.jsonl as an object; NULL if there is none. */
static enum cask_status last_metrics(const char *path, struct cask_json **line,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t end = 0;
    *line = NULL;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, largest_file, &text, &end, err));
    while (*line == NULL && end > 0) {
        size_t begin = end - 1; /* before the newline */
        while (begin > 0 && text[begin - 1] != '\n') {
            begin--;
        }
        CASK_TRY(cask_json_parse(text + begin, end - begin, line, err));
        if (cask_json_get(*line, "total") == NULL) { /* a validation line */
            cask_json_free(*line);
            *line = NULL;
        }
        end = begin;
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
    cask_json_set_int(object, "images", result->teacher->images);
    cask_json_set_int(object, "classes", result->teacher->classes);
    cask_json_set_int(object, "embedding", result->teacher->embedding);
    cask_json_set_int(object, "topk", result->teacher->topk);
    cask_json_set_int(object, "bytes", cask_folder_bytes(result->cache));
    cask_json_set_text(object, "mode", result->teacher_mode);
    cask_json_set_text(object, "weights_sha256", result->teacher->weights_sha256);
    cask_json_set_text(object, "centers_sha256", result->teacher->centers_sha256);
    cask_json_set_text(object, "dataset_sha256", result->teacher->dataset_sha256);
    cask_json_set(object, "accepted_mismatch", accepted_list(result));
    return object;
}

static struct cask_json *best_object(const struct cask_validation *validation)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_int(object, "step", (int64_t)validation->state[CASK_VALID_BEST_STEP]);
    cask_json_set_real(object, "accuracy", validation->state[CASK_VALID_BEST]);
    cask_json_set_text(object, "model", "student-best.safetensors");
    return object;
}

static struct cask_json *validation_object(const struct cask_validation *validation)
{
    struct cask_json *object = cask_json_object(), *sets = cask_json_array();
    cask_json_set_int(object, "settings", (int64_t)validation->settings);
    cask_json_set_real(object, "accuracy", cask_validation_mean(validation));
    for (int i = 0; i < validation->count; i++) {
        const struct cask_set_result *result = &validation->results[i];
        struct cask_json *set = cask_json_object();
        cask_json_set_text(set, "name", result->name);
        cask_json_set_text(set, "protocol", result->protocol);
        cask_json_set_int(set, "pairs", result->pairs);
        cask_json_set_real(set, "accuracy", result->kfold.accuracy);
        cask_json_set_real(set, "std", result->kfold.std);
        cask_json_append(sets, set);
    }
    cask_json_set(object, "sets", sets);
    if (validation->state[CASK_VALID_BEST_STEP] > 0) {
        cask_json_set(object, "best", best_object(validation));
    }
    return object;
}

static void add_times(struct cask_json *root, const struct cask_result *result)
{
    const double validation = result->validation->state[CASK_VALID_SECONDS],
                 steps = (double)result->steps;
    cask_json_set_real(root, "seconds", result->seconds);
    cask_json_set_real(root, "validation_seconds", validation);
    cask_json_set_real(root, "seconds_per_step",
                       steps > 0 ? (result->seconds - validation) / steps : 0);
    cask_json_set_real(root, "stall_seconds", result->stall_seconds);
    cask_json_set_real(root, "stall_share", result->stall_share);
    cask_json_set_real(root, "images_per_second",
                       result->seconds > 0 ? steps * (double)result->batch / result->seconds : 0);
}

enum cask_status cask_result_write(const struct cask_run_folder *folder,
                                   const struct cask_result *result, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *root = cask_json_object(), *final = NULL;
    CASK_TRY(last_metrics(folder->metrics, &final, err));
    cask_json_set_text(root, "program", "train-student " CASK_VERSION);
    cask_json_set_int(root, "steps", result->steps);
    cask_json_set_bool(root, "complete", result->complete);
    cask_json_set_real(root, "epochs", result->epochs);
    if (result->stopped_early) {
        cask_json_set_bool(root, "stopped_early", true);
    }
    add_times(root, result);
    cask_json_set_int(root, "batch", result->batch);
    cask_json_set_int(root, "teacher_passes_saved", result->teacher_passes_saved);
    cask_json_set_text(root, "network", result->network);
    cask_json_set_text(root, "model", "student.safetensors");
    cask_json_set_text(root, "settings_sha256", folder->identity);
    cask_json_set_text(root, "device", result->device);
    if (result->teacher != NULL) {
        cask_json_set(root, "cache", cache_object(result));
    }
    if (result->validation->result_step == result->steps) {
        cask_json_set(root, "validation", validation_object(result->validation));
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
    st = cask_json_write(folder->result, root, err);
    root = NULL;
done:
    cask_json_free(final);
    cask_json_free(root);
    return st;
}

enum cask_status cask_result_read(const struct cask_run_folder *folder,
                                  struct cask_result_summary *found, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_json *root = NULL;
    *found = (struct cask_result_summary){.steps = -1, .validation_settings = -1};
    if (!cask_path_exists(folder->result)) {
        return CASK_OK;
    }
    CASK_TRY(cask_json_read(folder->result, largest_file, &root, err));
    if (!cask_json_as_int(cask_json_get(root, "steps"), &found->steps) ||
        !cask_json_as_bool(cask_json_get(root, "complete"), &found->complete)) {
        CASK_TRY(cask_error_set(err, CASK_ERR_FORMAT,
                                "%s: expected \"steps\" and \"complete\"; remove the file to go "
                                "on from the last checkpoint",
                                folder->result));
    }
    cask_json_as_real(cask_json_get(cask_json_get(root, "validation"), "settings"),
                      &found->validation_settings);
done:
    cask_json_free(root);
    return st;
}

void cask_result_write_failure(const struct cask_run_folder *folder, int64_t steps_done,
                               const struct cask_error *why)
{
    struct cask_error err;
    struct cask_json *root = cask_json_object();
    cask_json_set_text(root, "status", cask_status_name(why->status));
    cask_json_set_int(root, "step", steps_done);
    cask_json_set_text(root, "message", why->message);
    if (cask_json_write(folder->failure, root, &err) != CASK_OK) {
        cask_log_warn("%s", err.message);
    }
}
