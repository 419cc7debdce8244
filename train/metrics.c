#include "train/metrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "train/metrics_csv.h"

enum { STEPS, TOTAL, ACCURACY, VALUES };
static const size_t largest_file = (size_t)1 << 32;

/* ---------------------------------------------------------------- open/close */

/* Bytes of the lines that are kept. A torn or foreign line ends the search, and so does the first
 * one past a step: lines are in order, and a validation's comes behind its step's own. */
static size_t lines_until(const char *text, size_t bytes, int64_t last, int64_t validated)
{
    size_t kept = 0;
    while (kept < bytes) {
        const char *end = memchr(text + kept, '\n', bytes - kept);
        struct cask_json *line = NULL;
        struct cask_error ignored = {0};
        int64_t step = -1, limit = last;
        if (end == NULL) {
            break;
        }
        size_t length = (size_t)(end - (text + kept));
        if (cask_json_parse(text + kept, length, &line, &ignored) == CASK_OK) {
            cask_json_as_int(cask_json_get(line, "step"), &step);
            if (step == last && cask_json_get(line, "validation") != NULL) {
                limit = validated;
            }
            cask_json_free(line);
        }
        if (step < 0 || step > limit) {
            break;
        }
        kept += length + 1;
    }
    return kept;
}

static enum cask_status go_back(const struct cask_metrics *metrics,
                                const struct cask_metrics_options *options, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = NULL;
    size_t bytes = 0, kept = 0;
    if (cask_path_exists(metrics->path)) {
        CASK_TRY(cask_file_read_all(metrics->path, largest_file, &text, &bytes, err));
        kept = lines_until(text, bytes, options->first_step, options->validated_step);
    }
    if (kept < bytes) {
        CASK_TRY(cask_file_write_all(metrics->path, text, kept, err));
    }
    CASK_TRY(cask_metrics_csv_rebuild(metrics, text, kept, err));
done:
    cask_free(text);
    return st;
}

enum cask_status cask_metrics_open(struct cask_metrics *metrics,
                                   const struct cask_metrics_options *options,
                                   struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const struct cask_train_options *train = options->train;
    metrics->path = cask_format("%s/metrics.jsonl", options->folder);
    metrics->training_csv = cask_format("%s/metrics.csv", options->folder);
    metrics->validation_csv = cask_format("%s/validation.csv", options->folder);
    if (metrics->path == NULL || metrics->training_csv == NULL || metrics->validation_csv == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of metrics.jsonl"));
    }
    CASK_TRY(go_back(metrics, options, err));
    CASK_TRY(cask_tensorboard_open(&metrics->board, options->folder, options->first_step,
                                   options->validated_step, err));
    metrics->batch = train->batch;
    metrics->log_steps = train->log_steps;
    metrics->steps_per_epoch = options->schedule->steps_per_epoch;
    metrics->total_steps = options->schedule->total_steps;
    metrics->epoch_lines = options->epoch_lines;
    metrics->line_step = options->first_step;
    metrics->line_time = cask_now();
    metrics->shows_progress = options->shows_progress;
    if (metrics->shows_progress) {
        cask_progress_begin(&metrics->bar, "student", "images", options->first_step * train->batch,
                            options->stop_step * train->batch);
    }
done:
    return st;
}

void cask_metrics_close(struct cask_metrics *metrics)
{
    if (metrics->shows_progress) {
        cask_progress_end(&metrics->bar);
    }
    cask_tensorboard_close(&metrics->board);
    cask_free(metrics->path);
    cask_free(metrics->training_csv);
    cask_free(metrics->validation_csv);
    metrics->path = metrics->training_csv = metrics->validation_csv = NULL;
    metrics->shows_progress = false;
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

/* Takes over the line. */
static enum cask_status append_line(struct cask_metrics *metrics, struct cask_json *line,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *text = cask_json_dump(line, CASK_JSON_COMPACT);
    char *with_newline = text ? cask_format("%s\n", text) : NULL;
    if (with_newline == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "a line of metrics.jsonl"));
    }
    CASK_TRY(cask_file_append_whole(metrics->path, with_newline, strlen(with_newline), err));
    CASK_TRY(cask_metrics_csv_append(metrics, line, err));
    CASK_TRY(cask_tensorboard_add(&metrics->board, line, err));
done:
    cask_free(text);
    cask_free(with_newline);
    cask_json_free(line);
    return st;
}

enum cask_status cask_metrics_add_validation(struct cask_metrics *metrics, int64_t steps_done,
                                             struct cask_json *validation, struct cask_error *err)
{
    struct cask_json *line = cask_json_object();
    cask_json_set_int(line, "step", steps_done);
    cask_json_set_real(line, "epoch", (double)steps_done / (double)metrics->steps_per_epoch);
    cask_json_set(line, "validation", validation);
    return append_line(metrics, line, err);
}

static enum cask_status write_line(struct cask_metrics *metrics,
                                   const struct cask_step_report *report, double stall,
                                   struct cask_error *err)
{
    const double now = cask_now(), steps = metrics->sums[STEPS];
    const double images = (double)((report->step + 1 - metrics->line_step) * metrics->batch);
    struct cask_json *line = cask_json_object(), *terms = cask_json_array(),
                     *stages = cask_json_object();
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
    for (int i = 0; i < CASK_STAGES; i++) {
        cask_json_set_real(stages, cask_stage_names[i], metrics->line_stages[i]);
    }
    cask_json_set(line, "stage_seconds", stages);
    enum cask_status st = append_line(metrics, line, err);
    memset(metrics->sums, 0, sizeof metrics->sums);
    memset(metrics->line_stages, 0, sizeof metrics->line_stages);
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

/* "arcface 12.3, kd 0.45": means since the last line */
static void format_terms(const struct cask_metrics *metrics, const struct cask_step_report *report,
                         char *text, size_t bytes)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < report->term_count && i < CASK_METRICS_TERMS && at < bytes; i++) {
        at += (size_t)snprintf(text + at, bytes - at, "%s%s %.4g", i > 0 ? ", " : "",
                               report->terms[i].name,
                               metrics->sums[VALUES + i] / metrics->sums[STEPS]);
    }
}

static void show(struct cask_metrics *metrics, const struct cask_step_report *report)
{
    char terms[96];
    format_terms(metrics, report, terms, sizeof terms);
    cask_progress_update(&metrics->bar, (report->step + 1) * metrics->batch,
                         "epoch %.2f  loss %.4g (%s)  accuracy %.1f %%  lr %.3g", report->epoch,
                         metrics->sums[TOTAL] / metrics->sums[STEPS], terms,
                         100 * metrics->sums[ACCURACY] / metrics->sums[STEPS], report->rate);
}

enum cask_status cask_metrics_add(struct cask_metrics *metrics,
                                  const struct cask_step_report *report, double stall_seconds,
                                  bool due, struct cask_error *err)
{
    for (int i = 0; i < CASK_STAGES; i++) {
        metrics->line_stages[i] += report->seconds[i];
    }
    metrics->sums[STEPS] += 1;
    metrics->sums[TOTAL] += report->total;
    metrics->sums[ACCURACY] += report->accuracy;
    for (int i = 0; i < report->term_count && i < CASK_METRICS_TERMS; i++) {
        metrics->sums[VALUES + i] += report->terms[i].value;
    }
    if (metrics->shows_progress) {
        show(metrics, report);
    }
    return due ? write_line(metrics, report, stall_seconds, err) : CASK_OK;
}
