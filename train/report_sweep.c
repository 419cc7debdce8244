/* The page of a sweep: the table first, then its rows over one another. */
#include "train/report_sweep.h"

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "train/report.h"

static bool is_state(const struct cask_json *run, const char *state)
{
    return strcmp(report_data_text(run, "state"), state) == 0;
}

static void begin(struct report_page *page, const struct report_sweep *sweep)
{
    char state[80], subtitle[900];
    int finished = 0, failed = 0, total = 0;
    for (int r = 0; r < sweep->count; r++) {
        const struct cask_json *runs = cask_json_get(sweep->rows[r].json, "runs");
        for (size_t i = 0; i < cask_json_size(runs); i++, total++) {
            finished += is_state(cask_json_at(runs, i), "finished");
            failed += is_state(cask_json_at(runs, i), "failed");
        }
    }
    int length = snprintf(state, sizeof state, "%d of %d runs finished", finished, total);
    if (failed > 0) {
        snprintf(state + length, sizeof state - (size_t)length, ", %d failed", failed);
    }
    const char *cache = report_data_text(sweep->table, "cache"),
               *file = report_data_text(sweep->table, "sweep");
    snprintf(subtitle, sizeof subtitle, "%d rows%s%.300s%s%.300s", sweep->count,
             file[0] != 0 ? " of " : "", file, cache[0] != 0 ? ", taught from " : "", cache);
    report_page_begin(page, sweep->name, subtitle, state,
                      failed > 0          ? "failed"
                      : finished == total ? "done"
                                          : "");
}

/* Why each run failed, above everything that did not. */
static void put_failures(struct report_page *page, const struct report_sweep *sweep)
{
    bool open = false;
    for (int r = 0; r < sweep->count; r++) {
        const struct cask_json *runs = cask_json_get(sweep->rows[r].json, "runs");
        for (size_t i = 0; i < cask_json_size(runs); i++) {
            const struct cask_json *run = cask_json_at(runs, i);
            if (!is_state(run, "failed")) {
                continue;
            }
            report_page_put(page, open ? "" : "<div class=\"card failures\">");
            open = true;
            report_page_put(page, "<p data-key=\"failure\"><b>");
            report_page_text(page, report_data_text(run, "folder"));
            report_page_put(page, "</b>: ");
            report_page_text(page, report_data_text(run, "message"));
            report_page_put(page, "</p>");
        }
    }
    report_page_put(page, open ? "</div>\n" : "");
}

/* A run that is at work, or was killed, has no page yet; links would lead nowhere. */
static enum cask_status write_missing(const struct report_sweep *sweep, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    char *page = NULL;
    for (int r = 0; r < sweep->count; r++) {
        for (int i = 0; i < sweep->rows[r].count; i++) {
            const char *run = sweep->rows[r].runs[i].path;
            page = run != NULL ? cask_format("%s/report.html", run) : NULL;
            if (page != NULL && !cask_path_exists(page)) {
                CASK_TRY(cask_run_report(run, err));
            }
            cask_free(page);
            page = NULL;
        }
    }
done:
    cask_free(page);
    return st;
}

enum cask_status cask_sweep_report(const char *folder, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct report_sweep sweep = {0};
    struct report_page page = {0};
    char *path = cask_format("%s/report.html", folder);
    if (path == NULL) {
        CASK_TRY(cask_error_memory(err, 1, "path of the report"));
    }
    CASK_TRY(report_sweep_open(&sweep, folder, err));
    CASK_TRY(write_missing(&sweep, err));
    begin(&page, &sweep);
    put_failures(&page, &sweep);
    report_sweep_table(&page, &sweep);
    CASK_TRY(report_sweep_figures(&page, &sweep, err));
    report_sweep_settings(&page, &sweep);
    CASK_TRY(report_page_write(&page, path, err));
done:
    report_page_release(&page);
    report_sweep_close(&sweep);
    cask_free(path);
    return st;
}
