/* The pictures of a sweep: its rows over one another. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "train/report_figures.h"
#include "train/report_sweep.h"

enum { WIDTH = 560, HEIGHT = 360, NARROW_MAX = 6, SETS_SHOWN = 8, NAMED_MAX = 200 };

/* Every run of every row as a point; seeds of a row lie a little apart. */
struct points {
    double *x, *y, *low, *high; /* owned */
    const char **names;         /* owned array */
    size_t count;
};

static void release_points(struct points *points)
{
    cask_free(points->x);
    cask_free(points->y);
    cask_free(points->low);
    cask_free(points->high);
    cask_free(points->names);
}

static enum cask_status make_points(const struct report_sweep *sweep, struct points *points,
                                    struct cask_error *err)
{
    size_t runs = 0;
    for (int r = 0; r < sweep->count; r++) {
        runs += (size_t)sweep->rows[r].count;
    }
    points->x = cask_alloc(runs, sizeof(double));
    points->y = cask_alloc(runs, sizeof(double));
    points->low = cask_alloc(runs, sizeof(double));
    points->high = cask_alloc(runs, sizeof(double));
    points->names = cask_alloc((size_t)sweep->count, sizeof *points->names);
    const bool made = points->x != NULL && points->y != NULL && points->low != NULL &&
                      points->high != NULL && points->names != NULL;
    return made ? CASK_OK : cask_error_memory(err, runs * 32, "points of a sweep");
}

/* Accuracy of each run on a set, with the interval that evaluation.json gives it. */
static enum cask_status accuracy_figure(struct report_page *page, const struct report_sweep *sweep,
                                        const char *set, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct points points = {0};
    char heading[160];
    CASK_TRY(make_points(sweep, &points, err));
    for (int r = 0; r < sweep->count; r++) {
        const struct report_row *row = &sweep->rows[r];
        points.names[r] = row->name;
        for (int i = 0; i < row->count; i++) {
            const struct cask_json *found =
                row->runs[i].path != NULL ? report_sweep_evaluation(&row->runs[i], set) : NULL;
            const struct cask_json *interval = cask_json_get(found, "accuracy_interval");
            const double spread = row->count > 1 ? 0.44 / (row->count - 1) : 0;
            const size_t at = points.count++;
            points.y[at] = r + (row->count > 1 ? i * spread - 0.22 : 0);
            points.x[at] = report_data_number(found, "accuracy");
            points.low[at] = points.high[at] = points.x[at];
            cask_json_as_real(cask_json_at(interval, 0), &points.low[at]);
            cask_json_as_real(cask_json_at(interval, 1), &points.high[at]);
        }
    }
    const struct cask_plot_series series = {.x = points.x,
                                            .y = points.y,
                                            .count = points.count,
                                            .style = CASK_PLOT_POINTS,
                                            .low = points.low,
                                            .high = points.high};
    const struct cask_plot plot = {.x_label = "accuracy in %",
                                   .width = sweep->count > NARROW_MAX ? REPORT_WIDE : WIDTH,
                                   .height = sweep->count <= 10 ? HEIGHT : 0,
                                   .series = &series,
                                   .series_count = 1,
                                   .names = points.names,
                                   .name_count = sweep->count};
    snprintf(heading, sizeof heading, "Accuracy on %.80s, a point for each run, 95 %% interval",
             set);
    CASK_TRY(report_page_figure(page, heading, &plot, err));
done:
    release_points(&points);
    return st;
}

/* One column of every row's first run. */
static enum cask_status curves_figure(struct report_page *page, const struct report_sweep *sweep,
                                      const char *heading, const char *column, const char *label,
                                      bool validation, struct cask_error *err)
{
    struct cask_plot_series series[REPORT_SERIES];
    int count = 0;
    double low = INFINITY, high = 0;
    for (int r = 0; r < sweep->count && count < REPORT_SERIES; r++) {
        const struct report_data *run = report_sweep_run(&sweep->rows[r]);
        if (run == NULL) {
            continue;
        }
        series[count] =
            report_series(validation ? &run->validation : &run->training, sweep->rows[r].name,
                          column, validation ? CASK_PLOT_LINE_POINTS : CASK_PLOT_LINE);
        for (size_t i = 0; i < series[count].count; i++) {
            low = fmin(low, series[count].y[i]);
            high = fmax(high, series[count].y[i]);
        }
        count += series[count].count > 0;
    }
    const struct cask_plot plot = {.x_label = "step",
                                   .y_label = label,
                                   .log_y =
                                       strcmp(column, "total") == 0 && low > 0 && high / low > 30,
                                   .width = count > NARROW_MAX ? REPORT_WIDE : WIDTH,
                                   .height = report_figure_height(HEIGHT, count),
                                   .series = series,
                                   .series_count = count};
    return count > 0 ? report_page_figure(page, heading, &plot, err) : CASK_OK;
}

static enum cask_status roc_figure(struct report_page *page, const struct report_sweep *sweep,
                                   const char *set, struct cask_error *err)
{
    const struct cask_json *sets[REPORT_SERIES];
    const char *names[REPORT_SERIES];
    char heading[160];
    int count = 0;
    for (int r = 0; r < sweep->count && count < REPORT_SERIES; r++) {
        const struct report_data *run = report_sweep_run(&sweep->rows[r]);
        sets[count] = run != NULL ? report_sweep_evaluation(run, set) : NULL;
        names[count] = sweep->rows[r].name;
        count += sets[count] != NULL;
    }
    snprintf(heading, sizeof heading, "ROC on %.100s, the first run of each row", set);
    return report_figure_roc(page, heading, sets, names, count, err);
}

enum cask_status report_sweep_figures(struct report_page *page, const struct report_sweep *sweep,
                                      struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    const char *set;
    report_page_put(page, "<div style=\"height:14px\"></div>");
    report_page_open(page, "figures");
    for (int i = 0; i < SETS_SHOWN && (set = report_sweep_set(sweep, i)) != NULL; i++) {
        if (sweep->count <= NAMED_MAX) {
            CASK_TRY(accuracy_figure(page, sweep, set, err));
        }
        CASK_TRY(roc_figure(page, sweep, set, err));
    }
    CASK_TRY(curves_figure(page, sweep, "Validation accuracy while training", "validation.accuracy",
                           "mean over the sets, %", true, err));
    CASK_TRY(curves_figure(page, sweep, "Loss", "total", "total loss", false, err));
    CASK_TRY(curves_figure(page, sweep, "Accuracy on training batches", "accuracy",
                           "share of the batch", false, err));
    CASK_TRY(curves_figure(page, sweep, "Speed", "images_per_second", "images / s", false, err));
    report_page_close(page);
done:
    return st;
}
