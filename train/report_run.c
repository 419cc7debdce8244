/* The page of one run. What a person asks first stands first: did it end, how good is it, how long
 * did it take; then how it went; then what it was. */
#include <math.h>
#include <stdio.h>

#include "common/mem.h"
#include "train/report.h"
#include "train/report_figures.h"
#include "train/report_sections.h"

/* ------------------------------------------------------------------ heading */

static void describe_state(const struct report_data *run, char *state, size_t bytes,
                           const char **state_class)
{
    const double step = report_table_last(&run->training, "step"),
                 planned = report_data_planned_steps(run);
    bool complete = false;
    cask_json_as_bool(cask_json_get(run->result, "complete"), &complete);
    *state_class = complete ? "done" : run->failure != NULL ? "failed" : "";
    if (run->failure != NULL) {
        snprintf(state, bytes, "failed after step %.0f", report_data_number(run->failure, "step"));
    } else if (complete && cask_json_get(run->result, "stopped_early") != NULL) {
        snprintf(state, bytes, "finished early: no better validation for long enough");
    } else if (complete) {
        snprintf(state, bytes, "finished");
    } else if (isfinite(step) && isfinite(planned)) {
        snprintf(state, bytes, "step %.0f of %.0f (%.0f %%)", step, planned, 100 * step / planned);
    } else {
        snprintf(state, bytes, "no step told yet");
    }
}

static void begin(struct report_page *page, const struct report_data *run)
{
    char state[120], subtitle[400], net[64] = "", cache[300] = "";
    const char *state_class = "";
    report_data_setting(run, "student.net", net, sizeof net);
    report_data_setting(run, "cache", cache, sizeof cache);
    const char *teacher = report_data_text(run->result, "cache.teacher");
    describe_state(run, state, sizeof state, &state_class);
    snprintf(subtitle, sizeof subtitle, "%s, %s%s%s", net,
             cache[0] != 0 ? "taught from a cache" : "trained on labels alone",
             teacher[0] != 0 ? " of " : "", teacher);
    report_page_begin(page, run->name, subtitle, state, state_class);
    if (run->failure != NULL) {
        report_page_put(page, "<div class=\"card failures\"><p data-key=\"failure\">");
        report_page_text(page, report_data_text(run->failure, "message"));
        report_page_put(page, "</p></div>\n");
    }
}

/* -------------------------------------------------------------------- tiles */

static void validation_tile(struct report_page *page, const struct report_data *run)
{
    const double best = report_data_number(run->result, "validation.best.accuracy"),
                 accuracy = report_data_number(run->result, "validation.accuracy");
    const size_t sets =
        cask_json_size(cask_json_get(cask_json_get(run->result, "validation"), "sets"));
    char below[120] = "";
    if (isfinite(accuracy)) {
        if (isfinite(best)) {
            snprintf(below, sizeof below, "best while training: %.2f %% at step %.0f", best,
                     report_data_number(run->result, "validation.best.step"));
        } else {
            snprintf(below, sizeof below, "mean of %zu set%s", sets, sets == 1 ? "" : "s");
        }
        report_page_tile(page, "Verification accuracy", "result.validation.accuracy", accuracy, 2,
                         "%", below);
    } else if (run->validation.rows > 0) {
        report_page_tile(page, "Verification accuracy", "validation.accuracy",
                         report_table_last(&run->validation, "validation.accuracy"), 2, "%",
                         "last validation so far");
    }
}

static void tiles(struct report_page *page, const struct report_data *run)
{
    char text[64], below[120] = "";
    const double steps = isfinite(report_data_number(run->result, "steps"))
                             ? report_data_number(run->result, "steps")
                         : run->failure != NULL ? report_data_number(run->failure, "step")
                                                : report_table_last(&run->training, "step"),
                 saved = report_data_number(run->result, "teacher_passes_saved");
    report_page_open(page, "tiles");
    validation_tile(page, run);
    report_page_tile(page, run->result != NULL ? "Final loss" : "Loss so far", "final.total",
                     report_table_last(&run->training, "total"), 4, "",
                     "mean of the last interval");
    report_page_tile(page, "Training accuracy", "final.accuracy_percent",
                     100 * report_table_last(&run->training, "accuracy"), 2, "%",
                     "mean of the last interval");
    report_page_duration(report_data_seconds(run), text, sizeof text);
    if (isfinite(report_data_number(run->result, "images_per_second"))) {
        snprintf(below, sizeof below, "%.0f images/s",
                 report_data_number(run->result, "images_per_second"));
    }
    report_page_tile_text(page, "Time", text, below);
    snprintf(below, sizeof below, "%.4g epochs", report_table_last(&run->training, "epoch"));
    report_page_tile(page, "Steps", run->result != NULL ? "result.steps" : "steps", steps, 0, "",
                     below);
    if (saved > 0) {
        report_page_tile(page, "Teacher passes saved", "result.teacher_passes_saved", saved, 0, "",
                         "images answered by the cache");
    }
    report_page_close(page);
}

/* --------------------------------------------------------------------- page */

/* The two curves that tell most. */
static enum cask_status glance(struct report_page *page, const struct report_data *run,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    report_page_put(page, "<div style=\"height:14px\"></div>");
    report_page_open(page, "figures");
    CASK_TRY(report_figure_loss(page, run, err));
    if (run->validation.rows > 0) {
        CASK_TRY(report_figure_validation(page, run, err));
    } else {
        CASK_TRY(report_figure_accuracy(page, run, err));
    }
    report_page_close(page);
done:
    return st;
}

static enum cask_status details(struct report_page *page, const struct report_data *run,
                                struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    report_page_section(page, "training", "Training in detail");
    report_page_open(page, "figures");
    if (run->validation.rows > 0) {
        CASK_TRY(report_figure_accuracy(page, run, err));
    }
    CASK_TRY(report_figure_speed(page, run, err));
    CASK_TRY(report_figures_gradients(page, run, err));
    CASK_TRY(report_figure_captured(page, run, err));
    report_page_close(page);
done:
    return st;
}

enum cask_status cask_run_report(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct report_data run = {0};
    struct report_page page = {0};
    char *path = cask_format("%s/report.html", folder);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of the report"));
    }
    CASK_TRY(report_data_open(&run, folder, err));
    begin(&page, &run);
    tiles(&page, &run);
    if (run.training.rows > 1) { /* one point is no curve; the tiles have its numbers */
        CASK_TRY(glance(&page, &run, err));
    }
    CASK_TRY(report_section_verification(&page, &run, err));
    report_section_time(&page, &run);
    if (run.training.rows > 1) {
        CASK_TRY(details(&page, &run, err));
    }
    CASK_TRY(report_section_facts(&page, &run, err));
    CASK_TRY(report_page_write(&page, path, err));
done:
    report_page_release(&page);
    report_data_close(&run);
    cask_free(path);
    return st;
}
