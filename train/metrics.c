#include "train/metrics.h"

#include <math.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

enum { STEPS, TOTAL, ACCURACY, VALUES };
static const size_t largest_file = (size_t)1 << 32;

/* ---------------------------------------------------------------- open/close */

/* Bytes of the lines whose step is at most `last`; a torn or foreign line ends the search. */
static size_t lines_until(const char *text, size_t bytes, int64_t last)
{
    size_t kept = 0;
    while (kept < bytes) {
        const char *end = memchr(text + kept, '\n', bytes - kept);
        struct cask_json *line = NULL;
        struct cask_error ignored = {0};
        int64_t step = -1;
        if (end == NULL) {
            break;
        }
        size_t length = (size_t)(end - (text + kept));
        if (cask_json_parse(text + kept, length, &line, &ignored) == CASK_OK) {
            cask_json_as_int(cask_json_get(line, "step"), &step);
            cask_json_free(line);
        }
        if (step < 0 || step > last) {
            break;
        }
        kept += length + 1;
    }
    return kept;
}

static enum cask_status drop_lines_after(const char *path, int64_t step, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0;
    if (!cask_path_exists(path)) {
        return CASK_OK;
    }
    CASK_TRY(cask_file_read_all(path, largest_file, &text, &bytes, err));
    size_t kept = lines_until(text, bytes, step);
    if (kept < bytes) {
        CASK_TRY(cask_file_write_all(path, text, kept, err));
    }
done:
    cask_free(text);
    return st;
}

enum cask_status cask_metrics_open(struct cask_metrics *metrics, const char *folder,
                                   const struct cask_trainer *trainer, int64_t first_step,
                                   int64_t stop_step, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_train_options *train = &trainer->config->train;
    metrics->path = cask_format("%s/metrics.jsonl", folder);
    if (metrics->path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of metrics.jsonl"));
    }
    CASK_TRY(drop_lines_after(metrics->path, first_step, err));
    metrics->batch = train->batch;
    metrics->log_steps = train->log_steps;
    metrics->steps_per_epoch = trainer->schedule.steps_per_epoch;
    metrics->total_steps = trainer->schedule.total_steps;
    metrics->line_step = first_step;
    metrics->start = metrics->line_time = cask_now();
    cask_progress_begin(&metrics->bar, "student", "images", first_step * train->batch,
                        stop_step * train->batch);
done:
    return st;
}

void cask_metrics_close(struct cask_metrics *metrics)
{
    if (metrics->path != NULL) {
        cask_progress_end(&metrics->bar);
    }
    cask_free(metrics->path);
    metrics->path = NULL;
}

enum cask_status cask_metrics_state(struct cask_metrics *metrics, struct cask_state_list *state,
                                    struct cask_error *err)
{
    return cask_state_add(state, "metrics.", "sums", CASK_F64, 3 + CASK_METRICS_TERMS,
                          metrics->sums, NULL, err);
}

/* -------------------------------------------------------------------- lines */

static struct cask_json *term_object(const struct cask_term *term, double mean)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_text(object, "name", term->name);
    cask_json_set_real(object, "weight", term->weight);
    cask_json_set_real(object, "value", mean);
    cask_json_set_real(object, "gradient_norm", term->gradient_norm);
    cask_json_set_real(object, "gradient_cosine", term->gradient_cosine);
    return object;
}

struct cask_json *cask_metrics_coverage_json(const struct cask_coverage *coverage)
{
    struct cask_json *object = cask_json_object();
    cask_json_set_int(object, "draws", coverage->draws);
    cask_json_set_int(object, "images", coverage->images);
    cask_json_set_int(object, "identities", coverage->identities);
    cask_json_set_int(object, "repeats", coverage->repeats);
    cask_json_set_int(object, "in_batch", coverage->in_batch);
    cask_json_set_int(object, "same_view", coverage->same_view);
    return object;
}

void cask_metrics_set_coverage(struct cask_metrics *metrics, const struct cask_coverage *coverage)
{
    metrics->coverage = *coverage;
    metrics->has_coverage = true;
}

static enum cask_status write_line(struct cask_metrics *metrics,
                                   const struct cask_step_report *report, double stall,
                                   struct cask_error *err)
{
    const double now = cask_now(), steps = metrics->sums[STEPS];
    const double images = (double)((report->step + 1 - metrics->line_step) * metrics->batch);
    struct cask_json *line = cask_json_object(), *terms = cask_json_array();
    cask_json_set_int(line, "step", report->step + 1);
    cask_json_set_real(line, "epoch",
                       (double)(report->step + 1) / (double)metrics->steps_per_epoch);
    cask_json_set_real(line, "lr", report->rate);
    cask_json_set_real(line, "total", metrics->sums[TOTAL] / steps);
    cask_json_set_real(line, "accuracy", metrics->sums[ACCURACY] / steps);
    for (int i = 0; i < report->term_count && i < CASK_METRICS_TERMS; i++) {
        cask_json_append(terms, term_object(&report->terms[i], metrics->sums[VALUES + i] / steps));
    }
    cask_json_set(line, "terms", terms);
    if (!isnan(report->captured)) { /* of this step: teacher mass inside what is known of it */
        cask_json_set_real(line, "captured", report->captured);
    }
    if (!isnan(report->gradient_norm)) {
        cask_json_set_real(line, "gradient_norm", report->gradient_norm);
    }
    if (metrics->has_coverage) {
        cask_json_set(line, "coverage", cask_metrics_coverage_json(&metrics->coverage));
        metrics->has_coverage = false;
    }
    cask_json_set_real(line, "images_per_second", images / fmax(now - metrics->line_time, 1e-9));
    cask_json_set_real(line, "stall_seconds", stall - metrics->line_stall);
    char *text = cask_json_dump(line, CASK_JSON_COMPACT);
    cask_json_free(line);
    char *with_newline = text ? cask_format("%s\n", text) : NULL;
    cask_free(text);
    if (with_newline == NULL) {
        return cask_error_memory(err, 1, "a line of metrics.jsonl");
    }
    enum cask_status st =
        cask_file_append(metrics->path, with_newline, strlen(with_newline), false, err);
    cask_free(with_newline);
    memset(metrics->sums, 0, sizeof metrics->sums);
    metrics->line_time = now;
    metrics->line_stall = stall;
    metrics->line_step = report->step + 1;
    return st;
}

bool cask_metrics_due(const struct cask_metrics *metrics, int64_t step, int64_t stop_step)
{
    return (step + 1) % metrics->log_steps == 0 || step + 1 == stop_step ||
           (metrics->epoch_lines && (step + 1) % metrics->steps_per_epoch == 0);
}

enum cask_status cask_metrics_add(struct cask_metrics *metrics,
                                  const struct cask_step_report *report, double stall_seconds,
                                  bool due, struct cask_error *err)
{
    metrics->sums[STEPS] += 1;
    metrics->sums[TOTAL] += report->total;
    metrics->sums[ACCURACY] += report->accuracy;
    for (int i = 0; i < report->term_count && i < CASK_METRICS_TERMS; i++) {
        metrics->sums[VALUES + i] += report->terms[i].value;
    }
    cask_progress_update(&metrics->bar, (report->step + 1) * metrics->batch,
                         "epoch %.2f  loss %.3f  accuracy %.1f %%  lr %.3g", report->epoch,
                         metrics->sums[TOTAL] / metrics->sums[STEPS],
                         100 * metrics->sums[ACCURACY] / metrics->sums[STEPS], report->rate);
    return due ? write_line(metrics, report, stall_seconds, err) : CASK_OK;
}
